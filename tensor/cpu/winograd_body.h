// The transforms of Winograd's convolutions (Lavin and Gray, "Fast algorithms for convolutional neural
// networks", 2015). Along one axis, from 6 numbers of the image:
//   y = A^T [(G w) * (B^T x)]       m results of r weights, m + r = 7: F(4, 3), and F(5, 2) for stride 2;
//   dw = G^T [(A g) * (B^T x)]      its transpose, r weights from m numbers of the gradient.
// In two dimensions each matrix acts on both axes; F(4x4, 3x3) takes 36 products instead of 144.
//
// The matrices come from evaluating polynomials at 0, +-a, +-b and infinity, M(x) = x (x^2 - a^2) (x^2 -
// b^2): row p of A is (1, p, p^2, ..), row p of G is (1, p, ..) / M'(p), row p of B^T the coefficients of
// M(x) / (x - p). The usual points 0, +-1, +-2 lose 2 to 3 bits; with a = 5/8, b = 3/2 (all constants but
// G's exact) the error of a 512-channel sum stays near 2e-6 of the largest result, 4 times less.
//
// The product at infinity takes the last weight alone, and the finite points take the first five numbers of
// the image alone. So F(5, 1) on the five finite points is F(5, 2) with a second weight of zero, whose
// product at infinity need not be formed; and products of both may be added before A^T (see winograd.cpp).
//
// Internal linkage throughout: see kernels.h.
#pragma once

#include "tensor/cpu/kernels_body.h"

namespace om::cpu {
namespace {

using V = Vector<float>;

constexpr float kA = 0.625F, kB = 1.5F;
constexpr float kA2 = kA * kA, kB2 = kB * kB;
constexpr float kScale0 = 1 / (kA2 * kB2), kScaleA = 1 / (2 * kA2 * (kA2 - kB2)),
                kScaleB = 1 / (2 * kB2 * (kB2 - kA2));

constexpr int kWhole = 6;  // numbers along an axis with several taps

/// An axis that is not transformed.
struct Plain {
  static constexpr int kIn = 1, kOut = 1, kTaps = 1;
  static void image(const V (&in)[1], V (&out)[1]) { out[0] = in[0]; }
  static void weights(const V (&in)[1], V (&out)[1]) { out[0] = in[0]; }
  static void result(const V (&in)[1], V (&out)[1]) { out[0] = in[0]; }
};

/// One tap: the five finite points alone. Infinity belongs to the last of several taps.
struct OneTap {
  static constexpr int kIn = 5, kOut = 5, kTaps = 1;
  /// out = B^T in.
  static void image(const V (&in)[5], V (&out)[5]) { finite_image(in, out); }
  /// out = G in.
  static void weights(const V (&in)[1], V (&out)[5]) {
    out[0] = kScale0 * in[0];
    out[1] = out[2] = kScaleA * in[0];
    out[3] = out[4] = kScaleB * in[0];
  }
  /// out = A^T in.
  static void result(const V (&in)[5], V (&out)[5]) { finite_result(in, out); }
  /// out = A in.
  static void gradient(const V (&in)[5], V (&out)[5]) { finite_gradient(in, out); }
  /// out = G^T in.
  static void weight_result(const V (&in)[5], V (&out)[1]) {
    out[0] = kScale0 * in[0] + kScaleA * (in[1] + in[2]) + kScaleB * (in[3] + in[4]);
  }

