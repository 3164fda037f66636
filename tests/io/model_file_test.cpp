// Models through files: what is recognised, that nothing is lost on the way, and what is refused.
#include "io/model_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "io/safetensors.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

StyleGan2Config narrow() {
  StyleGan2Config config;
  config.z_width = config.latent_width = 6;
  config.mapping_layers = 2;
  config.constant_channels = 4;
  config.channels = {4, 6, 3};
  config.latent_average = true;
  return config;
}

class ModelFile : public testing::Test {
 protected:
  ModelFile() {
    RandomSource random(1, cpu_);
    generator_ = std::make_unique<StyleGan2>(narrow(), Placement{cpu_});
    randomize(*generator_, random);
    encoder_ = std::make_unique<Encoder>(EncoderConfig::for_decoder(*generator_, Projection::z, 0.5),
                                         Placement{cpu_});
    initialize(*encoder_, random);
  }

  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::map<std::string, FileTensor> generator_tensors(const std::string& prefix) const {
    return to_file(*generator_, prefix);
  }

  std::string error_of(std::map<std::string, FileTensor> tensors) const {
    const std::string file = path("broken.safetensors");
    write_safetensors(file, {std::move(tensors), {}});
    try {
      load_model(read_checkpoint(file), cpu_);
    } catch (const InputError& error) {
      const std::string what = error.what();
      EXPECT_TRUE(what.starts_with(file)) << what;
      EXPECT_EQ(what.find('\n'), std::string::npos);
      return what.substr(file.size());
    }
    return "";
  }

  Backend& cpu_ = backend("cpu");
  test::ScratchFolder folder_;
  std::unique_ptr<StyleGan2> generator_;
  std::unique_ptr<Encoder> encoder_;
};

void expect_equal(const Module& a, const Module& b) {
  const std::vector<Entry> left = a.entries(true), right = b.entries(true);
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].name, right[i].name);
    EXPECT_EQ(to_file(left[i].value).data, to_file(right[i].value).data) << left[i].name;
  }
}

TEST_F(ModelFile, AGeneratorIsFoundUnderEveryPrefixThatFilesUse) {
  for (const std::string prefix : {"g_ema.", "", "decoder.", "autoencoder.decoder."}) {
    const std::string file = path("generator.safetensors");
    write_safetensors(file, {generator_tensors(prefix), {}});
    const Model model = load_model(read_checkpoint(file), cpu_);
    ASSERT_TRUE(model.decoder) << prefix;
    EXPECT_FALSE(model.encoder);
    EXPECT_TRUE(model.left.empty());
    expect_equal(*model.decoder, *generator_);
  }
}

TEST_F(ModelFile, SavingAndLoadingKeepsBothNetworksAndTheProjection) {
  Model model;
  model.encoder = std::move(encoder_);
  model.decoder = std::move(generator_);
  model.extras["decoder.something.else"] = make_file_tensor({2}, std::vector<float>{1, 2});
  save_model(path("a.safetensors"), model);
  const Model loaded = load_model(read_checkpoint(path("a.safetensors")), cpu_);
  expect_equal(*loaded.encoder, *model.encoder);
  expect_equal(*loaded.decoder, *model.decoder);
  EXPECT_EQ(loaded.encoder->config().projection, Projection::z);
  EXPECT_TRUE(loaded.extras.contains("decoder.something.else"));
  save_model(path("b.safetensors"), loaded);
  const auto bytes = [](const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  EXPECT_EQ(bytes(path("a.safetensors")), bytes(path("b.safetensors")));
}

TEST_F(ModelFile, HalvesLoadAsFloats) {
  Model model;
  model.decoder = std::move(generator_);
  save_model(path("half.safetensors"), model, {}, true);
  const Model loaded = load_model(read_checkpoint(path("half.safetensors")), cpu_);
  const float original = model.decoder->entries()[0].value.to_host<float>()[0];
  EXPECT_EQ(loaded.decoder->entries()[0].value.to_host<float>()[0], half_to_float(float_to_half(original)));
}

TEST_F(ModelFile, SaysWhatWasLeft) {
  auto tensors = generator_tensors("g_ema.");
  tensors["d.final.weight"] = make_file_tensor({1}, std::vector<float>{1});
  tensors["d.final.bias"] = make_file_tensor({1}, std::vector<float>{1});
  tensors.erase("g_ema.convs.0.conv.blur.kernel");
  write_safetensors(path("g.safetensors"), {tensors, {}});
  const Model model = load_model(read_checkpoint(path("g.safetensors")), cpu_);
  ASSERT_EQ(model.left.size(), 2U);
  EXPECT_EQ(model.left[0], "convs.0.conv.blur.kernel: not in the file, standard values used");
  EXPECT_EQ(model.left[1], "d: 2 tensors that belong to no network taken");
}

TEST_F(ModelFile, RefusesWhatDoesNotFit) {
  auto tensors = generator_tensors("");
  tensors.erase("convs.3.conv.modulation.bias");
  EXPECT_EQ(error_of(tensors), ": no tensor convs.3.conv.modulation.bias");

  tensors = generator_tensors("");
  tensors["convs.1.activate.bias"] = make_file_tensor({5}, std::vector<float>(5));
  EXPECT_EQ(error_of(tensors), ": convs.1.activate.bias expects shape [6], got [5]");

  tensors = generator_tensors("");
  tensors["convs.0.conv.weight"] = make_file_tensor({1, 1 << 20, 1, 1, 1}, std::vector<float>(1 << 20));
  EXPECT_EQ(error_of(tensors), ": the shapes of its weights do not fit one another");

  tensors = generator_tensors("");
  tensors["style.1.weight"] = make_file_tensor({0, 6}, {});
  EXPECT_EQ(error_of(tensors), ": StyleGAN 2: style.1.weight is empty, [0, 6]");

  EXPECT_EQ(error_of({{"a", make_file_tensor({1}, std::vector<float>{1})}}),
            ": holds no network that is known (1 tensors)");
}

}  // namespace
}  // namespace om
