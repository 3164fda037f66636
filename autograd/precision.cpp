#include "autograd/precision.h"

namespace om {
namespace {

thread_local Precision current = Precision::fp32;

}  // namespace

Precision precision() { return current; }
Precision coefficient_precision() { return current == Precision::bf16 ? Precision::tf32 : current; }
PrecisionScope::PrecisionScope(Precision precision) : previous_(current) { current = precision; }
PrecisionScope::~PrecisionScope() { current = previous_; }

std::string_view name_of(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::tf32: return "tf32";
    case Precision::bf16: return "bf16";
  }
  return "?";
}

}  // namespace om