  template <int In, int Out>
  static void finite_image(const V (&in)[In], V (&out)[Out]) {
    const V even_a = in[4] - kB2 * in[2], odd_a = kA * (in[3] - kB2 * in[1]);
    const V even_b = in[4] - kA2 * in[2], odd_b = kB * (in[3] - kA2 * in[1]);
    out[0] = (in[4] - (kA2 + kB2) * in[2]) + (kA2 * kB2) * in[0];
    out[1] = even_a + odd_a;
    out[2] = even_a - odd_a;
    out[3] = even_b + odd_b;
    out[4] = even_b - odd_b;
  }
  template <int In>
  static void finite_result(const V (&in)[In], V (&out)[5]) {
    const V sum_a = in[1] + in[2], difference_a = in[1] - in[2];
    const V sum_b = in[3] + in[4], difference_b = in[3] - in[4];
    out[0] = in[0] + sum_a + sum_b;
    out[1] = kA * difference_a + kB * difference_b;
    out[2] = kA2 * sum_a + kB2 * sum_b;
    out[3] = (kA * kA2) * difference_a + (kB * kB2) * difference_b;
    out[4] = (kA2 * kA2) * sum_a + (kB2 * kB2) * sum_b;
  }
  template <int Out>
  static void finite_gradient(const V (&in)[5], V (&out)[Out]) {
    const V even_a = in[0] + kA2 * in[2] + (kA2 * kA2) * in[4], odd_a = kA * in[1] + (kA * kA2) * in[3];
    const V even_b = in[0] + kB2 * in[2] + (kB2 * kB2) * in[4], odd_b = kB * in[1] + (kB * kB2) * in[3];
    out[0] = in[0];
    out[1] = even_a + odd_a;
    out[2] = even_a - odd_a;
    out[3] = even_b + odd_b;
    out[4] = even_b - odd_b;
  }
};

/// What the axes with several taps share.
struct Six {
  static constexpr int kIn = kWhole;
  static void image(const V (&in)[6], V (&out)[6]) {
    OneTap::finite_image(in, out);
    out[5] = (in[5] - (kA2 + kB2) * in[3]) + (kA2 * kB2) * in[1];
  }
};

struct TwoTaps : Six {
  static constexpr int kOut = 5, kTaps = 2;
  static void weights(const V (&in)[2], V (&out)[6]) {
    const V even_a = kScaleA * in[0], odd_a = (kScaleA * kA) * in[1];
    const V even_b = kScaleB * in[0], odd_b = (kScaleB * kB) * in[1];
    out[0] = kScale0 * in[0];
    out[1] = even_a + odd_a;
    out[2] = even_a - odd_a;
    out[3] = even_b + odd_b;
    out[4] = even_b - odd_b;
    out[5] = in[1];
  }
  static void result(const V (&in)[6], V (&out)[5]) {
    OneTap::finite_result(in, out);
    out[4] += in[5];
  }
  static void gradient(const V (&in)[5], V (&out)[6]) {
    OneTap::finite_gradient(in, out);
    out[5] = in[4];
  }
  static void weight_result(const V (&in)[6], V (&out)[2]) {
    out[0] = kScale0 * in[0] + kScaleA * (in[1] + in[2]) + kScaleB * (in[3] + in[4]);
    out[1] = (kScaleA * kA) * (in[1] - in[2]) + (kScaleB * kB) * (in[3] - in[4]) + in[5];
  }
};

struct ThreeTaps : Six {
  static constexpr int kOut = 4, kTaps = 3;
  static void weights(const V (&in)[3], V (&out)[6]) {
    const V even_a = kScaleA * (in[0] + kA2 * in[2]), odd_a = (kScaleA * kA) * in[1];
    const V even_b = kScaleB * (in[0] + kB2 * in[2]), odd_b = (kScaleB * kB) * in[1];
    out[0] = kScale0 * in[0];
    out[1] = even_a + odd_a;
    out[2] = even_a - odd_a;
    out[3] = even_b + odd_b;
    out[4] = even_b - odd_b;
    out[5] = in[2];
  }
  static void result(const V (&in)[6], V (&out)[4]) {
    const V sum_a = in[1] + in[2], difference_a = in[1] - in[2];
    const V sum_b = in[3] + in[4], difference_b = in[3] - in[4];
    out[0] = in[0] + sum_a + sum_b;
    out[1] = kA * difference_a + kB * difference_b;
    out[2] = kA2 * sum_a + kB2 * sum_b;
    out[3] = (kA * kA2) * difference_a + (kB * kB2) * difference_b + in[5];
  }
  static void gradient(const V (&in)[4], V (&out)[6]) {
    const V even_a = in[0] + kA2 * in[2], odd_a = kA * in[1] + (kA * kA2) * in[3];
    const V even_b = in[0] + kB2 * in[2], odd_b = kB * in[1] + (kB * kB2) * in[3];
    out[0] = in[0];
    out[1] = even_a + odd_a;
    out[2] = even_a - odd_a;
    out[3] = even_b + odd_b;
    out[4] = even_b - odd_b;
    out[5] = in[3];
  }
  static void weight_result(const V (&in)[6], V (&out)[3]) {
    const V sum_a = kScaleA * (in[1] + in[2]), sum_b = kScaleB * (in[3] + in[4]);
    out[0] = kScale0 * in[0] + sum_a + sum_b;
    out[1] = (kScaleA * kA) * (in[1] - in[2]) + (kScaleB * kB) * (in[3] - in[4]);
    out[2] = kA2 * sum_a + kB2 * sum_b + in[5];
  }
};

/// Transforms a block of InH x InW vectors, first its columns (down) and then its rows (across), to OutH x
/// OutW: from(i, j, v) gives v, put(i, j, v) takes it.
template <int InH, int InW, int OutH, int OutW, class From, class Down, class Across, class Put>
inline void both_ways(const From& from, const Down& down, const Across& across, const Put& put) {
  V half[OutH][InW];
#pragma GCC unroll 6
  for (int j = 0; j < InW; ++j) {
    V column[InH], out[OutH];
#pragma GCC unroll 6
    for (int i = 0; i < InH; ++i) from(i, j, column[i]);
    down(column, out);
#pragma GCC unroll 6
    for (int i = 0; i < OutH; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < OutH; ++i) {
    V out[OutW];
    across(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < OutW; ++j) put(i, j, out[j]);
  }
}

template <class H, class W, int kSide>
void transform_image(const float* const* pixels, std::int64_t channels, float* v, std::int64_t plane) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<H::kIn, W::kIn, H::kIn, W::kIn>(
        [&](int i, int j, V& to) { to = load(pixels[W::kIn * i + j] + c); },
        [](const auto& in, auto& out) { H::image(in, out); },
        [](const auto& in, auto& out) { W::image(in, out); },
        [&](int i, int j, const V& value) { store(v + (kSide * i + j) * plane + c, value); });
}

template <class H, class W, int kSide>
void transform_weights(const float* taps, std::int64_t tap_step, std::int64_t count, float* u,
                       std::int64_t plane) {
  for (std::int64_t c = 0; c < count; c += kLanes<float>)
    both_ways<H::kTaps, W::kTaps, H::kIn, W::kIn>(
        [&](int i, int j, V& to) { to = load(taps + (W::kTaps * i + j) * tap_step + c); },
        [](const auto& in, auto& out) { H::weights(in, out); },
        [](const auto& in, auto& out) { W::weights(in, out); },
        [&](int i, int j, const V& value) { store(u + (kSide * i + j) * plane + c, value); });
}

template <class H, class W, int kSide>
void finish_pixels(const float* m, std::int64_t plane, std::int64_t channels, float* const* pixels,
                   bool add) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<H::kIn, W::kIn, H::kOut, W::kOut>(
        [&](int i, int j, V& to) { to = load(m + (kSide * i + j) * plane + c); },
        [](const auto& in, auto& out) { H::result(in, out); },
        [](const auto& in, auto& out) { W::result(in, out); },
        [&](int i, int j, const V& value) {
          if (float* pixel = pixels[W::kOut * i + j]) store(pixel + c, add ? load(pixel + c) + value : value);
        });
}

template <class H, class W>
void transform_gradient(const float* const* pixels, std::int64_t channels, float* v, std::int64_t plane) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<H::kOut, W::kOut, H::kIn, W::kIn>(
        [&](int i, int j, V& to) { to = load(pixels[W::kOut * i + j] + c); },
        [](const auto& in, auto& out) { H::gradient(in, out); },
        [](const auto& in, auto& out) { W::gradient(in, out); },
        [&](int i, int j, const V& value) { store(v + (kWhole * i + j) * plane + c, value); });
}

