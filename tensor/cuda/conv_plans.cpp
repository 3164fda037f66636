#include "tensor/cuda/conv_plans.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

#include "tensor/cuda/check.h"
#include "tensor/registry.h"

namespace om::cuda {
namespace {

constexpr std::int64_t kX = 'x', kW = 'w', kY = 'y', kVirtual = 'v';  // unique ids of the operands
constexpr std::size_t kMostTimed = 8;
constexpr double kLongestSearch = 0.6;  // seconds a convolution, but for the engine in hand when it ends
constexpr double kNearEnough = 1.2;     // times what the card could do at best
/// A workspace of this size counts as much as the time of the convolution itself.
constexpr double kWorkspaceWeight = 8e9;

struct OperationNames {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, w, y, convolution, alpha, beta;
};

OperationNames names_of(ConvKind kind) {
  switch (kind) {
    case ConvKind::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvKind::input_grad:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvKind::weight_grad: break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

bool logs() {
  static const bool wanted = std::getenv("ONEMODEL_CUDA_LOG") != nullptr;
  return wanted;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::int64_t bytes_of(const Shape& shape, DType dtype) {
  return shape.elements() * static_cast<std::int64_t>(size_of(dtype));
}

/// Two points of the card's queue, for the time between them.
class Stopwatch {
 public:
  Stopwatch() {
    for (cudaEvent_t& event : events_) check(cudaEventCreate(&event), "cudaEventCreate");
  }
  ~Stopwatch() {
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  void mark(int which, cudaStream_t stream) {
    check(cudaEventRecord(events_[which], stream), "cudaEventRecord");
  }
  double microseconds() {
    check(cudaEventSynchronize(events_[1]), "an earlier kernel failed");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[0], events_[1]), "cudaEventElapsedTime");
    return milliseconds * 1e3;
  }

 private:
  cudaEvent_t events_[2] = {};
};

}  // namespace

/// A convolution and what follows from its sizes.
struct ConvPlans::Problem {
  Problem(const ConvArrays& of, const Conv2dParams& with) : arrays(of), params(with) {
    constexpr const char* kKinds[] = {"conv2d", "conv2d_input_grad", "conv2d_weight_grad"};
    const bool tf32 = params.math == Math::tf32 && arrays.dtype == DType::f32;
    name =
        text(kKinds[static_cast<int>(arrays.kind)], ' ', name_of(arrays.dtype), tf32 ? " tf32" : "", " to ",
             name_of(arrays.result), " x ", arrays.x_shape, " w ", arrays.w_shape, " y ", arrays.y_shape,
             " stride ", params.stride_h, ' ', params.stride_w, " pad ", params.pad_h, ' ', params.pad_w);
  }

  DType dtype_of(ConvKind role) const { return role == arrays.kind ? arrays.result : arrays.dtype; }
  std::int64_t bytes() const {
    return bytes_of(arrays.x_shape, dtype_of(ConvKind::input_grad)) +
           bytes_of(arrays.w_shape, dtype_of(ConvKind::weight_grad)) +
           bytes_of(arrays.y_shape, dtype_of(ConvKind::forward));
  }
  double flops() const {
    const Shape &w = arrays.w_shape, &y = arrays.y_shape;
    return 2.0 * static_cast<double>(y.elements()) * static_cast<double>(w[1] * w[2] * w[3]);
  }

  bool admits(const Engine& engine) const {
    if (engine.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ||
        engine.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION))
      return false;
    if (arrays.dtype == DType::bf16) return true;
    if (engine.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return false;
    return params.math == Math::tf32 ||
           !(engine.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) || engine.has(CUDNN_NUMERICAL_NOTE_FFT) ||
             engine.has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6) ||
             engine.has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13));
  }
  bool admits_workspace(std::int64_t workspace) const {
    return arrays.kind != ConvKind::weight_grad || arrays.dtype == DType::bf16 || params.math == Math::tf32 ||
           workspace <= bytes();
  }

