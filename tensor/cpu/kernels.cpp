// The choice of kernels for this processor.
#include "tensor/cpu/kernels.h"

namespace om::cpu {

extern const Kernels<float> base_float;
extern const Kernels<double> base_double;
extern const WinogradKernels base_winograd;

namespace {

int vector_limit = 0;

}  // namespace

void limit_vector_bytes(int bytes) { vector_limit = bytes; }

#ifdef ONEMODEL_AVX512_KERNELS

extern const Kernels<float> wide_float;
extern const Kernels<double> wide_double;
extern const WinogradKernels wide_winograd;

namespace {

/// The processor has all of x86-64-v4.
bool use_wide() {
  static const bool available = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                                __builtin_cpu_supports("avx512cd");
  return available && (vector_limit == 0 || vector_limit >= 64);
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  return use_wide() ? wide_float : base_float;
}
template <>
const Kernels<double>& kernels<double>() {
  return use_wide() ? wide_double : base_double;
}
const WinogradKernels& winograd_kernels() { return use_wide() ? wide_winograd : base_winograd; }

#else

template <>
const Kernels<float>& kernels<float>() {
  return base_float;
}
template <>
const Kernels<double>& kernels<double>() {
  return base_double;
}
const WinogradKernels& winograd_kernels() { return base_winograd; }

#endif

}  // namespace om::cpu
