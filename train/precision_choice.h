// From a word (--precision, a run's settings) to a precision that the backend has.
//
// bf16 stores activations in half the bytes and may change what a model gives, so it is refused where it is
// missing; tf32 is a faster fp32, which takes its place there.
#pragma once

#include <string>

#include "autograd/precision.h"
#include "tensor/backend.h"

namespace om {

/// UsageError where the word is none of fp32, tf32, bf16.
Precision precision_named(const std::string& word);

/// What a command computes in unless it is told: tf32 where the backend has it, else fp32.
Precision default_precision(const Backend& backend);

/// `wanted`, or fp32 for tf32 that the backend lacks. UsageError for bf16 that it lacks.
Precision precision_on(Precision wanted, const Backend& backend);

/// "cuda: NVIDIA H100 .., tf32", with why it is not `wanted` where it is not: what a run's header says.
std::string precision_header(Precision wanted, const Backend& backend);

}  // namespace om
