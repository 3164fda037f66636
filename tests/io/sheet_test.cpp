// Sheets: every picture whole in its place, labels readable, nothing cropped.
#include "io/sheet.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "io/font.h"
#include "tensor/error.h"

namespace om {
namespace {

Image filled(int height, int width, std::uint8_t red) {
  Image image(height, width);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) image.at(y, x, 0) = red;
  return image;
}

/// Pixels of exactly this colour.
int count(const Image& image, std::uint8_t red, std::uint8_t others) {
  int found = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      found += image.at(y, x, 0) == red && image.at(y, x, 1) == others && image.at(y, x, 2) == others;
  return found;
}

int ink(const std::string& text) {
  Image canvas(kGlyphHeight, text_width(text, 1));
  std::fill(canvas.pixels.begin(), canvas.pixels.end(), std::uint8_t{255});
  draw_text(canvas, 0, 0, text, 1);
  return count(canvas, 0, 0);
}

TEST(Font, EveryCharacterIsDrawnAndNoTwoAreAlike) {
  std::set<std::string> seen;
  for (int c = 32; c <= 127; ++c) {
    Image canvas(kGlyphHeight, kGlyphWidth);
    std::fill(canvas.pixels.begin(), canvas.pixels.end(), std::uint8_t{255});
    draw_text(canvas, 0, 0, std::string(1, static_cast<char>(c)), 1);
    EXPECT_EQ(count(canvas, 0, 0) == 0, c == ' ') << c;
    EXPECT_TRUE(seen.emplace(canvas.pixels.begin(), canvas.pixels.end()).second)
        << "character " << c << " looks like another";
    for (int y = 0; y < kGlyphHeight; ++y)
      EXPECT_EQ(canvas.at(y, kGlyphWidth - 1, 0), 255) << "no gap after " << c;
  }
}

TEST(Font, BytesBeyondAsciiAreBoxes) { EXPECT_EQ(ink("\xc3"), 5 * kGlyphHeight); }

TEST(Font, TextOutsideOfTheImageIsCut) {
  Image canvas(4, 4), large(40, 40);
  for (Image* image : {&canvas, &large})
    std::fill(image->pixels.begin(), image->pixels.end(), std::uint8_t{255});
  draw_text(canvas, -3, -2, "W", 1);
  draw_text(canvas, 2, 2, "W", 3);
  draw_text(large, 10 - 3, 10 - 2, "W", 1);
  draw_text(large, 10 + 2, 10 + 2, "W", 3);
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x) EXPECT_EQ(canvas.at(y, x, 0), large.at(10 + y, 10 + x, 0)) << y << ", " << x;
}

TEST(Sheet, PicturesStandWholeInRowsAndColumns) {
  const Sheet sheet{{"a", "b"},
                    {{"", {filled(3, 5, 10), filled(7, 2, 20)}}, {"", {Image(), filled(4, 4, 30)}}}};
  const Image drawn = draw_sheet(sheet);
  EXPECT_EQ(count(drawn, 10, 0), 15);
  EXPECT_EQ(count(drawn, 20, 0), 14);
  EXPECT_EQ(count(drawn, 30, 0), 16);
}

TEST(Sheet, LabelsAreDrawnWhole) {
  const std::string label = "map 12, x -0.75";
  const Image without = draw_sheet({{}, {{"", {filled(4, 4, 9)}}}});
  EXPECT_EQ(count(without, 0, 0), 0);
  // wider than the picture: the column grows
  EXPECT_EQ(count(draw_sheet({{label}, {{"", {filled(4, 4, 9)}}}}), 0, 0), ink(label));
  EXPECT_EQ(count(draw_sheet({{}, {{label, {filled(4, 4, 9)}}}}), 0, 0), ink(label));
  // two dots a pixel beside large pictures
  EXPECT_EQ(count(draw_sheet({{label}, {{"", {filled(4, 128, 9)}}}}), 0, 0), 4 * ink(label));
}

TEST(Sheet, LongLabelsLoseTheirMiddle) {
  const std::string label(50, 'M');
  EXPECT_EQ(count(draw_sheet({{label}, {{"", {filled(4, 4, 9)}}}}), 0, 0),
            ink(std::string(19, 'M') + ".." + std::string(19, 'M')));
}

TEST(Sheet, NothingAndTooMuchAreErrors) {
  EXPECT_THROW(draw_sheet({}), Error);
  EXPECT_THROW(draw_sheet({{"a"}, {{"b", {}}}}), Error);
  EXPECT_THROW(enlarge(filled(1000, 1000, 1), 1000), Error);
}

TEST(Sheet, EnlargedWithoutSmoothing) {
  Image small(1, 2);
  small.at(0, 1, 0) = 200;
  const Image large = enlarge(small, 3);
  ASSERT_EQ(large.height, 3);
  ASSERT_EQ(large.width, 6);
  EXPECT_EQ(count(large, 200, 0), 9);
  EXPECT_EQ(count(large, 0, 0), 9);
}

TEST(Sheet, TilesInRows) {
  const Image tiled = tile({filled(2, 2, 1), filled(2, 2, 2), filled(2, 2, 3)}, 2);
  ASSERT_EQ(tiled.height, 4);
  ASSERT_EQ(tiled.width, 4);
  EXPECT_EQ(tiled.at(0, 3, 0), 2);
  EXPECT_EQ(tiled.at(3, 0, 0), 3);
  EXPECT_EQ(count(tiled, 255, 255), 4);
}

}  // namespace
}  // namespace om