template <class H, class W>
void finish_weights(const float* m, std::int64_t plane, std::int64_t channels, float* const* taps, bool add) {
  for (std::int64_t c = 0; c < channels; c += kLanes<float>)
    both_ways<H::kIn, W::kIn, H::kTaps, W::kTaps>(
        [&](int i, int j, V& to) { to = load(m + (kWhole * i + j) * plane + c); },
        [](const auto& in, auto& out) { H::weight_result(in, out); },
        [](const auto& in, auto& out) { W::weight_result(in, out); },
        [&](int i, int j, const V& value) {
          float* to = taps[W::kTaps * i + j] + c;
          store(to, add ? load(to) + value : value);
        });
}

/// With planes numbered as those of 6 x 6, whatever the taps.
template <class H, class W>
constexpr WinogradScheme kScheme = {H::kIn,
                                    W::kIn,
                                    H::kOut,
                                    W::kOut,
                                    H::kTaps,
                                    W::kTaps,
                                    kWhole* kWhole,
                                    kWhole,
                                    transform_image<H, W, kWhole>,
                                    transform_weights<H, W, kWhole>,
                                    finish_pixels<H, W, kWhole>,
                                    transform_gradient<H, W>,
                                    finish_weights<H, W>};
/// With its own planes only.
template <class H, class W>
constexpr WinogradScheme kAlone = {H::kIn,
                                   W::kIn,
                                   H::kOut,
                                   W::kOut,
                                   H::kTaps,
                                   W::kTaps,
                                   H::kIn* W::kIn,
                                   W::kIn,
                                   transform_image<H, W, W::kIn>,
                                   transform_weights<H, W, W::kIn>,
                                   finish_pixels<H, W, W::kIn>,
                                   nullptr,
                                   nullptr};

constexpr WinogradKernels kWinogradTable = {
    kScheme<ThreeTaps, ThreeTaps>,
    {{kScheme<OneTap, OneTap>, kScheme<OneTap, TwoTaps>},
     {kScheme<TwoTaps, OneTap>, kScheme<TwoTaps, TwoTaps>}},
    {{kAlone<Plain, Plain>, kAlone<Plain, TwoTaps>}, {kAlone<TwoTaps, Plain>, kAlone<TwoTaps, TwoTaps>}}};

}  // namespace
}  // namespace om::cpu
