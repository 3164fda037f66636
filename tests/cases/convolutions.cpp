// Cases of conv2d and its two gradients. The three share their geometries: each line below is one triple
// (x, w, y) of shapes, and each op takes two of the three.
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

struct Geometry {
  const char* variant;
  Shape x;                                   // [N, H, W, I]
  std::int64_t outputs, kernel_h, kernel_w;  // w is [outputs, kernel_h, kernel_w, I]
  Conv2d options = {};
  std::uint8_t drivers = kConformance | kGradcheck;
};

Shape weight_shape(const Geometry& g) { return {g.outputs, g.kernel_h, g.kernel_w, g.x[3]}; }

Shape result_shape(const Geometry& g) {
  const auto size = [](std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
    return size + 2 * pad < kernel ? 0 : (size + 2 * pad - kernel) / stride + 1;
  };
  const Conv2d& o = g.options;
  return {g.x[0], size(g.x[1], g.kernel_h, o.stride_h, o.pad_h),
          size(g.x[2], g.kernel_w, o.stride_w, o.pad_w), g.outputs};
}

std::vector<Geometry> geometries() {
  return {
      {"3x3_pad1", {2, 5, 6, 3}, 4, 3, 3, Conv2d::same(1, 1)},
      {"3x3", {1, 5, 7, 2}, 3, 3, 3},
      {"1x1", {2, 4, 3, 5}, 3, 1, 1},
      {"1x1_stride2", {1, 5, 6, 3}, 2, 1, 1, Conv2d::same(2, 0)},
      // H = 7 and 8 both give 4 rows: the input's gradient must be told which.
      {"stride2_odd", {1, 7, 7, 2}, 3, 3, 3, Conv2d::same(2, 1)},
      {"stride2_even", {1, 8, 8, 2}, 3, 3, 3, Conv2d::same(2, 1)},
      {"stride2_pad0_even", {1, 6, 8, 2}, 3, 3, 3, Conv2d::same(2, 0)},
      {"stride3_gaps", {1, 8, 9, 2}, 2, 2, 2, Conv2d::same(3, 0)},  // some pixels in no window
      {"stride_h2_w1", {1, 6, 5, 2}, 3, 3, 2, {2, 1, 1, 0}},
      {"stride_h1_w3", {1, 4, 9, 2}, 2, 2, 3, {1, 3, 0, 2}},
      {"pad_h0_w2", {1, 5, 4, 2}, 2, 3, 3, {1, 1, 0, 2}},
      {"pad_beyond_kernel", {1, 3, 2, 2}, 2, 2, 2, Conv2d::same(1, 3)},
      {"kernel_of_image", {2, 4, 4, 3}, 5, 4, 4},
      {"kernel_5x1", {1, 7, 3, 2}, 2, 5, 1, {1, 1, 2, 0}},
      {"even_kernel", {1, 6, 6, 2}, 2, 4, 4, Conv2d::same(2, 1)},
      {"one_channel", {2, 5, 5, 1}, 1, 3, 3, Conv2d::same(1, 1)},
      {"size1", {1, 1, 1, 1}, 1, 1, 1},
      {"size1_pad1", {1, 1, 1, 3}, 2, 3, 3, Conv2d::same(1, 1)},
      {"wide_row", {1, 1, 11, 2}, 3, 1, 3, {1, 2, 0, 1}},
      {"no_samples", {0, 4, 4, 2}, 3, 3, 3, Conv2d::same(1, 1)},
      {"no_inputs", {1, 4, 4, 0}, 3, 3, 3, Conv2d::same(1, 1)},
      {"no_outputs", {1, 4, 4, 2}, 0, 3, 3, Conv2d::same(1, 1)},
      {"kernel_too_large", {1, 2, 4, 2}, 3, 3, 3},
      {"rgb_large", {2, 33, 31, 3}, 18, 3, 3, Conv2d::same(1, 1), kConformance},
      {"to_rgb_large", {2, 33, 31, 18}, 3, 1, 1, {}, kConformance},
      {"large", {1, 21, 23, 35}, 37, 3, 3, Conv2d::same(1, 1), kConformance},
      {"large_stride2", {2, 24, 22, 19}, 33, 3, 3, Conv2d::same(2, 1), kConformance},
      {"large_up", {2, 25, 23, 19}, 17, 3, 3, Conv2d::same(2, 0), kConformance},
      {"large_asymmetric", {1, 24, 22, 19}, 9, 5, 3, {2, 3, 2, 1}, kConformance},
      {"small_image", {3, 4, 4, 67}, 65, 3, 3, Conv2d::same(1, 1), kConformance},
      // Channels and sizes at which a backend may change the algorithm (Winograd), with partial tiles.
      {"fast", {2, 11, 13, 32}, 48, 3, 3, Conv2d::same(1, 1), kConformance},
      {"fast_pad0", {1, 17, 19, 48}, 32, 3, 3, {}, kConformance},
      {"fast_pad2", {1, 14, 15, 32}, 32, 3, 3, Conv2d::same(1, 2), kConformance},
      {"fast_pad_h0_w2", {1, 16, 15, 64}, 32, 3, 3, {1, 1, 0, 2}, kConformance},
      {"fast_stride2", {2, 35, 33, 32}, 48, 3, 3, Conv2d::same(2, 1), kConformance},
      {"fast_stride2_pad0", {2, 36, 35, 48}, 32, 3, 3, Conv2d::same(2, 0), kConformance},
      {"large_kernel", {1, 31, 29, 3}, 21, 11, 11, Conv2d::same(4, 2), kConformance},
      // Few channels and long sums, which a backend may cut into parts; pixels of x that no window meets.
      {"from_rgb", {2, 45, 47, 3}, 36, 3, 3, Conv2d::same(1, 1), kConformance},
      {"from_rgb_asymmetric", {2, 46, 45, 4}, 33, 5, 3, {3, 2, 0, 2}, kConformance},
      {"to_rgb", {2, 45, 47, 68}, 3, 1, 1, {}, kConformance},
      {"skip", {1, 47, 45, 20}, 37, 1, 1, {}, kConformance},
      {"skip_stride2", {2, 93, 92, 36}, 29, 1, 1, Conv2d::same(2, 0), kConformance},
      {"gaps_stride_h3", {1, 13, 12, 17}, 9, 1, 3, {3, 2, 1, 1}, kConformance},
  };
}

}  // namespace

