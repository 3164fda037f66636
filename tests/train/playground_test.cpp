// A model to play with: what is warm after warm_up(), and how pictures are numbered.
#include "train/playground.h"

#include <gtest/gtest.h>

#include <set>

#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/train/queued_backend.h"

namespace om::test {
namespace {

/// A device that remembers the sizes of its convolutions, for each of which a card searches an engine.
class Remembering : public QueuedBackend {
 public:
  Remembering() : QueuedBackend(false) {}
  void conv2d(In x, In w, Out y, const Conv2dParams& params) override {
    note("conv2d", x.shape, w.shape, y.shape);
    QueuedBackend::conv2d(x, w, y, params);
  }
  void conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) override {
    note("conv2d_input_grad", g.shape, w.shape, x.shape);
    QueuedBackend::conv2d_input_grad(g, w, x, params);
  }
  std::set<std::string> asked;

 private:
  void note(const char* kernel, const Shape& a, const Shape& b, const Shape& c) {
    asked.insert(text(kernel, " ", a, " ", b, " ", c));
  }
};

Model model(Backend& device, bool encodes, bool predicts_noise) {
  StyleGan2Config config;
  config.z_width = config.latent_width = 8;
  config.mapping_layers = 2;
  config.constant_channels = 6;
  config.channels = {6, 5, 4};
  config.stored_noise = config.latent_average = false;
  RandomSource random(3, device);
  Model made;
  auto decoder = std::make_unique<StyleGan2>(config, Placement{device});
  randomize(*decoder, random, 0.5);
  made.decoder = std::move(decoder);
  if (!encodes) return made;
  EncoderConfig encoder = EncoderConfig::for_decoder(*made.decoder, Projection::wplus, 1);
  encoder.noise_heads = predicts_noise;
  made.encoder = std::make_unique<Encoder>(encoder, Placement{device});
  initialize(*made.encoder, random);
  return made;
}

Image squares(int side) {
  Image image(side, side);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 37);
  return image;
}

TEST(Playground, AfterWarmingUpNoConvolutionIsNew) {
  for (const auto& [encodes, predicts_noise] :
       {std::pair(true, true), std::pair(true, false), std::pair(false, false)}) {
    Remembering device;
    Playground playground(model(device, encodes, predicts_noise), device);
    device.synchronize();
    EXPECT_TRUE(device.asked.empty());
    playground.warm_up();
    const std::set<std::string> warm = device.asked;
    EXPECT_GT(warm.size(), encodes ? 8U : 4U);
    playground.draw(playground.sample(1, Playground::SampleNoise::random, 0.5));
    if (encodes) {
      const Playground::Picture& picture = playground.add(squares(20));
      playground.draw(playground.changed(picture, {NoiseMaps::zero, 0, {}}));
      playground.draw(playground.between(picture, picture, 0.5, 0.5));
      playground.denoise(picture, 25, 1);
      playground.sheet(picture, picture.code);
    }
    device.synchronize();
    EXPECT_EQ(device.asked, warm);
  }
}

TEST(Playground, WarmingUpKeepsNothingAndChangesNothing) {
  Backend& cpu = backend("cpu");
  Playground warm(model(cpu, true, true), cpu, 1000), cold(model(cpu, true, true), cpu, 1000);
  warm.warm_up();
  EXPECT_THROW(warm.picture(1000), PictureGone);
  const Playground::Picture &a = warm.add(squares(20)), &b = cold.add(squares(20));
  EXPECT_EQ(a.id, 1000U);
  EXPECT_EQ(b.id, 1000U);
  EXPECT_EQ(warm.draw(a.code).pixels, cold.draw(b.code).pixels);
  EXPECT_EQ(warm.add(squares(10)).id, 1001U);
}

}  // namespace
}  // namespace om::test
