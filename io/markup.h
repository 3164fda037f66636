// Text among markup: what stands in HTML, SVG or a label of DOT's HTML kind.
#pragma once

#include <string>
#include <string_view>

namespace om {

/// The text with &, <, > and " as entities, so that nothing in it is markup.
std::string in_markup(std::string_view text);

}  // namespace om
