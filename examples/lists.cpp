#include "examples/lists.h"

#include <charconv>
#include <cmath>

#include "tensor/error.h"

namespace om {
namespace {

template <class T>
std::vector<T> numbers(std::string_view option, std::string_view list, const char* what) {
  std::vector<T> values;
  for (const std::string& word : word_list(option, list)) {
    T value{};
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, value);
    bool good = error == std::errc() && stop == end;
    if constexpr (std::is_floating_point_v<T>) good = good && std::isfinite(value);
    if (!good) fail<UsageError>(option, " expects ", what, " separated by commas, got '", word, "'");
    values.push_back(value);
  }
  return values;
}

}  // namespace

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
  return numbers<double>(option, list, "numbers");
}

std::vector<std::int64_t> integer_list(std::string_view option, std::string_view list) {
  return numbers<std::int64_t>(option, list, "whole numbers");
}

Named named(std::string_view option, std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == 0 || equals == std::string_view::npos || equals + 1 == word.size())
    fail<UsageError>(option, " expects NAME=VALUE, got '", word, "'");
  return {std::string(word.substr(0, equals)), std::string(word.substr(equals + 1))};
}

}  // namespace om
