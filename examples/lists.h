// Lists on the command line: numbers separated by commas, `--factors=-2,-0.75,0.5`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace om {

/// The words between the commas. UsageError naming the option where one is empty.
std::vector<std::string> word_list(std::string_view option, std::string_view list);

/// Finite numbers in decimal. UsageError naming the option and the word that is none.
std::vector<double> number_list(std::string_view option, std::string_view list);

/// Whole numbers in decimal, likewise.
std::vector<std::int64_t> integer_list(std::string_view option, std::string_view list);

/// `NAME=VALUE` cut at its first `=`. UsageError naming the option where either is empty.
struct Named {
  std::string name, value;
};
Named named(std::string_view option, std::string_view word);

}  // namespace om
