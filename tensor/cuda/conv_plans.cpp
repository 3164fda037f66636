#include "tensor/cuda/conv_plans.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <vector>

#include "tensor/cache_folder.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_epilogue.h"
#include "tensor/registry.h"

namespace om::cuda {
namespace {

/// How many engines are timed, and for how long (seconds, but for the one in hand when they end).
struct Search {
  std::size_t most;
  double seconds;
};
constexpr Search kSearch = {8, 0.6};
/// With more than a bias and a relu behind it in tf32 the fast engine is none of the first. A search of 32
/// engines and 3 s for every shape took 50 s and made batch 1 3.4% faster on an H200 (2.07 to 2.00 ms); what
/// won at 64 x 64 pixels and above was one tile, which is looked at first (2.05 to 2.004 ms, in 25 s).
constexpr Search kSearchOfEpilogues = {20, 1.4};
constexpr std::int64_t kTileEngine = 4, kTileKnob = 24, kTile = 2, kTilePixels = 64 * 64;

constexpr double kNearEnough = 1.2;   // times what the card could do at best
constexpr double kLongToMake = 0.02;  // seconds; a plan that took longer is kept whole
constexpr double kNever = std::numeric_limits<double>::infinity();
/// A workspace of this size counts as much as the time of the convolution itself.
constexpr double kWorkspaceWeight = 8e9;

bool logs() {
  static const bool wanted = std::getenv("ONEMODEL_CUDA_LOG") != nullptr;
  return wanted;
}

/// For the plan file: two kernels are faster.
Engine apart_engine() {
  Engine engine;
  engine.number = 0;
  engine.apart = true;
  return engine;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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

bool searched_longer(const ConvArrays& arrays) {
  return arrays.epilogue != nullptr && arrays.dtype == DType::f32;
}

bool hoped_for(const ConvArrays& arrays, const Descriptor& configuration) {
  const ConvEpilogue& epilogue = *arrays.epilogue;
  if (epilogue.scale.data == nullptr && epilogue.residual.data == nullptr) return false;
  if (arrays.y_shape[1] * arrays.y_shape[2] < kTilePixels) return false;
  const Engine engine = engine_of(configuration);
  const auto& knobs = engine.knobs;
  return engine.number == kTileEngine &&
         std::find(knobs.begin(), knobs.end(), std::pair{kTileKnob, kTile}) != knobs.end();
}

}  // namespace

struct ConvPlans::Plan {
  Descriptor plan{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
  std::int64_t workspace = 0;
  Engine engine;
  double time = 0;     // microseconds a call, where it was timed
  double to_make = 0;  // seconds, where it was not read
};

ConvPlans::ConvPlans(CudaBackend& backend) : backend_(backend) {}

ConvPlans::~ConvPlans() {
  plans_.clear();
  retired_.clear();
  if (handle_ != nullptr) cudnn().destroy(handle_);
}

/// Null where the configuration does not make a plan for this problem.
std::unique_ptr<ConvPlans::Plan> ConvPlans::plan_of(const ConvProblem& problem, Descriptor configuration,
                                                    bool copied) {
  auto plan = std::make_unique<Plan>();
  plan->engine = engine_of(configuration);
  plan->engine.copied = copied;
  if (!problem.admits(plan->engine)) return nullptr;
  plan->plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_);
  plan->plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
  const auto start = std::chrono::steady_clock::now();
  if (!plan->plan.try_finalize()) return nullptr;
  plan->to_make = seconds_since(start);
  plan->plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &plan->workspace, 1);
  return problem.admits_workspace(plan->workspace) ? std::move(plan) : nullptr;
}

std::unique_ptr<ConvPlans::Plan> ConvPlans::plan_of(const ConvProblem& problem, const Engine& engine) {
  const std::string line = line_of(problem.name, engine);
  if (auto plan = from_store(line, engine)) return plan;
  const Descriptor graph = problem.graph(handle_, engine.copied);
  std::unique_ptr<Plan> plan = plan_of(problem, configuration_of(graph, engine), engine.copied);
  if (plan != nullptr) store(line, *plan);
  return plan;
}

std::string ConvPlans::stored_at(const std::string& line) const {
  return store_ + '/' + cache_hash(line) + ".plan";
}

std::unique_ptr<ConvPlans::Plan> ConvPlans::from_store(const std::string& line, const Engine& engine) {
  if (store_.empty()) return nullptr;
  const std::optional<std::string> text = read_cached(stored_at(line), line);
  if (!text) return nullptr;
  const auto start = std::chrono::steady_clock::now();
  auto plan = std::make_unique<Plan>();
  plan->engine = engine;
  try {
    plan->plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_);
    plan->plan.set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, text->data(),
                   static_cast<std::int64_t>(text->size()));
    plan->plan.finalize();
    plan->plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &plan->workspace, 1);
  } catch (const Error& error) {  // made anew instead
    if (logs()) std::fprintf(stderr, "cuda: %s: kept plan not read: %s\n", line.c_str(), error.what());
    return nullptr;
  }
  if (logs())
    std::fprintf(stderr, "cuda: %s: read in %.3f s, %zu bytes\n", line.c_str(), seconds_since(start),
                 text->size());
  return plan;
}

