// Networks are found under any prefix, the averaged copy first; what one tensor is worth to a network decides
// whether the file is refused for it.
#include "io/networks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/model_file.h"
#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/io/checkpoint_bytes.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

using test::input_error;

class Networks : public testing::Test {
 protected:
  using Tensors = std::map<std::string, FileTensor>;

  Networks() {
    StyleGan2Config config;
    config.z_width = config.latent_width = 6;
    config.mapping_layers = 2;
    config.constant_channels = 4;
    config.channels = {4, 6, 3};
    RandomSource random(1, cpu_);
    for (auto* made : {&plain_, &averaged_}) {
      *made = std::make_unique<StyleGan2>(config, Placement{cpu_});
      randomize(**made, random);
    }
  }

  static FileTensor numbers(std::vector<std::int64_t> shape, const std::vector<float>& values) {
    return make_file_tensor(std::move(shape), values);
  }

  Checkpoint checkpoint(const Tensors& tensors, std::map<std::string, std::string> metadata = {}) const {
    const std::string file = folder_ / "file.safetensors";
    write_safetensors(file, {tensors, std::move(metadata)});
    return read_checkpoint(file);
  }
  Model load(const Tensors& tensors, const LoadOptions& options = {}) const {
    return load_model(checkpoint(tensors), cpu_, options);
  }
  /// Without the file's name.
  std::string refusal(const Tensors& tensors, const LoadOptions& options = {}) const {
    const std::string what = input_error([&] { load(tensors, options); });
    return what.substr(std::min(what.size(), (folder_ / "file.safetensors").string().size() + 2));
  }

  Tensors generator(const std::string& prefix) const { return to_file(*plain_, prefix); }
  /// Both copies, each under its prefix.
  Tensors both(const std::string& plain, const std::string& averaged) const {
    Tensors tensors = to_file(*plain_, plain);
    tensors.merge(to_file(*averaged_, averaged));
    return tensors;
  }

  static bool same(const Decoder& a, const Decoder& b) {
    const Tensors left = to_file(a), right = to_file(b);
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const auto& x, const auto& y) {
      return x.first == y.first && x.second.data == y.second.data;
    });
  }

  std::unique_ptr<Encoder> encoder(Heads heads) const {
    auto made = std::make_unique<Encoder>(EncoderConfig::for_decoder(*plain_, Projection::wplus, 1, heads),
                                          Placement{cpu_});
    RandomSource random(7, cpu_);
    initialize(*made, random);
    return made;
  }

  Backend& cpu_ = backend("cpu");
  test::ScratchFolder folder_;
  std::unique_ptr<StyleGan2> plain_, averaged_;
};

TEST_F(Networks, AreFoundUnderAnyPrefix) {
  for (const char* prefix : {"", "module.", "_orig_mod.", "state_dict.decoder.", "params_ema.", "netG_ema.",
                             "G_ema.", "autoencoder.module.decoder.", "0.", "a.b.c.d.e.f."}) {
    const Model model = load(generator(prefix));
    ASSERT_TRUE(model.decoder) << prefix;
    EXPECT_TRUE(same(*model.decoder, *plain_)) << prefix;
    EXPECT_NE(model.found[0].find(text("under '", prefix, "'")), std::string::npos) << model.found[0];
    EXPECT_TRUE(model.left.empty() && model.not_taken.empty()) << prefix;
  }
  Tensors whole = generator("autoencoder.module.decoder.");
  whole.merge(to_file(*encoder(Heads::both), "autoencoder.module.encoder."));
  const Model model = load(whole);
  EXPECT_TRUE(model.decoder && model.encoder && model.extras.empty() && model.left.empty());
}

