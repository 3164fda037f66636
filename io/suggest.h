// "; did you mean ..?" for misspelt options and keys.
#pragma once

#include <string>
#include <vector>

namespace om {

/// "; did you mean 'NAME'?" with the candidate nearest to `word` (one that it begins, else the one fewest
/// edits away), or nothing where none is near. Case and '-' against '_' do not count.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace om
