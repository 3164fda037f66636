// Cases of upfirdn2d. The filters are random, so that a reversed or transposed one shows.
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {

std::vector<Case> filter_cases() {
  std::vector<Case> cases;
  const auto add = [&](const char* variant, const Shape& x, const Shape& filter, const UpFirDnParams& p,
                       std::uint8_t drivers = kConformance | kGradcheck) {
    cases.push_back({.name = std::string("upfirdn2d/") + variant,
                     .inputs = {normal(x), fixed(uniform(filter, -0.5, 1))},
                     .function = [p](const Inputs& in) { return upfirdn2d(in[0], in[1], p); },
                     .tolerance = 5e-6,
                     .drivers = drivers});
  };
  const auto pads = [](std::int64_t top, std::int64_t bottom, std::int64_t left, std::int64_t right) {
    return UpFirDnParams{.pad_top = top, .pad_bottom = bottom, .pad_left = left, .pad_right = right};
  };
  const auto resample = [&](std::int64_t up, std::int64_t down, std::int64_t before, std::int64_t after,
                            bool flip = false) {
    UpFirDnParams p = pads(before, after, before, after);
    p.up_h = p.up_w = up;
    p.down_h = p.down_w = down;
    p.flip = flip;
    return p;
  };

  add("blur", {2, 5, 4, 3}, {4, 4}, resample(1, 1, 2, 1));
  add("blur_flip", {2, 5, 4, 3}, {4, 4}, resample(1, 1, 2, 1, true));
  add("blur_odd", {1, 5, 7, 2}, {3, 3}, resample(1, 1, 1, 1));
  add("up2", {1, 4, 3, 2}, {4, 4}, resample(2, 1, 2, 1));
  add("up2_flip", {1, 4, 3, 2}, {4, 4}, resample(2, 1, 2, 1, true));
  add("down2", {1, 8, 6, 2}, {4, 4}, resample(1, 2, 1, 1));
  add("down2_odd", {1, 7, 5, 2}, {4, 4}, resample(1, 2, 1, 1));
  add("down2_flip", {1, 7, 6, 2}, {4, 4}, resample(1, 2, 2, 1, true));
  add("up3_down2", {1, 4, 5, 2}, {5, 5}, resample(3, 2, 3, 2));
  add("crop", {1, 6, 7, 2}, {3, 3}, pads(-1, -2, -2, 0));
  add("crop_flip", {1, 6, 7, 2}, {3, 2}, {.pad_top = -1, .pad_left = 2, .pad_right = -3, .flip = true});
  add("crop_up2", {1, 4, 4, 2}, {3, 3},
      {.up_h = 2, .up_w = 2, .pad_top = -1, .pad_bottom = 2, .pad_left = 2, .pad_right = -3});
  add("crop_down3", {1, 9, 8, 2}, {2, 3},
      {.down_h = 3, .down_w = 2, .pad_top = -2, .pad_bottom = 1, .pad_left = 1, .pad_right = -1});
  add("asymmetric", {1, 4, 5, 2}, {2, 5},
      {.up_h = 1,
       .up_w = 3,
       .down_h = 2,
       .down_w = 1,
       .pad_top = 1,
       .pad_bottom = 0,
       .pad_left = 4,
       .pad_right = 1});
  add("row_filter", {1, 4, 6, 2}, {1, 4}, pads(0, 0, 2, 1));
  add("column_filter", {1, 6, 4, 2}, {4, 1}, pads(2, 1, 0, 0));
  add("one_tap", {2, 3, 3, 2}, {1, 1}, {});
  add("filter_beyond_image", {1, 2, 2, 3}, {5, 5}, resample(1, 1, 2, 2));
  add("size1", {1, 1, 1, 1}, {4, 4}, resample(2, 1, 2, 1));
  add("one_channel", {2, 5, 5, 1}, {3, 3}, resample(1, 1, 1, 1));
  add("no_samples", {0, 4, 4, 2}, {4, 4}, resample(1, 1, 2, 1));
  add("no_pixels", {1, 0, 4, 2}, {2, 2}, pads(1, 1, 0, 0));
  add("no_result", {1, 2, 2, 2}, {4, 4}, {});
  add("large_blur", {2, 37, 35, 33}, {4, 4}, resample(1, 1, 2, 1), kConformance);
  add("large_up2", {2, 19, 21, 33}, {4, 4}, resample(2, 1, 2, 1), kConformance);
  add("large_down2", {2, 38, 36, 33}, {4, 4}, resample(1, 2, 1, 1), kConformance);
  add("large_rgb", {2, 64, 61, 3}, {4, 4}, resample(2, 1, 2, 1), kConformance);
  add("wide_rgb", {2, 5, 150, 3}, {4, 4}, resample(2, 1, 2, 1), kConformance);
  add("wide_up3", {1, 4, 90, 5}, {5, 4}, resample(3, 1, 3, 1, true), kConformance);
  return cases;
}

}  // namespace om::cases
