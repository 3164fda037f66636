#include "train/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/resize.h"
#include "train/pixels.h"

namespace om {

Tensor to_tensor(std::span<const std::uint8_t> pixels, std::int64_t count, std::int64_t size,
                 Backend& backend) {
  const std::array<float, 256>& values = pixel_values();
  std::vector<float> floats(pixels.size());
  std::transform(pixels.begin(), pixels.end(), floats.begin(), [&](std::uint8_t v) { return values[v]; });
  return Tensor::from_host(floats, {count, size, size, 3}, backend);
}

namespace {

FloatImage clamped(std::span<const float> values, std::int64_t height, std::int64_t width) {
  FloatImage image{height, width, std::vector<float>(values.size())};
  std::transform(values.begin(), values.end(), image.pixels.begin(),
                 [](float x) { return (std::clamp(x, -1.0F, 1.0F) + 1) / 2; });
  return image;
}

}  // namespace

std::vector<FloatImage> to_float_images(const Tensor& images) {
  const std::vector<float> values = images.to_host<float>();
  const std::int64_t height = images.size(1), width = images.size(2);
  const auto pixels = static_cast<std::size_t>(height * width * 3);
  std::vector<FloatImage> out;
  for (std::size_t n = 0; n < static_cast<std::size_t>(images.size(0)); ++n)
    out.push_back(clamped(std::span(values).subspan(n * pixels, pixels), height, width));
  return out;
}

FloatImage to_float_image(std::span<const float> image, std::int64_t side) {
  return clamped(image, side, side);
}

FloatImage to_float_image(const Image& image) {
  FloatImage out{image.height, image.width, std::vector<float>(image.pixels.size())};
  std::transform(image.pixels.begin(), image.pixels.end(), out.pixels.begin(),
                 [](std::uint8_t v) { return static_cast<float>(v) / 255; });
  return out;
}

Image to_image(const FloatImage& image) {
  Image out(static_cast<int>(image.height), static_cast<int>(image.width));
  std::transform(image.pixels.begin(), image.pixels.end(), out.pixels.begin(), [](float x) {
    return std::isnan(x) ? std::uint8_t{0} : static_cast<std::uint8_t>(std::clamp(x, 0.0F, 1.0F) * 255);
  });
  return out;
}

EvaluationMode::EvaluationMode(const Autoencoder& model) {
  for (const Autoencoder::Part& part : model.encoders())
    before_.emplace_back(part.encoder, part.encoder->training());
  before_.emplace_back(&model.decoder(), model.decoder().training());
  for (const auto& [network, training] : before_) network->set_training(false);
}

EvaluationMode::~EvaluationMode() {
  for (const auto& [network, training] : before_) network->set_training(training);
}

std::vector<Tensor> random_maps(const Decoder& decoder, std::uint64_t seed, std::uint64_t picture,
                                Backend& backend) {
  constexpr std::uint64_t beyond_training = std::uint64_t{1} << 62;
  RandomSource random(seed, backend);
  random.set_state({seed, beyond_training + picture * decoder.noise_sizes().size()});
  return decoder.random_noise(1, random);
}

Tensor decode(const Autoencoder& model, Code code, const Decoding& decoding) {
  Backend& backend = code.latent.backend();
  if (decoding.noise == NoiseMaps::zero) {
    code.noise = model.decoder().zero_noise(backend);
  } else if (decoding.noise == NoiseMaps::random || code.noise.empty()) {
    code.noise = random_maps(model.decoder(), decoding.seed, decoding.picture, backend);
  }
  return model.decode(code);
}

Tensor reconstruct(const Autoencoder& model, const Tensor& images) {
  const NoGrad no_grad;
  const EvaluationMode evaluation(model);
  if (images.size(0) == 1) return decode(model, model.encode(images), {});
  std::vector<Tensor> outputs;
  for (std::int64_t i = 0; i < images.size(0); ++i)
    outputs.push_back(
        decode(model, model.encode(slice(images, 0, i, 1)), {.picture = static_cast<std::uint64_t>(i)}));
  return outputs.empty() ? images : concat(outputs, 0);
}

FloatImage reconstruct(const Autoencoder& model, const Image& image, Backend& backend,
                       const Decoding& decoding) {
  const NoGrad no_grad;
  const EvaluationMode evaluation(model);
  const auto size = model.decoder().size();
  const auto side = static_cast<int>(size);
  const Image resized =
      image.height == side && image.width == side ? image : resize_bilinear(image, side, side);
  const Tensor input = to_tensor(resized.pixels, 1, size, backend);
  return to_float_images(decode(model, model.encode(input), decoding)).front();
}

ImageScores score(const std::string& file, const Image& input, const FloatImage& output) {
  const FloatImage reference = to_float_image(input);
  return {file, psnr(reference, output), ssim(reference, output), ssim_wang(reference, output)};
}

ImageScores mean_of(const std::vector<ImageScores>& scores) {
  const auto mean = [&](std::optional<double> ImageScores::*metric) -> std::optional<double> {
    double total = 0;
    std::size_t count = 0;
    for (const ImageScores& image : scores)
      if (const std::optional<double>& value = image.*metric) {
        total += *value;
        ++count;
      }
    return count > 0 ? std::optional(total / static_cast<double>(count)) : std::nullopt;
  };
  return {"", mean(&ImageScores::psnr), mean(&ImageScores::ssim), mean(&ImageScores::ssim_wang)};
}

Image contact_sheet(const std::vector<Image>& inputs, const std::vector<Image>& outputs, bool difference) {
  const std::size_t rows = std::min({inputs.size(), outputs.size(), kMaxSheetImages});
  if (rows == 0) fail("contact sheet: no image");
  const int height = inputs[0].height, width = inputs[0].width;
  Image sheet(height * static_cast<int>(rows), width * (difference ? 3 : 2));
  for (std::size_t n = 0; n < rows; ++n) {
    for (const Image* image : {&inputs[n], &outputs[n]})
      if (image->height != height || image->width != width) fail("contact sheet: images of different sizes");
    for (int y = 0; y < height; ++y) {
      std::uint8_t* out = sheet.row(static_cast<int>(n) * height + y);
      const std::uint8_t *a = inputs[n].row(y), *b = outputs[n].row(y);
      const std::size_t bytes = inputs[n].row_bytes();
      std::copy_n(a, bytes, out);
      std::copy_n(b, bytes, out + bytes);
      if (!difference) continue;
      for (std::size_t i = 0; i < bytes; ++i)
        out[2 * bytes + i] = static_cast<std::uint8_t>(std::abs(int{a[i]} - int{b[i]}));
    }
  }
  return sheet;
}

}  // namespace om
