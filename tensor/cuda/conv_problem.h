// A convolution for cuDNN: its name, what follows from its sizes, which engines it admits (conv_plans.h says
// why), and its operation graph with what stands behind it. (Of coefficients per sample, [N, 1, 1, C] with N
// > 1, cuDNN 9.19 makes plans that read beyond the array: ConvEpilogue has none.)
#pragma once

#include <string>
#include <vector>

#include "tensor/cuda/conv_direct.h"
#include "tensor/cuda/cudnn.h"

namespace om::cuda {

struct ConvProblem {
  /// The arguments must outlive it.
  ConvProblem(const ConvArrays& arrays, const Conv2dParams& params);

  double flops() const;
  /// Of all operands.
  std::int64_t bytes() const;
  bool admits(const Engine& engine) const;
  bool admits_workspace(std::int64_t workspace) const;

  /// The forms of the graph that are worth a search, the likelier first: alone, or with the result copied.
  std::vector<bool> forms() const;
  Descriptor graph(cudnnHandle_t handle, bool copied) const;

  /// Every array that the graph reads or writes, and its unique id.
  struct Pointers {
    std::vector<std::int64_t> ids;
    std::vector<void*> data;
  };
  static Pointers pointers(const ConvArrays& arrays);

  const ConvArrays& arrays;
  const Conv2dParams& params;
  std::string name;  // in the plan file and in the log

 private:
  DType dtype_of(ConvKind role) const { return role == arrays.kind ? arrays.result : arrays.dtype; }
  void append_epilogue(const Descriptor& convolved, std::vector<Descriptor>& operations) const;
};

}  // namespace om::cuda
