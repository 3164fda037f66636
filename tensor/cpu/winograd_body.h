// The transforms of Winograd's convolution F(4x4, 3x3) (Lavin and Gray, "Fast algorithms for convolutional
// neural networks", 2015):
//   y = A^T [(G w G^T) * (B^T x B)] A       4x4 results from a 6x6 piece of the image, 36 products instead of
//   144. dw = G^T [(A g A^T) * (B^T x B)] G      its transpose: 3x3 weights from a 4x4 piece of the gradient.
//
// The matrices come from evaluating polynomials at 0, +-a, +-b and infinity, M(x) = x (x^2 - a^2) (x^2 -
// b^2): row p of A is (1, p, p^2, p^3), row p of G is (1, p, p^2) / M'(p), row p of B^T the coefficients of
// M(x) / (x - p). The usual points 0,
// +-1, +-2 lose 2 to 3 bits; with a = 5/8, b = 3/2 (all constants but G's exact) the error of a
// 512-channel sum stays at 2e-6 of the largest result, 4 times less.
//
// Internal linkage throughout: see kernels.h.
#pragma once

#include "tensor/cpu/kernels_body.h"

namespace om::cpu {
namespace {

using V = Vector<float>;

constexpr float kA = 0.625F, kB = 1.5F;
constexpr float kA2 = kA * kA, kB2 = kB * kB;

/// out = B^T in.
inline void image_transform(const V (&in)[6], V (&out)[6]) {
  const V even_a = in[4] - kB2 * in[2], odd_a = kA * (in[3] - kB2 * in[1]);
  const V even_b = in[4] - kA2 * in[2], odd_b = kB * (in[3] - kA2 * in[1]);
  out[0] = (in[4] - (kA2 + kB2) * in[2]) + (kA2 * kB2) * in[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = (in[5] - (kA2 + kB2) * in[3]) + (kA2 * kB2) * in[1];
}

/// out = A^T in.
inline void result_transform(const V (&in)[6], V (&out)[4]) {
  const V sum_a = in[1] + in[2], difference_a = in[1] - in[2];
  const V sum_b = in[3] + in[4], difference_b = in[3] - in[4];
  out[0] = in[0] + sum_a + sum_b;
  out[1] = kA * difference_a + kB * difference_b;
  out[2] = kA2 * sum_a + kB2 * sum_b;
  out[3] = (kA * kA2) * difference_a + (kB * kB2) * difference_b + in[5];
}

/// out = A in.
inline void gradient_transform(const V (&in)[4], V (&out)[6]) {
  const V even_a = in[0] + kA2 * in[2], odd_a = kA * in[1] + (kA * kA2) * in[3];
  const V even_b = in[0] + kB2 * in[2], odd_b = kB * in[1] + (kB * kB2) * in[3];
  out[0] = in[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = in[3];
}

constexpr float kScale0 = 1 / (kA2 * kB2), kScaleA = 1 / (2 * kA2 * (kA2 - kB2)),
                kScaleB = 1 / (2 * kB2 * (kB2 - kA2));

/// out = G in.
inline void weight_transform(const V (&in)[3], V (&out)[6]) {
  const V even_a = kScaleA * (in[0] + kA2 * in[2]), odd_a = (kScaleA * kA) * in[1];
  const V even_b = kScaleB * (in[0] + kB2 * in[2]), odd_b = (kScaleB * kB) * in[1];
  out[0] = kScale0 * in[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = in[2];
}

/// out = G^T in.
inline void weight_result(const V (&in)[6], V (&out)[3]) {
  const V sum_a = kScaleA * (in[1] + in[2]), sum_b = kScaleB * (in[3] + in[4]);
  out[0] = kScale0 * in[0] + sum_a + sum_b;
  out[1] = (kScaleA * kA) * (in[1] - in[2]) + (kScaleB * kB) * (in[3] - in[4]);
  out[2] = kA2 * sum_a + kB2 * sum_b + in[5];
}

/// Applies `one` (In numbers to Out numbers) to the columns and then to the rows of an In x In block: load(i,
/// j) gives its vectors, put(i, j, vector) takes the Out x Out result.
template <int In, int Out, class Load, class One, class Put>
inline void both_ways(const Load& from, const One& one, const Put& put) {
  V half[Out][In];
#pragma GCC unroll 6
  for (int j = 0; j < In; ++j) {
    V column[In], out[Out];
#pragma GCC unroll 6
    for (int i = 0; i < In; ++i) from(i, j, column[i]);
    one(column, out);
#pragma GCC unroll 6
    for (int i = 0; i < Out; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < Out; ++i) {
    V out[Out];
    one(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < Out; ++j) put(i, j, out[j]);
  }
}

void transform_image(const float* const* pixels, std::int64_t channels, float* v, std::int64_t plane) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<6, 6>([&](int i, int j, V& to) { to = load(pixels[6 * i + j] + c); },
                    [](const V(&in)[6], V(&out)[6]) { image_transform(in, out); },
                    [&](int i, int j, const V& value) { store(v + (6 * i + j) * plane + c, value); });
}

void transform_gradient(const float* const* pixels, std::int64_t channels, float* v, std::int64_t plane) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<4, 6>([&](int i, int j, V& to) { to = load(pixels[4 * i + j] + c); },
                    [](const V(&in)[4], V(&out)[6]) { gradient_transform(in, out); },
                    [&](int i, int j, const V& value) { store(v + (6 * i + j) * plane + c, value); });
}

void transform_weights(const float* taps, std::int64_t tap_step, std::int64_t count, float* u,
                       std::int64_t plane) {
  for (std::int64_t c = 0; c < count; c += kLanes<float>)
    both_ways<3, 6>([&](int i, int j, V& to) { to = load(taps + (3 * i + j) * tap_step + c); },
                    [](const V(&in)[3], V(&out)[6]) { weight_transform(in, out); },
                    [&](int i, int j, const V& value) { store(u + (6 * i + j) * plane + c, value); });
}

void finish_pixels(const float* m, std::int64_t plane, std::int64_t channels, float* const* pixels) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<6, 4>([&](int i, int j, V& to) { to = load(m + (6 * i + j) * plane + c); },
                    [](const V(&in)[6], V(&out)[4]) { result_transform(in, out); },
                    [&](int i, int j, const V& value) {
                      if (float* pixel = pixels[4 * i + j]) store(pixel + c, value);
                    });
}

void finish_weights(const float* m, std::int64_t plane, std::int64_t channels, float* const* taps, bool add) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<6, 3>([&](int i, int j, V& to) { to = load(m + (6 * i + j) * plane + c); },
                    [](const V(&in)[6], V(&out)[3]) { weight_result(in, out); },
                    [&](int i, int j, const V& value) {
                      float* to = taps[3 * i + j] + c;
                      if (add)
                        store(to, load(to) + value);
                      else
                        store(to, value);
                    });
}

constexpr WinogradKernels kWinogradTable = {transform_image, transform_gradient, transform_weights,
                                            finish_pixels, finish_weights};

}  // namespace
}  // namespace om::cpu
