// Checkpoints of other people through import, info, export and generate.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "io/model_file.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "tests/io/nvidia_pickles.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class CheckpointsTest : public ProgramTest {
 protected:
  static std::string succeed(const Words& words) {
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << words.front() << ": " << run.err;
    return run.out;
  }
  /// Exit code `code` and one line with `reason`.
  static void refused(int code, const Words& words, const std::string& reason) {
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, code) << words.front() << ": " << run.err;
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    EXPECT_NE(run.err.find(reason), std::string::npos) << run.err << "expected: " << reason;
  }
  static std::string save_bytes(const std::string& name, const std::string& bytes) {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  /// The fixture's generator with every weight times `factor`, under `prefix`.
  static Tensors generator(const std::string& prefix, float factor = 1) {
    Tensors tensors;
    for (const auto& [name, tensor] : read_safetensors(path("generator.safetensors")).tensors) {
      std::vector<float> values = to_f32(tensor);
      for (float& value : values) value *= factor;
      tensors[prefix + name] = make_file_tensor(tensor.shape, values);
    }
    return tensors;
  }
  static void expect_equal(const Tensors& a, const Tensors& b) {
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) {
      ASSERT_TRUE(b.contains(name)) << name;
      EXPECT_EQ(tensor.data, b.at(name).data) << name;
    }
  }
};

TEST_F(CheckpointsTest, NothingIsWrittenOverItsSource) {
  const std::string source = path("source.safetensors"), link = path("link.safetensors");
  std::filesystem::copy_file(path("generator.safetensors"), source);
  std::filesystem::create_symlink(source, link);
  std::filesystem::create_hard_link(source, path("hard.safetensors"));
  const std::string before = content(source);
  for (const char* command : {"import", "export"})
    for (const std::string& out :
         {source, link, path("hard.safetensors"), path("./photos/../source.safetensors")}) {
      refused(2, {command, source, "-o", out}, "is also an input, and would be overwritten");
      refused(2, {command, link, "-o", out}, "is also an input");
    }
  EXPECT_EQ(content(source), before);
}

TEST_F(CheckpointsTest, InfoListsWhatItKnowsNoNetworkIn) {
  save("numbers.safetensors",
       {{"a.b", waves({2, 3}, 1)}, {"c", {FileType::u16, {1}, std::vector<std::byte>(2)}}});
  const std::string report = succeed({"info", path("numbers.safetensors")});
  for (const char* line : {"network   none that is known", "tensor    a.b f32 [2, 3]", "tensor    c u16 [1]"})
    EXPECT_NE(report.find(line), std::string::npos) << report;
  const std::string plain =
      save_bytes("plain.pkl", pickled(p_dict({{"w", p_array(waves({4}, 1))}, {"s", p_text("x")}})));
  EXPECT_NE(succeed({"info", plain}).find("tensor    w f32 [4]"), std::string::npos);
  refused(3, {"import", plain, "-o", path("out.safetensors")}, "holds no network that is known (1 tensors)");
}

TEST_F(CheckpointsTest, SeveralCopiesAreListedAndChosenFrom) {
  Tensors tensors = generator("g_ema.");
  tensors.merge(generator("g.", 0.5F));
  save("copies.safetensors", tensors);
  const std::string file = path("copies.safetensors"), out = path("copy.safetensors");
  const std::string report = succeed({"info", file});
  EXPECT_NE(report.find("network   StyleGAN 2 generator under 'g_ema.': 16 pixels"), std::string::npos)
      << report;
  EXPECT_NE(
      report.find(
          "network   StyleGAN 2 generator under 'g.': not taken, but that under 'g_ema.', the averaged"),
      std::string::npos)
      << report;
  EXPECT_NE(succeed({"import", file, "-o", out}).find("left   StyleGAN 2 generator under 'g.': not taken"),
            std::string::npos);
  expect_equal(generator(""), read_safetensors(out).tensors);
  succeed({"import", file, "-o", out, "--prefix", "g"});
  expect_equal(generator("", 0.5F), read_safetensors(out).tensors);
  refused(3, {"import", file, "-o", out, "--prefix", "d"}, file + ": holds no network under 'd'; it holds: ");
}

TEST_F(CheckpointsTest, NumbersThatAreNotFinite) {
  Tensors tensors = generator("");
  std::vector<float> values = to_f32(tensors.at("conv1.conv.weight"));
  values[3] = NAN;
  tensors["conv1.conv.weight"] = make_file_tensor(tensors.at("conv1.conv.weight").shape, values);
  save("nan.safetensors", tensors);
  const std::string file = path("nan.safetensors"),
                    reason = file + ": conv1.conv.weight holds NaN at element 3";
  refused(3, {"info", file}, reason);
  refused(3, {"import", file, "-o", path("out.safetensors")}, reason);
  refused(3, {"generate", "--generator", file, "--out", path("out")}, reason);
}