TEST_F(Networks, TheAveragedCopyIsTheOneMeant) {
  const std::pair<const char*, const char*> pairs[] = {{"g.", "g_ema."},
                                                       {"params.", "params_ema."},
                                                       {"netG.", "netG_ema."},
                                                       {"G.", "G_ema."},
                                                       {"generator.", "g_running."},
                                                       {"decoder.", "ema.decoder."},
                                                       {"model.", "modelEMA."},
                                                       {"0.", "1.ema_model."},
                                                       {"", "ema."},
                                                       {"a.decoder.", "z.running."}};
  for (const auto& [plain, averaged] : pairs) {
    std::vector<std::string> said;
    LoadOptions options;
    options.say = [&](const std::string& line) { said.push_back(line); };
    const Model model = load(both(plain, averaged), options);
    EXPECT_TRUE(same(*model.decoder, *averaged_)) << averaged;
    ASSERT_EQ(said.size(), 1U) << plain;
    EXPECT_NE(said[0].find(
                  text("under '", plain, "': not taken, but that under '", averaged, "', the averaged copy")),
              std::string::npos)
        << said[0];
    LoadOptions other;
    other.prefix = plain;
    EXPECT_TRUE(same(*load(both(plain, averaged), other).decoder, *plain_)) << plain;
  }
  for (const char* none : {"semantic.", "schema.", "decoder.", "gs."})
    EXPECT_FALSE(names_average(none)) << none;
  for (const char* some : {"g_ema.", "EMA.", "x.Gs.", "net-ema.y.", "emamodel."})
    EXPECT_TRUE(names_average(some)) << some;
}

TEST_F(Networks, WithoutAnAverageTheDecoderThenTheTopThenTheFirst) {
  EXPECT_TRUE(same(*load(both("backup.", "decoder.")).decoder, *averaged_));
  EXPECT_TRUE(same(*load(both("10.", "9.")).decoder, *averaged_));
  EXPECT_TRUE(same(*load(both("a.b.", "c.")).decoder, *averaged_));
  EXPECT_TRUE(same(*load(both("g.", "")).decoder, *averaged_));
}

TEST_F(Networks, APrefixThatHoldsNothingIsRefusedWithWhatThereIs) {
  LoadOptions options;
  options.prefix = "g";
  EXPECT_TRUE(load(both("g.", "g_ema."), options).decoder);
  options.prefix = "d";
  EXPECT_EQ(refusal(both("g.", "g_ema."), options),
            "holds no network under 'd'; it holds: StyleGAN 2 generator under 'g_ema.', StyleGAN 2 generator "
            "under 'g.'");
}

TEST_F(Networks, AnotherNetworkWithAMarkIsNone) {
  EXPECT_EQ(refusal({{"neck.convs.0.conv.weight", numbers({1}, {1})},
                     {"cls_convs.0.conv.weight", numbers({1}, {1})}}),
            "holds no network that is known (2 tensors)");
}

TEST_F(Networks, TwoEncodersAreOneModel) {
  Tensors tensors = to_file(*encoder(Heads::latent), "autoencoder.latent_encoder.");
  tensors.merge(to_file(*encoder(Heads::noise), "autoencoder.noise_encoder."));
  tensors.merge(generator("autoencoder.decoder."));
  Model model = load(tensors);
  ASSERT_TRUE(model.encoder && model.noise_encoder && model.decoder);
  EXPECT_FALSE(model.encoder->config().noise_heads);
  EXPECT_FALSE(model.noise_encoder->config().latent_heads);
  EXPECT_TRUE(model.left.empty() && model.not_taken.empty() && model.extras.empty());
  EXPECT_EQ(model.found.size(), 3U);
  save_model(folder_ / "ours.safetensors", model);
  const auto joined = load_autoencoder(folder_ / "ours.safetensors", cpu_);
  ASSERT_NE(joined->noise_encoder(), nullptr);
  save_autoencoder(folder_ / "again.safetensors", *joined);
  const SafeTensors first = read_safetensors(folder_ / "ours.safetensors"),
                    again = read_safetensors(folder_ / "again.safetensors");
  EXPECT_EQ(first.metadata, again.metadata);
  for (const auto& [name, tensor] : first.tensors)
    EXPECT_EQ(tensor.data, again.tensors.at(name).data) << name;
  EXPECT_TRUE(first.tensors.contains("noise_encoder.to_noise.0.weight"));
}

