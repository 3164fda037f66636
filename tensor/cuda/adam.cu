// Adam over many arrays at once (train/adam.h has the formulas): a table of them goes with each launch as its
// argument, and a block takes a piece of one array. So a step of a few hundred parameters is a few launches,
// nothing is copied from the host, and a captured graph replays it.
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 256, kArrays = 40;  // a launch's arguments are 4 KiB at most
constexpr std::int64_t kPiece = 8192;      // elements a block takes

std::int64_t pieces_of(std::int64_t elements) { return (elements + kPiece - 1) / kPiece; }

/// Arrays by the first block of each.
template <class Entry>
struct Table {
  Entry entry[kArrays];
  unsigned first[kArrays + 1] = {};
  int count = 0;

  void add(const Entry& what, std::int64_t elements) {
    entry[count] = what;
    first[count + 1] = first[count] + static_cast<unsigned>(pieces_of(elements));
    ++count;
  }
  bool full() const { return count == kArrays; }
  unsigned blocks() const { return first[count]; }

#ifdef __CUDACC__
  __device__ int find(unsigned block) const {
    int low = 0, high = count - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (first[middle] <= block)
        low = middle;
      else
        high = middle - 1;
    }
    return low;
  }
#endif
};

template <class T>
struct Update {
  const T* gradient;
  T *parameter, *first, *second;
  const double *rate, *steps;
  const T* norm;
  std::int64_t elements;
};

template <class T>
struct Squares {
  const T* gradient;
  std::int64_t elements;
};

/// What an array's elements share, formed in double.
template <class T>
struct Factors {
  T clip, step, root;
};

template <class T>
__device__ Factors<T> factors_of(const Update<T>& u, const AdamKernels::AdamConstants& k) {
  const double t = *u.steps;
  const auto correction = [t](double beta) { return beta == 0 ? 1.0 : 1.0 - exp(t * log(beta)); };
  T clip = 1;
  if (u.norm != nullptr) {
    const T factor = T{1} / (*u.norm + static_cast<T>(1e-6)) * static_cast<T>(k.clip_norm);
    clip = factor < T{1} || factor != factor ? factor : T{1};
  }
  return {clip, static_cast<T>(*u.rate / correction(k.beta1)), static_cast<T>(sqrt(correction(k.beta2)))};
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    adam_kernel(const __grid_constant__ Table<Update<T>> table, AdamKernels::AdamConstants constants) {
  constexpr int V = kVector<T>;
  __shared__ Factors<T> shared;
  const int which = table.find(blockIdx.x);
  const Update<T>& u = table.entry[which];
  if (threadIdx.x == 0) shared = factors_of(u, constants);
  __syncthreads();
  const Factors<T> f = shared;
  const T b1 = static_cast<T>(constants.beta1), b2 = static_cast<T>(constants.beta2);
  const T rest1 = static_cast<T>(1 - constants.beta1), rest2 = static_cast<T>(1 - constants.beta2);
  const T eps = static_cast<T>(constants.eps), decay = static_cast<T>(constants.weight_decay);
  const auto update = [&](T g, T& p, T& m, T& v) {
    g = g * f.clip + decay * p;
    m = b1 * m + rest1 * g;
    v = b2 * v + rest2 * (g * g);
    p -= f.step * (m / (sqrt(v) / f.root + eps));
  };
  const std::int64_t start = static_cast<std::int64_t>(blockIdx.x - table.first[which]) * kPiece;
  const std::int64_t end = min(start + kPiece, u.elements);
  const std::int64_t whole =
      start + (end - start) / V * V;  // arrays begin at 64 bytes, pieces at their multiples
  for (std::int64_t i = start + static_cast<std::int64_t>(threadIdx.x) * V; i < whole; i += kBlock * V) {
    T g[V], p[V], m[V], v[V];
    load<V>(u.gradient + i, g);
    load<V>(u.parameter + i, p);
    load<V>(u.first + i, m);
    load<V>(u.second + i, v);
#pragma unroll
    for (int k = 0; k < V; ++k) update(g[k], p[k], m[k], v[k]);
    store<V>(u.parameter + i, p);
    store<V>(u.first + i, m);
    store<V>(u.second + i, v);
  }
  for (std::int64_t i = whole + threadIdx.x; i < end; i += kBlock)
    update(u.gradient[i], u.parameter[i], u.first[i], u.second[i]);
}

/// The block's sum, in thread 0, in a fixed order.
__device__ double block_sum(double value) {
  __shared__ double warps[kBlock / 32];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0;
  for (const double share : warps) sum += share;
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    squares_kernel(const __grid_constant__ Table<Squares<T>> table, double* parts) {
  const int which = table.find(blockIdx.x);
  const Squares<T>& array = table.entry[which];
  const std::int64_t start = static_cast<std::int64_t>(blockIdx.x - table.first[which]) * kPiece;
  const std::int64_t end = min(start + kPiece, array.elements);
  T sums[4] = {};
  int next = 0;
  for (std::int64_t i = start + threadIdx.x; i < end; i += kBlock) {
    const T g = array.gradient[i];
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (next == k) sums[k] += g * g;
    next = (next + 1) & 3;
  }
  const double sum = block_sum(static_cast<double>(sums[0]) + static_cast<double>(sums[1]) +
                               static_cast<double>(sums[2]) + static_cast<double>(sums[3]));
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kBlock) root_kernel(const double* parts, std::int64_t count, T* norm) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kBlock) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *norm = static_cast<T>(sqrt(sum));
}