  /// The forms of the graph that are worth a search, the likelier first: alone, or copied (conv_plans.h).
  std::vector<bool> forms() const {
    if (arrays.dtype != arrays.result) return {true, false};
    if (arrays.kind == ConvKind::weight_grad && params.math == Math::tf32) return {false, true};
    return {false};
  }

  /// The convolution as a graph, alone or with its result copied.
  Descriptor graph(cudnnHandle_t handle, bool copied) const {
    const std::pair<ConvKind, const Shape*> roles[3] = {{ConvKind::input_grad, &arrays.x_shape},
                                                        {ConvKind::weight_grad, &arrays.w_shape},
                                                        {ConvKind::forward, &arrays.y_shape}};
    constexpr std::int64_t kIds[3] = {kX, kW, kY};
    std::vector<Descriptor> operands;
    for (int i = 0; i < 3; ++i) {
      const auto& [role, shape] = roles[i];
      const bool through = copied && role == arrays.kind;
      operands.push_back(image(through ? kVirtual : kIds[i], through ? DType::f32 : dtype_of(role),
                               shape->begin(), through));
    }
    const std::int64_t dilations[2] = {1, 1};
    const std::int64_t strides[2] = {params.stride_h, params.stride_w},
                       pads[2] = {params.pad_h, params.pad_w};
    Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::int64_t{2});
    convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, dilations, 2);
    convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, strides, 2);
    convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, pads, 2);
    convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, pads, 2);
    convolution.finalize();

    const OperationNames names = names_of(arrays.kind);
    std::vector<Descriptor> operations;
    operations.emplace_back(names.type);
    Descriptor& operation = operations.back();
    operation.set(names.x, operands[0]);
    operation.set(names.w, operands[1]);
    operation.set(names.y, operands[2]);
    operation.set(names.convolution, convolution);
    operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0F);
    operation.set(names.beta, CUDNN_TYPE_FLOAT, 0.0F);
    operation.finalize();
    for (int i = 0; copied && i < 3; ++i) {
      const auto& [role, shape] = roles[i];
      if (role != arrays.kind) continue;
      const Descriptor result = image(kIds[i], arrays.result, shape->begin());
      operations.push_back(
          pointwise(CUDNN_POINTWISE_IDENTITY, operands[static_cast<std::size_t>(i)], nullptr, result));
    }

    Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
    graph.finalize();
    return graph;
  }

  const ConvArrays& arrays;
  const Conv2dParams& params;
  std::string name;  // in the plan file and in the log
};

struct ConvPlans::Plan {
  Descriptor plan{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
  std::int64_t workspace = 0;
  Engine engine;
};

ConvPlans::ConvPlans(CudaBackend& backend) : backend_(backend) {}

ConvPlans::~ConvPlans() {
  plans_.clear();
  retired_.clear();
  if (handle_ != nullptr) cudnn().destroy(handle_);
}

/// Null where the configuration does not make a plan for this problem.
std::unique_ptr<ConvPlans::Plan> ConvPlans::plan_of(const Problem& problem, Descriptor configuration,
                                                    bool copied) {
  auto plan = std::make_unique<Plan>();
  plan->engine = engine_of(configuration);
  plan->engine.copied = copied;
  if (!problem.admits(plan->engine)) return nullptr;
  plan->plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_);
  plan->plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
  if (!plan->plan.try_finalize()) return nullptr;
  plan->plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &plan->workspace, 1);
  return problem.admits_workspace(plan->workspace) ? std::move(plan) : nullptr;
}

bool ConvPlans::execute(const Plan& plan, const ConvArrays& arrays, void* workspace) {
  const std::int64_t ids[3] = {kX, kW, kY};
  void* const pointers[3] = {arrays.x, arrays.w, arrays.y};
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids, 3);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers, 3);
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  pack.finalize();
  return cudnn().execute(handle_, plan.plan.handle(), pack.handle()) == CUDNN_STATUS_SUCCESS;
}

