#include "train/run_pictures.h"

#include <fmt/format.h>

#include "io/image.h"
#include "io/resize.h"
#include "tensor/error.h"
#include "train/leak.h"

namespace om {
namespace {

constexpr std::size_t sample_images = 8;

/// A figure in JSON, null where it is undefined, and for people.
std::string json(const std::optional<double>& value) { return value ? fmt::format("{}", *value) : "null"; }
std::string shown(const std::optional<double>& value) { return value ? fmt::format("{:.4g}", *value) : "-"; }

std::string members(const ImageScores& scores) {
  return fmt::format(R"("psnr": {}, "ssim": {}, "ssim_wang": {})", json(scores.psnr), json(scores.ssim),
                     json(scores.ssim_wang));
}

}  // namespace

RunPictures::RunPictures(const Autoencoder& model, const ImageFolder& images, const ImageFolder* val,
                         std::uint64_t seed, Backend& backend, const std::atomic<bool>* stop, Log log,
                         MakePair make_pair)
    : model_(model),
      images_(images),
      val_(val),
      seed_(seed),
      backend_(backend),
      stop_(stop),
      log_(std::move(log)),
      make_pair_(std::move(make_pair)) {}

std::optional<ImagePair> RunPictures::read_pair(const std::filesystem::path& file) {
  try {
    const auto side = static_cast<int>(model_.decoder().size());
    const Image image = read_image(file);
    if (make_pair_) return make_pair_(image);
    const Image resized = resize_bilinear(image, side, side);
    return ImagePair{resized, resized};
  } catch (const InputError& error) {
    if (named_.insert(file.string()).second) log_(fmt::format("{} (skipped)", error.what()));
    return std::nullopt;
  }
}

void RunPictures::write_samples(const std::string& file, NoiseMaps noise) {
  const ImageFolder& folder = val_ != nullptr ? *val_ : images_;
  std::vector<Image> inputs, outputs;
  for (std::size_t i = 0; i < folder.size() && inputs.size() < sample_images; ++i) {
    std::optional<ImagePair> pair = read_pair(folder.file(i));
    if (!pair) continue;
    outputs.push_back(to_image(reconstruct(model_, pair->input, backend_, {noise, seed_, i})));
    inputs.push_back(std::move(pair->input));
  }
  if (!inputs.empty()) write_png(file, contact_sheet(inputs, outputs, false));
}

template <class Body>
bool RunPictures::for_each(const Body& body) {
  std::size_t read = 0;
  for (const std::filesystem::path& file : val_->files()) {
    if (stop_ != nullptr && stop_->load()) return false;
    const std::optional<ImagePair> pair = read_pair(file);
    if (pair) body(file.string(), *pair, read++);
  }
  if (read == 0) fail<InputError>(val_->folder().string(), ": none of its images can be read");
  return true;
}

std::optional<std::string> RunPictures::validate(std::int64_t iteration, NoiseMaps noise) {
  std::vector<ImageScores> scores;
  const bool whole = for_each([&](const std::string& file, const ImagePair& pair, std::size_t number) {
    scores.push_back(
        score(file, pair.target, reconstruct(model_, pair.input, backend_, {noise, seed_, number})));
  });
  if (!whole) return std::nullopt;
  const ImageScores mean = mean_of(scores);
  log_(fmt::format("iteration {}: validation{} PSNR {} dB, SSIM {} (Wang's {})", iteration,
                   noise == NoiseMaps::random ? " with random noise" : "", shown(mean.psnr), shown(mean.ssim),
                   shown(mean.ssim_wang)));
  return fmt::format(R"("images": {}, {})", scores.size(), members(mean));
}

std::optional<std::string> RunPictures::measure_leak() {
  SemanticLeak leak(model_, seed_, backend_);
  const bool whole = for_each(
      [&](const std::string& file, const ImagePair& pair, std::size_t) { leak.add(file, pair.target); });
  if (!whole) return std::nullopt;
  const ImageScores predicted = leak.mean(NoiseMaps::predicted), random = leak.mean(NoiseMaps::random),
                    zero = leak.mean(NoiseMaps::zero);
  log_(fmt::format("semantic leak: PSNR {} dB with predicted noise, {} with random, {} with zero",
                   shown(predicted.psnr), shown(random.psnr), shown(zero.psnr)));
  return fmt::format(R"("images": {}, "predicted": {{{}}}, "random": {{{}}}, "zero": {{{}}})", leak.images(),
                     members(predicted), members(random), members(zero));
}

}  // namespace om
