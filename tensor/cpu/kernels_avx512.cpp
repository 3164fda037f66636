// The kernels for processors with AVX-512, compiled for x86-64-v4 (see CMakeLists.txt); nothing where the
// compiler does not offer it.
#include "tensor/cpu/kernels_body.h"
#include "tensor/cpu/winograd_body.h"

#if defined(__AVX512F__)
namespace om::cpu {
extern const Kernels<float> wide_float;
extern const Kernels<double> wide_double;
extern const WinogradKernels wide_winograd;
const Kernels<float> wide_float = kTable<float>;
const Kernels<double> wide_double = kTable<double>;
const WinogradKernels wide_winograd = kWinogradTable;
}  // namespace om::cpu
#endif
