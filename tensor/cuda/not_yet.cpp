// Kernels of the interface that the first slice leaves out.
#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {
namespace {

[[noreturn]] void not_yet(const char* kernel) { fail("cuda: kernel ", kernel, " is not in this slice yet"); }

}  // namespace

void CudaBackend::random(Out, Distribution, In) { not_yet("random"); }
void CudaBackend::matmul(In, In, Out, const MatmulParams&) { not_yet("matmul"); }
void CudaBackend::max_pool2d(In, Out, Out, const Pool2dParams&) { not_yet("max_pool2d"); }
void CudaBackend::upfirdn2d(In, In, Out, const UpFirDnParams&) { not_yet("upfirdn2d"); }
void CudaBackend::gather(In, In, Out) { not_yet("gather"); }
void CudaBackend::scatter_add(In, In, Out) { not_yet("scatter_add"); }

}  // namespace om::cuda
