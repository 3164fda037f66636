#include "tensor/cuda/conv_plans.h"

#include <cudnn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "tensor/cuda/check.h"

namespace om::cuda {
namespace {

void check(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS) fail("cuda: cuDNN: ", call, ": ", cudnnGetErrorString(status));
}

/// One of cuDNN's opaque objects: created, given attributes, finalized, read.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check(cudnnBackendCreateDescriptor(type, &handle_), "cudnnBackendCreateDescriptor");
  }
  ~Descriptor() {
    if (handle_ != nullptr) cudnnBackendDestroyDescriptor(handle_);
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T* values,
           std::int64_t count) {
    check(cudnnBackendSetAttribute(handle_, name, type, count, values), "cudnnBackendSetAttribute");
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set(name, type, &value, 1);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.handle_);
  }
  /// Reads up to `most` values; descriptors among them must exist already. Returns how many there were.
  template <class T>
  std::int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T* values,
                   std::int64_t most) const {
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(handle_, name, type, most, &count, values), "cudnnBackendGetAttribute");
    return std::min(count, most);
  }
  bool try_finalize() { return cudnnBackendFinalize(handle_) == CUDNN_STATUS_SUCCESS; }
  void finalize() { check(cudnnBackendFinalize(handle_), "cudnnBackendFinalize"); }
  cudnnBackendDescriptor_t handle() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

constexpr std::int64_t kX = 'x', kW = 'w', kY = 'y';  // unique ids of the operands
constexpr std::int64_t kMostConfigurations = 32;

cudnnDataType_t cudnn_type(DType dtype) {
  return dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/// cuDNN names dimensions N, C, H, W whatever the layout; the strides say NHWC.
Descriptor image(std::int64_t id, DType dtype, const std::int64_t* nhwc) {
  const std::int64_t n = nhwc[0], h = nhwc[1], w = nhwc[2], c = nhwc[3];
  const std::int64_t dimensions[4] = {n, c, h, w};
  const std::int64_t strides[4] = {h * w * c, 1, w * c, c};
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, cudnn_type(dtype));
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, dimensions, 4);
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides, 4);
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, std::int64_t{16});
  tensor.finalize();
  return tensor;
}

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

/// The notes of an engine configuration as bits, and its engine's number.
struct EngineNotes {
  std::uint32_t numerical = 0;
  std::int64_t number = -1;
  bool has(cudnnBackendNumericalNote_t note) const { return (numerical >> note & 1U) != 0; }
};

EngineNotes notes_of(const Descriptor& configuration) {
  const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.handle();
  configuration.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, &handle, 1);
  EngineNotes notes;
  cudnnBackendNumericalNote_t found[CUDNN_NUMERICAL_NOTE_TYPE_COUNT] = {};
  const std::int64_t count = engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, found,
                                        static_cast<std::int64_t>(CUDNN_NUMERICAL_NOTE_TYPE_COUNT));
  for (std::int64_t i = 0; i < count; ++i) notes.numerical |= 1U << found[i];
  engine.get(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, &notes.number, 1);
  return notes;
}

bool qualifies(const EngineNotes& notes, DType dtype, Math math) {
  if (notes.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ||
      notes.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION))
    return false;
  if (dtype == DType::bf16) return true;
  if (notes.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return false;
  if (math == Math::tf32) return true;
  return !notes.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) && !notes.has(CUDNN_NUMERICAL_NOTE_FFT) &&
         !notes.has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6) &&
         !notes.has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13);
}

std::vector<Descriptor> suggestions(const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  if (!heuristics.try_finalize()) return {};
  std::vector<Descriptor> configurations;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (std::int64_t i = 0; i < kMostConfigurations; ++i) {
    configurations.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    handles.push_back(configurations.back().handle());
  }
  const std::int64_t count = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                            handles.data(), kMostConfigurations);
  configurations.erase(configurations.begin() + count, configurations.end());
  return configurations;
}

}  // namespace

