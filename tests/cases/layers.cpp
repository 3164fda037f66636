// Cases of the layers in nn/. Their names begin with "nn/", so that the nn floor's tests run alone.
#include "tests/cases/case.h"

namespace om::cases {

std::vector<Case> layer_cases() { return {}; }

}  // namespace om::cases
