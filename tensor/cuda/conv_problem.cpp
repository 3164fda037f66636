#include "tensor/cuda/conv_problem.h"

namespace om::cuda {
namespace {

// Unique ids of the operands; virtual tensors count upwards from kVirtual.
constexpr std::int64_t kX = 'x', kW = 'w', kY = 'y', kScale = 's', kNoise = 'n', kBias = 'b', kResidual = 'r',
                       kFactor = 'f', kVirtual = 1000;

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

std::int64_t bytes_of(const Shape& shape, DType dtype) {
  return shape.elements() * static_cast<std::int64_t>(size_of(dtype));
}

}  // namespace

ConvProblem::ConvProblem(const ConvArrays& of, const Conv2dParams& with) : arrays(of), params(with) {
  constexpr const char* kKinds[] = {"conv2d", "conv2d_input_grad", "conv2d_weight_grad"};
  const bool tf32 = params.math == Math::tf32 && arrays.dtype == DType::f32;
  name = text(kKinds[static_cast<int>(arrays.kind)], ' ', name_of(arrays.dtype), tf32 ? " tf32" : "", " to ",
              name_of(arrays.result), " x ", arrays.x_shape, " w ", arrays.w_shape, " y ", arrays.y_shape,
              " stride ", params.stride_h, ' ', params.stride_w, " pad ", params.pad_h, ' ', params.pad_w);
  const ConvEpilogue* const epilogue = arrays.epilogue;
  if (epilogue == nullptr) return;
  name += " then";
  if (epilogue->scale.data != nullptr) name += " scale";
  if (epilogue->noise.data != nullptr) name += text(" noise ", epilogue->noise.shape[0]);
  if (epilogue->bias.data != nullptr) name += " bias";
  if (epilogue->residual.data != nullptr) name += " residual";
  if (epilogue->slope != 1) name += text(" relu ", epilogue->slope);
  if (epilogue->factor.data != nullptr) name += " factor";
}

std::int64_t ConvProblem::bytes() const {
  return bytes_of(arrays.x_shape, dtype_of(ConvKind::input_grad)) +
         bytes_of(arrays.w_shape, dtype_of(ConvKind::weight_grad)) +
         bytes_of(arrays.y_shape, dtype_of(ConvKind::forward)) *
             (arrays.epilogue != nullptr && arrays.epilogue->residual.data != nullptr ? 2 : 1);
}

double ConvProblem::flops() const {
  const Shape &w = arrays.w_shape, &y = arrays.y_shape;
  return 2.0 * static_cast<double>(y.elements()) * static_cast<double>(w[1] * w[2] * w[3]);
}

bool ConvProblem::admits(const Engine& engine) const {
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

bool ConvProblem::admits_workspace(std::int64_t workspace) const {
  return arrays.kind != ConvKind::weight_grad || arrays.dtype == DType::bf16 || params.math == Math::tf32 ||
         workspace <= bytes();
}

std::vector<bool> ConvProblem::forms() const {
  if (arrays.epilogue != nullptr) return {false};
  if (arrays.dtype != arrays.result) return {true, false};
  if (arrays.kind == ConvKind::weight_grad && params.math == Math::tf32) return {false, true};
  return {false};
}

ConvProblem::Pointers ConvProblem::pointers(const ConvArrays& arrays) {
  Pointers all{{kX, kW, kY}, {arrays.x, arrays.w, arrays.y}};
  const ConvEpilogue* const epilogue = arrays.epilogue;
  if (epilogue == nullptr) return all;
  const std::pair<std::int64_t, const In*> more[] = {{kScale, &epilogue->scale},
                                                     {kNoise, &epilogue->noise},
                                                     {kBias, &epilogue->bias},
                                                     {kResidual, &epilogue->residual},
                                                     {kFactor, &epilogue->factor}};
  for (const auto& [id, array] : more) {
    if (array->data == nullptr) continue;
    all.ids.push_back(id);
    all.data.push_back(const_cast<void*>(array->data));
  }
  return all;
}

/// The operations behind the convolution, each handing a virtual float image to the next.
void ConvProblem::append_epilogue(const Descriptor& convolved, std::vector<Descriptor>& operations) const {
  const ConvEpilogue* const epilogue = arrays.epilogue;
  struct Step {
    cudnnPointwiseMode_t mode;
    std::int64_t id;
    const In* operand;
  };
  std::vector<Step> steps;
  const auto add = [&](cudnnPointwiseMode_t mode, std::int64_t id, const In& operand) {
    if (operand.data != nullptr) steps.push_back({mode, id, &operand});
  };
  add(CUDNN_POINTWISE_MUL, kScale, epilogue->scale);
  add(CUDNN_POINTWISE_ADD, kNoise, epilogue->noise);
  add(CUDNN_POINTWISE_ADD, kBias, epilogue->bias);
  add(CUDNN_POINTWISE_ADD, kResidual, epilogue->residual);
  if (epilogue->slope != 1) steps.push_back({CUDNN_POINTWISE_RELU_FWD, 0, nullptr});
  add(CUDNN_POINTWISE_MUL, kFactor, epilogue->factor);
  std::vector<Descriptor> images;  // what the steps give
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool last = i + 1 == steps.size();
    images.push_back(image(last ? kY : kVirtual + 1 + static_cast<std::int64_t>(i),
                           last ? arrays.result : DType::f32, arrays.y_shape.begin(), !last));
    const Step& step = steps[i];
    const Descriptor& from = i == 0 ? convolved : images[i - 1];
    if (step.operand == nullptr) {
      operations.push_back(pointwise(step.mode, from, nullptr, images[i], epilogue->slope));
      continue;
    }
    const Descriptor operand = image(step.id, step.operand->dtype, step.operand->shape.begin());
    operations.push_back(pointwise(step.mode, from, &operand, images[i]));
  }
}

/// The convolution as a graph: alone, with its result copied, or with what follows it.
Descriptor ConvProblem::graph(cudnnHandle_t handle, bool copied) const {
  const std::pair<ConvKind, const Shape*> roles[3] = {{ConvKind::input_grad, &arrays.x_shape},
                                                      {ConvKind::weight_grad, &arrays.w_shape},
                                                      {ConvKind::forward, &arrays.y_shape}};
  constexpr std::int64_t kIds[3] = {kX, kW, kY};
  std::vector<Descriptor> operands;
  for (int i = 0; i < 3; ++i) {
    const auto& [role, shape] = roles[i];
    const bool through = (copied || arrays.epilogue != nullptr) && role == arrays.kind;
    operands.push_back(
        image(through ? kVirtual : kIds[i], through ? DType::f32 : dtype_of(role), shape->begin(), through));
  }
  const std::int64_t dilations[2] = {1, 1};
  const std::int64_t strides[2] = {params.stride_h, params.stride_w}, pads[2] = {params.pad_h, params.pad_w};
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
  if (arrays.epilogue != nullptr) append_epilogue(operands[2], operations);

  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
  graph.finalize();
  return graph;
}

}  // namespace om::cuda
