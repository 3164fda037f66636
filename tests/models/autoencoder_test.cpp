// The autoencoder's two shapes (one encoder, or a latent and a noise network), what each network answers for,
// and which parts do not fit one another.
#include "models/autoencoder.h"

#include <gtest/gtest.h>

#include <set>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/harness/message.h"

namespace om {
namespace {

std::unique_ptr<Decoder> stylegan2(std::vector<std::int64_t> channels = {6, 5, 4}) {
  StyleGan2Config config;
  config.z_width = 7;
  config.latent_width = 8;
  config.mapping_layers = 2;
  config.constant_channels = channels[0];
  config.channels = std::move(channels);
  auto decoder = std::make_unique<StyleGan2>(config, Placement{backend("cpu")});
  RandomSource random(1, backend("cpu"));
  randomize(*decoder, random, 0.5);
  return decoder;
}

std::unique_ptr<Decoder> stylegan1() {
  StyleGan1Config config;
  config.z_width = config.latent_width = 8;
  config.mapping_layers = 2;
  config.constant_channels = 6;
  config.channels = {6, 5, 4};
  config.fused = {false, false, true};
  auto decoder = std::make_unique<StyleGan1>(config, Placement{backend("cpu")});
  RandomSource random(1, backend("cpu"));
  randomize(*decoder, random, 0.5);
  return decoder;
}

std::unique_ptr<Encoder> encoder(const Decoder& decoder, Projection projection, Heads heads = Heads::both) {
  const EncoderConfig config = EncoderConfig::for_decoder(decoder, projection, 1, heads);
  auto encoder = std::make_unique<Encoder>(config, Placement{backend("cpu")});
  RandomSource random(heads == Heads::noise ? 3 : 2, backend("cpu"));
  initialize(*encoder, random);
  return encoder;
}

Tensor image() {
  RandomSource random(9, backend("cpu"));
  return random.normal({2, 16, 16, 3}) * 0.3;
}

Autoencoder two_networks(std::unique_ptr<Decoder> decoder) {
  auto latent = encoder(*decoder, Projection::wplus, Heads::latent);
  auto noise = encoder(*decoder, Projection::wplus, Heads::noise);
  return Autoencoder(std::move(latent), std::move(decoder), std::move(noise));
}

void expect_equal(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  EXPECT_EQ(a.to_host<float>(), b.to_host<float>());
}

TEST(Autoencoder, NamesItsPartsAsFilesDo) {
  const auto names = [](const Autoencoder& model) {
    std::set<std::string> first;
    for (const Entry& entry : model.entries()) first.insert(entry.name.substr(0, entry.name.find('.')));
    return first;
  };
  auto decoder = stylegan2();
  auto single = encoder(*decoder, Projection::wplus);
  EXPECT_EQ(names(Autoencoder(std::move(single), std::move(decoder))),
            (std::set<std::string>{"decoder", "encoder"}));
  EXPECT_EQ(names(two_networks(stylegan2())),
            (std::set<std::string>{"decoder", "latent_encoder", "noise_encoder"}));
}

TEST(Autoencoder, OfTwoNetworksTakesLatentAndNoiseFromTheirOwn) {
  for (const bool first : {true, false}) {
    const Autoencoder model = two_networks(first ? stylegan1() : stylegan2());
    const NoGrad no_grad;
    const Code code = model.encode(image());
    expect_equal(code.latent, model.encoder()(image()).latent);
    const std::vector<Tensor> noise = (*model.noise_encoder())(image()).noise;
    ASSERT_EQ(code.noise.size(), noise.size());
    ASSERT_EQ(noise.size(), first ? 3U : 5U);
    for (std::size_t i = 0; i < noise.size(); ++i) expect_equal(code.noise[i], noise[i]);
    expect_equal(model(image()), model.decoder().synthesize(code.latent, noise));
    EXPECT_TRUE(model.encode_latent(image()).noise.empty());
  }
}

TEST(Autoencoder, DecodesWithGivenNoiseInPlaceOfPredicted) {
  const Autoencoder model = two_networks(stylegan2());
  const NoGrad no_grad;
  RandomSource random(5, backend("cpu"));
  const std::vector<Tensor> noise = model.decoder().random_noise(1, random);
  expect_equal(model(image(), noise), model.decoder().synthesize(model.encode_latent(image()).latent, noise));
}

TEST(Autoencoder, WithoutNoiseHeadsWantsNoiseFromTheCaller) {
  auto decoder = stylegan1();
  auto latent = encoder(*decoder, Projection::z, Heads::latent);
  const Autoencoder model(std::move(latent), std::move(decoder));
  EXPECT_FALSE(model.predicts_noise());
  const NoGrad no_grad;
  EXPECT_THROW(model(image()), Error);
  RandomSource random(5, backend("cpu"));
  const std::vector<Tensor> noise = model.decoder().random_noise(1, random);
  EXPECT_EQ(model(image(), noise).shape(), (Shape{2, 16, 16, 3}));
}

TEST(Autoencoder, OfNoiseAloneDecodesAGivenLatent) {
  auto decoder = stylegan2();
  auto noise = encoder(*decoder, Projection::wplus, Heads::noise);
  const Autoencoder model(std::move(noise), std::move(decoder));
  EXPECT_FALSE(model.predicts_latent());
  const NoGrad no_grad;
  Code code = model.encode(image());
  EXPECT_THROW(model.decode(code), Error);
  code.latent = Tensor::zeros({2, 6, 8}, DType::f32, backend("cpu"));
  EXPECT_EQ(model.decode(code).shape(), (Shape{2, 16, 16, 3}));
}

/// The latent goes through the frozen mapping network: gradients pass it, its weights get none.
TEST(Autoencoder, IntoZGoesThroughTheFrozenMapping) {
  for (const bool first : {true, false}) {
    auto decoder = first ? stylegan1() : stylegan2();
    auto into_z = encoder(*decoder, Projection::z);
    const Autoencoder model(std::move(into_z), std::move(decoder));
    model.encoder().set_trainable(true);
    model.decoder().set_trainable(false);
    const Code code = model.encode(image());
    EXPECT_EQ(code.latent.shape(), (Shape{2, model.decoder().z_width()}));
    const Tensor w = model.decoder().map(code.latent);
    expect_equal(model.decode(code).detach(),
                 model.decoder().synthesize(repeat_latent(w, 6), code.noise).detach());
    for (const Entry& entry : model.encoder().parameters()) {
      if (!entry.name.starts_with("to_latent.")) continue;
      const Tensor slope = grad({sum(square(model.decode(model.encode(image()))))}, {entry.value})[0];
      EXPECT_GT(max(abs(slope)).item(), 0) << entry.name;
    }
  }
}

TEST(Autoencoder, SaysWhichPartsDoNotFit) {
  const auto complaint = [](const auto& build) { return test::message<InputError>(build); };
  using P = Projection;
  EXPECT_EQ(complaint([] { Autoencoder(encoder(*stylegan2(), P::wplus), stylegan1()); }),
            "autoencoder: the encoder predicts 5 noise maps, the generator takes 3");
  EXPECT_EQ(complaint([] { Autoencoder(encoder(*stylegan2(), P::z), stylegan1()); }),
            "autoencoder: the encoder predicts latents of width 7, the generator takes 8");
  EXPECT_EQ(complaint([] {
              Autoencoder(encoder(*stylegan2({4, 4}), P::wplus), stylegan2());
            }),
            "autoencoder: the encoder is for 8 pixels, the generator for 16");
  const auto pair = [&](Heads latent, Heads noise) {
    return complaint([&] {
      auto decoder = stylegan2();
      auto a = encoder(*decoder, P::wplus, latent), b = encoder(*decoder, P::wplus, noise);
      Autoencoder(std::move(a), std::move(decoder), std::move(b));
    });
  };
  EXPECT_EQ(pair(Heads::noise, Heads::noise), "autoencoder: the latent encoder predicts no latents");
  EXPECT_EQ(pair(Heads::both, Heads::noise), "autoencoder: the latent encoder has noise heads of its own");
  EXPECT_EQ(pair(Heads::latent, Heads::latent), "autoencoder: the noise encoder predicts no noise");
  EXPECT_EQ(pair(Heads::latent, Heads::both), "autoencoder: the noise encoder has latent heads of its own");
  EXPECT_EQ(pair(Heads::latent, Heads::noise), "no error");
}

TEST(EncoderConfig, HasTheDecodersChannelsOrStyleGan1s) {
  const auto decoder = stylegan2();
  EXPECT_EQ(EncoderConfig::for_decoder(*decoder, Projection::wplus, 2).channels,
            (std::vector<std::int64_t>{8, 10, 12}));
  StyleGan2Config config;
  config.mapping_layers = 1;
  config.latent_width = config.z_width = 4;
  config.constant_channels = 2;
  config.channels = {2, 2, 2, 2, 2, 2, 2};
  const StyleGan2 large(config, Placement{backend("cpu")});
  const EncoderConfig encoder =
      EncoderConfig::for_decoder(large, Projection::wplus, 0.5, Heads::latent, ChannelMap::stylegan1);
  EXPECT_EQ(encoder.channels, (std::vector<std::int64_t>{32, 64, 128, 256, 256, 256, 256}));
  EXPECT_FALSE(encoder.noise_heads);
  EXPECT_EQ(StyleGan1Config::published_channels(1024),
            (std::vector<std::int64_t>{512, 512, 512, 512, 256, 128, 64, 32, 16}));
}

/// Shapes of a file with nine blocks, as real ones have, fused from 128 pixels on.
FileShapes nine_blocks() {
  FileShapes shapes = {{"generator.progression.0.conv1.input", {1, 4, 4, 4}}};
  for (int i = 1; i < 6; i += 2) shapes[text("style.", i, ".linear.weight_orig")] = {5, 5};
  for (int i = 0; i < 9; ++i) {
    const std::string block = text("generator.progression.", i);
    shapes[block + ".conv2.conv.weight_orig"] = {4, 4, 3, 3};
    if (i > 0) shapes[block + (i < 5 ? ".conv1.1.conv.weight_orig" : ".conv1.0.weight")] = {4, 4, 3, 3};
  }
  return shapes;
}

TEST(StyleGan1Config, TakesTheBlocksThatASizeNeeds) {
  const FileShapes shapes = nine_blocks();
  const StyleGan1Config all = StyleGan1Config::from_shapes(shapes);
  EXPECT_EQ(all.size(), 1024);
  EXPECT_EQ(all.mapping_layers, 3);
  EXPECT_TRUE(all.unused_sizes(shapes).empty());
  const StyleGan1Config some = StyleGan1Config::from_shapes(shapes, 128);
  EXPECT_EQ(some.size(), 128);
  EXPECT_EQ(some.fused, (std::vector<bool>{false, false, false, false, false, true}));
  EXPECT_EQ(some.unused_sizes(shapes), (std::vector<std::int64_t>{256, 512, 1024}));
  for (const std::int64_t wrong : {4, 100, 2048})
    EXPECT_THROW(StyleGan1Config::from_shapes(shapes, wrong), InputError) << wrong;
}

TEST(StyleGan1Config, FindsTheSizeThatWasTrained) {
  const auto trained_up_to = [](int last) {
    return trained_size(nine_blocks(), [=](const std::string& name) {
      return name.starts_with("generator.progression.") && name[22] - '0' > last;
    });
  };
  EXPECT_EQ(trained_up_to(5), 128);
  EXPECT_EQ(trained_up_to(8), 1024);
  EXPECT_EQ(trained_up_to(1), 1024);  // none was trained
}

}  // namespace
}  // namespace om
