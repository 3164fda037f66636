#include "examples/lists.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <type_traits>

#include "tensor/error.h"

namespace om {
namespace {

/// All of `word` as one number; nothing where it is none, and `too_large` where a T cannot hold it.
template <class T>
std::optional<T> number(std::string_view word, bool& too_large) {
  if (word.starts_with('+') && word.substr(1, 1) != "-") word.remove_prefix(1);
  T value{};
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  too_large = error == std::errc::result_out_of_range && stop == end;
  if (error != std::errc() || stop != end) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value)) return std::nullopt;
  return value;
}

template <class T>
T number_of(std::string_view option, std::string_view word, const char* what, const char* range) {
  bool too_large = false;
  const std::optional<T> value = number<T>(word, too_large);
  if (!value) fail<UsageError>(option, " expects ", what, too_large ? range : "", ", got '", word, "'");
  return *value;
}

template <class T>
std::vector<T> numbers(std::string_view option, std::string_view list, const char* what) {
  std::vector<T> values;
  for (const std::string& word : word_list(option, list))
    values.push_back(number_of<T>(option, word, what, ""));
  return values;
}

}  // namespace

std::int64_t whole_number(std::string_view option, std::string_view word) {
  return number_of<std::int64_t>(option, word, "a whole number", " within 64 bits");
}

double finite_number(std::string_view option, std::string_view word) {
  return number_of<double>(option, word, "a number", " that a double holds");
}

std::vector<std::string> word_list(std::string_view option, std::string_view list) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    if (comma == begin) fail<UsageError>(option, " expects values separated by commas, got '", list, "'");
    words.emplace_back(list.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return words;
}

std::vector<double> number_list(std::string_view option, std::string_view list) {
  return numbers<double>(option, list, "numbers separated by commas");
}

std::vector<std::int64_t> integer_list(std::string_view option, std::string_view list) {
  return numbers<std::int64_t>(option, list, "whole numbers separated by commas");
}

Named named(std::string_view option, std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == 0 || equals == std::string_view::npos || equals + 1 == word.size())
    fail<UsageError>(option, " expects NAME=VALUE, got '", word, "'");
  return {std::string(word.substr(0, equals)), std::string(word.substr(equals + 1))};
}

}  // namespace om
