// The kernels for the level that the whole folder is compiled for.
#include "tensor/cpu/kernels_body.h"

namespace om::cpu {
extern const Kernels<float> base_float;
extern const Kernels<double> base_double;
const Kernels<float> base_float = kTable<float>;
const Kernels<double> base_double = kTable<double>;
}  // namespace om::cpu
