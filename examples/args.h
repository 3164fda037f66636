// From the command line to a command's variables.
#pragma once

#include <optional>

#include "examples/command.h"

namespace om {

/// Reads what follows the command's name. Nothing where help was asked for; it then stands on stdout.
/// UsageError with one line for anything that does not fit, with the nearest option where one was misspelt.
std::optional<Common> parse_arguments(const Command& command, const std::vector<std::string>& arguments);

/// "; did you mean 'NAME'?" with the candidate nearest to `word`, or nothing where none is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace om