template <class Body>
void float_or_double(const char* kernel, DType dtype, Body&& body) {
  if (dtype == DType::f32) return body(Type<float>{});
  if (dtype == DType::f64) return body(Type<double>{});
  fail(kernel, ": expects f32 or f64, got ", name_of(dtype));
}

}  // namespace

void CudaBackend::adam_norm(std::span<const In> gradients, Out norm) {
  const Ordered order(*this, std::vector<In>(gradients.begin(), gradients.end()), {norm});
  float_or_double("cuda adam_norm", norm.dtype, [&]<class T>(Type<T>) {
    std::int64_t pieces = 0;
    for (const In& gradient : gradients) pieces += pieces_of(gradient.shape.elements());
    if (pieces == 0) return fill(norm, 0);
    const Scratch room(*this, static_cast<std::size_t>(pieces) * sizeof(double));
    auto* const parts = static_cast<double*>(room.data());
    Table<Squares<T>> table;
    std::int64_t done = 0;
    const auto launch = [&] {
      if (table.blocks() == 0) return;
      squares_kernel<T><<<table.blocks(), kBlock, 0, stream_>>>(table, parts + done);
      done += table.blocks();
      table = {};
    };
    for (const In& gradient : gradients) {
      if (gradient.shape.elements() == 0) continue;
      table.add({gradient.as<T>(), gradient.shape.elements()}, gradient.shape.elements());
      if (table.full()) launch();
    }
    launch();
    root_kernel<T><<<1, kBlock, 0, stream_>>>(parts, pieces, norm.as<T>());
    check_launch("adam_norm");
  });
}

void CudaBackend::adam(std::span<const AdamArray> arrays, const AdamConstants& constants) {
  std::vector<In> reads;
  std::vector<Out> writes;
  for (const AdamArray& array : arrays) {
    reads.insert(reads.end(), {array.gradient, array.rate, array.steps, array.norm});
    writes.insert(writes.end(), {array.parameter, array.first, array.second});
  }
  const Ordered order(*this, reads, writes);
  for (const DType dtype : {DType::f32, DType::f64}) {
    float_or_double("cuda adam", dtype, [&]<class T>(Type<T>) {
      Table<Update<T>> table;
      const auto launch = [&] {
        if (table.blocks() == 0) return;
        adam_kernel<T><<<table.blocks(), kBlock, 0, stream_>>>(table, constants);
        check_launch("adam");
        table = {};
      };
      for (const AdamArray& array : arrays) {
        const std::int64_t elements = array.parameter.shape.elements();
        if (array.parameter.dtype != dtype || elements == 0) continue;
        table.add({array.gradient.as<T>(), array.parameter.as<T>(), array.first.as<T>(), array.second.as<T>(),
                   array.rate.as<double>(), array.steps.as<double>(), array.norm.as<T>(), elements},
                  elements);
        if (table.full()) launch();
      }
      launch();
    });
  }
}

}  // namespace om::cuda
