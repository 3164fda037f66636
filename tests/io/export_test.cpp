// What is exported comes back to the bit, unused entries included; what a target cannot say is refused.
#include "io/export.h"

#include <gtest/gtest.h>

#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/io/checkpoint_bytes.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

using test::input_error;
using Tensors = std::map<std::string, FileTensor>;

class Export : public testing::Test {
 protected:
  std::unique_ptr<Decoder> generator(double clamp = 0, std::int64_t z_width = 6) {
    StyleGan2Config config;
    config.z_width = z_width;
    config.latent_width = 6;
    config.mapping_layers = 2;
    config.constant_channels = 4;
    config.channels = {4, 6, 3};
    config.latent_average = true;
    config.conv_clamp = clamp;
    auto made = std::make_unique<StyleGan2>(config, Placement{cpu_});
    RandomSource random(1, cpu_);
    randomize(*made, random);
    return made;
  }
  std::unique_ptr<Encoder> encoder(const Decoder& decoder, Heads heads) {
    auto made = std::make_unique<Encoder>(EncoderConfig::for_decoder(decoder, Projection::wplus, 1, heads),
                                          Placement{cpu_});
    RandomSource random(2, cpu_);
    initialize(*made, random);
    return made;
  }
  Model generator_alone(double clamp = 0, std::int64_t z_width = 6) {
    Model model;
    model.decoder = generator(clamp, z_width);
    model.extras["decoder.convs.9.seen"] = {FileType::u16, {2}, std::vector<std::byte>(4, std::byte{7})};
    return model;
  }
  Model pair() {
    Model model = generator_alone();
    model.encoder = encoder(*model.decoder, Heads::both);
    model.extras["encoder.other.weight"] = make_file_tensor({1}, std::vector<float>{5});
    return model;
  }
  Model two_networks() {
    Model model = generator_alone();
    model.encoder = encoder(*model.decoder, Heads::latent);
    model.noise_encoder = encoder(*model.decoder, Heads::noise);
    return model;
  }

  std::string path(const std::string& name) const { return folder_ / name; }

  /// What the file gives when it is read again, by the names of our files.
  Tensors again(const std::string& file) {
    return contents_of(load_model(read_checkpoint(file), cpu_)).tensors;
  }
  static void expect_equal(const Tensors& a, const Tensors& b, const std::string& what) {
    EXPECT_EQ(a.size(), b.size()) << what;
    for (const auto& [name, tensor] : a) {
      const auto found = b.find(name);
      ASSERT_NE(found, b.end()) << what << " lacks " << name;
      EXPECT_EQ(tensor.type, found->second.type) << what << " " << name;
      EXPECT_EQ(tensor.shape, found->second.shape) << what << " " << name;
      EXPECT_EQ(tensor.data, found->second.data) << what << " " << name;
    }
  }

  Backend& cpu_ = backend("cpu");
  test::ScratchFolder folder_;
};

TEST_F(Export, ComesBackToTheBit) {
  for (const bool two : {false, true}) {
    const auto make = [&] { return two ? two_networks() : pair(); };
    const Tensors expected = contents_of(make()).tensors;
    for (const auto target : {ExportTarget::ours, ExportTarget::authors})
      for (const char* name : {"a.pt", "a.model", "a.pth", "a.safetensors"}) {
        export_model(path(name), make(), {target});
        expect_equal(expected, again(path(name)), name);
      }
  }
  const Tensors expected = contents_of(generator_alone()).tensors;
  for (const auto target : {ExportTarget::ours, ExportTarget::authors, ExportTarget::rosinality})
    for (const char* name : {"g.pt", "g.safetensors"}) {
      export_model(path(name), generator_alone(), {target});
      expect_equal(expected, again(path(name)), name);
    }
}

