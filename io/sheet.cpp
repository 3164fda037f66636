#include "io/sheet.h"

#include <algorithm>
#include <numeric>

#include "io/font.h"
#include "tensor/error.h"

namespace om {
namespace {

constexpr std::size_t kLongestLabel = 40;
constexpr int kGap = 4;  // pixels around every picture and label

std::string shortened(const std::string& label) {
  if (label.size() <= kLongestLabel) return label;
  const std::size_t kept = kLongestLabel - 2, tail = kept / 2;
  return label.substr(0, kept - tail) + ".." + label.substr(label.size() - tail);
}

void paste(Image& onto, int y, int x, const Image& picture) {
  for (int row = 0; row < picture.height; ++row)
    std::copy_n(picture.row(row), picture.row_bytes(),
                onto.row(y + row) + static_cast<std::ptrdiff_t>(x) * 3);
}

Image white(std::int64_t height, std::int64_t width) {
  if (height < 1 || width < 1 || height > kMaxImagePixels / width)
    fail("sheet: ", height, " x ", width, " pixels, at most ", kMaxImagePixels, " are drawn");
  Image canvas(static_cast<int>(height), static_cast<int>(width));
  std::fill(canvas.pixels.begin(), canvas.pixels.end(), std::uint8_t{255});
  return canvas;
}

std::int64_t sum(const std::vector<int>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
}

}  // namespace

Image draw_sheet(const Sheet& sheet) {
  // Small pictures get small letters: two pixels a dot only where they are 128 pixels wide or more.
  int widest = 0;
  for (const SheetRow& row : sheet.rows)
    for (const Image& picture : row.tiles) widest = std::max(widest, picture.width);
  if (widest == 0) fail("sheet: holds no picture");
  const int scale = widest >= 128 ? 2 : 1;

  std::vector<int> widths(sheet.columns.size()), heights;
  for (std::size_t j = 0; j < sheet.columns.size(); ++j)
    widths[j] = text_width(shortened(sheet.columns[j]), scale) + 2 * kGap;
  int margin = 0;
  for (const SheetRow& row : sheet.rows) {
    const int label = row.label.empty() ? 0 : text_width(shortened(row.label), scale) + 2 * kGap;
    margin = std::max(margin, label);
    if (widths.size() < row.tiles.size()) widths.resize(row.tiles.size());
    heights.push_back(row.label.empty() ? 0 : kGlyphHeight * scale + 2 * kGap);
    for (std::size_t j = 0; j < row.tiles.size(); ++j) {
      widths[j] = std::max(widths[j], row.tiles[j].width + 2 * kGap);
      heights.back() = std::max(heights.back(), row.tiles[j].height + 2 * kGap);
    }
  }
  const int head = sheet.columns.empty() ? 0 : kGlyphHeight * scale + 2 * kGap;

  Image canvas = white(head + sum(heights), margin + sum(widths));
  int x = margin;
  for (std::size_t j = 0; j < sheet.columns.size(); ++j) {
    const std::string label = shortened(sheet.columns[j]);
    draw_text(canvas, kGap, x + (widths[j] - text_width(label, scale)) / 2, label, scale);
    x += widths[j];
  }
  int y = head;
  for (std::size_t i = 0; i < sheet.rows.size(); ++i) {
    const SheetRow& row = sheet.rows[i];
    draw_text(canvas, y + (heights[i] - kGlyphHeight * scale) / 2, kGap, shortened(row.label), scale);
    x = margin;
    for (std::size_t j = 0; j < row.tiles.size(); ++j) {
      const Image& picture = row.tiles[j];
      paste(canvas, y + (heights[i] - picture.height) / 2, x + (widths[j] - picture.width) / 2, picture);
      x += widths[j];
    }
    y += heights[i];
  }
  return canvas;
}

Image enlarge(const Image& image, int factor) {
  if (factor < 1) fail("enlarge: expects a factor of at least 1, got ", factor);
  Image out = white(std::int64_t{image.height} * factor, std::int64_t{image.width} * factor);
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x)
      for (int c = 0; c < 3; ++c) out.at(y, x, c) = image.at(y / factor, x / factor, c);
  return out;
}

Image tile(const std::vector<Image>& images, int columns) {
  if (images.empty() || columns < 1) fail("tile: expects pictures and at least one column");
  int height = 0, width = 0;
  for (const Image& image : images) {
    height = std::max(height, image.height);
    width = std::max(width, image.width);
  }
  const auto count = static_cast<int>(images.size());
  Image out = white(std::int64_t{height} * ((count + columns - 1) / columns),
                    std::int64_t{width} * std::min(columns, count));
  for (int n = 0; n < count; ++n)
    paste(out, n / columns * height, n % columns * width, images[static_cast<std::size_t>(n)]);
  return out;
}

}  // namespace om
