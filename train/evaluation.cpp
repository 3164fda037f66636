#include "train/evaluation.h"

#include <algorithm>

#include "autograd/grad.h"
#include "io/resize.h"

namespace om {

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

void Evaluation::run(const std::string& name, const Autoencoder& model) {
  models_.push_back(name);
  seconds_ = 0;
  images_ = 0;
  const std::int64_t side = model.decoder().size();
  const bool fresh = std::find(input_sides_.begin(), input_sides_.end(), side) == input_sides_.end();
  if (fresh) input_sides_.push_back(side);
  for (std::size_t data = 0; data < data_.size(); ++data)
    for (std::size_t sigma = 0; sigma < std::max<std::size_t>(1, task_.sigmas.size()); ++sigma)
      run_on(data, sigma, model, fresh && !task_.sigmas.empty());
  speeds_.emplace_back(name, static_cast<double>(images_) / std::max(seconds_, 1e-9));
}

void Evaluation::run_on(std::size_t data, std::size_t sigma, const Autoencoder& model, bool with_input) {
  using Clock = std::chrono::steady_clock;
  const NoGrad no_grad;
  const EvaluationMode mode(model);
  const std::int64_t side = model.decoder().size();
  std::uint64_t number = 0;
  const auto pair_of =
      [&](const Image& image) -> std::pair<Image, Image> {  // what goes in, what should come out
    if (task_.sigmas.empty()) {
      const Image resized = resize_bilinear(image, static_cast<int>(side), static_cast<int>(side));
      return {resized, resized};
    }
    auto [input, target] = denoise_pair(image, task_.sigmas[sigma], task_.noise, static_cast<int>(side),
                                        task_.seed, picture_of(image));
    return {std::move(input), std::move(target)};
  };
  Set made, noisy;
  const auto add = [&](Set& set, const std::string& file, const Image& clean, const Tensor& images) {
    const FloatImage floats = to_float_images(images).front();
    set.scores.push_back(score(file, clean, floats));
    if (network_ == nullptr) return;
    append_features(*network_->inception, fid_input(to_image(floats), FidVariant::pytorch_fid, backend_),
                    set.features);
    append_features(*network_->inception, fid_input(images, FidVariant::authors), set.features_authors);
  };
  for (const std::filesystem::path& file : data_[data].files) {
    hooks_.check();
    std::optional<std::pair<Image, Image>> pair;
    try {
      pair = pair_of(read_image(file.string()));
    } catch (const InputError& error) {
      if (models_.size() == 1 && sigma == 0) hooks_.say(text("skipped ", error.what()));
      hooks_.image_done();
      continue;
    }
    const Tensor input = to_tensor(pair->first.pixels, 1, side, backend_);
    const Clock::time_point start = Clock::now();
    const Tensor output = decode(model, model.encode(input), {.seed = task_.seed, .picture = number++});
    backend_.synchronize();
    seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
    ++images_;
    add(made, file.string(), pair->second, output);
    if (with_input) add(noisy, file.string(), pair->second, input);
    hooks_.image_done();
  }
  if (made.scores.empty())
    fail<InputError>(data_[data].files.front().parent_path().string(), ": holds no readable image");
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
  const std::vector<float> features =
      folder_features(data_[data].files, side, variant, *network_, cache_, backend_, quiet);
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
