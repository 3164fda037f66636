// The cuda backend's convolutions in tf32, and that strict f32 is strict, at full size too. (Strict ones of
// every dtype are in the table of cases.)
#include <gtest/gtest.h>

#include "tests/tensor/cuda_check.h"

namespace om::cuda_check {
namespace {

class CudaConv : public CudaTest {};

/// Floats in (-1, 1) that use their whole mantissa.
Values uniforms(const Shape& shape, std::uint32_t word) {
  Values values(static_cast<std::size_t>(shape.elements()));
  for (double& value : values) {
    word = word * 1664525U + 1013904223U;
    value = static_cast<double>(word >> 8) * 0x1p-23 - 1.0;
  }
  return values;
}

TEST_F(CudaConv, RoughConvolutions) {
  struct Case {
    Shape x, w;
    Conv2dParams params;
  };
  const std::vector<Case> cases = {
      {{2, 16, 16, 32}, {48, 3, 3, 32}, {1, 1, 1, 1}}, {{2, 16, 16, 32}, {48, 3, 3, 32}, {2, 2, 1, 1}},
      {{2, 17, 15, 32}, {16, 3, 3, 32}, {2, 2, 1, 1}}, {{2, 16, 16, 3}, {32, 3, 3, 3}, {1, 1, 1, 1}},
      {{1, 33, 31, 3}, {13, 7, 7, 3}, {2, 2, 3, 3}},   {{2, 9, 11, 7}, {5, 1, 1, 7}, {1, 1, 0, 0}},
      {{2, 9, 11, 64}, {3, 1, 1, 64}, {1, 1, 0, 0}},   {{1, 4, 4, 512}, {512, 3, 3, 512}, {1, 1, 1, 1}},
      {{2, 12, 20, 8}, {24, 3, 5, 8}, {3, 2, 0, 2}},   {{1, 12, 13, 1}, {1, 4, 4, 1}, {1, 1, 3, 3}},
      {{2, 37, 70, 3}, {64, 3, 3, 3}, {1, 1, 1, 1}},   {{1, 9, 40, 3}, {128, 3, 3, 3}, {1, 1, 1, 1}},
      {{2, 9, 11, 3}, {132, 1, 1, 3}, {1, 1, 0, 0}},   {{1, 70, 65, 128}, {1, 1, 1, 128}, {1, 1, 0, 0}},
      {{4, 8, 8, 96}, {1, 8, 8, 96}, {1, 1, 0, 0}},    {{2, 5, 5, 16}, {8, 3, 3, 16}, {1, 1, 4, 4}},
      {{1, 40, 40, 64}, {64, 3, 3, 64}, {1, 1, 1, 1}}, {{3, 11, 11, 64}, {192, 11, 11, 64}, {4, 4, 2, 2}},
      {{0, 8, 8, 16}, {8, 3, 3, 16}, {1, 1, 1, 1}},    {{2, 8, 8, 0}, {8, 3, 3, 0}, {1, 1, 1, 1}},
      {{2, 8, 8, 16}, {0, 3, 3, 16}, {1, 1, 1, 1}},
  };
  if (!cuda_->supports(Math::tf32)) GTEST_SKIP() << "this card has no tf32";
  for (const Case& c : cases) {
    const Conv2dParams& p = c.params;
    const Shape y = {c.x[0], (c.x[1] + 2 * p.pad_h - c.w[1]) / p.stride_h + 1,
                     (c.x[2] + 2 * p.pad_w - c.w[2]) / p.stride_w + 1, c.w[0]};
    const Operand x{c.x, normals(c.x, 16)}, w{c.w, normals(c.w, 17)}, g{y, normals(y, 18)};
    const std::string what = text("x ", c.x, " w ", c.w, " y ", y);
    // The reference knows strict alone.
    const auto params = [&](Backend& b) {
      Conv2dParams its = c.params;
      its.math = &b == cuda_ ? Math::tf32 : Math::strict;
      return its;
    };
    const auto rough = [&](const char* op, const std::vector<Operand>& operands, const Shape& result,
                           auto kernel) {
      check(
          op + (" " + what), operands, result, DType::f32, DType::f32,
          [&](Backend& b, const std::vector<In>& in, Out out) { (b.*kernel)(in[0], in[1], out, params(b)); },
          1e-3);
    };
    rough("conv2d", {x, w}, y, &Backend::conv2d);
    rough("conv2d_input_grad", {g, w}, c.x, &Backend::conv2d_input_grad);
    rough("conv2d_weight_grad", {x, g}, c.w, &Backend::conv2d_weight_grad);
  }
}

TEST_F(CudaConv, NarrowProducts) {
  // What tensor/cuda/conv_narrow.h takes from cuBLAS: a few columns, a few summands, a few rows.
  struct Case {
    Shape a, b, y;
    MatmulParams params;
  };
  const std::vector<Case> cases = {{{3, 100, 128}, {3, 3, 128}, {3, 100, 3}, {false, true}},
                                   {{2, 1000, 40}, {1, 4, 40}, {2, 1000, 4}, {false, true}},
                                   {{3, 100, 3}, {3, 3, 128}, {3, 100, 128}, {false, false}},
                                   {{1, 70, 1}, {1, 1, 512}, {1, 70, 512}, {false, false}},
                                   {{3, 5000, 3}, {3, 5000, 64}, {3, 3, 64}, {true, false}},
                                   {{1, 64, 2}, {5, 64, 16}, {5, 2, 16}, {true, false}}};
  for (const Case& c : cases) {
    const std::vector<Operand> operands = {{c.a, normals(c.a, 40)}, {c.b, normals(c.b, 41)}};
    const Kernel product = [&](Backend& b, const std::vector<In>& in, Out y) {
      b.matmul(in[0], in[1], y, c.params);
    };
    const std::string what = text("matmul ", c.a, ' ', c.b);
    check(what, operands, c.y, DType::f32, DType::f32, product, 2e-6);
    check(what, operands, c.y, DType::bf16, DType::bf16, product, 4e-3);
    check(what, operands, c.y, DType::bf16, DType::f32, product, 2e-5);
  }
}

TEST_F(CudaConv, StrictIsTrueFloat32) {
  // 1 + 2^-12 needs 12 bits of mantissa; tf32 keeps 10 and would give 1 everywhere.
  const double value = 1.0 + 1.0 / 4096;
  for (const std::int64_t channels : {32, 64, 256}) {
    const Tensor x = Tensor::full({2, 32, 32, channels}, value, DType::f32, *cuda_);
    const Tensor w = Tensor::full({channels, 3, 3, channels}, value, DType::f32, *cuda_);
    const Tensor y = Tensor::empty({2, 30, 30, channels}, DType::f32, *cuda_);
    const Tensor dx = Tensor::empty(x.shape(), DType::f32, *cuda_);
    const Tensor dw = Tensor::empty(w.shape(), DType::f32, *cuda_);
    const Tensor g = Tensor::full(y.shape(), value, DType::f32, *cuda_);
    cuda_->conv2d(x.in(), w.in(), y.out(), {});
    cuda_->conv2d_input_grad(g.in(), w.in(), dx.out(), {});
    cuda_->conv2d_weight_grad(x.in(), g.in(), dw.out(), {});
    const double square = value * value;
    EXPECT_NEAR(download(y).front() / (9.0 * static_cast<double>(channels)), square, 4e-5);
    EXPECT_NEAR(download(dx)[static_cast<std::size_t>((16 * 32 + 16) * channels)] /
                    (9.0 * static_cast<double>(channels)),
                square, 4e-5);
    EXPECT_NEAR(download(dw).front() / 1800.0, square, 4e-5);
  }
}

TEST_F(CudaConv, StrictHoldsAtFullSize) {
  // At these sizes cuDNN offers other engines. A few hundred elements of each result, in double, from
  // operands with full mantissas; tf32's error is printed beside strict's. The weight gradient's bound is
  // looser for the engine that tensor/cuda/conv_plans.h tells of.
  Storage::set_guard(0);
  const std::pair<std::int64_t, std::int64_t> cases[] = {{64, 512}, {128, 256}};
  for (const auto& [size, channels] : cases) {
    const Shape image = {8, size, size, channels}, weight = {channels, 3, 3, channels};
    const Values xs = uniforms(image, 22), ws = uniforms(weight, 23), gs = uniforms(image, 24);
    const Tensor x = upload(xs, image, DType::f32, *cuda_), w = upload(ws, weight, DType::f32, *cuda_);
    const Tensor g = upload(gs, image, DType::f32, *cuda_);
    const Tensor y = x.empty_like(), dx = x.empty_like(), dw = w.empty_like();
    Conv2dParams params{1, 1, 1, 1, Math::strict};
    cuda_->conv2d(x.in(), w.in(), y.out(), params);
    cuda_->conv2d_input_grad(g.in(), w.in(), dx.out(), params);
    cuda_->conv2d_weight_grad(x.in(), g.in(), dw.out(), params);
    const Tensor again_y = x.empty_like(), again_dx = x.empty_like(), again_dw = w.empty_like();
    cuda_->conv2d(x.in(), w.in(), again_y.out(), params);
    cuda_->conv2d_input_grad(g.in(), w.in(), again_dx.out(), params);
    cuda_->conv2d_weight_grad(x.in(), g.in(), again_dw.out(), params);
    EXPECT_TRUE(bits(y) == bits(again_y) && bits(dx) == bits(again_dx) && bits(dw) == bits(again_dw));
    params.math = Math::tf32;
    const Tensor rough_y = x.empty_like(), rough_dx = x.empty_like(), rough_dw = w.empty_like();
    cuda_->conv2d(x.in(), w.in(), rough_y.out(), params);
    cuda_->conv2d_input_grad(g.in(), w.in(), rough_dx.out(), params);
    cuda_->conv2d_weight_grad(x.in(), g.in(), rough_dw.out(), params);
    const auto pixel = [&](const Values& values, std::int64_t n, std::int64_t h, std::int64_t v,
                           std::int64_t c) {
      if (h < 0 || h >= size || v < 0 || v >= size) return 0.0;
      return values[static_cast<std::size_t>(((n * size + h) * size + v) * channels + c)];
    };
    const auto tap = [&](std::int64_t o, std::int64_t r, std::int64_t s, std::int64_t i) {
      return static_cast<std::size_t>(((o * 3 + r) * 3 + s) * channels + i);
    };
    std::mt19937 engine(25);
    const auto below = [&](std::int64_t limit) {
      return std::uniform_int_distribution<std::int64_t>(0, limit - 1)(engine);
    };
    const Values results[3] = {download(y), download(dx), download(dw)};
    const Values rough_results[3] = {download(rough_y), download(rough_dx), download(rough_dw)};
    Values expected[3], got[3], rough[3];
    for (int sample = 0; sample < 300; ++sample) {
      const std::int64_t n = below(8), h = below(size), v = below(size), c = below(channels);
      const auto place = static_cast<std::size_t>(((n * size + h) * size + v) * channels + c);
      double forward = 0, input = 0, weight_sum = 0;
      for (std::int64_t r = 0; r < 3; ++r)
        for (std::int64_t s = 0; s < 3; ++s)
          for (std::int64_t k = 0; k < channels; ++k) {
            forward += pixel(xs, n, h + r - 1, v + s - 1, k) * ws[tap(c, r, s, k)];
            input += pixel(gs, n, h + 1 - r, v + 1 - s, k) * ws[tap(k, r, s, c)];
          }
      const std::int64_t o = below(channels), r = below(3), s = below(3), i = below(channels);
      for (std::int64_t b = 0; b < 8; ++b)
        for (std::int64_t p = 0; p < size; ++p)
          for (std::int64_t q = 0; q < size; ++q)
            weight_sum += pixel(gs, b, p, q, o) * pixel(xs, b, p + r - 1, q + s - 1, i);
      const double sums[3] = {forward, input, weight_sum};
      const std::size_t places[3] = {place, place, tap(o, r, s, i)};
      for (int kind = 0; kind < 3; ++kind) {
        expected[kind].push_back(sums[kind]);
        got[kind].push_back(results[kind][places[kind]]);
        rough[kind].push_back(rough_results[kind][places[kind]]);
      }
    }
    const char* const names[] = {"conv2d", "conv2d_input_grad", "conv2d_weight_grad"};
    for (int kind = 0; kind < 3; ++kind) {
      const double error = harness::relative_error(got[kind], expected[kind]);
      std::printf("%s %s: error %.2e of the largest, tf32 %.2e\n", names[kind], text(image).c_str(), error,
                  harness::relative_error(rough[kind], expected[kind]));
      EXPECT_LE(error, kind == 2 ? 6e-5 : 1e-5) << names[kind] << ' ' << image;
    }
  }
}

}  // namespace
}  // namespace om::cuda_check
