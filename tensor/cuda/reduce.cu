// reduce: sums and maxima over any set of dimensions.
//
// A block holds `outs` outputs and `lanes` threads for each. A lane adds every lanes-th element of its part
// of the reduction into four running sums, and the lanes meet in a binary tree, so the order depends on
// shapes alone and a float sum is blocked: no running sum sees more than kLongest / 4 elements. A reduction
// too long for that is split; the parts go to scratch memory and are reduced again.
//
// Neighbouring threads read neighbouring elements: they are lanes where the innermost dimension is reduced,
// outputs where it is kept.
#include <algorithm>
#include <limits>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 256;
constexpr std::int64_t kLongest = 256, kShortest = 16;  // elements per lane
constexpr std::int64_t kEnoughBlocks = 1024;

struct Layout {
  IndexMap<1> kept, reduced;  // offsets into x
  int outs, lanes;            // per block, outs * lanes = kBlock
  bool lanes_inner;           // neighbouring threads are lanes
  std::int64_t part;          // reduced elements per split
  std::int64_t parts;
  bool linear;  // the reduced elements lie `stride` apart
  std::int64_t stride;
};

template <ReduceOp op, class A>
__device__ A combine(A a, A b) {
  if constexpr (op == ReduceOp::sum) return a + b;
  return a > b || a != a ? a : b;
}

/// Elements [first, end) of a row, every step-th, `place` giving the i-th one's offset.
template <ReduceOp op, class X, class A, class Place>
__device__ A accumulate(const X* row, std::int64_t first, std::int64_t end, int step, A nothing,
                        Place place) {
  A sums[4] = {nothing, nothing, nothing, nothing};
  std::int64_t i = first;
  for (; i + 3 * step < end; i += 4 * step) {
    A value[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) value[k] = static_cast<A>(row[place(i + k * step)]);
#pragma unroll
    for (int k = 0; k < 4; ++k) sums[k] = combine<op>(sums[k], value[k]);
  }
  for (; i < end; i += step) sums[0] = combine<op>(sums[0], static_cast<A>(row[place(i)]));
  return combine<op>(combine<op>(sums[0], sums[1]), combine<op>(sums[2], sums[3]));
}

/// The lanes of each output meet; the result is right in lane 0.
template <ReduceOp op, class A>
__device__ A meet(A value, A* shared, const Layout& layout, int lane, int slot) {
  if (layout.lanes_inner) {
    const int width = min(layout.lanes, 32);
    for (int half = width / 2; half > 0; half /= 2)
      value = combine<op>(value, __shfl_down_sync(0xffffffffU, value, half, width));
    if (layout.lanes <= 32) return value;
    const int warps = layout.lanes / 32;
    if (lane % 32 == 0) shared[slot * warps + lane / 32] = value;
    __syncthreads();
    if (lane == 0)
      for (int k = 1; k < warps; ++k) value = combine<op>(value, shared[slot * warps + k]);
    return value;
  }
  shared[threadIdx.x] = value;  // lane * outs + slot
  for (int half = layout.lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half)
      shared[threadIdx.x] = combine<op>(shared[threadIdx.x], shared[threadIdx.x + half * layout.outs]);
  }
  return shared[threadIdx.x];
}

/// y[part, out] from x; grid (groups of outs, parts), parts striding over gridDim.y.
template <ReduceOp op, class X, class A, class Y>
__global__ void reduce_kernel(const X* x, Y* y, Layout layout) {
  __shared__ A shared[kBlock];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = layout.lanes_inner ? thread % layout.lanes : thread / layout.outs;
  const int slot = layout.lanes_inner ? thread / layout.lanes : thread % layout.outs;
  const std::int64_t out = static_cast<std::int64_t>(blockIdx.x) * layout.outs + slot;
  const bool live = out < layout.kept.count();
  const A nothing = op == ReduceOp::sum ? A{0} : -std::numeric_limits<A>::infinity();
  for (std::int64_t part = blockIdx.y; part < layout.parts; part += gridDim.y) {
    A value = nothing;
    if (live) {
      const X* row = x + layout.kept.at(out).of[0];
      const std::int64_t first = part * layout.part + lane;
      const std::int64_t end = min((part + 1) * layout.part, layout.reduced.count());
      if (layout.linear) {
        const std::int64_t stride = layout.stride;
        value = accumulate<op, X, A>(row, first, end, layout.lanes, nothing,
                                     [stride](std::int64_t i) { return i * stride; });
      } else {
        value = accumulate<op, X, A>(row, first, end, layout.lanes, nothing,
                                     [&layout](std::int64_t i) { return layout.reduced.at(i).of[0]; });
      }
    }
    value = meet<op>(value, shared, layout, lane, slot);
    if (live && lane == 0) y[part * layout.kept.count() + out] = static_cast<Y>(value);
    __syncthreads();
  }
}

