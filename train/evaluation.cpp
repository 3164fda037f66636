#include "train/evaluation.h"

#include <algorithm>

namespace om {
namespace {

/// An image as a network is given it, in [0, 1] again.
FloatImage as_seen(const Image& image) {
  std::vector<float> values(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), values.begin(),
                 [](std::uint8_t v) { return pixel_values()[v]; });
  return to_float_image(values, image.width);
}

}  // namespace

/// What is gathered over the images of one row.
struct Evaluation::Set {
  std::vector<ImageScores> scores;
  std::vector<float> features, features_authors;
};

Evaluation::Evaluation(std::vector<EvalData> data, EvalTask task, const FidNetwork* network,
                       FeatureCache cache, Backend& backend, ImageHooks hooks)
    : data_(std::move(data)),
      task_(std::move(task)),
      network_(network),
      cache_(std::move(cache)),
      backend_(backend),
      hooks_(std::move(hooks)) {}

EvalNetwork network_of(const std::string& name, const Autoencoder& model, std::uint64_t seed,
                       Backend& backend) {
  return {name, model.decoder().size(), largest_map_bytes(model),
          reconstruction(model, NoiseMaps::predicted, seed, MapsFor::each, backend)};
}

void Evaluation::run(const EvalNetwork& network) {
  models_.push_back(network.name);
  images_ = 0;
  const std::int64_t side = network.side;
  const bool fresh = std::find(input_sides_.begin(), input_sides_.end(), side) == input_sides_.end();
  if (fresh) input_sides_.push_back(side);
  const bool with_input = fresh && !task_.sigmas.empty();
  const std::int64_t batch = task_.batch.value_or(default_batch(backend_, network.largest_map_bytes));
  Inference inference(side, batch, measured(network.work, with_input), backend_);
  for (std::size_t data = 0; data < data_.size(); ++data)
    for (std::size_t sigma = 0; sigma < std::max<std::size_t>(1, task_.sigmas.size()); ++sigma)
      run_on(data, sigma, side, inference, with_input);
  speeds_.emplace_back(network.name, static_cast<double>(images_) / std::max(inference.seconds(), 1e-9));
}

/// Outputs: the images; with a network their features for both variants, and those of the noisy inputs.
Inference::Work Evaluation::measured(Inference::Work work, bool with_input) const {
  if (network_ == nullptr) return work;
  work.measure = [this, with_input](const Inference::Inputs& in, const Inference::Outputs& made) {
    Inference::Outputs features;
    const auto add = [&](const Tensor& images) {
      for (const FidVariant variant : {FidVariant::pytorch_fid, FidVariant::authors})
        features.push_back(features_of(*network_->inception, fid_input(images, variant, task_.noise.grey)));
    };
    add(made[0]);
    if (with_input) add(in.images);
    return features;
  };
  return work;
}

void Evaluation::run_on(std::size_t data, std::size_t sigma, std::int64_t side, Inference& inference,
                        bool with_input) {
  struct Measured : FlowPicture {
    ImageScores made, noisy;
    std::vector<std::vector<float>> features;  // as the outputs after the images
  };
  const std::vector<std::filesystem::path>& files = data_[data].files;
  Set made, noisy;
  FlowSteps<Measured> steps;
  steps.check = hooks_.check;
  steps.read = [&](std::size_t, const std::string* why) {
    if (why == nullptr) return;
    if (models_.size() == 1 && sigma == 0) hooks_.say(text("skipped ", *why));
    hooks_.image_done();
  };
  steps.prepare = [&](const Image& image) {
    if (task_.sigmas.empty()) return resized_pair(image, side);
    return denoise_pair(image, task_.sigmas[sigma], task_.noise, static_cast<int>(side), task_.seed,
                        picture_of(image));
  };
  steps.finish = [&](Measured& picture, const FlowOutputs& outputs) {
    const std::string file = files[picture.file].string();
    const auto scored = [&](const FloatImage& image) { return score(file, picture.pair.target, image); };
    const FloatImage output = to_float_image(outputs[0], side);
    picture.made = scored(task_.noise.grey ? to_float_image(to_grey(to_image(output))) : output);
    if (with_input) picture.noisy = scored(as_seen(picture.pair.input));
    if (network_ == nullptr) return;
    for (std::size_t k = 1; k <= (with_input ? 4U : 2U); ++k)
      picture.features.emplace_back(outputs[k].begin(), outputs[k].end());
  };
  steps.done = [&](Measured& picture) {
    const auto append = [&](Set& set, ImageScores& scores, std::size_t first) {
      set.scores.push_back(std::move(scores));
      if (network_ == nullptr) return;
      const auto &plain = picture.features[first], &authors = picture.features[first + 1];
      set.features.insert(set.features.end(), plain.begin(), plain.end());
      set.features_authors.insert(set.features_authors.end(), authors.begin(), authors.end());
    };
    append(made, picture.made, 0);
    if (with_input) append(noisy, picture.noisy, 2);
    ++images_;
    hooks_.image_done();
  };
  run_flow(files, inference, steps, flow_threads(backend_));
  if (made.scores.empty())
    fail<InputError>(files.front().parent_path().string(), ": holds no readable image");
  if (with_input) {
    const std::string name = input_sides_.size() == 1 ? kInputName : text(kInputName, " at ", side);
    rows_[{data, sigma, false, input_sides_.size()}] = row_of(data, sigma, name, side, noisy);
  }
  rows_[{data, sigma, true, models_.size()}] = row_of(data, sigma, models_.back(), side, made);
}

const FeatureStatistics& Evaluation::inputs_of(std::size_t data, std::int64_t side, FidVariant variant) {
  const std::tuple key{data, side, variant};
  const auto known = inputs_.find(key);
  if (known != inputs_.end()) return known->second;
  ImageHooks quiet;  // skipped files were said, and the bar counts reconstructions
  quiet.check = hooks_.check;
  const std::vector<float> features = folder_features(
      data_[data].files, {side, task_.noise.grey, task_.batch}, variant, *network_, cache_, backend_, quiet);
  return inputs_.emplace(key, FeatureStatistics::of_features(features, network_->inception->features()))
      .first->second;
}

EvalRow Evaluation::row_of(std::size_t data, std::size_t sigma, const std::string& name, std::int64_t side,
                           const Set& set) {
  const ImageScores mean = mean_of(set.scores);
  EvalRow row{name, data_[data].name, {}, "", static_cast<std::int64_t>(set.scores.size()), {}, {}, {}, {},
              {}};
  row.psnr = mean.psnr;
  row.ssim = mean.ssim;
  row.ssim_wang = mean.ssim_wang;
  if (!task_.sigmas.empty()) {
    row.sigma = task_.sigmas[sigma];
    row.noise_at = name_of(task_.noise.at);
  }
  if (network_ == nullptr || set.scores.size() < 2) return row;
  const auto distance = [&](FidVariant variant, const std::vector<float>& features) {
    return frechet_distance(FeatureStatistics::of_features(features, network_->inception->features()),
                            inputs_of(data, side, variant));
  };
  row.fid = distance(FidVariant::pytorch_fid, set.features);
  row.fid_authors = distance(FidVariant::authors, set.features_authors);
  return row;
}

std::vector<EvalRow> Evaluation::rows() const {
  std::vector<EvalRow> rows;
  for (const auto& [place, row] : rows_) rows.push_back(row);
  return rows;
}

}  // namespace om