TEST_F(Networks, AnEncoderTakesItsGeneratorFromAnotherFile) {
  const std::string encoder_file = folder_ / "encoder.safetensors",
                    generator_file = folder_ / "g.safetensors";
  write_safetensors(encoder_file, {to_file(*encoder(Heads::both), "encoder."), {}});
  write_safetensors(generator_file, {generator("g_ema."), {}});
  EXPECT_TRUE(same(load_autoencoder(encoder_file, cpu_, generator_file)->decoder(), *plain_));
  EXPECT_NE(input_error([&] { load_autoencoder(encoder_file, cpu_); }).find("has only an encoder"),
            std::string::npos);
}

TEST_F(Networks, LatentAveragesOfEveryShape) {
  const auto average = [&](const std::string& place, const FileTensor& tensor) {
    Tensors tensors = generator("state_dict.decoder.");
    tensors[place] = tensor;
    return load(tensors);
  };
  const std::vector<float> row = {1, 2, 3, 4, 5, 6};
  std::vector<float> rows;
  for (int i = 0; i < 4; ++i) rows.insert(rows.end(), row.begin(), row.end());
  for (const char* place : {"latent_avg", "state_dict.latent_avg", "state_dict.decoder.latent_avg"}) {
    for (const FileTensor& good : {numbers({6}, row), numbers({1, 6}, row), numbers({4, 6}, rows)}) {
      const Model model = average(place, good);
      ASSERT_TRUE(model.decoder->latent_average().defined()) << place << shape_text(good.shape);
      EXPECT_EQ(model.decoder->latent_average().to_host<float>(), row);
      EXPECT_TRUE(model.left.empty()) << model.left[0];
    }
  }
  rows[13] = 7;
  std::vector<float> infinite = row;
  infinite[2] = INFINITY;
  const std::pair<FileTensor, const char*> bad[] = {
      {numbers({4, 6}, rows), "latent_avg: of shape [4, 6] with rows that differ"},
      {numbers({}, {1}), "latent_avg: of shape [], no average of latents of width 6"},
      {numbers({5}, {1, 2, 3, 4, 5}), "latent_avg: of shape [5], no average"},
      {numbers({6}, infinite), "latent_avg: holds a number that is not finite"}};
  for (const auto& [tensor, line] : bad) {
    const Model model = average("latent_avg", tensor);
    EXPECT_FALSE(model.decoder->latent_average().defined()) << line;
    ASSERT_FALSE(model.left.empty()) << line;
    EXPECT_TRUE(model.left[0].starts_with(line)) << model.left[0];
    EXPECT_EQ(model.extras.at("decoder.latent_avg").data, tensor.data) << "kept for export";
  }
}

TEST_F(Networks, NumbersThatAreNotFinite) {
  const auto spoiled = [](const FileTensor& tensor, float value) {
    std::vector<float> values = to_f32(tensor);
    values.back() = value;
    return make_file_tensor(tensor.shape, values);
  };
  Tensors tensors = generator("g_ema.");
  const FileTensor good = tensors.at("g_ema.convs.1.conv.weight");
  tensors["g_ema.convs.1.conv.weight"] = spoiled(good, NAN);
  EXPECT_EQ(refusal(tensors),
            text("g_ema.convs.1.conv.weight holds NaN at element ", element_count(good.shape) - 1));
  tensors["g_ema.convs.1.conv.weight"] = spoiled(good, -INFINITY);
  EXPECT_NE(refusal(tensors).find("g_ema.convs.1.conv.weight holds an infinity"), std::string::npos);
  tensors["g_ema.convs.1.conv.weight"] = good;
  tensors["g_ema.extra"] = numbers({2}, {1, NAN});
  const Model model = load(tensors);
  EXPECT_EQ(model.left,
            std::vector<std::string>{"g_ema.extra: holds NaN at element 1; not used, kept for export"});
  EXPECT_TRUE(model.extras.contains("decoder.extra"));

  // A block of the encoder that nothing calls, and its last head.
  Tensors parts = to_file(*encoder(Heads::both), "encoder.");
  for (const char* name :
       {"encoder.intermediate_block.conv1.weight", "encoder.intermediate_to_noise.2.bias"}) {
    Tensors unused = parts;
    unused[name] = spoiled(unused.at(name), NAN);
    const Model read = load(unused);
    ASSERT_EQ(read.left.size(), 1U) << name;
    EXPECT_TRUE(read.left[0].starts_with(text(name, ": holds NaN"))) << read.left[0];
    unused.erase(name);
    EXPECT_TRUE(load(unused).encoder) << name;
  }
  parts["encoder.intermediate_to_noise.1.bias"] =
      spoiled(parts.at("encoder.intermediate_to_noise.1.bias"), NAN);
  EXPECT_NE(refusal(parts).find("encoder.intermediate_to_noise.1.bias holds NaN"), std::string::npos);
}