struct ConvPlans::Plan {
  std::vector<Descriptor> kept;  // what the plan was made of
  Descriptor plan{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
  std::int64_t workspace = 0;
  EngineNotes notes;
};

ConvPlans::ConvPlans(CudaBackend& backend) : backend_(backend) {}

ConvPlans::~ConvPlans() {
  plans_.clear();
  if (handle_ != nullptr) cudnnDestroy(handle_);
}

std::unique_ptr<ConvPlans::Plan> ConvPlans::choose(const Key& key) {
  const std::int64_t* const sizes = key.sizes.data();
  Descriptor x = image(kX, key.dtype, sizes), w = image(kW, key.dtype, sizes + 4),
             y = image(kY, key.dtype, sizes + 8);

  const std::int64_t dilations[2] = {1, 1};
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::int64_t{2});
  convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, dilations, 2);
  convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, sizes + 12, 2);
  convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, sizes + 14, 2);
  convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, sizes + 14, 2);
  convolution.finalize();

  const OperationNames names = names_of(key.kind);
  Descriptor operation(names.type);
  operation.set(names.x, x);
  operation.set(names.w, w);
  operation.set(names.y, y);
  operation.set(names.convolution, convolution);
  operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0F);
  operation.set(names.beta, CUDNN_TYPE_FLOAT, 0.0F);
  operation.finalize();

  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle_);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  graph.finalize();

  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (Descriptor& configuration : suggestions(graph, mode)) {
      const EngineNotes notes = notes_of(configuration);
      if (!qualifies(notes, key.dtype, key.math)) continue;
      auto chosen = std::make_unique<Plan>();
      chosen->plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_);
      chosen->plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
      if (!chosen->plan.try_finalize()) continue;
      chosen->plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &chosen->workspace, 1);
      if (chosen->workspace > static_cast<std::int64_t>(kWorkspaceLimit)) continue;
      chosen->notes = notes;
      for (Descriptor* part : {&x, &w, &y, &convolution, &operation, &graph, &configuration})
        chosen->kept.push_back(std::move(*part));
      return chosen;
    }
  }
  return nullptr;
}

bool ConvPlans::run(const ConvArrays& arrays, const Conv2dParams& params) {
  Key key{arrays.kind, arrays.dtype, params.math, {}};
  auto next = key.sizes.begin();
  for (const Shape* shape : {&arrays.x_shape, &arrays.w_shape, &arrays.y_shape})
    next = std::copy(shape->begin(), shape->end(), next);
  for (const std::int64_t size : {params.stride_h, params.stride_w, params.pad_h, params.pad_w})
    *next++ = size;

  const std::lock_guard lock(mutex_);
  if (handle_ == nullptr) {
    check(cudnnCreate(&handle_), "cudnnCreate");
    check(cudnnSetStream(handle_, backend_.stream()), "cudnnSetStream");
  }
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    std::unique_ptr<Plan> plan;
    std::string reason = "no engine qualifies";
    try {
      plan = choose(key);
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error& error) {  // cuDNN cannot even express this shape
      reason = error.what();
    }
    if (std::getenv("ONEMODEL_CUDA_LOG") != nullptr) {
      constexpr const char* kKinds[] = {"conv2d", "conv2d_input_grad", "conv2d_weight_grad"};
      std::fprintf(stderr, "cuda: %s\n",
                   text(kKinds[static_cast<int>(arrays.kind)], " x ", arrays.x_shape, " w ", arrays.w_shape,
                        " y ", arrays.y_shape, " stride ", params.stride_h, " pad ", params.pad_h, ' ',
                        name_of(arrays.dtype), params.math == Math::tf32 ? " tf32" : "", ": ",
                        plan ? text("engine ", plan->notes.number, ", notes ", plan->notes.numerical,
                                    ", workspace ", plan->workspace)
                             : reason)
                       .c_str());
    }
    found = plans_.emplace(key, std::move(plan)).first;
  }
  if (found->second == nullptr) return false;
  const Plan& plan = *found->second;

  const Scratch workspace(backend_, static_cast<std::size_t>(plan.workspace));
  const std::int64_t ids[3] = {kX, kW, kY};
  void* const pointers[3] = {arrays.x, arrays.w, arrays.y};
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids, 3);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers, 3);
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace.data());
  pack.finalize();
  check(cudnnBackendExecute(handle_, plan.plan.handle(), pack.handle()), "cudnnBackendExecute");
  return true;
}

}  // namespace om::cuda
