// Whether two paths lead to one file, so that no command writes over what it reads.
#pragma once

#include <string>
#include <vector>

namespace om {

/// True where both paths lead to the same existing file: links, hard links and other spellings of a path
/// included. Paths that lead nowhere are the same where their absolute, normalised spellings are.
bool same_file(const std::string& a, const std::string& b);

/// UsageError `OUTPUT: is also an input, and would be overwritten` where `output` is one of `inputs`.
void refuse_overwriting(const std::string& output, const std::vector<std::string>& inputs);

}  // namespace om
