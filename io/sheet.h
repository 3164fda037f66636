// Sheets: pictures in rows and columns with labels, as the paper's figures are laid out. One maker for
// everything that draws more than one picture into a file.
#pragma once

#include <string>
#include <vector>

#include "io/image.h"

namespace om {

struct SheetRow {
  std::string label;         ///< left of the row; empty: none
  std::vector<Image> tiles;  ///< an empty image leaves its place blank
};

struct Sheet {
  std::vector<std::string> columns;  ///< above the columns; empty: none
  std::vector<SheetRow> rows;
};

/// Draws black labels on white. A column is as wide as its widest picture or label, a row as high as its
/// highest picture; pictures are centred and keep their pixels. Labels longer than 40 characters lose their
/// middle. Error where there is no picture or the sheet would pass kMaxImagePixels.
Image draw_sheet(const Sheet& sheet);

/// Each pixel as a square of factor x factor, without smoothing.
Image enlarge(const Image& image, int factor);

/// Pictures in rows of `columns`, edge to edge on one canvas; each place as large as the largest picture.
Image tile(const std::vector<Image>& images, int columns);

}  // namespace om