TEST_F(Networks, TypesThatWeightsAreNotComputedIn) {
  Tensors tensors = generator("");
  const FileTensor half_words{FileType::u16, {3}, std::vector<std::byte>(6, std::byte{1})};
  tensors["extra.x"] = half_words;
  const Model model = load(tensors);
  EXPECT_EQ(model.left, std::vector<std::string>{"extra.x: of type u16, not used; kept for export"});
  EXPECT_EQ(model.extras.at("decoder.extra.x").data, half_words.data);
  for (const FileType type : {FileType::u16, FileType::boolean, FileType::f8_e4m3, FileType::i32}) {
    tensors["convs.0.activate.bias"] = {type, {6}, std::vector<std::byte>(6 * size_of(type))};
    EXPECT_EQ(refusal(tensors), text("convs.0.activate.bias is of type ", name_of(type),
                                     ", which weights are not computed in"));
  }
}

TEST_F(Networks, TheSizeOfAStyleGan1) {
  StyleGan1Config config;
  config.z_width = config.latent_width = 4;
  config.mapping_layers = 1;
  config.constant_channels = 3;
  config.channels = {3, 3, 2, 2};
  config.fused = {false, false, false, true};
  StyleGan1 whole(config, Placement{cpu_});
  RandomSource random(3, cpu_);
  randomize(whole, random);
  Tensors tensors = to_file(whole, "g_running.");
  // rosinality's files have a colour layer a size; ours that of the last.
  for (int i = 0; i < 4; ++i)
    for (const char* part : {"weight_orig", "bias"}) {
      const std::string last = text("g_running.generator.to_rgb.3.conv.", part);
      FileTensor tensor = tensors.at(last);
      if (std::string_view(part) == "weight_orig" && i < 2)
        tensor = make_file_tensor({3, 3, 1, 1}, std::vector<float>(9, 1));
      tensors[text("g_running.generator.to_rgb.", i, ".conv.", part)] = tensor;
    }
  EXPECT_EQ(load(tensors).decoder->size(), 32);
  for (const char* noise : {"noise1", "noise2"}) {
    FileTensor& weight = tensors[text("g_running.generator.progression.3.", noise, ".weight_orig")];
    std::fill(weight.data.begin(), weight.data.end(), std::byte{0});
  }
  Model model = load(tensors);
  EXPECT_EQ(model.decoder->size(), 16) << "the largest size that was trained";
  EXPECT_NE(std::find_if(
                model.left.begin(), model.left.end(),
                [](const std::string& line) { return line.find("blocks for 32 to 32 pixels") != line.npos; }),
            model.left.end());
  EXPECT_TRUE(model.extras.contains("decoder.generator.progression.3.conv2.conv.bias"));
  LoadOptions options;
  options.size = 32;
  EXPECT_EQ(load(tensors, options).decoder->size(), 32);
  options.size = 64;
  EXPECT_NE(refusal(tensors, options).find("64 pixels"), std::string::npos);
  // Saved, the size stands in the metadata, with all blocks beside it.
  save_model(folder_ / "ours.safetensors", model);
  const Model again = load_model(read_checkpoint(folder_ / "ours.safetensors"), cpu_);
  EXPECT_EQ(again.decoder->size(), 16);
  EXPECT_EQ(again.extras.size(), model.extras.size());
}

}  // namespace
}  // namespace om
