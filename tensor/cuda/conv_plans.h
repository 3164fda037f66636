// cuDNN's convolutions through its graph interface: one execution plan per kind, shape, dtype and precision.
//
// Engines. The heuristics suggest some, best first. Those that are deterministic and compute as precisely as
// asked are timed on the very arrays of the first call, which a convolution only reads or overwrites: a few
// at most, and none after one that comes near what the card can do. Workspace counts as time, so that a
// little speed does not cost much memory. The choice is kept in a file (plan_file.h) and not made again: not
// in the next run on this card and cuDNN, and not where a run was given its own file (set_plan_folder).
//
// A result in f32 of bf16 operands, and any weight gradient, is also looked for as a graph of two operations:
// the convolution, and a copy of its virtual float result. cuDNN 9.19 splits the sum over pixels among
// multiprocessors for that graph, but not for the convolution alone (bf16 to f32, 256 to 256 channels at [8,
// 128, 128]: 0.24 ms against 0.65).
//
// Precision. Strict f32 admits no engine that cuDNN marks as using tensor cores (they would round operands to
// tf32), FFT or large Winograd tiles. One weight gradient engine (17 in cuDNN 9.19) bears no mark, yet needs
// a workspace larger than its operands, outruns the card's float peak and errs more: 9.3e-5 of the largest
// element at [8, 128, 128, 256] where the plain engine errs by 1.0e-5. That looks like Winograd in float;
// cuDNN does not say. So strict f32 weight gradients also admit no workspace larger than the operands.
//
// Making a plan takes a millisecond, or a quarter of a second where the engine is compiled for the graph:
// such plans are kept as cuDNN writes them down, a file each, in a folder beside the plan file.
//
// A convolution with an epilogue is one graph too, where that pays: it is timed against the convolution and a
// pass of ours, and its first result is compared with theirs before it is trusted.
//
// While a graph is captured nothing can be timed: an unknown shape takes the first suggestion then, which is
// not kept. Run what is to be captured once before.
//
// With ONEMODEL_CUDA_LOG set in the environment, each choice is one line on stderr.
#pragma once

#include <array>
#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tensor/cuda/conv_problem.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/plan_file.h"

namespace om::cuda {

class ConvPlans {
 public:
  explicit ConvPlans(CudaBackend& backend);
  ~ConvPlans();
  ConvPlans(const ConvPlans&) = delete;
  ConvPlans& operator=(const ConvPlans&) = delete;

  /// Enqueues the convolution; false where cuDNN has no engine that qualifies. Of one with an epilogue: false
  /// where a convolution and a pass behind it are as fast; `apart` enqueues them, with their result at an
  /// address, to be timed and to compare the results of the first call.
  using Apart = std::function<void(void* y)>;
  bool run(const ConvArrays& arrays, const Conv2dParams& params, const Apart& apart = {});

  /// Bytes that run() would take while the convolution runs; nothing where its engine was never chosen, or
  /// where there may be none. Looks at no array.
  std::optional<std::size_t> workspace(const ConvArrays& arrays, const Conv2dParams& params);

 private:
  struct Plan;
  struct Key {
    ConvKind kind;
    DType dtype, result;
    Math math;
    std::array<std::int64_t, 16> sizes;
    int epilogue;  // which operands it has, as bits
    double slope;
    auto operator<=>(const Key&) const = default;
  };
  using Plans = std::map<Key, std::unique_ptr<Plan>>;

  static Key key_of(const ConvArrays& arrays, const Conv2dParams& params);
  Plans::iterator add(const Key& key, const ConvProblem& problem, const Apart& apart);
  /// What a file says of a convolution: a plan, or null where two kernels are faster; nothing where none
  /// does.
  std::optional<std::unique_ptr<Plan>> from_files(const ConvProblem& problem);
  std::unique_ptr<Plan> find_or_choose(const ConvProblem& problem, const Apart& apart);
  bool pays(const Plan* plan, const ConvProblem& problem, const Apart& apart);
  void keep(const std::string& name, const Engine& engine);
  std::unique_ptr<Plan> choose(const ConvProblem& problem);
  std::unique_ptr<Plan> plan_of(const ConvProblem& problem, Descriptor configuration, bool copied);
  /// The plan of an engine that a file names; from the store where that has it. Null: not for this problem.
  std::unique_ptr<Plan> plan_of(const ConvProblem& problem, const Engine& engine);
  std::string stored_at(const std::string& line) const;
  std::unique_ptr<Plan> from_store(const std::string& line, const Engine& engine);
  /// Puts a plan into the store if it took long to make.
  void store(const std::string& line, const Plan& plan);
  bool execute(const Plan& plan, const ConvArrays& arrays, void* workspace);
  /// Microseconds a call; infinity where it does not run, or takes more than `most`.
  double time(const std::function<bool()>& run, double most);
  double time(const Plan& plan, const ConvArrays& arrays, double most);
  void open_files();

  CudaBackend& backend_;
  std::recursive_mutex mutex_;  // what is timed apart comes back here
  cudnnHandle_t handle_ = nullptr;
  PlanFile shared_, own_;  // the cache's, and the one that set_plan_folder names
  std::string own_folder_;
  std::string store_;      // a folder beside the cache's file; empty: none
  bool searched_ = false;  // the line that says so was printed
  /// Null: no engine qualifies.
  Plans plans_;
  /// Plans are never dropped: a captured graph runs kernels that a plan owns.
  std::vector<Plans> retired_;
};

}  // namespace om::cuda
