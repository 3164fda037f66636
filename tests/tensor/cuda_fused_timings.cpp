// The fused kernels' rows of cuda_timings.
#include "tensor/fused.h"
#include "tests/tensor/cuda_timings.h"

namespace om::cuda_timings {
namespace {

void channels(Backend& b, DType dtype) {
  auto* const kernels = b.extension<ChannelKernels>();
  const Shape shape = {8, 256, 256, 128}, per_image = {8, 1, 1, 128}, places = {8, 256, 256, 1};
  const Tensor x = pattern(shape, dtype, b), g = pattern(shape, dtype, b), y = Tensor::empty(shape, dtype, b);
  const Tensor scale = pattern(per_image, DType::f32, b), bias = pattern({1, 1, 1, 128}, DType::f32, b);
  const Tensor noise = pattern(places, DType::f32, b), strength = pattern({1}, DType::f32, b);
  const Tensor map = Tensor::empty(places, DType::f32, b), sum_h = Tensor::empty(per_image, DType::f32, b);
  const Tensor sum_hx = Tensor::empty(per_image, DType::f32, b),
               sum_gz = Tensor::empty(per_image, DType::f32, b);
  const double bytes = bytes_of(x);
  const auto line = [&](const char* name, double moved, const std::function<void()>& call) {
    bandwidth(b, text(name, ' ', name_of(dtype)), moved, call);
  };
  ChannelKernels::Activation forward{.x = x.in(),
                                     .scale = scale.in(),
                                     .bias = bias.in(),
                                     .noise = noise.in(),
                                     .strength = strength.in(),
                                     .residual = {},
                                     .factor = {},
                                     .slope = 0.2,
                                     .gain = 1.5};
  line("channel_activation", 2 * bytes, [&] { kernels->channel_activation(forward, y.out()); });
  ChannelKernels::ActivationGradient gradient;
  gradient.g = g.in();
  gradient.y = x.in();
  gradient.inputs.scale = scale.in();
  gradient.inputs.slope = 0.2;
  gradient.x_gradient = y.out();
  line("channel_activation_grad, dx", 3 * bytes, [&] { kernels->channel_activation_grad(gradient); });
  gradient.map = map.out();
  line("channel_activation_grad, dx, map", 3 * bytes, [&] { kernels->channel_activation_grad(gradient); });
  gradient.inputs.x = x.in();
  gradient.sum_h = sum_h.out();
  gradient.sum_hx = sum_hx.out();
  line("channel_activation_grad, dx, map, sums", 4 * bytes,
       [&] { kernels->channel_activation_grad(gradient); });
  gradient.y = {};
  forward.factor = scale.in();
  gradient.inputs = forward;
  gradient.sum_gz = sum_gz.out();
  line("channel_activation_grad, all from x", 3 * bytes, [&] { kernels->channel_activation_grad(gradient); });
}

void batch_norms(Backend& b, DType dtype) {
  auto* const kernels = b.extension<BatchNormKernels>();
  const Shape shape = {8, 256, 256, 128}, row = {1, 1, 1, 128};
  const Tensor x = pattern(shape, dtype, b), g = pattern(shape, dtype, b), y = Tensor::empty(shape, dtype, b);
  const Tensor weight = pattern({128}, DType::f32, b), dw = Tensor::empty({128}, DType::f32, b);
  const Tensor mean = Tensor::empty(row, DType::f32, b), variance = mean.empty_like(), r = mean.empty_like();
  const Tensor dx = x.empty_like();
  const double bytes = bytes_of(x);
  bandwidth(b, text("batch_norm, relu ", name_of(dtype)), 3 * bytes, [&] {
    kernels->batch_norm(
        {x.in(), weight.in(), weight.in(), {}, 1e-5, 0, y.out(), mean.out(), variance.out(), r.out()});
  });
  bandwidth(b, text("batch_norm_grad, relu ", name_of(dtype)), 7 * bytes, [&] {
    kernels->batch_norm_grad(
        {g.in(), y.in(), x.in(), weight.in(), mean.in(), r.in(), 0, dx.out(), {}, dw.out(), dw.out()});
  });
}

void distances(Backend& b, DType dtype) {
  auto* const kernels = b.extension<DistanceKernels>();
  const Shape shape = {8, 256, 256, 64};
  const Tensor x = pattern(shape, dtype, b), y = pattern(shape, dtype, b), dx = x.empty_like();
  const Tensor weights = pattern({64}, DType::f32, b), distance = Tensor::empty({8}, DType::f32, b);
  const double bytes = bytes_of(x);
  bandwidth(b, text("feature_distance ", name_of(dtype)), 2 * bytes, [&] {
    kernels->feature_distance({x.in(), y.in(), weights.in()}, distance.out());
  });
  bandwidth(b, text("feature_distance_grad ", name_of(dtype)), 3 * bytes, [&] {
    kernels->feature_distance_grad({x.in(), y.in(), weights.in()}, distance.in(), dx.out(), {});
  });
}

void adam(Backend& b) {
  auto* const kernels = b.extension<AdamKernels>();
  const Tensor rate = Tensor::full({}, 1e-4, DType::f64, b), steps = Tensor::full({}, 3, DType::f64, b);
  const Tensor norm = Tensor::zeros({}, DType::f32, b);
  std::vector<Tensor> tensors;
  std::vector<AdamKernels::AdamArray> arrays;
  std::vector<In> gradients;
  double bytes = 0;
  for (int i = 0; i < 60; ++i) {
    const Shape shape = i % 3 == 0 ? Shape{512, 3, 3, 512} : Shape{512};
    for (int k = 0; k < 4; ++k) tensors.push_back(Tensor::full(shape, 0.5, DType::f32, b));
    const Tensor* const t = tensors.data() + tensors.size() - 4;
    arrays.push_back({t[0].in(), t[1].out(), t[2].out(), t[3].out(), rate.in(), steps.in(), norm.in()});
    gradients.push_back(t[0].in());
    bytes += bytes_of(t[0]);
  }
  bandwidth(b, "adam_norm of 60 arrays", bytes, [&] { kernels->adam_norm(gradients, norm.out()); });
  bandwidth(b, "adam of 60 arrays", 7 * bytes, [&] { kernels->adam(arrays, {0.9, 0.999, 1e-8, 0, 1}); });
}

}  // namespace

void fused_rows(Backend& b) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    channels(b, dtype);
    batch_norms(b, dtype);
    distances(b, dtype);
  }
  adam(b);
}

}  // namespace om::cuda_timings
