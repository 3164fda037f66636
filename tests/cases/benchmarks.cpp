// Shapes of the 256-pixel model (StyleGAN 2 decoder and encoder, one image), for the benchmark alone.
#include "autograd/fused.h"
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

void add(std::vector<Case>& cases, std::string name, std::vector<Input> inputs, Function f,
         double flops = 0) {
  cases.push_back({.name = std::move(name),
                   .inputs = std::move(inputs),
                   .function = std::move(f),
                   .order = 1,
                   .drivers = kBenchmark,
                   .flops = flops});
}

void add_convolutions(std::vector<Case>& cases) {
  const auto conv = [&](const char* variant, std::int64_t size, std::int64_t inputs, std::int64_t outputs,
                        std::int64_t kernel, std::int64_t stride) {
    const Conv2d o = Conv2d::same(stride, kernel / 2);
    const auto places = static_cast<double>(size / stride * (size / stride));
    add(
        cases, std::string("conv2d/") + variant,
        {normal({1, size, size, inputs}), normal({outputs, kernel, kernel, inputs})},
        [o](const Inputs& x) { return conv2d(x[0], x[1], o); },
        2 * places * static_cast<double>(inputs * outputs * kernel * kernel));
  };
  conv("4px_512", 4, 512, 512, 3, 1);
  conv("16px_512", 16, 512, 512, 3, 1);
  conv("64px_512", 64, 512, 512, 3, 1);
  conv("128px_256", 128, 256, 256, 3, 1);
  conv("256px_128", 256, 128, 128, 3, 1);
  conv("stride2_256px_128_to_256", 256, 128, 256, 3, 2);
  conv("stride2_64px_512", 64, 512, 512, 3, 2);
  conv("1x1_stride2_256px_128_to_256", 256, 128, 256, 1, 2);
  conv("rgb_256px_3_to_128", 256, 3, 128, 3, 1);
  conv("to_rgb_256px_128_to_3", 256, 128, 3, 1, 1);

  const auto up = [&](const char* variant, std::int64_t size, std::int64_t inputs, std::int64_t outputs) {
    add(
        cases, std::string("conv2d_input_grad/") + variant,
        {normal({1, size, size, inputs}), normal({inputs, 3, 3, outputs})},
        [size](const Inputs& x) {
          return conv2d_input_grad(x[0], x[1], 2 * size + 1, 2 * size + 1, Conv2d::same(2, 0));
        },
        2.0 * static_cast<double>(size * size * 9 * inputs * outputs));
  };
  up("up_32px_512", 32, 512, 512);
  up("up_64px_512_to_256", 64, 512, 256);
  up("up_128px_256_to_128", 128, 256, 128);
}

void add_matmuls(std::vector<Case>& cases) {
  const auto product = [&](const char* variant, std::int64_t m, std::int64_t k, std::int64_t n) {
    add(
        cases, std::string("matmul/") + variant, {normal({m, k}), normal({n, k})},
        [](const Inputs& x) { return matmul(x[0], x[1], false, true); },
        2 * static_cast<double>(m) * static_cast<double>(k * n));
  };
  product("512", 512, 512, 512);
  product("1024", 1024, 1024, 1024);
  product("mapping_16x512", 16, 512, 512);
  product("style_1x512", 1, 512, 512);
}

