// Compiled for the baseline, unlike the rest of this folder, and free of inline functions that the linker
// might take from a file that was not: the message is a literal.
#include "tensor/cpu/processor.h"

#include <cstring>

#include "tensor/error.h"

#ifndef ONEMODEL_ARCH
#define ONEMODEL_ARCH "baseline"
#endif

namespace om {

const char* processor_level() { return ONEMODEL_ARCH; }

void require_processor() {
#if defined(__x86_64__)
  const bool v4 = std::strcmp(ONEMODEL_ARCH, "x86-64-v4") == 0;
  const bool v3 = v4 || std::strcmp(ONEMODEL_ARCH, "x86-64-v3") == 0;
  const bool v2 = v3 || std::strcmp(ONEMODEL_ARCH, "x86-64-v2") == 0;
  __builtin_cpu_init();
  if (v2 && !(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")))
    throw Error("this program was built for " ONEMODEL_ARCH "; this processor lacks sse4.2");
  if (v3 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")))
    throw Error("this program was built for " ONEMODEL_ARCH "; this processor lacks avx2");
  if (v3 && !__builtin_cpu_supports("fma"))
    throw Error("this program was built for " ONEMODEL_ARCH "; this processor lacks fma");
  if (v4 && !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl")))
    throw Error("this program was built for " ONEMODEL_ARCH "; this processor lacks avx512");
#endif
}

}  // namespace om