TEST_F(CheckpointsTest, NvidiaPicklesDrawWhatTheirWeightsDraw) {
  const auto round = [](Tensors tensors) {  // few bits, so that TensorFlow's + 1 loses nothing
    for (auto& [name, tensor] : tensors) {
      if (name.ends_with("kernel")) continue;
      std::vector<float> values = to_f32(tensor);
      for (float& value : values) value = std::round(value * 256) / 256;
      tensor = make_file_tensor(tensor.shape, values);
    }
    return tensors;
  };
  const Tensors weights = round(generator(""));
  save("rounded.safetensors", weights);
  const AdaObject ada = ada_generator(weights);
  const std::string network = tf_generator(weights);
  const auto drawn = [&](const std::string& file) {
    succeed({"generate", "--generator", file, "--seed", "3", "--count", "2", "--out", path("drawn"),
             "--tensors", path("drawn.safetensors")});
    return read_safetensors(path("drawn.safetensors")).tensors;
  };
  const Tensors expected = drawn(path("rounded.safetensors"));
  expect_equal(expected, drawn(save_bytes("ada.pkl", ada_file(ada, ada))));
  expect_equal(expected, drawn(save_bytes("tf.pkl", tf_file(network, network))));
  const std::string report = succeed({"info", path("ada.pkl")});
  EXPECT_NE(report.find("StyleGAN 2 generator (stylegan2-ada-pytorch) under 'G_ema.'"), std::string::npos)
      << report;
  const AdaObject classes = ada_generator(weights, {.c_dim = 5});
  const std::string file = save_bytes("classes.pkl", ada_file(classes, classes));
  refused(3, {"import", file, "-o", path("out.safetensors")},
          file + ": G_ema.c_dim: generators of 5 classes");
}

TEST_F(CheckpointsTest, ExportsComeBackToTheBit) {
  const std::string back = path("back.safetensors");
  const Tensors model = read_safetensors(path("model.safetensors")).tensors, alone = generator("");
  for (const char* out : {"x.pt", "x.model", "x.safetensors"})
    for (const char* to : {"ours", "authors"}) {
      const std::string report = succeed({"export", path("model.safetensors"), "-o", path(out), "--to", to});
      EXPECT_NE(report.find(text("wrote  ", path(out))), std::string::npos) << report;
      succeed({"import", path(out), "-o", back});
      expect_equal(model, read_safetensors(back).tensors);
    }
  succeed(
      {"export", path("model.safetensors"), "-o", path("g.pt"), "--to", "rosinality", "--only", "generator"});
  succeed({"import", path("g.pt"), "-o", back});
  expect_equal(alone, read_safetensors(back).tensors);
  EXPECT_NE(succeed({"info", path("g.pt"), "--tensors"}).find("tensor    g_ema.conv1.conv.weight f32"),
            std::string::npos);

  // An encoder alone, and its generator from another file.
  succeed({"export", path("model.safetensors"), "-o", path("e.pt"), "--only", "encoder"});
  refused(
      3, {"reconstruct", "--model", path("e.pt"), path("photos/one.png"), "--out", path("none")},
      path("e.pt") + ": expects an encoder and a generator, has only an encoder; --generator FILE names one");
  const auto picture = [&](const Words& more) {
    Words words = {"reconstruct", path("photos/one.png"), "--out", path("rec"), "--model"};
    words.insert(words.end(), more.begin(), more.end());
    succeed(words);
    return folder_content(path("rec"));
  };
  EXPECT_EQ(picture({path("model.safetensors")}), picture({path("e.pt"), "--generator", path("g.pt")}));
}

TEST_F(CheckpointsTest, ExportRefusesWhatItCannotSay) {
  const std::string generator_file = path("generator.safetensors"), model = path("model.safetensors");
  refused(2, {"export", model, "-o", path("x.zip")},
          "expects a name that ends in .safetensors, .pt, .pth or .model");
  refused(2, {"export", model, "-o", path("refused.pt"), "--to", "nvidia"},
          "--to expects one of ours, authors, rosinality");
  refused(3, {"export", model, "-o", path("refused.pt"), "--to", "rosinality"}, model + ": holds an encoder");
  refused(3, {"export", generator_file, "-o", path("refused.pt"), "--only", "encoder"},
          generator_file + ": holds no encoder");
  refused(3, {"export", path("text.txt"), "-o", path("refused.pt")}, path("text.txt") + ": not a checkpoint");
  refused(3, {"export", path("missing"), "-o", path("refused.pt")}, path("missing") + ": cannot open");
  refused(1, {"export", model, "-o", path("nowhere/x.pt")}, "nowhere/x.pt: cannot write");
  AdaSettings settings;
  settings.conv_clamp = p_real(256);
  const AdaObject clamped = ada_generator(generator(""), settings);
  const std::string file = save_bytes("clamped.pkl", ada_file(clamped, clamped));
  refused(3, {"export", file, "-o", path("refused.pt")},
          file + ": its generator has conv_clamp 256, which rosinality's");
  EXPECT_FALSE(std::filesystem::exists(path("refused.pt")));
  succeed({"export", file, "-o", path("clamped.safetensors")});
  EXPECT_NE(succeed({"info", path("clamped.safetensors")}).find("conv_clamp 256"), std::string::npos);
}

}  // namespace
}  // namespace om::test
