// NVIDIA's pickles give the generator that was written into them, to the bit, and are refused by name where
// they hold what is not built.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/model_file.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/io/nvidia_pickles.h"

namespace om {
namespace {

using namespace om::test;

class Nvidia : public testing::Test {
 protected:
  static StyleGan2Config config(double clamp) {
    StyleGan2Config config;
    config.z_width = 7;
    config.latent_width = 6;
    config.mapping_layers = 2;
    config.constant_channels = 4;
    config.channels = {4, 5, 3};
    config.latent_average = true;
    config.conv_clamp = clamp;
    return config;
  }

  /// Random weights of few bits, so that TensorFlow's + 1 loses nothing.
  std::unique_ptr<StyleGan2> generator(std::uint64_t seed, double clamp = 0) const {
    auto made = std::make_unique<StyleGan2>(config(clamp), Placement{cpu_});
    RandomSource random(seed, cpu_);
    randomize(*made, random, 0.7);
    for (const Tensor& map : made->stored_noise()) map.assign(random.normal(map.shape()));
    made->latent_average().assign(random.normal({6}));
    for (const Entry& entry : made->entries()) {
      std::vector<float> values = entry.value.to_host<float>();
      if (entry.name.ends_with("kernel")) continue;
      for (float& value : values) value = std::round(value * 1024) / 1024;
      entry.value.assign(Tensor::from_host(values, entry.value.shape(), cpu_));
    }
    return made;
  }

  Model load(const std::string& bytes, const LoadOptions& options = {}) const {
    return load_model(parse_checkpoint(bytes_of(bytes), "t"), cpu_, options);
  }
  std::string refusal(const std::string& bytes) const {
    return input_error([&] { load(bytes); });
  }

  static void expect_equal(const Decoder& a, const Decoder& b) {
    const auto left = to_file(a), right = to_file(b);
    ASSERT_EQ(left.size(), right.size());
    for (const auto& [name, tensor] : left) EXPECT_EQ(tensor.data, right.at(name).data) << name;
  }

