// A small bitmap font for the labels of sheets: 5x7 dots a character, drawn for this program, printable
// ASCII. Bytes beyond it appear as a filled box, so that no part of a name vanishes.
#pragma once

#include <string_view>

#include "io/image.h"

namespace om {

inline constexpr int kGlyphWidth = 6, kGlyphHeight = 7;  ///< dots, with the gap after each character

/// Pixels that a text takes at `scale` pixels a dot.
int text_width(std::string_view text, int scale);

/// Draws black dots with the upper left corner at (y, x); what lies outside of the image is cut.
void draw_text(Image& image, int y, int x, std::string_view text, int scale);

}  // namespace om