double ConvPlans::time(const Plan& plan, const ConvArrays& arrays, double most) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  try {
    const Scratch workspace(backend_, static_cast<std::size_t>(plan.workspace));
    const auto run = [&] { return execute(plan, arrays, workspace.data()); };
    Stopwatch watch;
    const auto measure = [&](int calls) {
      watch.mark(0, backend_.stream());
      for (int i = 0; i < calls; ++i) run();
      watch.mark(1, backend_.stream());
      return watch.microseconds() / calls;
    };
    if (!run()) return kNever;  // the first call loads the kernel
    const double once = measure(1);
    if (once > 2 * most) return kNever;
    const int calls = once > 1000 ? 2 : once > 200 ? 5 : 12;
    double best = measure(calls);
    for (int round = 0; round < 2; ++round) best = std::min(best, measure(calls));
    return best;
  } catch (const OutOfMemory&) {
    return kNever;
  }
}

std::unique_ptr<ConvPlans::Plan> ConvPlans::choose(const Problem& problem) {
  const bool timed = !backend_.capturing();
  if (timed && !searched_) {
    std::fprintf(stderr, "cuda: timing convolution engines for this card, once%s%s\n",
                 shared_.path().empty() ? "" : "; kept in ", shared_.path().c_str());
    searched_ = true;
  }
  const double operations = backend_.peak_flops(problem.arrays.dtype, problem.params.math);
  const double bound = 1e6 * std::max(problem.flops() / operations,
                                      static_cast<double>(problem.bytes()) / backend_.peak_bandwidth());
  const auto start = std::chrono::steady_clock::now();
  const auto cost = [](double time, const Plan& plan) {
    return time * (1 + static_cast<double>(plan.workspace) / kWorkspaceWeight);
  };
  std::unique_ptr<Plan> best;
  double best_time = std::numeric_limits<double>::infinity();
  std::size_t all = 0;
  const auto enough = [&](std::size_t tried) {
    return best != nullptr &&
           (tried >= kMostTimed || seconds_since(start) > kLongestSearch || best_time < kNearEnough * bound);
  };
  const auto consider = [&](std::vector<Descriptor> configurations, bool copied) {
    std::size_t tried = 0;
    for (Descriptor& configuration : configurations) {
      if (enough(tried)) return;
      std::unique_ptr<Plan> plan = plan_of(problem, std::move(configuration), copied);
      if (plan == nullptr) continue;
      ++tried, ++all;
      const double took = timed ? time(*plan, problem.arrays, best_time) : 0;
      if (took == std::numeric_limits<double>::infinity()) continue;
      if (best == nullptr || cost(took, *plan) < cost(best_time, *best)) {
        best = std::move(plan);
        best_time = took;
      }
      if (!timed) return;
    }
  };
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    if (best != nullptr) break;
    for (const bool copied : problem.forms()) {
      if (best != nullptr && !timed) break;
      try {
        consider(suggestions(problem.graph(handle_, copied), mode), copied);
      } catch (const OutOfMemory&) {
        throw;
      } catch (const Error& error) {  // cuDNN cannot express this form
        if (logs()) std::fprintf(stderr, "cuda: %s: %s\n", problem.name.c_str(), error.what());
      }
    }
  }
  if (logs() && best != nullptr)
    std::fprintf(
        stderr,
        "cuda: %s: engine %lld%s, notes %u, workspace %lld, %.1f us (bound %.1f), best of %zu in %.2f s\n",
        problem.name.c_str(), static_cast<long long>(best->engine.number),
        best->engine.copied ? " copied" : "", best->engine.notes, static_cast<long long>(best->workspace),
        best_time, bound, all, seconds_since(start));
  return best;
}

