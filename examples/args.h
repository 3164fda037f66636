// From the command line to a command's variables.
#pragma once

#include <optional>

#include "examples/command.h"

namespace om {

/// Reads what follows the command's name. Nothing where help was asked for; it then stands on stdout.
/// UsageError with one line for anything that does not fit, with the nearest option where one was misspelt.
std::optional<Common> parse_arguments(const Command& command, const std::vector<std::string>& arguments);

}  // namespace om
