// Numbers on the command line, and lists of them separated by commas: `--factors=-2,-0.75,0.5`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace om {

/// A whole number in decimal: 010 is ten. UsageError naming the option where `word` is anything else
/// (hexadecimal, with blanks, 1e3, empty) or beyond 64 bits.
std::int64_t whole_number(std::string_view option, std::string_view word);

/// A finite number in decimal, 0.5 or 1e-4. UsageError likewise, also where it is too large or too small for
/// a double.
double finite_number(std::string_view option, std::string_view word);

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
