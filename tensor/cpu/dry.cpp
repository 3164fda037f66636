// The dry form of the cpu backend (tensor/dry.h): its own kernels, with a team that rests, so that they take
// the scratch memory that they always take and do nothing with it. Left out is what a tile takes for itself:
// a few lines of an image in upfirdn2d, the sums of scatter_add in bf16.
#include "tensor/dry.h"

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/team.h"

namespace om {
namespace {

class RestingCpu : public CpuBackend {
 public:
  using Rest = cpu::TeamAtRest;
  static bool scratch_is_known() { return true; }
};

}  // namespace

std::unique_ptr<Backend> CpuBackend::dry_form() { return std::make_unique<DryFused<RestingCpu>>(); }

}  // namespace om
