// Times kernels of the cuda backend, one line each: name, microseconds a call, TFLOP/s or GB/s. Medians of 7
// rounds of many calls between two waits. scripts/device_torch.py prints the same rows from PyTorch, but for
// the small convolutions, whose peer is cuDNN here.
#include "tests/tensor/cuda_timings.h"

namespace om::cuda_timings {
namespace {

void convolutions(Backend& b, std::int64_t size, std::int64_t channels, DType dtype, Math math) {
  const Tensor x = pattern({8, size, size, channels}, dtype, b);
  const Tensor w = pattern({channels, 3, 3, channels}, dtype, b);
  const Tensor y = pattern({8, size, size, channels}, dtype, b);
  const Conv2dParams params{1, 1, 1, 1, math};
  const double flops =
      2.0 * 8 * 9 * static_cast<double>(size) * static_cast<double>(size * channels * channels);
  const std::string suffix =
      text(' ', size, 'x', size, 'x', channels, ' ', name_of(dtype), math == Math::tf32 ? " tf32" : "");
  row("conv2d" + suffix, microseconds(b, [&] { b.conv2d(x.in(), w.in(), y.out(), params); }), flops * 1e-6,
      "TFLOP/s");
  row("conv2d_input_grad" + suffix,
      microseconds(b, [&] { b.conv2d_input_grad(y.in(), w.in(), x.out(), params); }), flops * 1e-6,
      "TFLOP/s");
  row("conv2d_weight_grad" + suffix,
      microseconds(b, [&] { b.conv2d_weight_grad(x.in(), y.in(), w.out(), params); }), flops * 1e-6,
      "TFLOP/s");
}

/// Convolutions of one small image to so many channels, as a recording runs them: 40 in a row over the
/// weights of 8 layers, which come from memory. GB/s of weights. 512 channels are our own kernel's, 528
/// cuDNN's.
void small_convolutions(Backend& b, std::int64_t channels) {
  constexpr int kLayers = 8, kCalls = 40;
  std::vector<Tensor> forth, back;
  for (int i = 0; i < kLayers; ++i) forth.push_back(pattern({channels, 3, 3, 512}, DType::f32, b));
  for (int i = 0; i < kLayers; ++i) back.push_back(pattern({512, 3, 3, channels}, DType::f32, b));
  const auto line = [&](const std::string& name, const std::vector<Tensor>& weights,
                        const std::function<void(const Tensor&)>& call) {
    for (const Tensor& w : weights) call(w);
    b.begin_capture();
    for (int i = 0; i < kCalls; ++i) call(weights[static_cast<std::size_t>(i % kLayers)]);
    const std::unique_ptr<CapturedGraph> graph = b.end_capture();
    row(name + " tf32", microseconds(b, [&] { graph->replay(); }) / kCalls, bytes_of(weights[0]) * 1e-3,
        "GB/s");
  };
  for (const auto& [size, stride] : {std::pair{1, 1}, {4, 1}, {8, 1}, {16, 1}, {8, 2}, {16, 2}, {32, 2}}) {
    const Conv2dParams params{stride, stride, 1, 1, Math::tf32};
    const std::int64_t half = (size + stride - 1) / stride;
    const Tensor x = pattern({1, size, size, 512}, DType::f32, b),
                 y = pattern({1, half, half, channels}, DType::f32, b);
    line(text("conv2d ", size, 'x', size, "x512 to ", channels, " stride ", stride), forth,
         [&](const Tensor& w) { b.conv2d(x.in(), w.in(), y.out(), params); });
  }
  for (const std::int64_t size : {4, 8, 16}) {
    const Tensor y = pattern({1, size, size, 512}, DType::f32, b),
                 x = pattern({1, size, size, channels}, DType::f32, b),
                 wide = pattern({1, 2 * size + 1, 2 * size + 1, channels}, DType::f32, b);
    line(text("its input_grad ", size, 'x', size, "x512 to ", channels), back, [&](const Tensor& w) {
      b.conv2d_input_grad(y.in(), w.in(), x.out(), {1, 1, 1, 1, Math::tf32});
    });
    line(text("transposed ", size, 'x', size, "x512 to ", channels), back, [&](const Tensor& w) {
      b.conv2d_input_grad(y.in(), w.in(), wide.out(), {2, 2, 0, 0, Math::tf32});
    });
  }
}

void bandwidths(Backend& b, DType dtype) {
  const Shape shape = {32, 256, 256, 128};
  const Tensor x = pattern(shape, dtype, b), y = pattern(shape, dtype, b), z = Tensor::empty(shape, dtype, b);
  const Tensor bias = pattern({1, 1, 1, 128}, dtype, b), style = pattern({32, 1, 1, 128}, dtype, b);
  const Tensor noise = pattern({32, 256, 256, 1}, dtype, b);
  const Tensor sums = Tensor::empty({1, 1, 1, 128}, DType::f32, b);
  const Tensor per_image = Tensor::empty({32, 1, 1, 128}, DType::f32, b);
  const Tensor rows = Tensor::empty({32, 256, 256, 1}, DType::f32, b),
               all = Tensor::empty({1, 1, 1, 1}, DType::f32, b);
  const Tensor other = Tensor::empty(shape, dtype == DType::f32 ? DType::bf16 : DType::f32, b);
  const Tensor flags = Tensor::zeros(shape, DType::u8, b);
  const double bytes = bytes_of(x);
  const auto line = [&](const char* name, double moved, const std::function<void()>& call) {
    bandwidth(b, text(name, ' ', name_of(dtype)), moved, call);
  };
  const auto binary = [&](BinaryOp op, const Tensor& other) {
    return [&b, op, x, other, z] { b.binary(op, x.in(), other.in(), z.out(), 0.2); };
  };
  line("copy", 2 * bytes, [&] { b.copy(z.out().data, x.in().data, static_cast<std::size_t>(bytes)); });
  line("fill", bytes, [&] { b.fill(z.out(), 1.5); });
  line("add", 3 * bytes, binary(BinaryOp::add, y));
  line("leaky_relu_grad", 3 * bytes, binary(BinaryOp::leaky_relu_grad, y));
  line("add bias [C]", 2 * bytes, binary(BinaryOp::add, bias));
  line("multiply by style [N, C]", 2 * bytes, binary(BinaryOp::multiply, style));
  line("add noise [N, H, W, 1]", 2 * bytes, binary(BinaryOp::add, noise));
  line("greater", 2 * bytes + bytes_of(flags),
       [&] { b.binary(BinaryOp::greater, x.in(), y.in(), flags.out(), 0); });
  line("where", 3 * bytes + bytes_of(flags), [&] { b.where(flags.in(), x.in(), y.in(), z.out()); });
  line("leaky_relu", 2 * bytes, [&] { b.unary(UnaryOp::leaky_relu, x.in(), z.out(), 0.2, 0); });
  line("tanh", 2 * bytes, [&] { b.unary(UnaryOp::hyperbolic_tangent, x.in(), z.out(), 0, 0); });
  line("cast", bytes + bytes_of(other), [&] { b.cast(x.in(), other.out()); });
  line("sum over N, H, W", bytes, [&] { b.reduce(ReduceOp::sum, x.in(), sums.out()); });
  line("sum over H, W", bytes, [&] { b.reduce(ReduceOp::sum, x.in(), per_image.out()); });
  line("sum over C", bytes, [&] { b.reduce(ReduceOp::sum, x.in(), rows.out()); });
  line("sum of all", bytes, [&] { b.reduce(ReduceOp::sum, x.in(), all.out()); });
  line("permute NHWC to NCHW", 2 * bytes, [&] {
    b.strided_copy(x.in(), 0, {256 * 256 * 128, 1, 256 * 128, 128}, z.out(), 0,
                   Shape{32, 128, 256, 256}.strides(), {32, 128, 256, 256});
  });
  line("slice of 64 of 128 channels", bytes, [&] {
    b.strided_copy(x.in(), 0, x.shape().strides(), z.out(), 0, Shape{32, 256, 256, 64}.strides(),
                   {32, 256, 256, 64});
  });
}

void filters(Backend& b, DType dtype) {
  const Tensor wide = pattern({8, 257, 257, 128}, dtype, b),
               blurred = Tensor::empty({8, 256, 256, 128}, dtype, b);
  const Tensor filter = pattern({4, 4}, DType::f32, b);
  const auto line = [&](const char* name, double moved, const std::function<void()>& call) {
    bandwidth(b, text(name, ' ', name_of(dtype)), moved, call);
  };
  const UpFirDnParams blur{.pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
  line("blur 257 to 256, 128 channels", bytes_of(wide) + bytes_of(blurred),
       [&] { b.upfirdn2d(wide.in(), filter.in(), blurred.out(), blur); });
  const Tensor small = pattern({8, 128, 128, 3}, dtype, b), image = Tensor::empty({8, 256, 256, 3}, dtype, b);
  const UpFirDnParams up{.up_h = 2, .up_w = 2, .pad_top = 2, .pad_bottom = 1, .pad_left = 2, .pad_right = 1};
  line("upsample 128 to 256, 3 channels", bytes_of(small) + bytes_of(image),
       [&] { b.upfirdn2d(small.in(), filter.in(), image.out(), up); });
  const Tensor features = pattern({8, 256, 256, 64}, dtype, b),
               pooled = Tensor::empty({8, 128, 128, 64}, dtype, b);
  const Tensor index = Tensor::empty({8, 128, 128, 64}, DType::i32, b);
  line("max_pool2d 256, 64 channels", bytes_of(features) + bytes_of(pooled) + bytes_of(index),
       [&] { b.max_pool2d(features.in(), pooled.out(), index.out(), {}); });
  const auto flat = [](const Tensor& x) {
    return Out{const_cast<void*>(x.in().data), x.dtype(), Shape{8, x.elements() / 8}};
  };
  line("its gradient (scatter_add)", bytes_of(features) + bytes_of(pooled) + bytes_of(index),
       [&] { b.scatter_add(flat(pooled), flat(index), flat(features)); });
  const Tensor colours = Tensor::empty({8, 256, 256, 3}, dtype, b),
               weight = pattern({3, 1, 1, 128}, dtype, b);
  line("to RGB 256, 128 channels", bytes_of(blurred) + bytes_of(colours),
       [&] { b.conv2d(blurred.in(), weight.in(), colours.out(), {}); });
  line("its input gradient", bytes_of(blurred) + bytes_of(colours),
       [&] { b.conv2d_input_grad(colours.in(), weight.in(), blurred.out(), {}); });
  line("its weight gradient", bytes_of(blurred) + bytes_of(colours),
       [&] { b.conv2d_weight_grad(blurred.in(), colours.in(), weight.out(), {}); });
}

}  // namespace
}  // namespace om::cuda_timings

int main() {
  using namespace om;
  try {
    Backend& b = backend("cuda");
    std::printf("%s\n", b.description().c_str());
    for (const int channels : {512, 528}) cuda_timings::small_convolutions(b, channels);
    for (const auto& [size, channels] : {std::pair{64, 512}, std::pair{128, 256}}) {
      cuda_timings::convolutions(b, size, channels, DType::f32, Math::strict);
      cuda_timings::convolutions(b, size, channels, DType::f32, Math::tf32);
      cuda_timings::convolutions(b, size, channels, DType::bf16, Math::strict);
    }
    for (const DType dtype : {DType::f32, DType::bf16}) {
      cuda_timings::bandwidths(b, dtype);
      cuda_timings::filters(b, dtype);
    }
    cuda_timings::fused_rows(b);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