void ConvPlans::store(const std::string& line, const Plan& plan) {
  if (plan.to_make < kLongToMake || store_.empty()) return;
  try {
    std::int64_t size = 0;
    check(cudnn().get_attribute(plan.plan.handle(), CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                CUDNN_TYPE_CHAR, 0, &size, nullptr),
          "cudnnBackendGetAttribute");
    std::string text(static_cast<std::size_t>(size), '\0');
    text.resize(static_cast<std::size_t>(
        plan.plan.get(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, text.data(), size)));
    keep_cached(stored_at(line), line, text);
  } catch (const Error& error) {  // cuDNN does not write down every engine's plan
    if (logs()) std::fprintf(stderr, "cuda: %s: plan not kept: %s\n", line.c_str(), error.what());
  }
  if (logs()) std::fprintf(stderr, "cuda: %s: made in %.3f s\n", line.c_str(), plan.to_make);
}

bool ConvPlans::execute(const Plan& plan, const ConvArrays& arrays, void* workspace) {
  const ConvProblem::Pointers pointers = ConvProblem::pointers(arrays);
  const auto count = static_cast<std::int64_t>(pointers.ids.size());
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, pointers.ids.data(), count);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers.data.data(), count);
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  pack.finalize();
  return cudnn().execute(handle_, plan.plan.handle(), pack.handle()) == CUDNN_STATUS_SUCCESS;
}

double ConvPlans::time(const std::function<bool()>& run, double most) {
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
}

double ConvPlans::time(const Plan& plan, const ConvArrays& arrays, double most) {
  try {
    const Scratch workspace(backend_, static_cast<std::size_t>(plan.workspace));
    return time([&] { return execute(plan, arrays, workspace.data()); }, most);
  } catch (const OutOfMemory&) {
    return kNever;
  }
}

