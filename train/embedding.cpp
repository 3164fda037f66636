#include "train/embedding.h"

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/model_file.h"
#include "io/networks.h"
#include "io/safetensors.h"
#include "train/checkpoint.h"
#include "train/checkpoint_parts.h"

namespace om {
namespace {

constexpr std::int64_t kAverageOf = 4096;  // w for a mean that the file lacks
constexpr const char* kKind = "embedding";

/// 0 is the seed of the mean, whatever seed the embedding has, as in `generate`.
Tensor mean_latent(const Decoder& decoder, Backend& backend) {
  if (decoder.latent_average().defined()) return decoder.latent_average().clone();
  RandomSource random(0, backend);
  return estimate_latent_average(decoder, kAverageOf, random);
}

Tensor mean_squared_error(const Tensor& x, const Tensor& y) { return mean(square(x - y)); }

const char* name_of(LatentSpace space) {
  switch (space) {
    case LatentSpace::wplus: return "wplus";
    case LatentSpace::w: return "w";
    case LatentSpace::z: return "z";
  }
  return "?";
}

}  // namespace

Embedding::Embedding(const Decoder& decoder, const VggFeatures* vgg, const EmbeddingSettings& settings,
                     Tensor target)
    : decoder_(decoder), vgg_(vgg), settings_(settings), target_(std::move(target)) {
  Backend& backend = target_.backend();
  const NoGrad no_grad;
  RandomSource random(settings.seed, backend);
  if (settings.space == LatentSpace::z) {
    latent_ = random.normal({1, decoder.z_width()});
  } else {
    const Tensor w = reshape(mean_latent(decoder, backend), {1, decoder.latent_width()});
    latent_ = settings.space == LatentSpace::w ? w : repeat_latent(w, decoder.latents());
  }
  parameter("latent", latent_);
  const std::vector<Tensor> stored = decoder.stored_noise();
  for (const Tensor& map : stored.empty() ? decoder.random_noise(1, random) : stored) {
    noise_.push_back(map.clone());
    const std::string name = text("noise.", noise_.size() - 1);
    settings.optimise_noise ? parameter(name, noise_.back(), layouts::image)
                            : buffer(name, noise_.back(), layouts::image);
  }
  set_trainable(true);
  if (vgg_ != nullptr) target_features_ = (*vgg_)(target_);
  adam_ = std::make_unique<Adam>(std::vector<ParameterGroup>{{"inputs", parameters(), settings.rate}},
                                 AdamOptions{.beta1 = 0.9, .weight_decay = 0, .clip_norm = 0});
}

Tensor Embedding::latents() const {
  const Tensor w = settings_.space == LatentSpace::z ? decoder_.map(latent_) : latent_;
  return w.rank() == 2 ? repeat_latent(w, decoder_.latents()) : w;
}

Tensor Embedding::step() {
  const Tensor made = decoder_.synthesize(latents(), noise_);
  Tensor loss = mean_squared_error(made, target_);
  if (vgg_ != nullptr) {
    const std::vector<Tensor> features = (*vgg_)(made);
    for (std::size_t j = 0; j < features.size(); ++j)
      loss = loss + mean_squared_error(features[j], target_features_[j]);
  }
  adam_->step(grad({loss}, adam_->parameters()));
  ++iteration_;
  return loss.detach();
}

Tensor Embedding::picture() const {
  const NoGrad no_grad;
  return decoder_.synthesize(latents(), noise_);
}

Code Embedding::code() const {
  const NoGrad no_grad;
  Code code{settings_.space == LatentSpace::z ? latent_.detach() : latents(), {}};
  for (const Tensor& map : noise_) code.noise.push_back(map.detach());
  return code;
}

std::string Embedding::identity() const {
  return text("target ", checksum_of({{{"target", to_file(target_, layouts::image)}}, {}}), ", generator ",
              fingerprint(decoder_), ", vgg ", vgg_ != nullptr ? fingerprint(*vgg_) : "none", ", latent ",
              name_of(settings_.space), ", noise ", settings_.optimise_noise ? "optimised" : "fixed",
              ", rate ", settings_.rate, ", seed ", settings_.seed);
}

void Embedding::save(const std::string& path, const std::string& history) const {
  SafeTensors content{to_file(*this), {}};
  put_adam(content.tensors, *adam_);
  content.metadata = {{"onemodel", "1"},
                      {"kind", kKind},
                      {"identity", identity()},
                      {"iteration", std::to_string(iteration_)},
                      {"history", history}};
  content.metadata["checksum"] = checksum_of(content);
  write_safetensors(path, content);
}

std::string Embedding::load(const std::string& path) {
  const SafeTensors content = read_safetensors(path);
  const auto found = [&](const char* key) { return metadata_text(path, content, key); };
  if (found("kind") != kKind) fail<InputError>(path, ": is no state of an embedding");
  if (found("checksum") != checksum_of(content)) fail<InputError>(path, ": its checksum does not hold");
  if (found("identity") != identity())
    fail<InputError>(path, ": belongs to another picture, generator or other settings");
  fill(*this, view_of(path, content));
  adam_->set_state(get_adam(path, content.tensors, *adam_));
  iteration_ = metadata_number<std::int64_t>(path, content, "iteration");
  return found("history");
}

std::unique_ptr<VggFeatures> load_vgg_features(const std::string& path, Backend& backend) {
  const Checkpoint checkpoint = read_checkpoint(path);
  try {
    const FileShapes shapes = view_below(checkpoint, "").shapes();
    std::int64_t budget = budget_of(shapes);
    auto vgg = std::make_unique<VggFeatures>(shapes, Placement{backend, DType::f32, &budget});
    fill(*vgg, checkpoint);
    vgg->set_trainable(false);
    return vgg;
  } catch (const InputError& error) {
    if (std::string_view(error.what()).starts_with(path + ": ")) throw;
    fail<InputError>(path, ": ", error.what());
  }
}

}  // namespace om
