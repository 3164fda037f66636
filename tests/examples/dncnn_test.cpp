// onemodel dncnn: a tiny one learns to remove noise, the same each time; it is shown what train and eval show
// the paper's model.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "train/denoise.h"
#include "train/evaluate.h"
#include "train/run_settings.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

class DnCnnTest : public ProgramTest {
 protected:
  /// Tiny, unless told otherwise.
  static Words training(const std::string& out, const Words& more) {
    Words words = {"dncnn", "--images", path("photos"), "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    const Words tiny = {"--size", "16", "--layers", "4", "--channels", "16", "--batch", "4"};
    for (std::size_t i = 0; i < tiny.size(); i += 2)
      if (std::find(more.begin(), more.end(), tiny[i]) == more.end())
        words.insert(words.end(), {tiny[i], tiny[i + 1]});
    return words;
  }
  static ProgramRun train(const std::string& out, const Words& more) {
    const ProgramRun run = onemodel(training(out, more));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, path(out) + "\n");
    return run;
  }
  /// The rows of a measurement.
  static Json measure(const std::string& model, const std::string& out, const Words& more) {
    Words words = {"dncnn", "--model", path(model), "--data", "photos=" + path("photos"), "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_TRUE(run.out.starts_with(content(path(out) + "/table.txt"))) << run.out;
    return Json::parse(content(path(out) + "/table.json"))["rows"];
  }

  struct Report {
    double iteration, loss, noise, denoised_psnr, noisy_psnr;
  };
  /// What a run said on its way; no PSNR without --val.
  static std::vector<Report> reports(const ProgramRun& run) {
    std::vector<Report> found;
    for (const std::string& line : run.complaints()) {
      Report r{NAN, NAN, NAN, NAN, NAN};
      if (std::sscanf(line.c_str(),
                      "iteration %lf: loss %lf, of the noise itself %lf; validation PSNR %lf dB from %lf",
                      &r.iteration, &r.loss, &r.noise, &r.denoised_psnr, &r.noisy_psnr) >= 3)
        found.push_back(r);
    }
    return found;
  }
  static void expect_refused(int code, const Words& words, const std::string& reason) {
    expect_error(code, onemodel(words), reason);
  }
};

TEST_F(DnCnnTest, RemovesNoiseAfterAFewSteps) {
  const ProgramRun run =
      train("learned.safetensors", {"--layers", "3", "--channels", "32", "--batch", "8", "--lr", "0.01",
                                    "--iterations", "200", "--val", path("photos")});
  const std::vector<Report> said = reports(run);
  ASSERT_EQ(said.size(), 10U) << run.err;
  EXPECT_EQ(said.front().iteration, 20);
  EXPECT_EQ(said.back().iteration, 200);
  EXPECT_GT(said.front().loss, said.front().noise);
  EXPECT_LT(said.back().loss, 0.5 * said.back().noise) << run.err;
  EXPECT_GT(said.back().denoised_psnr, said.back().noisy_psnr + 2) << run.err;

  const Json rows = measure("learned.safetensors", "table", {});
  ASSERT_EQ(rows.size(), 6U);
  for (std::size_t i = 0; i < 6; i += 2) {
    const Json &input = rows[i], &ours = rows[i + 1];
    EXPECT_EQ(input["model"], "input");
    EXPECT_EQ(ours["model"], "DnCNN");
    for (const Json& row : {input, ours}) {
      EXPECT_EQ(row["sigma"], (std::vector<double>{15, 25, 50}[i / 2]));
      EXPECT_EQ(row["noise_at"], "model");
      EXPECT_EQ(row["images"], 3);
    }
    EXPECT_GT(ours["psnr"].get<double>(), input["psnr"].get<double>() + 2) << rows;
    EXPECT_GT(ours["ssim"].get<double>(), input["ssim"].get<double>()) << rows;
    EXPECT_GT(ours["ssim_wang"].get<double>(), input["ssim_wang"].get<double>()) << rows;
  }
}

TEST_F(DnCnnTest, ASeedIsAModel) {
  const auto bytes = [&](const Words& more) {
    Words words = {"--iterations", "12"};
    words.insert(words.end(), more.begin(), more.end());
    train("seeded.safetensors", words);
    return content(path("seeded.safetensors"));
  };
  const std::string first = bytes({});
  EXPECT_EQ(bytes({}), first);
  EXPECT_EQ(bytes({"--threads", "1"}), first);
  EXPECT_EQ(bytes({"--val", path("photos")}), first) << "measuring changes nothing";
  EXPECT_NE(bytes({"--seed", "1"}), first);
}

// The paper's denoiser and this one are shown the very same noisy pictures.
TEST_F(DnCnnTest, NoisyInputsAreEvals) {
  train("shown.safetensors", {"--iterations", "1"});
  const auto inputs = [](const Json& rows) {
    Json found = Json::array();
    for (Json row : rows)
      if (row["model"] == "input") found.push_back(row);
    return found;
  };
  std::vector<Json> all;
  for (const Words& more : {Words{}, Words{"--grey"}, Words{"--seed", "7"}}) {
    const Json ours = inputs(measure("shown.safetensors", "ours", more));
    Words words = {"eval",
                   "--model",
                   "paper=" + path("model.safetensors"),
                   "--data",
                   "photos=" + path("photos"),
                   "--out",
                   path("paper"),
                   "--task",
                   "denoise",
                   "--noise-at",
                   "model"};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun run = onemodel(words);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const Json papers = inputs(Json::parse(content(path("paper/table.json")))["rows"]);
    ASSERT_EQ(ours.size(), 3U);
    EXPECT_EQ(ours, papers);  // to the last bit
    for (const Json& other : all) EXPECT_NE(ours[0]["psnr"], other[0]["psnr"]);
    all.push_back(ours);
  }
}

// In training: the pictures, sigmas and noise of `train --task denoise --noise-at model`, and their means.
TEST_F(DnCnnTest, TrainsOnTrainsPictures) {
  for (const bool grey : {false, true}) {
    TrainConfig config;
    config.task = "denoise";
    config.noise_at = "model";
    config.grey = grey;
    config.seed = 5;
    ImageLoader loader(ImageFolder(path("photos")), loader_options(config, kSize, 2, backend("cpu")));
    Words words = {"--iterations", "4", "--seed", "5"};
    if (grey) words.emplace_back("--grey");
    const std::vector<Report> said = reports(train("drawn.safetensors", words));
    ASSERT_EQ(said.size(), 4U);
    for (const Report& report : said) {
      const ImageBatch batch = loader.next();
      double squares = 0;
      for (std::size_t i = 0; i < batch.pixels.size(); ++i)
        squares += std::pow((batch.inputs[i] - batch.pixels[i]) * 2 / 255.0, 2);
      EXPECT_NEAR(report.noise, squares / 4, 1e-5 * squares) << report.iteration;
    }
  }
}

TEST_F(DnCnnTest, IsZhangsNetworkFromHesValues) {
  train("start.safetensors", {"--iterations", "1", "--lr", "1e-30", "--size", "8", "--layers", "17",
                              "--channels", "64", "--batch", "1"});
  const SafeTensors file = read_safetensors(path("start.safetensors"));
  using Sizes = std::vector<std::int64_t>;
  std::set<std::string> names = {"first.weight", "first.bias", "last.weight", "last.bias"};
  for (int i = 0; i < 15; ++i)
    for (const char* name : {"conv.weight", "norm.weight", "norm.bias", "norm.running_mean",
                             "norm.running_var", "norm.num_batches_tracked"})
      names.insert(text("middle.", i, ".", name));
  std::set<std::string> found;
  for (const auto& [name, tensor] : file.tensors) found.insert(name);
  EXPECT_EQ(found, names);
  EXPECT_EQ(file.tensors.at("first.weight").shape, (Sizes{64, 3, 3, 3}));
  EXPECT_EQ(file.tensors.at("middle.14.conv.weight").shape, (Sizes{64, 64, 3, 3}));
  EXPECT_EQ(file.tensors.at("last.weight").shape, (Sizes{3, 64, 3, 3}));
  EXPECT_EQ(file.metadata.at("size"), "8");
  EXPECT_EQ(file.metadata.at("sigmas"), "5,10,15,25,35,50");
  for (const auto& [name, fan_in] : {std::pair("first.weight", 27), std::pair("middle.3.conv.weight", 576)}) {
    const std::vector<float> values = floats(file, name);
    double squares = 0;
    for (const float value : values) squares += static_cast<double>(value) * value;
    EXPECT_NEAR(squares / static_cast<double>(values.size()), 2.0 / fan_in, 0.2 / fan_in) << name;
  }
  EXPECT_EQ(floats(file, "middle.0.norm.weight"), std::vector<float>(64, 1));
  for (const float bias : floats(file, "first.bias")) EXPECT_LT(std::abs(bias), 1e-20);
}

// By a network of three layers that is put together by hand: each layer uses one channel of two, the first
// the pixel to the right, so that what comes out can be said.
TEST_F(DnCnnTest, DoesWhatItsFileSays) {
  std::vector<float> first(std::size_t{2} * 3 * 9), middle(std::size_t{2} * 2 * 9),
      last(std::size_t{3} * 2 * 9);
  first[5] = 1;         // [0, 0, 1, 2]: red, to the right
  middle[9 + 4] = 1;    // [0, 1, 1, 1]: of the channel that is the first's bias alone
  middle[18 + 4] = -1;  // [1, 0, 1, 1]
  last[9 + 4] = 0.25F;  // [0, 1, 1, 1]
  SafeTensors file;
  file.metadata = {{"kind", "dncnn"}, {"size", "16"}};
  const auto put = [&](const char* name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
    file.tensors[name] = make_file_tensor(std::move(shape), values);
  };
  put("first.weight", {2, 3, 3, 3}, first);
  put("first.bias", {2}, {0.25F, 0.5F});
  put("middle.0.conv.weight", {2, 2, 3, 3}, middle);
  put("middle.0.norm.weight", {2}, {1, 3});
  put("middle.0.norm.bias", {2}, {0, -0.5F});
  put("middle.0.norm.running_mean", {2}, {0, -0.5F});
  put("middle.0.norm.running_var", {2}, {1, 4});
  put("last.weight", {3, 2, 3, 3}, last);
  put("last.bias", {3}, {0.03125F, 0, -0.0625F});
  write_safetensors(path("by-hand.safetensors"), file);

  const auto relu = [](double x) { return std::max(x, 0.0); };
  std::vector<ImageScores> scores;
  for (const std::string name : {"one.png", "three.png", "two.jpg"}) {
    const Image image = read_image(path("photos/") + name);
    const ImagePair pair = denoise_pair(image, 25, {.at = NoiseAt::model}, kSize, 0, picture_of(image));
    std::vector<float> denoised;
    for (int y = 0; y < kSize; ++y)
      for (int x = 0; x < kSize; ++x) {
        const auto value = [&](int column, int c) {
          return column < kSize ? pair.input.at(y, column, c) * 2 / 255.0 - 1 : 0.0;  // zeros around
        };
        const double inner = relu(value(x + 1, 0) + 0.25);
        const double red = 0.25 * relu((0.5 - inner) * 3 / std::sqrt(4 + 1e-5) - 0.5) + 0.03125;
        for (const auto& [c, noise] : {std::pair(0, red), std::pair(1, 0.0), std::pair(2, -0.0625)})
          denoised.push_back(static_cast<float>(value(x, c) - noise));
      }
    scores.push_back(score(name, pair.target, to_float_image(denoised, kSize)));
  }
  const Json row = measure("by-hand.safetensors", "by-hand", {"--sigmas", "25"}).at(1);
  EXPECT_NEAR(row["psnr"].get<double>(), *mean_of(scores).psnr, 1e-4);
  EXPECT_NEAR(row["ssim"].get<double>(), *mean_of(scores).ssim, 1e-5);
}

// Adam's first step is the rate's length in every coordinate, its second at most; by then the cosine of two
// steps has halved the rate.
TEST_F(DnCnnTest, StepsAreAdamsUnderTheCosine) {
  const auto weights = [&](const char* iterations, const char* rate) {
    train("stepped.safetensors", {"--iterations", iterations, "--lr", rate, "--batch", "2"});
    return floats(read_safetensors(path("stepped.safetensors")), "middle.0.conv.weight");
  };
  const auto farthest = [](const std::vector<float>& a, const std::vector<float>& b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
    return most;
  };
  const auto start = weights("1", "1e-30"), one = weights("1", "0.01"), two = weights("2", "0.01");
  EXPECT_NEAR(farthest(one, start), 0.01, 1e-5);
  EXPECT_NEAR(farthest(two, one), 0.005, 0.0005);
}

// On a card steps are recorded and replayed: the same bytes twice, and the losses of the processor's steps.
TEST_F(DnCnnTest, TrainsOnACard) {
  Backend* card = nullptr;
  try {
    card = &backend("cuda");
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const Words run = {"--iterations", "20", "--val", path("photos")};
  const std::vector<Report> expected = reports(train("host.safetensors", run));
  for (const std::string precision : {"fp32", "tf32", "bf16"}) {
    if (precision == "bf16" && !card->supports(DType::bf16)) continue;
    Words words = run;
    words.insert(words.end(), {"--backend", "cuda", "--precision", precision});
    const std::vector<Report> said = reports(train("card.safetensors", words));
    ASSERT_EQ(said.size(), expected.size()) << precision;
    const double tolerance = precision == "fp32" ? 0.01 : 0.03, decibels = precision == "fp32" ? 0.01 : 0.1;
    for (std::size_t i = 0; i < said.size(); ++i) {
      EXPECT_NEAR(said[i].loss, expected[i].loss, tolerance * expected[i].loss) << precision << " " << i;
      EXPECT_NEAR(said[i].noise, expected[i].noise, 1e-4 * expected[i].noise) << precision << " " << i;
      EXPECT_NEAR(said[i].denoised_psnr, expected[i].denoised_psnr, 10 * decibels) << precision << " " << i;
    }
    const std::string first = content(path("card.safetensors"));
    train("card.safetensors", words);
    EXPECT_EQ(content(path("card.safetensors")), first) << precision;
    const Json host = measure("host.safetensors", "host-table", {}),
               rows =
                   measure("host.safetensors", "card-table", {"--backend", "cuda", "--precision", precision});
    for (std::size_t i = 0; i < host.size(); ++i)
      EXPECT_NEAR(rows[i]["psnr"].get<double>(), host[i]["psnr"].get<double>(), decibels) << precision;
  }
}

TEST_F(DnCnnTest, AnInterruptLeavesWhatWasThere) {
  train("kept.safetensors", {"--iterations", "1"});
  const std::string before = content(path("kept.safetensors"));
  const ProgramRun run =
      onemodel_interrupted(training("kept.safetensors", {"--iterations", "1000000"}), "1/1000000");
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(
      run.err.find(
          "onemodel: interrupted; to go on: the same command, from its first step: no checkpoint is kept"),
      std::string::npos)
      << run.err;
  EXPECT_EQ(content(path("kept.safetensors")), before);
  EXPECT_FALSE(fs::exists(path(".kept.safetensors.tmp")));
}

TEST_F(DnCnnTest, ARateTooLargeIsSaidAndWritesNothing) {
  const ProgramRun run = onemodel(training("burst.safetensors", {"--iterations", "20", "--lr", "1e30"}));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("the loss is not finite; no model is written; a smaller --lr may help"),
            std::string::npos)
      << run.err;
  // and where only the last step's weights tell it
  const ProgramRun last = onemodel(training("burst.safetensors", {"--iterations", "1", "--lr", "1e300"}));
  EXPECT_EQ(last.exit_code, 1);
  EXPECT_NE(last.err.find("burst.safetensors: not written, "), std::string::npos) << last.err;
  EXPECT_FALSE(fs::exists(path("burst.safetensors")));
}

TEST_F(DnCnnTest, InfoSaysWhatAFileHolds) {
  train("told.safetensors", {"--iterations", "1", "--sigmas", "10,25", "--grey"});
  const ProgramRun run = onemodel({"info", path("told.safetensors")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  // 3*16*9+16 and 16*3*9+3, and two of 16*16*9 with a norm's 2*16
  EXPECT_NE(
      run.out.find("\nnetwork   DnCNN, a denoiser: 4 convolutions, 16 channels between them, 5555 weights; "
                   "trained on grey pictures of 16 pixels, sigmas 10,25\n"
                   "network   read by `onemodel dncnn --model`\n"),
      std::string::npos)
      << run.out;
  EXPECT_EQ(run.out.find("\ntensor "), std::string::npos) << "not without --tensors";

  SafeTensors torn = read_safetensors(path("told.safetensors"));
  torn.tensors.erase("last.bias");
  write_safetensors(path("torn.safetensors"), torn);
  expect_refused(3, {"info", path("torn.safetensors")}, "last.bias");
}

TEST_F(DnCnnTest, OtherCommandsSayWhatTheyWereGiven) {
  train("given.safetensors", {"--iterations", "1"});
  const std::string file = path("given.safetensors"), out = path("refused"), photos = path("photos");
  const std::string line =
      "onemodel: " + file +
      ": holds a DnCNN, which `onemodel dncnn --model` takes, and no encoder or generator\n";
  for (const Words& words : std::vector<Words>{
           {"info", file, "--graph", out + ".dot"},
           {"import", file, "-o", out},
           {"export", file, "-o", out},
           {"generate", "--generator", file, "--out", out},
           {"train", "--generator", file, "--images", photos, "--out", out},
           {"encode", "--model", file, photos, "--tensors", out},
           {"reconstruct", "--model", file, photos, "--out", out},
           {"reconstruct", "--model", path("model.safetensors"), "--generator", file, photos, "--out", out},
           {"project", "--generator", file, photos + "/one.png", "--out", out},
           {"figure", "noise-maps", "--model", file, photos + "/one.png", "--out", out + ".png"},
           {"denoise", "--model", file, photos, "--out", out},
           {"eval", "--model", "a=" + file, "--data", "photos=" + photos, "--out", out},
           {"bench", "--model", file},
           {"serve", "--model", file, "--port", "0"},
           {"leak", "--model", file, photos}}) {
    SCOPED_TRACE(words.front());
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 3);
    EXPECT_EQ(run.err, line);
  }
}

TEST_F(DnCnnTest, SkipsWhatCannotBeRead) {
  Words words = training("mixed.safetensors", {"--iterations", "3"});
  words[2] = path("mixed");
  const ProgramRun run = onemodel(words);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("mixed/broken.png: "), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("skipped 1 unreadable images"), std::string::npos) << run.err;
}

TEST_F(DnCnnTest, RefusesInOneLine) {
  const std::string out = path("refused");
  const Words images = {"dncnn", "--images", path("photos"), "--out", out};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  expect_refused(2, {"dncnn", "--out", out}, "expects --images DIR, to train, or --model FILE, to measure");
  expect_refused(2, with(images, {"--model", path("text.txt")}), "expects --images DIR");
  expect_refused(2, with(images, {"--data", "a=" + path("photos")}), "--data needs --model");
  for (const Words& wrong :
       {Words{"--size", "7"}, Words{"--iterations", "0"}, Words{"--layers", "1"}, Words{"--channels", "0"},
        Words{"--batch", "0"}, Words{"--lr", "0"}, Words{"--sigmas", "10,-1"}, Words{"--sigmas", "1001"}})
    expect_refused(2, with(images, wrong), wrong[0]);
  expect_refused(2, {"dncnn", "--images", path("photos"), "--out", path("photos/one.png")},
                 "is also an input");
  expect_refused(3, {"dncnn", "--images", path("empty"), "--out", out}, path("empty"));
  expect_refused(3, with(images, {"--val", path("nowhere")}), path("nowhere"));
  expect_refused(1, {"dncnn", "--images", path("photos"), "--out", path("photos")}, "is a folder");
  expect_refused(1, {"dncnn", "--images", path("photos"), "--out", path("no/such/file")}, "no/such/file");

  const auto measuring = [&](const std::string& model) {
    return Words{"dncnn", "--model", path(model), "--data", "a=" + path("photos"), "--out", out};
  };
  expect_refused(2, {"dncnn", "--model", path("text.txt"), "--out", out}, "--data NAME=DIR is required");
  expect_refused(2, with(measuring("text.txt"), {"--lr", "1"}), "--lr needs --images");
  expect_refused(2, with(measuring("text.txt"), {"--data", "a=" + path("empty")}), "'a' twice");
  expect_refused(2, with(measuring("text.txt"), {"--sigmas", "0"}), "--sigmas");
  expect_refused(3, measuring("text.txt"), path("text.txt"));
  expect_refused(3, measuring("nowhere.safetensors"), path("nowhere.safetensors"));
  expect_refused(3, measuring("model.safetensors"), "holds no network that `onemodel dncnn` trained");

  train("whole.safetensors", {"--iterations", "1"});
  const SafeTensors whole = read_safetensors(path("whole.safetensors"));
  const auto broken = [&](const std::string& reason, const auto& breaks) {
    SafeTensors file = whole;
    breaks(file);
    write_safetensors(path("broken.safetensors"), file);
    expect_refused(3, measuring("broken.safetensors"), "broken.safetensors: ");
    expect_refused(3, measuring("broken.safetensors"), reason);
  };
  broken("its size is ''", [](SafeTensors& file) { file.metadata.erase("size"); });
  for (const char* size : {"16x", "7", "1000000"})
    broken(text("its size is '", size, "'"), [&](SafeTensors& file) { file.metadata["size"] = size; });
  broken("first.weight", [](SafeTensors& file) { file.tensors.erase("first.weight"); });
  broken("last.bias", [](SafeTensors& file) { file.tensors.erase("last.bias"); });
  broken("middle.0.norm.running_var",
         [](SafeTensors& file) { file.tensors.erase("middle.0.norm.running_var"); });
  broken("do not fit one another", [](SafeTensors& file) {  // whose layers between would be of 600 MB each
    file.tensors["first.weight"] = make_file_tensor({4096, 3, 1, 1}, std::vector<float>(3 * 4096));
  });
  broken("middle.1.conv.weight", [](SafeTensors& file) {
    file.tensors["middle.1.conv.weight"] =
        make_file_tensor({16, 16, 3, 3}, std::vector<float>(16 * 16 * 9, NAN));
  });
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace om::test