int power_of_two_up_to(std::int64_t wanted, int most) {
  int power = 1;
  while (power < most && power < wanted) power *= 2;
  return power;
}

Layout plan(const IndexMap<1>& kept, const IndexMap<1>& reduced) {
  Layout layout{kept, reduced, 1, kBlock, true, 0, 0, reduced.rank() <= 1, reduced.inner_stride(0)};
  layout.lanes_inner =
      kept.rank() == 0 || (reduced.rank() > 0 && reduced.inner_stride(0) < kept.inner_stride(0));
  if (layout.lanes_inner) {
    layout.lanes = power_of_two_up_to((reduced.count() + 15) / 16, kBlock);
    layout.outs = kBlock / layout.lanes;
  } else {
    layout.outs = power_of_two_up_to(kept.count(), 32);
    layout.lanes = kBlock / layout.outs;
  }
  const std::int64_t groups = (kept.count() + layout.outs - 1) / layout.outs;
  std::int64_t length = kLongest;
  const auto parts_of = [&](std::int64_t per_lane) {
    return (reduced.count() + per_lane * layout.lanes - 1) / (per_lane * layout.lanes);
  };
  while (length > kShortest && groups * parts_of(length) < kEnoughBlocks) length /= 2;
  layout.part = length * layout.lanes;
  layout.parts = parts_of(length);
  return layout;
}

template <class X, class A, class Y>
void launch(ReduceOp op, const void* x, void* y, const Layout& layout, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((layout.kept.count() + layout.outs - 1) / layout.outs),
                  static_cast<unsigned>(std::min<std::int64_t>(layout.parts, 65535)));
  const auto* from = static_cast<const X*>(x);
  auto* to = static_cast<Y*>(y);
  if (op == ReduceOp::sum)
    reduce_kernel<ReduceOp::sum, X, A, Y><<<grid, kBlock, 0, stream>>>(from, to, layout);
  else
    reduce_kernel<ReduceOp::max, X, A, Y><<<grid, kBlock, 0, stream>>>(from, to, layout);
  check_launch("reduce");
}

template <class X, class A, class Y>
void reduce_as(CudaBackend& backend, ReduceOp op, const void* x, void* y, const Layout& layout) {
  if (layout.parts == 1) return launch<X, A, Y>(op, x, y, layout, backend.stream());
  const std::int64_t outs = layout.kept.count();
  const Scratch partial(backend, static_cast<std::size_t>(layout.parts * outs) * sizeof(A));
  launch<X, A, A>(op, x, partial.data(), layout, backend.stream());
  const Layout rest = plan(IndexMap<1>({outs}, {Strides{1}}), IndexMap<1>({layout.parts}, {Strides{outs}}));
  reduce_as<A, A, Y>(backend, op, partial.data(), y, rest);
}

}  // namespace

void CudaBackend::reduce(ReduceOp op, In x, Out y) {
  const Ordered order(*this, {x}, {y});
  if (y.shape.elements() == 0) return;
  if (x.shape.elements() == 0)
    return fill(y, op == ReduceOp::sum ? 0.0 : -std::numeric_limits<double>::infinity());
  const Strides strides = x.shape.strides();
  Shape reduced;
  Strides reduced_strides{};
  for (int d = 0; d < x.shape.rank(); ++d) {
    if (y.shape[d] == x.shape[d]) continue;
    reduced_strides[static_cast<std::size_t>(reduced.rank())] = strides[static_cast<std::size_t>(d)];
    reduced.append(x.shape[d]);
  }
  const Layout layout = plan(IndexMap<1>(y.shape, {strides}), IndexMap<1>(reduced, {reduced_strides}));
  if (y.dtype == DType::f64) {
    dispatch_floating("cuda reduce", x.dtype, [&]<class X>(Type<X>) {
      reduce_as<X, double, double>(*this, op, x.data, y.data, layout);
    });
  } else if (x.dtype == DType::f32) {
    reduce_as<float, float, float>(*this, op, x.data, y.data, layout);
  } else if (y.dtype == DType::f32) {
    reduce_as<BFloat16, float, float>(*this, op, x.data, y.data, layout);
  } else {
    reduce_as<BFloat16, float, BFloat16>(*this, op, x.data, y.data, layout);
  }
}

}  // namespace om::cuda
