// --precision, through every command that computes.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/model_file.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "tests/models/tiny_inception.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;
using Json = nlohmann::json;

class PrecisionTest : public ProgramTest {
 protected:
  static ProgramRun run(Words words, const std::string& precision) {
    if (!precision.empty()) words.insert(words.end(), {"--precision", precision});
    return onemodel(words);
  }
  static Words with_out(Words words, const std::string& option, const std::string& out) {
    words.insert(words.end(), {option, path(out)});
    return words;
  }
  /// The largest difference, of the largest number.
  static double distance(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    double most = 0, largest = 0;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      const double off = std::abs(static_cast<double>(a[i]) - b[i]);
      most = std::isnan(off) ? INFINITY : std::max(most, off);
      largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    }
    return most / largest;
  }
  static int lines_with(const ProgramRun& run, const std::string& text) {
    const auto lines = run.complaints();
    return static_cast<int>(std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(text) != std::string::npos;
    }));
  }
};

// fp32 is the default of a device without tf32, to the byte; bf16 gives other numbers, near them.
TEST_F(PrecisionTest, IsWhatTheNumbersAreComputedIn) {
  const Words encode = {"encode", "--model", path("model.safetensors"), path("photos")};
  const Words generate = {"generate", "--generator", path("generator.safetensors"), "--seed", "5",
                          "--out",    path("drawn")};
  for (const auto& [words, tensors] :
       {std::pair(encode, Words{"wplus", "noise.0", "noise.4"}), std::pair(generate, Words{"w", "image"})}) {
    for (const std::string precision : {"", "fp32", "tf32", "bf16"}) {
      const ProgramRun done = run(with_out(words, "--tensors", precision + ".safetensors"), precision);
      ASSERT_EQ(done.exit_code, 0) << done.err;
      EXPECT_EQ(lines_with(done, "; precision fp32, since it has no tf32"), precision == "tf32" ? 1 : 0)
          << done.err;
    }
    EXPECT_EQ(content(path("fp32.safetensors")), content(path(".safetensors")));
    EXPECT_EQ(content(path("tf32.safetensors")), content(path(".safetensors")));
    const SafeTensors exact = read_safetensors(path("fp32.safetensors")),
                      rounded = read_safetensors(path("bf16.safetensors"));
    for (const std::string& name : tensors) {
      EXPECT_EQ(rounded.tensors.at(name).type, FileType::f32) << name;
      EXPECT_LT(distance(floats(rounded, name), floats(exact, name)), 0.1) << name;
    }
    EXPECT_GT(distance(floats(rounded, tensors.back()), floats(exact, tensors.back())), 1e-5);
  }
}

TEST_F(PrecisionTest, EveryCommandTakesIt) {
  write_safetensors(path("inception.safetensors"), {to_file(*tiny_inception(backend("cpu"))), {}});
  const std::string model = path("model.safetensors"), generator = path("generator.safetensors"),
                    photos = path("photos"), one = path("photos/one.png");
  const std::vector<Words> commands = {
      {"reconstruct", "--model", model, photos, "--out", path("r"), "--json"},
      {"denoise", "--model", model, photos, "--out", path("d"), "--sigma", "25", "--json"},
      {"leak", "--model", model, photos, "--json"},
      {"eval", "--model", "ours=" + model, "--data", "photos=" + photos, "--out", path("e"), "--inception",
       path("inception.safetensors"), "--cache", path("cache")},
      {"project", "--generator", generator, one, "--out", path("p"), "--iterations", "3"},
      {"figure", "noise-maps", "--model", model, one, "--out", path("f.png")},
      {"figure", "interpolate", "--model", model, one, photos + "/three.png", "--out", path("f.png")},
      {"figure", "compare", "--model", "ours=" + model, one, "--out", path("f.png")},
      {"fid", photos, path("photos"), "--inception", path("inception.safetensors"), "--cache", path("cache")},
      {"info", model},
      {"import", generator, "-o", path("imported.safetensors")},
      {"export", generator, "-o", path("exported.pt")},
      {"train", "--generator", generator, "--images", photos, "--out", path("run"), "--iterations", "1"},
      {"dncnn", "--images", photos, "--out", path("dncnn.safetensors"), "--size", "16", "--layers", "4",
       "--channels", "8", "--batch", "2", "--iterations", "5", "--val", photos},
      {"dncnn", "--model", path("dncnn.safetensors"), "--data", "photos=" + photos, "--out", path("n")}};
  for (const Words& words : commands) {
    const ProgramRun done = run(words, "bf16");
    EXPECT_EQ(done.exit_code, 0) << words[0] << " " << words[1] << "\n" << done.err;
    const ProgramRun refused = run(words, "fp16");
    EXPECT_EQ(refused.exit_code, 2) << words[0];
    EXPECT_EQ(refused.complaints().size(), 1U) << refused.err;
    EXPECT_EQ(lines_with(refused, "--precision expects one of fp32, tf32, bf16; got 'fp16'"), 1)
        << refused.err;
  }
}