/// The files follow set_plan_folder: a run that begins later in this process has its own.
void ConvPlans::open_files() {
  if (handle_ == nullptr) {
    check(cudnn().create(&handle_), "cudnnCreate");
    check(cudnn().set_stream(handle_, backend_.stream()), "cudnnSetStream");
    const std::string cache = cache_folder();
    if (!cache.empty()) shared_ = PlanFile(cache + '/' + backend_.plan_file_name());
  }
  const std::string folder = plan_folder();
  if (folder == own_folder_) return;
  own_folder_ = folder;
  own_ = folder.empty() ? PlanFile() : PlanFile(folder + '/' + backend_.plan_file_name());
  if (!plans_.empty()) retired_.push_back(std::exchange(plans_, {}));  // what another run chose
}

/// The plan that a file names, made; null where none does.
std::unique_ptr<ConvPlans::Plan> ConvPlans::from_files(const Problem& problem) {
  for (const PlanFile* file : {&own_, &shared_}) {
    const Engine* engine = file->find(problem.name);
    if (engine == nullptr) continue;
    try {
      const Descriptor graph = problem.graph(handle_, engine->copied);
      std::unique_ptr<Plan> plan = plan_of(problem, configuration_of(graph, *engine), engine->copied);
      if (plan == nullptr) continue;
      if (file != &own_ && !own_folder_.empty()) own_.keep(problem.name, plan->engine);
      return plan;
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error&) {  // a line of the file that does not fit: choose again
    }
  }
  return nullptr;
}

std::unique_ptr<ConvPlans::Plan> ConvPlans::find_or_choose(const Problem& problem) {
  std::unique_ptr<Plan> plan = from_files(problem);
  if (plan != nullptr) return plan;
  plan = choose(problem);
  if (plan != nullptr && !backend_.capturing()) {
    shared_.keep(problem.name, plan->engine);
    if (!own_folder_.empty()) own_.keep(problem.name, plan->engine);
  }
  return plan;
}

ConvPlans::Plans::iterator ConvPlans::add(const Key& key, const Problem& problem) {
  std::unique_ptr<Plan> plan;
  std::string reason = "no engine qualifies";
  try {
    plan = find_or_choose(problem);
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {  // cuDNN cannot even express this shape
    reason = error.what();
  }
  if (plan == nullptr && logs()) std::fprintf(stderr, "cuda: %s: %s\n", problem.name.c_str(), reason.c_str());
  return plans_.emplace(key, std::move(plan)).first;
}

ConvPlans::Key ConvPlans::key_of(const ConvArrays& arrays, const Conv2dParams& params) {
  Key key{arrays.kind, arrays.dtype, arrays.result, params.math, {}};
  auto next = key.sizes.begin();
  for (const Shape* shape : {&arrays.x_shape, &arrays.w_shape, &arrays.y_shape})
    next = std::copy(shape->begin(), shape->end(), next);
  for (const std::int64_t size : {params.stride_h, params.stride_w, params.pad_h, params.pad_w})
    *next++ = size;
  return key;
}

std::optional<std::size_t> ConvPlans::workspace(const ConvArrays& arrays, const Conv2dParams& params) {
  const Key key = key_of(arrays, params);
  const std::lock_guard lock(mutex_);
  open_files();
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    std::unique_ptr<Plan> plan = from_files(Problem(arrays, params));
    if (plan == nullptr) return std::nullopt;
    found = plans_.emplace(key, std::move(plan)).first;
  }
  return found->second == nullptr ? 0 : static_cast<std::size_t>(found->second->workspace);
}

bool ConvPlans::run(const ConvArrays& arrays, const Conv2dParams& params) {
  const Key key = key_of(arrays, params);
  const std::lock_guard lock(mutex_);
  open_files();
  auto found = plans_.find(key);
  if (found == plans_.end()) found = add(key, Problem(arrays, params));
  if (found->second == nullptr) return false;
  const Plan& plan = *found->second;
  const Scratch workspace(backend_, static_cast<std::size_t>(plan.workspace));
  if (!execute(plan, arrays, workspace.data()))
    fail("cuda: cuDNN could not run ", Problem(arrays, params).name);
  return true;
}

}  // namespace om::cuda
