#include "io/suggest.h"

#include <algorithm>
#include <numeric>

namespace om {
namespace {

constexpr std::size_t kLongest = 64;  // of words worth a comparison

std::string canonical(std::string word) {
  for (char& c : word) {
    if (c == '-') c = '_';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return word;
}

/// Edits (insert, delete, replace, swap neighbours) from a to b: optimal string alignment.
std::size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

}  // namespace

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.size() > kLongest || candidates.empty()) return "";
  const std::string wanted = canonical(word);
  const auto quoted = [](const std::string& name) { return "; did you mean '" + name + "'?"; };
  if (wanted.size() > 3)
    for (const std::string& candidate : candidates)
      if (canonical(candidate).starts_with(wanted)) return quoted(candidate);
  const auto distance = [&](const std::string& candidate) { return edits(wanted, canonical(candidate)); };
  const std::string& nearest =
      *std::min_element(candidates.begin(), candidates.end(),
                        [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
  return distance(nearest) <= std::max<std::size_t>(2, word.size() / 3) ? quoted(nearest) : "";
}

}  // namespace om