void add_images(std::vector<Case>& cases) {
  const auto filter = [&](const char* variant, std::int64_t size, std::int64_t channels,
                          const UpFirDnParams& p) {
    const auto result = static_cast<double>(size * p.up_h / p.down_h * (size * p.up_w / p.down_w) * channels);
    const auto taps = static_cast<double>(16 / (p.up_h * p.up_w));
    add(
        cases, std::string("upfirdn2d/") + variant,
        {normal({1, size, size, channels}), fixed(uniform({4, 4}, 0, 1))},
        [p](const Inputs& x) { return upfirdn2d(x[0], x[1], p); }, 2 * taps * result);
  };
  const UpFirDnParams blur{.pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
  const UpFirDnParams up2{.up_h = 2, .up_w = 2, .pad_top = 2, .pad_bottom = 1, .pad_left = 2, .pad_right = 1};
  filter("blur_257px_128", 257, 128, blur);
  filter("blur_129px_256", 129, 256, blur);
  filter("up2_128px_3", 128, 3, up2);

  const Input image = normal({1, 256, 256, 128});
  add(cases, "max_pool2d/256px_64", {normal({1, 256, 256, 64})},
      [](const Inputs& x) { return max_pool2d(x[0], {}); });
  add(
      cases, "sum/batch_norm_256px_128", {image},
      [](const Inputs& x) {
        return sum(x[0], {0, 1, 2});
      },
      256 * 256 * 128.0);
  add(
      cases, "sum/pixels_256px_128", {image}, [](const Inputs& x) { return sum(x[0], {3}); },
      256 * 256 * 128.0);
  add(
      cases, "sum/all_256px_128", {image}, [](const Inputs& x) { return sum(x[0]); }, 256 * 256 * 128.0);
  add(cases, "add/256px_128", {image, image}, [](const Inputs& x) { return om::add(x[0], x[1]); });
  add(cases, "multiply/style_256px_128", {image, normal({1, 1, 1, 128})},
      [](const Inputs& x) { return multiply(x[0], x[1]); });
  add(cases, "multiply/noise_256px_128", {normal({1, 256, 256, 1}), normal({128})},
      [](const Inputs& x) { return multiply(x[0], x[1]); });
  add(cases, "leaky_relu/256px_128", {image}, [](const Inputs& x) { return leaky_relu(x[0], 0.2); });
  add(cases, "exp/256px_128", {image}, [](const Inputs& x) { return exp(x[0]); });
  add(cases, "tanh/256px_128", {image}, [](const Inputs& x) { return tanh(x[0]); });
  add(cases, "permute/to_nchw_256px_128", {image}, [](const Inputs& x) {
    return permute(x[0], {0, 3, 1, 2});
  });
  add(cases, "broadcast/256px_128", {normal({1, 1, 1, 128})}, [](const Inputs& x) {
    return broadcast(x[0], {1, 256, 256, 128});
  });
  add(cases, "cast/to_bf16_256px_128", {image}, [](const Inputs& x) { return cast(x[0], DType::bf16); });
  add(cases, "composed/batch_norm_256px_128", {image, normal({128}), normal({128})}, [](const Inputs& x) {
    const Tensor centred = x[0] - mean(x[0], {0, 1, 2});
    return centred * rsqrt(mean(square(centred), {0, 1, 2}) + 1e-5) * x[1] + x[2];
  });
}

/// Fused ops; where the composed form is a row above or below, the ratio is what the kernel earns.
void add_fused(std::vector<Case>& cases) {
  const Input image = normal({1, 256, 256, 128}), factors = full(normal({1, 1, 1, 128})),
              bias = full(normal({128})), noise = full(normal({1, 256, 256, 1})),
              strength = full(normal({1}));
  add(cases, "channel_activation/styled_256px_128", {image, factors, bias, noise, strength},
      [](const Inputs& x) {
        return channel_activation(x[0], {x[1], x[2], x[3], x[4], {}, 0.2, 1.5});
      });
  add(cases, "channel_activation/styled_and_scaled_256px_128",
      {image, factors, bias, noise, strength, factors}, [](const Inputs& x) {
        return channel_activation(x[0], {x[1], x[2], x[3], x[4], {}, 0.2, 1.5, x[5]});
      });
  add(cases, "batch_norm/residual_relu_256px_128", {image, bias, bias, image},
      [](const Inputs& x) { return batch_norm(x[0], x[1], x[2], {.residual = x[3], .slope = 0}).y; });
  const Input features = normal({1, 256, 256, 64}), weights = full(uniform({64}, 0, 1));
  add(cases, "feature_distance/256px_64", {features, features, weights},
      [](const Inputs& x) { return feature_distance(x[0], x[1], x[2]); });
  add(cases, "composed/feature_distance_256px_64", {features, features, weights}, [](const Inputs& x) {
    const auto unit = [](const Tensor& f) { return f * reciprocal(sqrt(sum(square(f), {-1})) + 1e-10); };
    return sum(square(unit(x[0]) - unit(x[1])) * x[2]) / (256 * 256);
  });
}

}  // namespace

std::vector<Case> benchmark_cases() {
  std::vector<Case> cases;
  add_convolutions(cases);
  add_matmuls(cases);
  add_images(cases);
  add_fused(cases);
  return cases;
}

}  // namespace om::cases
