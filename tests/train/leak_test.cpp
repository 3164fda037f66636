// The semantic leak: which noise maps decode a picture, and what is measured of it.
#include "train/leak.h"

#include <gtest/gtest.h>

#include "autograd/grad.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"

namespace om {
namespace {

class Leak : public testing::Test {
 protected:
  Leak() {
    tiny_.config.iterations = 2;
    model_ = load_autoencoder(tiny_.run("run").model, backend("cpu"));
    for (const int n : {5, 6})
      pictures_.push_back(resize_bilinear(read_image(tiny_.config.val + text("/square", n, ".png")), 16, 16));
  }
  Tensor input(std::size_t i) { return to_tensor(pictures_[i].pixels, 1, 16, backend("cpu")); }
  std::vector<float> decoded(std::size_t i, const Decoding& decoding) {
    const NoGrad no_grad;
    const EvaluationMode evaluation(*model_);
    return decode(*model_, model_->encode(input(i)), decoding).to_host<float>();
  }
  std::vector<float> decoded_with(std::size_t i, const std::vector<Tensor>& noise) {
    const NoGrad no_grad;
    const EvaluationMode evaluation(*model_);
    return (*model_)(input(i), noise).to_host<float>();
  }

  test::TinyRun tiny_;
  std::unique_ptr<Autoencoder> model_;
  std::vector<Image> pictures_;
};

TEST_F(Leak, MapsArePredictedRandomOrZero) {
  EXPECT_EQ(decoded(0, {.noise = NoiseMaps::zero}),
            decoded_with(0, model_->decoder().zero_noise(backend("cpu"))));
  const auto random = [&](std::uint64_t seed, std::uint64_t picture) {
    return decoded(0, {NoiseMaps::random, seed, picture});
  };
  EXPECT_EQ(random(3, 4), random(3, 4));
  EXPECT_NE(random(3, 4), random(3, 5));
  EXPECT_NE(random(3, 4), random(4, 4));
  EXPECT_NE(random(3, 4), decoded(0, {.noise = NoiseMaps::zero}));
  EXPECT_NE(decoded(0, {}), decoded(0, {.noise = NoiseMaps::zero}));
  // maps of neighbouring pictures overlap in nothing: the last of one is not the first of the next
  RandomSource numbers(3, backend("cpu"));
  numbers.set_state({3, (std::uint64_t{1} << 62) + 4 * model_->decoder().noise_sizes().size()});
  EXPECT_EQ(random(3, 4), decoded_with(0, model_->decoder().random_noise(1, numbers)));
  EXPECT_EQ(random(3, 5), decoded_with(0, model_->decoder().random_noise(1, numbers)));
}

TEST_F(Leak, MeasuresEachKindOverAllPictures) {
  SemanticLeak leak(*model_, 9, backend("cpu"));
  const std::vector<std::filesystem::path> files = {tiny_.config.val + "/square5.png",
                                                    tiny_.config.val + "/square6.png"};
  FlowSteps<LeakPicture> steps = leak.steps(files);
  steps.prepare = [](const Image& image) { return resized_pair(image, 16); };
  Inference inference(16, 1, leak.work(), backend("cpu"));
  run_flow(files, inference, steps, 0);
  std::vector<ImageScores> predicted, random, zero;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto scored = [&](NoiseMaps noise) {
      return score("picture", pictures_[i],
                   reconstruct(*model_, pictures_[i], backend("cpu"), {noise, 9, i}));
    };
    predicted.push_back(scored(NoiseMaps::predicted));
    random.push_back(scored(NoiseMaps::random));
    zero.push_back(scored(NoiseMaps::zero));
  }
  EXPECT_EQ(leak.images(), 2U);
  EXPECT_EQ(*leak.mean(NoiseMaps::predicted).psnr, *mean_of(predicted).psnr);
  EXPECT_EQ(*leak.mean(NoiseMaps::random).psnr, *mean_of(random).psnr);
  EXPECT_EQ(*leak.mean(NoiseMaps::zero).psnr, *mean_of(zero).psnr);
  EXPECT_EQ(*leak.mean(NoiseMaps::zero).ssim_wang, *mean_of(zero).ssim_wang);
  EXPECT_NE(*mean_of(zero).psnr, *mean_of(random).psnr);
  EXPECT_NE(*mean_of(predicted).psnr, *mean_of(random).psnr);
}

}  // namespace
}  // namespace om
