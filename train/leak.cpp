#include "train/leak.h"

namespace om {

SemanticLeak::SemanticLeak(const Autoencoder& model, std::uint64_t seed, Backend& backend)
    : model_(model), seed_(seed), backend_(backend) {}

Inference::Work SemanticLeak::work() const {
  Inference::Work work;
  work.draw = drawn_maps(model_, seed_, MapsFor::each, backend_);
  work.forward = [mode = std::make_shared<EvaluationMode>(model_), &model = model_,
                  &backend = backend_](const Inference::Inputs& in) {
    Code code = model.encode(in.images);
    const std::vector<Tensor> predicted = std::move(code.noise);
    const auto decoded = [&](const std::vector<Tensor>& maps) { return model.decode({code.latent, maps}); };
    Inference::Outputs outputs = {decoded(model.decoder().zero_noise(backend)), decoded(in.noise)};
    if (!predicted.empty()) outputs.push_back(decoded(predicted));
    return outputs;
  };
  return work;
}

FlowSteps<LeakPicture> SemanticLeak::steps(const std::vector<std::filesystem::path>& files) {
  FlowSteps<LeakPicture> steps;
  steps.finish = [this, &files](LeakPicture& picture, const FlowOutputs& outputs) {
    const auto scored = [&](std::size_t k) {
      return score(files[picture.file].string(), picture.pair.target,
                   to_float_image(outputs[k], model_.decoder().size()));
    };
    picture.zero = scored(0);
    picture.random = scored(1);
    if (model_.predicts_noise()) picture.predicted = scored(2);
  };
  steps.done = [this](LeakPicture& picture) {
    if (picture.predicted) predicted_.push_back(*picture.predicted);
    zero_.push_back(picture.zero);
    random_.push_back(picture.random);
  };
  return steps;
}

ImageScores SemanticLeak::mean(NoiseMaps noise) const {
  return mean_of(noise == NoiseMaps::predicted ? predicted_ : noise == NoiseMaps::random ? random_ : zero_);
}

}  // namespace om
