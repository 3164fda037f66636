// The inner loops of the matrix products, compiled once per vector width and chosen when the program starts:
// on x86-64 for ONEMODEL_ARCH and for AVX-512. Everything else in this folder asks for tile sizes here and
// never names a width.
//
// kernels_body.h holds the loops; kernels_base.cpp and kernels_avx512.cpp compile them. Those two files must
// contain nothing with external linkage besides their tables: the linker keeps one copy of an inline
// function, and an AVX-512 copy would crash older processors.
#pragma once

#include <cstdint>

namespace om::cpu {

/// c[i][j] (+)= sum over taps t and k < count of rows[t rows_per_tile + i][first + k a_step] panel[(t count +
/// k) panel_step + j] for the first `rows_used` rows and `columns` columns of a tile. More columns than a
/// tile's are those of the panels that follow, one after the other. Unused row pointers must be readable.
template <class T>
struct TileTask {
  const T* const* rows;
  std::int64_t taps, first, count, a_step;
  const T* panel;
  std::int64_t panel_step;
  T* const* c;
  std::int64_t c_offset, rows_used, columns;
  bool add;
  /// What comes next and is far away: fetched meanwhile, this many cache lines of it for each that a row of
  /// `count` numbers would fill.
  const T* ahead = nullptr;
  std::int64_t ahead_lines = 0;
};

/// c[i c_step + j] = sum over taps t and k < count of a[i a_step + t tap_step + k] panel[(t count + k)
/// columns + j] for i < rows, j < c_columns <= columns = window_columns: the windows of neighbouring pixels,
/// which begin a fixed step apart.
template <class T>
struct WindowTask {
  const T* a;
  std::int64_t a_step, tap_step, taps, count;
  const T* panel;
  T* c;
  std::int64_t c_step, rows, c_columns;
};

template <class T>
struct Kernels {
  int rows, columns;   ///< of a tile
  int window_columns;  ///< of a window task's panel

  void (*multiply_tile)(const TileTask<T>& task);
  void (*multiply_windows)(const WindowTask<T>& task);

  /// c[i][j] += <row i, weights j> for 4 rows and up to 4 weight rows of taps x depth contiguous numbers;
  /// rows holds `taps` groups of 4 pointers.
  void (*multiply_dots)(const T* const* rows, std::int64_t taps, std::int64_t depth, const T* const* weights,
                        int weight_count, T (*c)[4]);

  /// to[k rows + i] = tile[i][k step] for k < count and a tile's rows i.
  void (*pack_tile)(const T* const* tile, std::int64_t step, std::int64_t count, T* to);
  /// panel[k, j] = source[j step + k] for k < count, j < width; zeros for width <= j < columns. (B's columns
  /// are contiguous.)
  void (*pack_transposed)(const T* source, std::int64_t step, std::int64_t count, std::int64_t width,
                          T* panel);
  /// panel[k, j] = source[k step + j]. (B's rows are contiguous.)
  void (*pack_rows)(const T* source, std::int64_t step, std::int64_t count, std::int64_t width, T* panel);
};

/// One of Winograd's convolutions, see winograd_body.h: out_h x out_w results of taps_h x taps_w weights from
/// in_h x in_w pixels. Channel counts are multiples of kWinogradChannels. Transformed blocks are in_h x in_w
/// too; their element (i, j) goes to plane side i + j of `planes`, which are `plane` numbers apart.
struct WinogradScheme {
  int in_h, in_w, out_h, out_w, taps_h, taps_w, planes, side;

  /// in_h x in_w pixels.
  void (*transform_image)(const float* const* pixels, std::int64_t channels, float* v, std::int64_t plane);
  /// taps_h x taps_w weights, `tap_step` numbers apart.
  void (*transform_weights)(const float* taps, std::int64_t tap_step, std::int64_t count, float* u,
                            std::int64_t plane);
  /// Products to out_h x out_w pixels, assigned or added; null pointers are skipped.
  void (*finish_pixels)(const float* m, std::int64_t plane, std::int64_t channels, float* const* pixels,
                        bool add);
  /// For the weight gradient (null in `alone`): out_h x out_w pixels of the gradient,
  void (*transform_gradient)(const float* const* pixels, std::int64_t channels, float* v, std::int64_t plane);
  /// and products to taps_h x taps_w weights, assigned or added.
  void (*finish_weights)(const float* m, std::int64_t plane, std::int64_t channels, float* const* taps,
                         bool add);
};
struct WinogradKernels {
  WinogradScheme three;  ///< 3x3 weights, stride 1
  /// The four parts of 3x3 with stride 2: taps_h x taps_w weights at [taps_h - 1][taps_w - 1], each 1 or 2.
  /// All four give pieces of the same size, and a plane that two of them have bears the same number in both:
  /// their products are added plane by plane, before one transform back. Parts with 1 weight lack planes.
  WinogradScheme together[2][2];
  /// The same parts one by one, each with the scheme that takes the fewest products by itself: along an axis
  /// with 1 weight nothing is transformed. Their results are added as pixels.
  WinogradScheme alone[2][2];
};
constexpr int kMostPlanes = 36;  // of any scheme
constexpr std::int64_t kWinogradChannels = 16;

/// Those for this processor.
template <class T>
const Kernels<T>& kernels();
const WinogradKernels& winograd_kernels();

/// For tests: never more than this many bytes a vector; 0 lifts the limit. Not while kernels run.
void limit_vector_bytes(int bytes);

}  // namespace om::cpu