TEST_F(Export, NamesAreThoseOfTheCodeTheyComeFrom) {
  const auto names = [&](const std::string& name) {
    std::vector<std::string> all;
    for (const auto& [own, tensor] : read_checkpoint(path(name)).tensors) all.push_back(own);
    return all;
  };
  const auto has = [&](const std::string& name, const std::string& tensor) {
    const auto all = names(name);
    return std::find(all.begin(), all.end(), tensor) != all.end();
  };
  export_model(path("r.pt"), generator_alone(), {});
  EXPECT_TRUE(has("r.pt", "g_ema.convs.0.conv.weight") && has("r.pt", "latent_avg"));
  export_model(path("a.model"), pair(), {});
  EXPECT_TRUE(has("a.model", "autoencoder.decoder.convs.0.conv.weight"));
  EXPECT_TRUE(has("a.model", "autoencoder.encoder.intermediate_block.conv1.weight")) << "unused, and kept";
  EXPECT_TRUE(has("a.model", "latent_avg") && !has("a.model", "autoencoder.decoder.latent_avg"));
  export_model(path("e.pt"), pair(), {{}, ExportPart::encoder});
  EXPECT_TRUE(has("e.pt", "encoder.start_block.conv1.weight") && !has("e.pt", "latent_avg"));
  export_model(path("o.safetensors"), pair(), {{}, ExportPart::generator});
  EXPECT_TRUE(has("o.safetensors", "convs.0.conv.weight") &&
              !has("o.safetensors", "encoder.to_noise.0.bias"));
  EXPECT_EQ(read_checkpoint(path("o.safetensors")).metadata.at("kind"), "generator");
  export_model(path("two.model"), two_networks(), {});
  EXPECT_TRUE(has("two.model", "autoencoder.noise_encoder.to_noise.0.weight"));
}

TEST_F(Export, WhatATargetCannotSayIsRefused) {
  const auto refusal = [&](const std::string& name, Model model, const ExportOptions& options) {
    const std::string what = input_error([&] { export_model(path(name), std::move(model), options); });
    EXPECT_FALSE(std::filesystem::exists(path(name))) << name;
    return what;
  };
  for (const auto target : {ExportTarget::authors, ExportTarget::rosinality}) {
    EXPECT_NE(refusal("x.safetensors", generator_alone(0.5), {target}).find("conv_clamp 0.5"),
              std::string::npos);
    EXPECT_NE(refusal("x.pt", generator_alone(0, 8), {target}).find("z of width 8 and w of width 6"),
              std::string::npos);
  }
  EXPECT_NE(refusal("x.pt", generator_alone(0.5), {ExportTarget::ours}).find("conv_clamp"),
            std::string::npos);
  EXPECT_NE(refusal("x.pt", pair(), {ExportTarget::rosinality}).find("--only generator"), std::string::npos);
  EXPECT_NE(refusal("x.pt", generator_alone(), {{}, ExportPart::encoder}).find("holds no encoder"),
            std::string::npos);
  EXPECT_THROW(export_model(path("x.zip"), generator_alone(), {}), UsageError);
  // Ours can say both, in safetensors.
  export_model(path("clamp.safetensors"), generator_alone(0.5, 8), {});
  const Model back = load_model(read_checkpoint(path("clamp.safetensors")), cpu_);
  EXPECT_EQ(settings_of(*back.decoder).at("conv_clamp"), "0.5");
  EXPECT_EQ(back.decoder->z_width(), 8);
}

TEST_F(Export, HalvesAreHalvesOrRefused) {
  export_model(path("h.pt"), generator_alone(), {{}, ExportPart::all, true});
  const Checkpoint half = read_checkpoint(path("h.pt"));
  const FileTensor full = to_file(*generator()).at("convs.0.conv.weight"),
                   kept = half.load("g_ema.convs.0.conv.weight");
  EXPECT_EQ(kept.type, FileType::f16);
  const std::vector<float> exact = to_f32(full), rounded = to_f32(kept);
  for (std::size_t i = 0; i < exact.size(); ++i)
    EXPECT_EQ(rounded[i], half_to_float(float_to_half(exact[i])));
  EXPECT_EQ(half.load("g_ema.convs.9.seen").type, FileType::u16);
  Model large = generator_alone();
  large.extras["decoder.big"] = make_file_tensor({1}, std::vector<float>{70000});
  EXPECT_NE(input_error([&] {
              export_model(path("l.pt"), std::move(large), {{}, ExportPart::all, true});
            }).find("big holds a number beyond half precision"),
            std::string::npos);
}

TEST_F(Export, TheSameContentGivesTheSameBytes) {
  export_model(path("a.pt"), pair(), {});
  export_model(path("b.pt"), pair(), {});
  EXPECT_EQ(read_checkpoint(path("a.pt")).tensors.size(), read_checkpoint(path("b.pt")).tensors.size());
  const auto bytes = [&](const std::string& name) {
    const auto source = open_source(path(name));
    std::vector<std::byte> all(source->size());
    source->read_at(0, all);
    return all;
  };
  EXPECT_EQ(bytes("a.pt"), bytes("b.pt"));
}

}  // namespace
}  // namespace om
