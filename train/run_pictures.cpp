#include "train/run_pictures.h"

#include <fmt/format.h>

#include "io/image.h"
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

ImagePair RunPictures::pair_of(const Image& image) const {
  return make_pair_ ? make_pair_(image) : resized_pair(image, model_.decoder().size());
}

void RunPictures::name(const std::filesystem::path& file, const std::string& why) {
  if (named_.insert(file.string()).second) log_(fmt::format("{} (skipped)", why));
}

void RunPictures::write_samples(const std::string& file, NoiseMaps noise) {
  const ImageFolder& folder = val_ != nullptr ? *val_ : images_;
  std::vector<Image> inputs, outputs;
  for (std::size_t i = 0; i < folder.size() && inputs.size() < sample_images; ++i) {
    std::optional<ImagePair> pair;
    try {
      pair = pair_of(read_image(folder.file(i)));
    } catch (const InputError& error) {
      name(folder.file(i), error.what());
      continue;
    }
    outputs.push_back(to_image(reconstruct(model_, pair->input, backend_, {noise, seed_, i})));
    inputs.push_back(std::move(pair->input));
  }
  if (!inputs.empty()) write_png(file, contact_sheet(inputs, outputs, false));
}

template <class Picture>
bool RunPictures::for_each(Inference::Work work, FlowSteps<Picture> steps) {
  struct Stopped {};
  Inference inference(model_.decoder().size(), default_batch(backend_, largest_map_bytes(model_)),
                      std::move(work), backend_);
  std::size_t readable = 0;
  steps.check = [&] {
    if (stop_ != nullptr && stop_->load()) throw Stopped{};
  };
  steps.read = [&](std::size_t file, const std::string* why) {
    why == nullptr ? void(++readable) : name(val_->file(file), *why);
  };
  try {
    run_flow(val_->files(), inference, steps, flow_threads(backend_));
  } catch (const Stopped&) {
    return false;
  }
  if (readable == 0) fail<InputError>(val_->folder().string(), ": none of its images can be read");
  return true;
}

std::optional<std::string> RunPictures::validate(std::int64_t iteration, NoiseMaps noise) {
  struct Scored : FlowPicture {
    ImageScores scores;
  };
  std::vector<ImageScores> scores;
  FlowSteps<Scored> steps;
  steps.prepare = [&](const Image& image) { return pair_of(image); };
  steps.finish = [&](Scored& picture, const FlowOutputs& outputs) {
    picture.scores = score(val_->file(picture.file).string(), picture.pair.target,
                           to_float_image(outputs[0], model_.decoder().size()));
  };
  steps.done = [&](Scored& picture) { scores.push_back(std::move(picture.scores)); };
  if (!for_each(reconstruction(model_, noise, seed_, MapsFor::each, backend_), std::move(steps)))
    return std::nullopt;
  const ImageScores mean = mean_of(scores);
  log_(fmt::format("iteration {}: validation{} PSNR {} dB, SSIM {} (Wang's {})", iteration,
                   noise == NoiseMaps::random ? " with random noise" : "", shown(mean.psnr), shown(mean.ssim),
                   shown(mean.ssim_wang)));
  return fmt::format(R"("images": {}, {})", scores.size(), members(mean));
}

std::optional<std::string> RunPictures::measure_leak() {
  SemanticLeak leak(model_, seed_, backend_);
  FlowSteps<LeakPicture> steps = leak.steps(val_->files());
  steps.prepare = [&](const Image& image) {
    Image clean = pair_of(image).target;
    return ImagePair{clean, clean};
  };
  if (!for_each(leak.work(), std::move(steps))) return std::nullopt;
  const ImageScores predicted = leak.mean(NoiseMaps::predicted), random = leak.mean(NoiseMaps::random),
                    zero = leak.mean(NoiseMaps::zero);
  log_(fmt::format("semantic leak: PSNR {} dB with predicted noise, {} with random, {} with zero",
                   shown(predicted.psnr), shown(random.psnr), shown(zero.psnr)));
  return fmt::format(R"("images": {}, "predicted": {{{}}}, "random": {{{}}}, "zero": {{{}}})", leak.images(),
                     members(predicted), members(random), members(zero));
}

}  // namespace om
