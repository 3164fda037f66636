// The values of an enumeration and their names, from the enumeration itself, so that no list in the tests can
// miss one that was added. The compiler spells a value of a type in a function's name: `om::DType::f32` where
// it is an enumerator, `(om::DType)9` where it is not.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "tensor/dtype.h"

namespace om::cases {
namespace detail {

template <auto Value>
constexpr std::string_view enumerator_name() {
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_prefix(text.find("Value = ") + 8);
  text = text.substr(0, text.find_first_of(";]"));
  if (text[0] == '(' || (text[0] >= '0' && text[0] <= '9')) return {};
  return text.substr(text.rfind(':') + 1);
}

}  // namespace detail

template <class E>
struct Enumerator {
  E value;
  std::string_view name;
};

/// All enumerators of E, which must count from 0 without gaps, below 64.
template <class E>
std::vector<Enumerator<E>> enumerators() {
  std::vector<Enumerator<E>> found;
  [&]<int... I>(std::integer_sequence<int, I...>) {
    const auto add = [&](E value, std::string_view name) {
      if (!name.empty()) found.push_back({value, name});
    };
    (add(static_cast<E>(I), detail::enumerator_name<static_cast<E>(I)>()), ...);
  }
  (std::make_integer_sequence<int, 64>{});
  return found;
}

/// Every dtype, or the floating ones.
inline std::vector<DType> all_dtypes() {
  std::vector<DType> dtypes;
  for (const auto& [dtype, name] : enumerators<DType>()) dtypes.push_back(dtype);
  return dtypes;
}
inline std::vector<DType> floating_dtypes() {
  std::vector<DType> dtypes;
  for (const DType dtype : all_dtypes())
    if (is_floating(dtype)) dtypes.push_back(dtype);
  return dtypes;
}

}  // namespace om::cases
