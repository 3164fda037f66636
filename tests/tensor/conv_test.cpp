// The cpu backend's convolution and its two gradients against the reference backend in double, on shapes that
// reach every path and edge of its tiles.
#include <cstdio>

#include "tests/tensor/contraction_check.h"

namespace om {
namespace {

using contraction_check::check;
using contraction_check::Kernel;

struct ConvCase {
  std::int64_t n, h, w, i, o, kh, kw;
  Conv2dParams params;
};

Conv2dParams params(std::int64_t stride_h, std::int64_t stride_w, std::int64_t pad_h, std::int64_t pad_w) {
  return {.stride_h = stride_h, .stride_w = stride_w, .pad_h = pad_h, .pad_w = pad_w};
}

std::vector<ConvCase> conv_cases() {
  return {
      {1, 1, 1, 1, 1, 1, 1, params(1, 1, 0, 0)},
      {0, 4, 4, 3, 5, 3, 3, params(1, 1, 1, 1)},
      {1, 4, 4, 0, 5, 3, 3, params(1, 1, 1, 1)},
      {1, 4, 4, 3, 0, 3, 3, params(1, 1, 1, 1)},
      {2, 5, 7, 3, 17, 3, 3, params(1, 1, 1, 1)},
      {1, 9, 8, 1, 1, 3, 3, params(1, 1, 1, 1)},
      {1, 8, 8, 20, 3, 1, 1, params(1, 1, 0, 0)},
      {2, 8, 9, 12, 1, 3, 3, params(1, 1, 1, 1)},
      {1, 6, 6, 5, 4, 3, 3, params(2, 2, 1, 1)},
      {2, 9, 11, 8, 24, 3, 3, params(2, 2, 0, 0)},
      {1, 10, 9, 16, 16, 3, 3, params(2, 2, 1, 1)},
      {1, 7, 7, 6, 9, 1, 1, params(2, 2, 0, 0)},
      {1, 12, 5, 4, 7, 5, 2, params(3, 1, 2, 1)},
      {1, 4, 4, 40, 33, 3, 3, params(1, 1, 1, 1)},
      {1, 5, 4, 10, 11, 4, 4, params(1, 1, 3, 3)},
      {1, 30, 31, 7, 18, 3, 3, params(1, 1, 1, 1)},
      {2, 16, 16, 64, 48, 3, 3, params(1, 1, 1, 1)},
      {1, 33, 31, 48, 80, 3, 3, params(1, 1, 1, 1)},
      {1, 9, 9, 400, 20, 3, 3, params(1, 1, 1, 1)},
      {1, 8, 8, 33, 520, 3, 3, params(1, 1, 1, 1)},
      {3, 17, 9, 32, 32, 3, 3, params(1, 1, 0, 2)},
      {1, 23, 22, 130, 36, 3, 3, params(2, 2, 1, 1)},
      {1, 40, 40, 3, 16, 7, 7, params(4, 4, 3, 3)},
      {1, 2, 3, 9, 9, 3, 3, params(5, 4, 2, 2)},
      // Few channels: whole and partial panels, several lines of pixels to a sum and several sums to a line.
      {2, 40, 41, 3, 70, 3, 3, params(1, 1, 1, 1)},
      {1, 61, 70, 4, 33, 5, 3, params(2, 3, 2, 0)},
      {1, 50, 52, 2, 64, 3, 3, params(1, 1, 0, 0)},
      {2, 9, 900, 3, 36, 3, 3, params(1, 1, 0, 2)},
      {3, 30, 29, 1, 40, 1, 1, params(1, 1, 0, 0)},
      {1, 20, 21, 3, 3, 3, 3, params(1, 1, 1, 1)},
      // Weight gradients whose sums are cut into parts, with x in place, by several tiles of rows, and
      // packed.
      {2, 40, 40, 100, 3, 1, 1, params(1, 1, 0, 0)},
      {1, 64, 50, 64, 12, 1, 1, params(1, 1, 0, 0)},
      {1, 45, 45, 40, 29, 1, 1, params(1, 1, 0, 0)},
      {2, 90, 89, 36, 70, 1, 1, params(2, 2, 0, 0)},
      // Pixels that no window meets, in short lines and in long ones.
      {2, 9, 8, 20, 24, 1, 1, params(3, 2, 1, 1)},
      {2, 9, 33, 70, 24, 1, 1, params(3, 2, 0, 0)},
      {1, 8, 52, 5, 17, 1, 1, params(1, 3, 0, 0)},
      {1, 11, 12, 16, 20, 1, 3, params(2, 2, 0, 1)},
  };
}

/// Shapes that run by Winograd's transforms in float: stride 1, the first with many channels, and stride 2,
/// the four parts alone and together.
std::vector<ConvCase> winograd_cases() {
  return {
      {1, 16, 16, 512, 32, 3, 3, params(1, 1, 1, 1)},    {1, 16, 16, 32, 512, 3, 3, params(1, 1, 1, 1)},
      {2, 17, 14, 48, 80, 3, 3, params(1, 1, 1, 1)},     {1, 19, 30, 32, 176, 3, 3, params(1, 1, 0, 2)},
      {5, 12, 13, 64, 32, 3, 3, params(1, 1, 2, 0)},     {1, 100, 90, 32, 48, 3, 3, params(1, 1, 1, 1)},
      {1, 96, 128, 160, 32, 3, 3, params(1, 1, 1, 1)},   {1, 65, 65, 256, 240, 3, 3, params(2, 2, 0, 0)},
      {2, 46, 43, 240, 288, 3, 3, params(2, 2, 1, 1)},   {3, 51, 50, 96, 304, 3, 3, params(2, 2, 2, 0)},
      {1, 105, 104, 160, 160, 3, 3, params(2, 2, 1, 2)}, {1, 150, 161, 32, 96, 3, 3, params(2, 2, 0, 1)},
      {2, 101, 110, 96, 32, 3, 3, params(2, 2, 2, 0)},   {1, 152, 150, 48, 144, 3, 3, params(2, 2, 1, 2)},
  };
}

std::vector<ConvCase> all_cases() {
  std::vector<ConvCase> cases = conv_cases();
  for (const ConvCase& c : winograd_cases()) cases.push_back(c);
  return cases;
}

struct Shapes {
  Shape x, w, y;
};

Shapes shapes_of(const ConvCase& c) {
  const std::int64_t oh = (c.h + 2 * c.params.pad_h - c.kh) / c.params.stride_h + 1;
  const std::int64_t ow = (c.w + 2 * c.params.pad_w - c.kw) / c.params.stride_w + 1;
  return {{c.n, c.h, c.w, c.i}, {c.o, c.kh, c.kw, c.i}, {c.n, oh, ow, c.o}};
}

std::string describe(const ConvCase& c) {
  const Shapes s = shapes_of(c);
  return text("x ", s.x, " w ", s.w, " y ", s.y, " stride ", c.params.stride_h, " ", c.params.stride_w,
              " pad ", c.params.pad_h, " ", c.params.pad_w);
}

TEST(Conv2d, AgreesWithReference) {
  for (const ConvCase& c : all_cases()) {
    const Shapes s = shapes_of(c);
    check([&](Backend& backend, In x, In w, Out y) { backend.conv2d(x, w, y, c.params); }, s.x, s.w, s.y,
          describe(c));
  }
}

TEST(Conv2dInputGrad, AgreesWithReference) {
  for (const ConvCase& c : all_cases()) {
    const Shapes s = shapes_of(c);
    check([&](Backend& backend, In g, In w, Out x) { backend.conv2d_input_grad(g, w, x, c.params); }, s.y,
          s.w, s.x, describe(c));
  }
}

TEST(Conv2dWeightGrad, AgreesWithReference) {
  for (const ConvCase& c : all_cases()) {
    const Shapes s = shapes_of(c);
    check([&](Backend& backend, In x, In g, Out w) { backend.conv2d_weight_grad(x, g, w, c.params); }, s.x,
          s.y, s.w, describe(c));
  }
}

// What Winograd's transforms cost in precision, which the goldens of whole models depend on.
TEST(Winograd, ErrorStaysSmall) {
  using contraction_check::float_error;
  struct Size {
    std::int64_t stride, side, many, few, weights;
  };
  // Stride 2 with few pieces, so that its parts are alone, and with many.
  for (const auto& [stride, side, many, few, weights_of] :
       {Size{1, 24, 512, 32, 32}, Size{2, 32, 512, 128, 128}, Size{2, 66, 512, 32, 64}}) {
    const Conv2dParams p = params(stride, stride, 1, 1);
    const ConvCase forward{1, side * stride, side * stride, many, few, 3, 3, p};
    const ConvCase backward{1, side * stride, side * stride, few, many, 3, 3, p};
    const ConvCase weights{1, side * stride, side * stride, weights_of, weights_of, 3, 3, p};
    for (const int bytes : {32, 0}) {
      cpu::limit_vector_bytes(bytes);
      Shapes s = shapes_of(forward);
      const double y_error =
          float_error([&](Backend& b, In x, In w, Out y) { b.conv2d(x, w, y, p); }, s.x, s.w, s.y);
      s = shapes_of(backward);
      const double x_error =
          float_error([&](Backend& b, In g, In w, Out x) { b.conv2d_input_grad(g, w, x, p); }, s.y, s.w, s.x);
      s = shapes_of(weights);
      const double w_error = float_error(
          [&](Backend& b, In x, In g, Out w) { b.conv2d_weight_grad(x, g, w, p); }, s.x, s.y, s.w);
      std::printf(
          "stride %d, side %d: largest error / largest value: conv2d %.2g, input gradient %.2g, weight "
          "gradient %.2g\n",
          static_cast<int>(stride), static_cast<int>(side), y_error, x_error, w_error);
      EXPECT_LE(y_error, 5e-6);
      EXPECT_LE(x_error, 5e-6);
      EXPECT_LE(w_error, 5e-6);
    }
  }
}

}  // namespace
}  // namespace om
