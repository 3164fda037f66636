// Image2StyleGAN: VGG16's features against PyTorch's (make_vgg.py), and the loss that is minimised.
#include "train/embedding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/model_file.h"
#include "io/state_dict.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"

namespace om {
namespace {

const std::string kFile = std::string(ONEMODEL_SOURCE_DIR) + "/tests/train/vgg-features.safetensors";

void expect_near(const Tensor& found, const Tensor& expected, float bound) {
  const std::vector<float> a = found.to_host<float>(), b = expected.to_host<float>();
  ASSERT_EQ(found.shape(), expected.shape());
  float largest = 0;
  for (const float value : b) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < a.size(); ++i)
    ASSERT_TRUE(std::abs(a[i] - b[i]) <= bound * largest) << i << ": " << a[i] << ", expected " << b[i];
}

TEST(VggFeatures, ArePyTorchs) {
  Backend& cpu = backend("cpu");
  const NoGrad no_grad;
  const auto vgg = load_vgg_features(kFile, cpu);
  const Checkpoint file = read_checkpoint(kFile);
  const std::vector<Tensor> features = (*vgg)(from_file(file.load("image"), layouts::image, cpu));
  ASSERT_EQ(features.size(), 4U);
  for (std::size_t i = 0; i < features.size(); ++i)
    expect_near(features[i], from_file(file.load(text("expected.", i)), layouts::image, cpu), 1e-5F);
}

TEST(VggFeatures, LargePicturesAreAveragedDownTo256) {
  Backend& cpu = backend("cpu");
  const NoGrad no_grad;
  const auto vgg = load_vgg_features(kFile, cpu);
  RandomSource random(1, cpu);
  const Tensor small = random.normal({1, 256, 256, 3});
  // each pixel as a square of four whose mean it is
  const Tensor offset = random.normal({1, 256, 1, 256, 1, 3});
  const Tensor wide = reshape(small, {1, 256, 1, 256, 1, 3});
  const Tensor rows = concat({wide + offset, wide - offset}, 4);
  const Tensor large = reshape(concat({rows, rows}, 2), {1, 512, 512, 3});
  const std::vector<Tensor> a = (*vgg)(large), b = (*vgg)(small);
  for (std::size_t i = 0; i < a.size(); ++i) expect_near(a[i], b[i], 1e-5F);
  EXPECT_THROW((*vgg)(random.normal({1, 300, 300, 3})), Error);
}

class EmbeddingTest : public testing::Test {
 protected:
  EmbeddingTest() : cpu_(backend("cpu")), vgg_(load_vgg_features(kFile, cpu_)) {
    StyleGan2Config config;
    config.z_width = config.latent_width = 8;
    config.mapping_layers = 2;
    config.constant_channels = 6;
    config.channels = {6, 5};
    config.latent_average = true;
    decoder_ = std::make_unique<StyleGan2>(config, Placement{cpu_});
    RandomSource random(3, cpu_);
    randomize(*decoder_, random, 0.5);
    decoder_->latent_average().assign(random.normal({8}));
    decoder_->set_trainable(false);
    target_ = random.normal({1, 8, 8, 3});
  }

  Backend& cpu_;
  std::unique_ptr<VggFeatures> vgg_;
  std::unique_ptr<StyleGan2> decoder_;
  Tensor target_;
};

TEST_F(EmbeddingTest, StartsAtTheMeanLatent) {
  const Embedding embedding(*decoder_, nullptr, {}, target_);
  const std::vector<float> mean = decoder_->latent_average().to_host<float>();
  const std::vector<float> latent = embedding.code().latent.to_host<float>();
  ASSERT_EQ(latent.size(), 4 * mean.size());
  for (std::size_t i = 0; i < latent.size(); ++i) EXPECT_EQ(latent[i], mean[i % mean.size()]);
}

TEST_F(EmbeddingTest, TheLossIsTheSquaredErrorAndTheFeaturesOnes) {
  const auto expected = [&](const Embedding& embedding, bool perceptual) {
    const NoGrad no_grad;
    double loss = 0;
    const Tensor made = embedding.picture();
    const auto error = [](const Tensor& x, const Tensor& y) {
      const std::vector<float> a = x.to_host<float>(), b = y.to_host<float>();
      double total = 0;
      for (std::size_t i = 0; i < a.size(); ++i) total += std::pow(double{a[i]} - double{b[i]}, 2);
      return total / static_cast<double>(a.size());
    };
    loss += error(made, target_);
    const std::vector<Tensor> f = (*vgg_)(made), t = (*vgg_)(target_);
    for (std::size_t j = 0; perceptual && j < f.size(); ++j) loss += error(f[j], t[j]);
    return loss;
  };
  for (const bool perceptual : {false, true}) {
    Embedding embedding(*decoder_, perceptual ? vgg_.get() : nullptr, {}, target_);
    for (int i = 0; i < 3; ++i) {
      const double before = expected(embedding, perceptual);
      const double loss = embedding.step().item();
      EXPECT_TRUE(std::abs(loss - before) <= 1e-5 * before)
          << loss << ", expected " << before << ", perceptual " << perceptual << ", step " << i;
    }
  }
}

TEST_F(EmbeddingTest, NoiseMovesOnlyWhereItIsAskedTo) {
  for (const bool free : {false, true}) {
    Embedding embedding(*decoder_, nullptr, {.optimise_noise = free}, target_);
    const std::vector<float> before = embedding.code().noise[1].to_host<float>();
    for (int i = 0; i < 3; ++i) embedding.step();
    EXPECT_EQ(embedding.code().noise[1].to_host<float>() != before, free);
  }
  EXPECT_NE(Embedding(*decoder_, nullptr, {.optimise_noise = true}, target_).identity(),
            Embedding(*decoder_, nullptr, {}, target_).identity());
}

}  // namespace
}  // namespace om