std::vector<Case> conv_cases() {
  std::vector<Case> cases;
  const auto add = [&](const char* op, const Geometry& g, std::vector<Input> inputs, Function f) {
    cases.push_back({.name = std::string(op) + "/" + g.variant,
                     .inputs = std::move(inputs),
                     .function = std::move(f),
                     .tolerance = 1e-5,
                     .drivers = g.drivers});
  };
  for (const Geometry& g : geometries()) {
    const Input x = normal(g.x), w = normal(weight_shape(g)), y = normal(result_shape(g));
    add("conv2d", g, {x, w}, [o = g.options](const Inputs& in) { return conv2d(in[0], in[1], o); });
    add("conv2d_input_grad", g, {y, w}, [o = g.options, h = g.x[1], v = g.x[2]](const Inputs& in) {
      return conv2d_input_grad(in[0], in[1], h, v, o);
    });
    add("conv2d_weight_grad", g, {x, y}, [o = g.options, h = g.kernel_h, v = g.kernel_w](const Inputs& in) {
      return conv2d_weight_grad(in[0], in[1], h, v, o);
    });
  }
  // Numbers that bf16 holds exactly, so that nothing but a rounded sum could differ.
  const auto add_sums = [&](const std::string& op, const Shape& first, const Shape& second, Function f) {
    add(op.c_str(), {"f32_sums_of_bf16", {}, 0, 0, 0}, {grid(first), grid(second)},
        [f = std::move(f)](const Inputs& in) {
          const PrecisionScope scope(Precision::bf16);
          return f(in);
        });
    cases.back().tolerance_bf16 = 4e-3;  // its gradients are bf16
    cases.back().drivers = kConformance;
  };
  const Conv2d wide = Conv2d::same(1, 1, Sums::f32);
  add_sums("conv2d", {2, 9, 11, 35}, {19, 3, 3, 35},
           [wide](const Inputs& in) { return conv2d(in[0], in[1], wide); });
  add_sums("conv2d_input_grad", {2, 9, 11, 19}, {19, 3, 3, 35},
           [wide](const Inputs& in) { return conv2d_input_grad(in[0], in[1], 9, 11, wide); });
  add_sums("conv2d_weight_grad", {2, 9, 11, 35}, {2, 9, 11, 19},
           [wide](const Inputs& in) { return conv2d_weight_grad(in[0], in[1], 3, 3, wide); });
  return cases;
}

}  // namespace om::cases