std::unique_ptr<ConvPlans::Plan> ConvPlans::choose(const ConvProblem& problem) {
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
  double best_time = kNever;
  std::size_t all = 0;
  const bool longer = searched_longer(problem.arrays);
  const Search& search = longer ? kSearchOfEpilogues : kSearch;
  const auto enough = [&](std::size_t tried) {
    return best != nullptr &&
           (tried >= search.most || seconds_since(start) > search.seconds || best_time < kNearEnough * bound);
  };
  const auto consider = [&](std::vector<Descriptor> configurations, bool copied) {
    std::size_t tried = 0;
    if (longer)
      std::stable_partition(
          configurations.begin(), configurations.end(),
          [&](const Descriptor& configuration) { return hoped_for(problem.arrays, configuration); });
    for (Descriptor& configuration : configurations) {
      if (enough(tried)) return;
      std::unique_ptr<Plan> plan = plan_of(problem, std::move(configuration), copied);
      if (plan == nullptr) continue;
      ++tried, ++all;
      const double took = timed ? time(*plan, problem.arrays, best_time) : 0;
      if (took == kNever) continue;
      if (best == nullptr || cost(took, *plan) < cost(best_time, *best)) {
        best = std::move(plan);
        best->time = best_time = took;
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
    if (!cache.empty()) {
      shared_ = PlanFile(cache + '/' + backend_.plan_file_name());
      store_ = std::filesystem::path(shared_.path()).replace_extension("");
    }
  }
  const std::string folder = plan_folder();
  if (folder == own_folder_) return;
  own_folder_ = folder;
  own_ = folder.empty() ? PlanFile() : PlanFile(folder + '/' + backend_.plan_file_name());
  if (!plans_.empty()) retired_.push_back(std::exchange(plans_, {}));  // what another run chose
}

void ConvPlans::keep(const std::string& name, const Engine& engine) {
  shared_.keep(name, engine);
  if (!own_folder_.empty()) own_.keep(name, engine);
}

std::optional<std::unique_ptr<ConvPlans::Plan>> ConvPlans::from_files(const ConvProblem& problem) {
  for (const PlanFile* file : {&own_, &shared_}) {
    const Engine* engine = file->find(problem.name);
    if (engine == nullptr) continue;
    std::unique_ptr<Plan> plan;
    try {
      if (!engine->apart) plan = plan_of(problem, *engine);
      if (plan != nullptr || engine->apart) {
        if (file != &own_ && !own_folder_.empty()) own_.keep(problem.name, *engine);
        return plan;
      }
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error&) {  // a line of the file that does not fit: choose again
    }
  }
  return std::nullopt;
}

std::unique_ptr<ConvPlans::Plan> ConvPlans::find_or_choose(const ConvProblem& problem, const Apart& apart) {
  if (auto kept = from_files(problem)) return std::move(*kept);
  // Nothing can be compared with the two kernels while a graph is captured; they are what is trusted.
  if (problem.arrays.epilogue != nullptr && backend_.capturing()) return nullptr;
  std::unique_ptr<Plan> plan = choose(problem);
  if (problem.arrays.epilogue != nullptr && !pays(plan.get(), problem, apart)) plan.reset();
  if (backend_.capturing()) return plan;
  if (plan != nullptr) {
    keep(problem.name, plan->engine);
    store(line_of(problem.name, plan->engine), *plan);
  }
  if (plan == nullptr && problem.arrays.epilogue != nullptr) keep(problem.name, apart_engine());
  return plan;
}

/// Whether the plan gives what the two kernels give, and sooner.
bool ConvPlans::pays(const Plan* plan, const ConvProblem& problem, const Apart& apart) {
  if (plan == nullptr) return false;
  const ConvArrays& arrays = problem.arrays;
  double both = 0, difference = kNever;
  try {
    const std::size_t bytes = static_cast<std::size_t>(arrays.y_shape.elements()) * size_of(arrays.result);
    const Scratch other(backend_, bytes), workspace(backend_, static_cast<std::size_t>(plan->workspace));
    both = time(
        [&] {
          apart(other.data());
          return true;
        },
        kNever);
    if (execute(*plan, arrays, workspace.data()))
      difference = largest_difference(backend_, {arrays.y, arrays.result, arrays.y_shape},
                                      {other.data(), arrays.result, arrays.y_shape});
  } catch (const OutOfMemory&) {
    return false;
  }
  // Two roundings beside one; in tf32 the same roundings, summed in another order.
  const double allowed = arrays.dtype == DType::bf16 ? 1.0 / 64 : 1e-3;
  const bool taken = difference <= allowed && plan->time < both;
  if (logs())
    std::fprintf(stderr, "cuda: %s: one kernel %.1f us, two %.1f, difference %.1e: %s\n",
                 problem.name.c_str(), plan->time, both, difference, taken ? "one" : "two");
  return taken;
}

ConvPlans::Plans::iterator ConvPlans::add(const Key& key, const ConvProblem& problem, const Apart& apart) {
  std::unique_ptr<Plan> plan;
  std::string reason = problem.arrays.epilogue != nullptr ? "two kernels" : "no engine qualifies";
  try {
    plan = find_or_choose(problem, apart);
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {  // cuDNN cannot even express this shape
    reason = error.what();
  }
  if (plan == nullptr && logs()) std::fprintf(stderr, "cuda: %s: %s\n", problem.name.c_str(), reason.c_str());
  return plans_.emplace(key, std::move(plan)).first;
}

ConvPlans::Key ConvPlans::key_of(const ConvArrays& arrays, const Conv2dParams& params) {
  Key key{arrays.kind, arrays.dtype, arrays.result, params.math, {}, 0, 1};
  auto next = key.sizes.begin();
  for (const Shape* shape : {&arrays.x_shape, &arrays.w_shape, &arrays.y_shape})
    next = std::copy(shape->begin(), shape->end(), next);
  for (const std::int64_t size : {params.stride_h, params.stride_w, params.pad_h, params.pad_w})
    *next++ = size;
  if (const ConvEpilogue* then = arrays.epilogue) {
    const auto bit = [](const In& operand, int place) { return operand.data != nullptr ? 1 << place : 0; };
    key.epilogue = 1 | bit(then->scale, 1) | bit(then->noise, 2) | bit(then->bias, 3) |
                   bit(then->residual, 4) | bit(then->factor, 5) |
                   (then->noise.data != nullptr && then->noise.shape[0] > 1 ? 1 << 6 : 0);
    key.slope = then->slope;
  }
  return key;
}

std::optional<std::size_t> ConvPlans::workspace(const ConvArrays& arrays, const Conv2dParams& params) {
  const Key key = key_of(arrays, params);
  const std::lock_guard lock(mutex_);
  open_files();
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    auto plan = from_files(ConvProblem(arrays, params));
    if (!plan) return std::nullopt;
    found = plans_.emplace(key, std::move(*plan)).first;
  }
  return found->second == nullptr ? 0 : static_cast<std::size_t>(found->second->workspace);
}

bool ConvPlans::run(const ConvArrays& arrays, const Conv2dParams& params, const Apart& apart) {
  const Key key = key_of(arrays, params);
  const std::lock_guard lock(mutex_);
  open_files();
  auto found = plans_.find(key);
  if (found == plans_.end()) found = add(key, ConvProblem(arrays, params), apart);
  if (found->second == nullptr) return false;
  const Plan& plan = *found->second;
  const Scratch workspace(backend_, static_cast<std::size_t>(plan.workspace));
  if (!backend_.capturing()) separate_launches(backend_.stream());
  if (!execute(plan, arrays, workspace.data()))
    fail("cuda: cuDNN could not run ", ConvProblem(arrays, params).name);
  return true;
}

}  // namespace om::cuda
