// cuDNN's convolutions through its graph interface: one execution plan per kind, shape, dtype and precision.
//
// A plan is chosen once, by cuDNN's heuristics and without timing anything: the first engine of their list
// that is deterministic, keeps its workspace under kWorkspaceLimit and computes as precisely as asked. Strict
// f32 admits no engine that cuDNN marks as using tensor cores (they would round operands to tf32), FFT or
// large Winograd tiles. The same shape gets the same plan in the next run.
//
// One weight gradient engine (17 in cuDNN 9.19) bears no mark, yet needs a large workspace, outruns the
// card's float peak and errs more: 3.7e-5 of the largest element at [8, 64, 64, 512], and 9.3e-5 at [8, 128,
// 128, 256] where the plain engine errs by 1.0e-5. That looks like Winograd in float; cuDNN does not say. The
// limit keeps it from the larger shape. Bounding the workspace by the operands' own size would shut it out.
//
// With ONEMODEL_CUDA_LOG set in the environment, each choice is one line on stderr.
#pragma once

#include <array>
#include <compare>
#include <map>
#include <memory>
#include <mutex>

#include "tensor/cuda/conv_direct.h"
#include "tensor/cuda/cuda_backend.h"

struct cudnnContext;  // cudnn.h stays in conv_plans.cpp

namespace om::cuda {

class ConvPlans {
 public:
  static constexpr std::size_t kWorkspaceLimit = std::size_t{512} << 20;

  explicit ConvPlans(CudaBackend& backend);
  ~ConvPlans();
  ConvPlans(const ConvPlans&) = delete;
  ConvPlans& operator=(const ConvPlans&) = delete;

  /// Enqueues the convolution; false where cuDNN has no engine that qualifies.
  bool run(const ConvArrays& arrays, const Conv2dParams& params);

 private:
  struct Plan;
  struct Key {
    ConvKind kind;
    DType dtype;
    Math math;
    std::array<std::int64_t, 16> sizes;
    auto operator<=>(const Key&) const = default;
  };

  std::unique_ptr<Plan> choose(const Key& key);

  CudaBackend& backend_;
  std::mutex mutex_;
  cudnnContext* handle_ = nullptr;
  /// Plans are never dropped: a captured graph runs kernels that a plan owns. Null: no engine qualifies.
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace om::cuda