  Backend& cpu_ = backend("cpu");
};

TEST_F(Nvidia, AdaGeneratorsAreReadToTheBit) {
  const auto plain = generator(1), averaged = generator(2);
  const Model model = load(ada_file(ada_generator(to_file(*plain)), ada_generator(to_file(*averaged))));
  ASSERT_TRUE(model.decoder);
  expect_equal(*model.decoder, *averaged);
  EXPECT_EQ(model.decoder->z_width(), 7);
  EXPECT_EQ(settings_of(*model.decoder).count("conv_clamp"), 0U);
  ASSERT_EQ(model.not_taken.size(), 1U);
  EXPECT_TRUE(model.not_taken[0].starts_with("StyleGAN 2 generator (stylegan2-ada-pytorch) under 'G.'"));
  LoadOptions other;
  other.prefix = "G";
  expect_equal(
      *load(ada_file(ada_generator(to_file(*plain)), ada_generator(to_file(*averaged))), other).decoder,
      *plain);
}

TEST_F(Nvidia, ConvClampClipsAndIsKept) {
  const auto plain = generator(1), clamped = generator(1, 0.25);
  AdaSettings settings;
  settings.conv_clamp = "K\x01";
  const AdaObject g = ada_generator(to_file(*plain), settings);
  const Model model = load(ada_file(g, g));
  EXPECT_EQ(settings_of(*model.decoder).at("conv_clamp"), "1");
  settings.conv_clamp = p_real(0.25);
  const AdaObject h = ada_generator(to_file(*plain), settings);
  const Model quarter = load(ada_file(h, h));
  const NoGrad no_grad;
  const auto image = [&](const Decoder& decoder) {
    RandomSource random(5, cpu_);
    const Tensor w = decoder.map(random.normal({1, 7}));
    return decoder.synthesize(repeat_latent(w, decoder.latents()), decoder.stored_noise()).to_host<float>();
  };
  EXPECT_EQ(image(*quarter.decoder), image(*clamped));
  EXPECT_NE(image(*quarter.decoder), image(*plain));
  // Of three colour layers, each within a quarter of zero: the filter's gain is 1.
  for (const float value : image(*quarter.decoder)) EXPECT_LE(std::abs(value), 0.75F + 1e-6F);
  const SafeTensors kept = contents_of(quarter);
  EXPECT_EQ(kept.metadata.at("conv_clamp"), "0.25");

  AdaObject mixed = h;
  mixed.modules.at("synthesis").modules.at("b8").modules.at("conv1").attributes[0].second = "N";
  EXPECT_NE(refusal(ada_file(mixed, mixed)).find("b8.conv1.conv_clamp: None where another layer has 0.25"),
            std::string::npos);
}

TEST_F(Nvidia, AdaRefusalsNameWhatIsNotBuilt) {
  const Tensors g = to_file(*generator(1));
  const auto refused = [&](const AdaSettings& settings, const std::string& reason) {
    const AdaObject object = ada_generator(g, settings);
    const std::string what = refusal(ada_file(object, object));
    EXPECT_TRUE(what.starts_with("t: ") && what.find(reason) != std::string::npos) << what;
  };
  refused({.c_dim = 10}, "G_ema.c_dim: generators of 10 classes are not built");
  refused({.architecture = "resnet"}, "synthesis.b4.architecture: the architecture 'resnet' is not built");
  refused({.architecture = "orig"}, "the architecture 'orig' is not built");
  refused({.activation = "relu"}, "mapping.fc0.activation: the activation 'relu' is not built");
  refused({.img_channels = 1}, "img_channels: an image of this many channels: '1' is not built");
  refused({.lr_multiplier = 0.5}, "the mapping's rate '0.5' is not built, only '0.01'");
  AdaObject filtered = ada_generator(g);
  filtered.modules.at("synthesis").modules.at("b8").tensors["resample_filter"] =
      make_file_tensor({4, 4}, std::vector<float>(16, 1.0F / 16));
  EXPECT_NE(refusal(ada_file(filtered, filtered)).find("a filter other than [1, 3, 3, 1]"),
            std::string::npos);
  AdaObject cut = ada_generator(g);
  cut.modules.at("synthesis").modules.at("b8").modules.at("conv0").tensors.erase("bias");
  EXPECT_NE(refusal(ada_file(cut, cut)).find("no tensor convs.0.activate.bias"), std::string::npos);
}

TEST_F(Nvidia, TensorFlowGeneratorsAreReadToTheBit) {
  const auto plain = generator(3), averaged = generator(4);
  const std::string file = tf_file(tf_generator(to_file(*plain)), tf_generator(to_file(*averaged)));
  const Model model = load(file);
  ASSERT_TRUE(model.decoder);
  expect_equal(*model.decoder, *averaged);
  LoadOptions other;
  other.prefix = "G.";
  expect_equal(*load(file, other).decoder, *plain);
}

TEST_F(Nvidia, TensorFlowRefusalsNameWhatIsNotBuilt) {
  const Tensors g = to_file(*generator(1));
  const auto refused = [&](const Attributes& arguments, const std::string& reason) {
    const std::string network = tf_generator(g, arguments);
    const std::string what = refusal(tf_file(network, network));
    EXPECT_TRUE(what.starts_with("t: ") && what.find(reason) != std::string::npos) << what;
  };
  refused({{"label_size", p_int(3)}}, "label_size: generators of 3 classes are not built");
  refused({{"architecture", p_text("resnet")}}, "the architecture 'resnet' is not built");
  refused({{"num_channels", p_int(1)}}, "num_channels");
  refused({{"resample_kernel", "](K\1K\2K\1e"}}, "resample_kernel: the filter '[1, 2, 1]' is not built");
  refused({{"mapping_lrmul", p_real(1)}}, "mapping_lrmul");
}

TEST_F(Nvidia, ArraysInFortranOrderAndScalars) {
  const FileTensor m = make_file_tensor({2, 3}, std::vector<float>{0, 1, 2, 3, -4, 5});
  const std::string columns = p_array(reshaped(transposed(m), {2, 3}), true);  // the bytes of m's columns
  const Checkpoint c = parse_checkpoint(bytes_of(pickled(p_dict({{"a", p_array(m)}, {"f", columns}}))), "t");
  EXPECT_EQ(c.format, "pickle");
  EXPECT_EQ(c.load("a").data, m.data);
  EXPECT_EQ(c.load("f").data, m.data);
  const FileTensor short_one{FileType::f32, {5}, std::vector<std::byte>(16)};
  const Checkpoint d = parse_checkpoint(bytes_of(pickled(p_dict({{"a", p_array(short_one)}}))), "t");
  EXPECT_EQ(d.skipped, std::vector<std::string>{"a (array of shape [5] with too many or too few bytes)"});
}

TEST_F(Nvidia, CutAndFlippedPicklesGiveOneLine) {
  StyleGan2Config tiny = config(0);
  tiny.z_width = tiny.latent_width = 1;
  tiny.mapping_layers = 1;
  tiny.constant_channels = 1;
  tiny.channels = {1, 1};
  const StyleGan2 small(tiny, Placement{cpu_});
  const AdaObject g = ada_generator(to_file(small));
  const auto read = [&](const std::string& bytes) { load(bytes); };
  const std::string ada = pickled(p_dict({{"G_ema", g.pickle()}})),
                    tf = pickled(tf_generator(to_file(small)));
  EXPECT_TRUE(load(ada).decoder && load(tf).decoder);
  for (const std::string& good : {ada, tf}) {
    for (std::size_t n = 0; n < good.size(); n += 61)
      EXPECT_TRUE(refusal(good.substr(0, n)).starts_with("t: "));
    for (std::size_t i = 0; i < good.size(); i += 37) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 0x41);
      try {
        read(bad);
      } catch (const InputError& e) {
        EXPECT_TRUE(std::string_view(e.what()).starts_with("t: ")) << e.what();
      }
    }
  }
}

}  // namespace
}  // namespace om
