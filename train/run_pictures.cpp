#include "train/run_pictures.h"

#include <fmt/format.h>

#include <bit>
#include <map>
#include <sstream>
#include <utility>

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

using PlacedScores = std::map<std::size_t, ImageScores>;  // by place in the folder

/// Exactly: the bits of a double as 16 digits.
std::string text_of(const PlacedScores& scores) {
  std::string out;
  for (const auto& [place, score] : scores) {
    out += std::to_string(place);
    for (const auto& value : {score.psnr, score.ssim, score.ssim_wang})
      out += value ? fmt::format(" {:x}", std::bit_cast<std::uint64_t>(*value)) : " -";
    out += '\n';
  }
  return out;
}

void add(PlacedScores& scores, const std::string& text) {
  std::istringstream words(text);
  for (std::size_t place = 0; words >> place;) {
    ImageScores score;
    for (auto* value : {&score.psnr, &score.ssim, &score.ssim_wang}) {
      std::string word;
      words >> word;
      if (word != "-") *value = std::bit_cast<double>(std::uint64_t{std::stoull(word, nullptr, 16)});
    }
    scores.emplace(place, std::move(score));
  }
}

}  // namespace

RunPictures::RunPictures(const Autoencoder& model, const ImageFolder& images, const ImageFolder* val,
                         std::uint64_t seed, Backend& backend, const std::atomic<bool>* stop, Log log,
                         MakePair make_pair, RunRanks& ranks, UnreadablePictures& unreadable)
    : model_(model),
      images_(images),
      val_(val),
      seed_(seed),
      backend_(backend),
      stop_(stop),
      log_(std::move(log)),
      make_pair_(std::move(make_pair)),
      ranks_(ranks),
      unreadable_(unreadable) {}

ImagePair RunPictures::pair_of(const Image& image) const {
  return make_pair_ ? make_pair_(image) : resized_pair(image, model_.decoder().size());
}

void RunPictures::write_samples(const std::string& file, NoiseMaps noise) {
  const ImageFolder& folder = val_ != nullptr ? *val_ : images_;
  std::vector<Image> inputs, outputs;
  for (std::size_t i = 0; i < folder.size() && inputs.size() < sample_images; ++i) {
    std::optional<ImagePair> pair;
    try {
      pair = pair_of(read_image(folder.file(i)));
    } catch (const InputError& error) {
      unreadable_.add(error.what());
      continue;
    }
    outputs.push_back(to_image(reconstruct(model_, pair->input, backend_, {noise, seed_, i})));
    inputs.push_back(std::move(pair->input));
  }
  if (!inputs.empty()) write_png(file, contact_sheet(inputs, outputs, false));
}

template <class Picture>
bool RunPictures::for_each(const std::vector<std::filesystem::path>& files, Inference::Work work,
                           FlowSteps<Picture> steps) {
  struct Stopped {};
  Inference inference(model_.decoder().size(), default_batch(backend_, largest_map_bytes(model_)),
                      std::move(work), backend_);
  steps.check = [&] {
    if (stop_ != nullptr && stop_->load()) throw Stopped{};
  };
  steps.read = [&](std::size_t, const std::string* why) {
    if (why != nullptr) unreadable_.add(*why);
  };
  try {
    run_flow(files, inference, steps, flow_threads(backend_));
  } catch (const Stopped&) {
    return false;
  }
  return true;
}

void RunPictures::expect_readable(std::size_t pictures) const {
  if (pictures == 0) fail<InputError>(val_->folder().string(), ": none of its images can be read");
}

std::optional<std::string> RunPictures::validate(std::int64_t iteration, NoiseMaps noise) {
  struct Scored : FlowPicture {
    ImageScores scores;
  };
  std::vector<std::filesystem::path> files;   // of this rank
  const auto place = [&](std::size_t file) {  // in the folder
    return file * static_cast<std::size_t>(ranks_.size()) + static_cast<std::size_t>(ranks_.rank());
  };
  for (std::size_t i = 0; place(i) < val_->size(); ++i) files.push_back(val_->file(place(i)));
  PlacedScores placed;
  FlowSteps<Scored> steps;
  // Whose random maps a picture gets cannot depend on what other ranks could read.
  if (ranks_.several()) steps.accept = [&](Scored& picture) { picture.number = place(picture.file); };
  steps.prepare = [&](const Image& image) { return pair_of(image); };
  steps.finish = [&](Scored& picture, const FlowOutputs& outputs) {
    picture.scores = score(files[picture.file].string(), picture.pair.target,
                           to_float_image(outputs[0], model_.decoder().size()));
  };
  steps.done = [&](Scored& picture) { placed.emplace(place(picture.file), std::move(picture.scores)); };
  // A device's choice of engines is rank 0's, which the others find when they come after it.
  const bool in_turn = ranks_.several() && !backend_.host_memory() && !std::exchange(validated_, true);
  if (in_turn && !ranks_.first()) ranks_.share("");
  if (!for_each(files, reconstruction(model_, noise, seed_, MapsFor::each, backend_), std::move(steps)))
    return std::nullopt;
  if (in_turn && ranks_.first()) ranks_.share("");
  if (ranks_.several()) {
    const std::vector<std::string> of_ranks = ranks_.gather(text_of(placed));
    if (!ranks_.first()) return "";
    for (const std::string& text : of_ranks) add(placed, text);
  }
  std::vector<ImageScores> scores;
  for (auto& [at, score] : placed) scores.push_back(std::move(score));
  expect_readable(scores.size());
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
  if (!for_each(val_->files(), leak.work(), std::move(steps))) return std::nullopt;
  expect_readable(leak.images());
  const ImageScores predicted = leak.mean(NoiseMaps::predicted), random = leak.mean(NoiseMaps::random),
                    zero = leak.mean(NoiseMaps::zero);
  log_(fmt::format("semantic leak: PSNR {} dB with predicted noise, {} with random, {} with zero",
                   shown(predicted.psnr), shown(random.psnr), shown(zero.psnr)));
  return fmt::format(R"("images": {}, "predicted": {{{}}}, "random": {{{}}}, "zero": {{{}}})", leak.images(),
                     members(predicted), members(random), members(zero));
}

}  // namespace om
