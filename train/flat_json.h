// The top level of a JSON object, without a tree: nlohmann's trees allocate in their destructors, and so end
// the process where memory runs out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace om {

/// monostate: an object, or an array of more than numbers, whose content is not kept. Whole numbers beyond 64
/// bits are double.
using JsonValue = std::variant<std::monostate, std::nullptr_t, bool, std::int64_t, double, std::string,
                               std::vector<double>>;

struct FlatJson {
  bool is_object = false;
  bool nests = false;  ///< a member is an object, or an array of more than numbers
  std::vector<std::pair<std::string, JsonValue>> members;
  bool valid = false;                    ///< all of the text is JSON
  std::optional<std::size_t> broken_at;  ///< the byte where it is not; unset for a number out of range
};

/// Reads until the end or the first fault; members before it are kept.
FlatJson read_flat_json(std::string_view text);

/// As a JSON string, quotes included; what is not UTF-8 is replaced.
std::string json_text(const std::string& value);
/// As JSON writes it; null where it is not finite.
std::string json_text(double value);

}  // namespace om
