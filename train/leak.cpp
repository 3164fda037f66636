#include "train/leak.h"

#include "autograd/grad.h"

namespace om {

SemanticLeak::SemanticLeak(const Autoencoder& model, std::uint64_t seed, Backend& backend)
    : model_(model), seed_(seed), backend_(backend) {}

void SemanticLeak::add(const std::string& file, const Image& image) {
  const NoGrad no_grad;
  const EvaluationMode evaluation(model_);
  const Code code = model_.encode(to_tensor(image.pixels, 1, model_.decoder().size(), backend_));
  const auto scored = [&](NoiseMaps noise) {
    const Tensor output = decode(model_, code, {noise, seed_, random_.size()});
    return score(file, image, to_float_images(output).front());
  };
  if (!code.noise.empty()) predicted_.push_back(scored(NoiseMaps::predicted));
  zero_.push_back(scored(NoiseMaps::zero));
  random_.push_back(scored(NoiseMaps::random));
}

ImageScores SemanticLeak::mean(NoiseMaps noise) const {
  return mean_of(noise == NoiseMaps::predicted ? predicted_ : noise == NoiseMaps::random ? random_ : zero_);
}

}  // namespace om