// Inception's features are compared with those of elsewhere, so a distance does not know the scope.
TEST_F(PrecisionTest, FidIsAlwaysFp32) {
  write_safetensors(path("inception.safetensors"), {to_file(*tiny_inception(backend("cpu"))), {}});
  const auto distance = [&](const std::string& precision) {
    const ProgramRun done =
        run({"fid", path("photos"), path("mixed"), "--inception", path("inception.safetensors"), "--cache",
             path("cache-" + precision), "--json"},
            precision);
    return done.out;
  };
  std::filesystem::copy_file(path("photos/one.png"), path("mixed/second.png"));
  const std::string exact = distance("fp32");
  EXPECT_NE(exact.find("\"fid\": "), std::string::npos) << exact;
  EXPECT_EQ(distance("bf16"), exact);
  std::filesystem::remove(path("mixed/second.png"));
}

class TrainPrecision : public PrecisionTest {
 protected:
  static ProgramRun train(const std::string& out, Words more) {
    Words words = {"train",
                   "--generator",
                   path("generator.safetensors"),
                   "--images",
                   path("photos"),
                   "--out",
                   path(out),
                   "--batch",
                   "2",
                   "--encoder-width",
                   "0.5",
                   "--iterations",
                   "2"};
    words.insert(words.end(), more.begin(), more.end());
    return onemodel(words);
  }
  static Json config(const std::string& out) { return Json::parse(content(path(out + "/config.json"))); }
};

TEST_F(TrainPrecision, IsSaidAndKept) {
  const ProgramRun plain = train("plain", {});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(lines_with(plain, "cpu: "), 1) << plain.err;
  EXPECT_EQ(lines_with(plain, "; precision fp32"), 1) << plain.err;
  EXPECT_EQ(config("plain")["precision"], "fp32");

  const ProgramRun rounded = train("rounded", {"--precision", "bf16"});
  ASSERT_EQ(rounded.exit_code, 0) << rounded.err;
  EXPECT_EQ(lines_with(rounded, "; precision bf16"), 1) << rounded.err;
  EXPECT_EQ(config("rounded")["precision"], "bf16");
  EXPECT_NE(content(path("rounded/metrics.jsonl")), content(path("plain/metrics.jsonl")));

  const ProgramRun other = train("rounded", {"--precision", "fp32", "--resume"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_EQ(lines_with(other, "'precision' is fp32, but the run to resume has bf16"), 1) << other.err;
  EXPECT_EQ(other.complaints().size(), 1U) << other.err;
  for (const Words& more : {Words{"--resume"}, Words{"--resume", "--precision", "bf16"}}) {
    const ProgramRun again = train("rounded", more);
    EXPECT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(lines_with(again, "; precision bf16"), 1) << again.err;
  }

  // what the device makes of the word is what is kept
  ASSERT_EQ(train("fallen", {"--precision", "tf32"}).exit_code, 0);
  EXPECT_EQ(config("fallen")["precision"], "fp32");
  EXPECT_EQ(content(path("fallen/model.safetensors")), content(path("plain/model.safetensors")));
  EXPECT_EQ(train("fallen", {"--precision", "tf32", "--resume"}).exit_code, 0);
}

TEST_F(TrainPrecision, MayStandInASettingsFile) {
  std::ofstream(path("run.json")) << R"({"precision": "bf16"})";
  ASSERT_EQ(train("from-file", {"--config", path("run.json")}).exit_code, 0);
  EXPECT_EQ(config("from-file")["precision"], "bf16");
  ASSERT_EQ(train("over-file", {"--config", path("run.json"), "--precision", "fp32"}).exit_code, 0);
  EXPECT_EQ(config("over-file")["precision"], "fp32");
  std::ofstream(path("run.json")) << R"({"precision": "half"})";
  const ProgramRun refused = train("refused", {"--config", path("run.json")});
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_EQ(lines_with(refused, path("run.json") + ": 'precision' must be fp32, tf32 or bf16, got 'half'"), 1)
      << refused.err;
  EXPECT_FALSE(std::filesystem::exists(path("refused")));
}

}  // namespace
}  // namespace om::test
