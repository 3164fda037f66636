// The kernels for the level that the whole folder is compiled for.
#include "tensor/cpu/kernels_body.h"
#include "tensor/cpu/winograd_body.h"

namespace om::cpu {
extern const Kernels<float> base_float;
extern const Kernels<double> base_double;
extern const WinogradKernels base_winograd;
const Kernels<float> base_float = kTable<float>;
const Kernels<double> base_double = kTable<double>;
const WinogradKernels base_winograd = kWinogradTable;
}  // namespace om::cpu
