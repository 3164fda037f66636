// onemodel eval and onemodel fid, on a tiny Inception network.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/image.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "tests/models/tiny_inception.h"
#include "train/denoise.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class EvalTest : public ProgramTest {
 protected:
  static void SetUpTestSuite() {
    ProgramTest::SetUpTestSuite();
    write_safetensors(path("inception.safetensors"), {to_file(*tiny_inception(backend("cpu"))), {}});
    write_safetensors(path("inception-2.safetensors"), {to_file(*tiny_inception(backend("cpu"), 2)), {}});
    fs::create_directory(path("other"));
    for (const char* name : {"a.png", "b.png", "c.png"}) {
      Image image = read_image(path("photos/one.png"));
      for (std::uint8_t& value : image.pixels)
        value = static_cast<std::uint8_t>(255 - value / (name[0] - '`'));
      write_png(path(std::string("other/") + name), image);
    }
  }

  static std::vector<std::string> words(std::initializer_list<std::string> more) {
    std::vector<std::string> all(more);
    all.insert(all.end(), {"--cache", path("cache")});
    return all;
  }
  static double fid(const std::string& a, const std::string& b, const std::string& variant = "pytorch-fid",
                    const std::string& network = "inception.safetensors") {
    const ProgramRun run =
        onemodel(words({"fid", a, b, "--inception", path(network), "--variant", variant, "--json"}));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const Json result = Json::parse(run.out);
    EXPECT_EQ(result["variant"], variant);
    return result["fid"];
  }
  static Json rows(const std::string& folder) { return Json::parse(content(folder + "/table.json"))["rows"]; }
  static void expect_refused(const ProgramRun& run, int code, const std::string& text) {
    expect_error(code, run, text);
  }
};

TEST_F(EvalTest, FidOfAFolderWithItselfIsZero) {
  EXPECT_LT(fid(path("photos"), path("photos")), 1e-6);
  EXPECT_LT(fid(path("photos"), path("photos"), "authors"), 1e-6);
}

TEST_F(EvalTest, FidGoesThroughPytorchFidsFiles) {
  const double direct = fid(path("photos"), path("other"));
  EXPECT_GT(direct, 1e-3);
  EXPECT_NE(fid(path("photos"), path("other"), "authors"), direct);
  for (const std::string set : {"photos", "other"}) {
    const ProgramRun saved = onemodel(words(
        {"fid", path(set), "--save", path(set + ".npz"), "--inception", path("inception.safetensors")}));
    ASSERT_EQ(saved.exit_code, 0) << saved.err;
  }
  EXPECT_NEAR(fid(path("photos.npz"), path("other")), direct, 1e-6 * direct);
  EXPECT_NEAR(fid(path("photos"), path("other.npz")), direct, 1e-6 * direct);
  // two files need no network
  const ProgramRun run = onemodel({"fid", path("photos.npz"), path("other.npz"), "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NEAR(Json::parse(run.out)["fid"].get<double>(), direct, 1e-6 * direct);
  EXPECT_TRUE(Json::parse(run.out)["images_a"].is_null());
}

TEST_F(EvalTest, FidWarnsOfFewImages) {
  const ProgramRun run =
      onemodel(words({"fid", path("photos"), path("other"), "--inception", path("inception.safetensors")}));
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_TRUE(run.out.starts_with("FID (pytorch-fid) ")) << run.out;
  EXPECT_NE(run.err.find(path("photos") + ": 3 images; under 2048"), std::string::npos) << run.err;
}

TEST_F(EvalTest, FeaturesAreKeptByContent) {
  fs::remove_all(path("cache"));
  const double first = fid(path("photos"), path("other"));
  const auto kept = folder_content(path("cache"));
  EXPECT_EQ(kept.size(), 2U);
  fs::copy(path("photos"), path("renamed"));
  fs::rename(path("renamed/one.png"), path("renamed/a-first.png"));
  fs::rename(path("renamed/three.png"), path("renamed/b-second.png"));
  fs::rename(path("renamed/two.jpg"), path("renamed/c-third.jpg"));
  EXPECT_EQ(fid(path("renamed"), path("other")), first);
  EXPECT_EQ(folder_content(path("cache")), kept) << "other names, the same content in the same order";

  fs::copy_file(path("other/a.png"), path("renamed/a-first.png"), fs::copy_options::overwrite_existing);
  EXPECT_NE(fid(path("renamed"), path("other")), first);
  EXPECT_EQ(folder_content(path("cache")).size(), 3U);

  // another network has features of its own
  EXPECT_NE(fid(path("photos"), path("other"), "pytorch-fid", "inception-2.safetensors"), first);
  EXPECT_EQ(folder_content(path("cache")).size(), 5U);

  // a file of features that is not whole is made again
  for (const auto& [name, bytes] : kept) {
    std::string broken = bytes;
    broken.back() = static_cast<char>(broken.back() ^ 1);
    write_file(path("cache/" + name), std::as_bytes(std::span(broken)));
  }
  EXPECT_EQ(fid(path("photos"), path("other")), first);
  for (const auto& [name, bytes] : kept) EXPECT_EQ(content(path("cache/" + name)), bytes);
}

TEST_F(EvalTest, FidRefusesInOneLine) {
  const std::string net = path("inception.safetensors");
  expect_refused(onemodel({"fid", path("photos"), path("other")}), 2, "--inception FILE");
  expect_refused(onemodel({"fid", path("photos")}), 2, "two sets");
  expect_refused(onemodel({"fid", path("photos"), path("empty"), "--inception", net}), 3, path("empty"));
  expect_refused(onemodel({"fid", path("photos"), path("nowhere"), "--inception", net}), 3, path("nowhere"));
  expect_refused(onemodel({"fid", path("photos"), path("other"), "--inception", path("text.txt")}), 3,
                 path("text.txt"));
  expect_refused(
      onemodel({"fid", path("photos"), path("other"), "--inception", path("generator.safetensors")}), 3,
      "holds no Inception network");
  expect_refused(onemodel({"fid", path("text.txt"), path("text.txt")}), 3, path("text.txt"));
  expect_refused(onemodel({"fid", path("generator.safetensors"), path("text.txt")}), 3, "no tensor named mu");
  save("moments.safetensors", {{"mu", waves({4}, 1)}, {"sigma", waves({4, 3}, 1)}});
  expect_refused(onemodel({"fid", path("moments.safetensors"), path("text.txt")}), 3, "[4, 3]");
  save("skew.safetensors", {{"mu", waves({4}, 1)}, {"sigma", waves({4, 4}, 1)}});
  expect_refused(onemodel({"fid", path("skew.safetensors"), path("text.txt")}), 3, "not symmetric");
  expect_refused(onemodel({"fid", path("skew.safetensors"), "--save", path("skew.safetensors")}), 2,
                 "would be overwritten");
}

TEST_F(EvalTest, WritesTheTablesWithReconstructsFigures) {
  const std::string out = path("eval");
  fid(path("photos"), path("other"));  // the cache holds the photos as they are, not at the model's size
  const ProgramRun run = onemodel(words({"eval", "--model", "ours=" + path("model.safetensors"), "--model",
                                         "into z, \"quoted\"=" + path("z-model.safetensors"), "--data",
                                         "photos=" + path("photos"), "--data", "other=" + path("other"),
                                         "--out", out, "--inception", path("inception.safetensors")}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json table = rows(out);
  ASSERT_EQ(table.size(), 4U);
  EXPECT_EQ(table[0]["model"], "ours");
  EXPECT_EQ(table[0]["data"], "photos");
  EXPECT_EQ(table[1]["model"], "into z, \"quoted\"");
  EXPECT_EQ(table[3]["data"], "other");
  EXPECT_TRUE(table[0]["sigma"].is_null());
  EXPECT_TRUE(table[0]["noise_at"].is_null());
  EXPECT_EQ(table[0]["images"], 3);

  const ProgramRun reconstructed = onemodel({"reconstruct", "--model", path("model.safetensors"),
                                             path("photos"), "--out", path("eval-pictures"), "--json"});
  const Json mean = Json::parse(reconstructed.out)["mean"];
  for (const char* metric : {"psnr", "ssim", "ssim_wang"})
    EXPECT_NEAR(table[0][metric].get<double>(), mean[metric].get<double>(), 1e-9) << metric;

  // FID of the pictures that reconstruct writes against the inputs at the model's size
  fs::remove(path("eval-pictures/contact-sheet.png"));
  fs::create_directory(path("inputs16"));
  for (const std::string name : {"one.png", "two.jpg", "three.png"})
    write_png(path("inputs16/" + name.substr(0, name.find('.')) + ".png"),
              resize_bilinear(read_image(path("photos/" + name)), 16, 16));
  const double measured = fid(path("eval-pictures"), path("inputs16"));
  EXPECT_NEAR(table[0]["fid"].get<double>(), measured, 1e-6 * measured);
  EXPECT_GT(table[0]["fid_authors"].get<double>(), 0);
  EXPECT_NE(table[0]["fid_authors"], table[0]["fid"]);

  const std::string text = content(out + "/table.txt"), csv = content(out + "/table.csv");
  EXPECT_NE(text.find("FID (pytorch-fid)"), std::string::npos);
  EXPECT_NE(text.find("FID (authors)"), std::string::npos);
  EXPECT_NE(text.find("from 3 images; under 2048"), std::string::npos) << text;
  EXPECT_TRUE(csv.starts_with(
      "model,data,sigma,noise_at,images,psnr,ssim,ssim_wang,fid,fid_authors\nours,photos,,,3,"))
      << csv;
  EXPECT_NE(csv.find("\n\"into z, \"\"quoted\"\"\",photos,"), std::string::npos) << csv;
  EXPECT_TRUE(run.out.starts_with(text));
  EXPECT_NE(run.out.find("ours: "), std::string::npos);
  EXPECT_NE(run.out.find(" images per second"), std::string::npos);
  EXPECT_EQ(text.find("images per second"), std::string::npos) << "speed is no property of the table";
}

TEST_F(EvalTest, WithoutInceptionTheColumnSaysSo) {
  const std::string out = path("eval-without");
  const ProgramRun run = onemodel({"eval", "--model", "ours=" + path("model.safetensors"), "--data",
                                   "photos=" + path("photos"), "--out", out});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string text = content(out + "/table.txt");
  EXPECT_NE(text.find("no weights"), std::string::npos) << text;
  EXPECT_NE(text.find("--inception FILE with pytorch-fid's weights, https://"), std::string::npos) << text;
  EXPECT_TRUE(rows(out)[0]["fid"].is_null());
  EXPECT_TRUE(rows(out)[0]["fid_authors"].is_null());
}

TEST_F(EvalTest, DenoisesAndMeasuresTheNoisyInputToo) {
  const std::string out = path("eval-denoise");
  const ProgramRun run =
      onemodel(words({"eval", "--model", "ours=" + path("model.safetensors"), "--data",
                      "photos=" + path("photos"), "--out", out, "--task", "denoise", "--sigmas", "10,50",
                      "--noise-at", "model", "--inception", path("inception.safetensors")}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json table = rows(out);
  ASSERT_EQ(table.size(), 4U);
  const std::vector<std::pair<std::string, double>> expected = {
      {"input", 10}, {"ours", 10}, {"input", 50}, {"ours", 50}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(table[i]["model"], expected[i].first) << i;
    EXPECT_EQ(table[i]["sigma"], expected[i].second) << i;
    EXPECT_EQ(table[i]["noise_at"], "model") << i;
    EXPECT_GT(table[i]["fid"].get<double>(), 0) << i;
  }
  // a deviation of 10 in 255 is 28.1 dB, of 50 clipped somewhat more than 14.2
  EXPECT_NEAR(table[0]["psnr"].get<double>(), 28.1, 0.7);
  EXPECT_NEAR(table[2]["psnr"].get<double>(), 14.9, 1);
  EXPECT_GT(table[2]["fid"].get<double>(), table[0]["fid"].get<double>());
  EXPECT_NE(content(out + "/table.txt").find("50 at model"), std::string::npos);
}

// Grey results are measured as `denoise --grey` measures and writes them, FID against grey inputs.
TEST_F(EvalTest, GreyIsDenoisesGrey) {
  const ProgramRun run =
      onemodel(words({"eval", "--model", "ours=" + path("model.safetensors"), "--data",
                      "photos=" + path("photos"), "--out", path("eval-grey"), "--task", "denoise", "--sigmas",
                      "25", "--grey", "--inception", path("inception.safetensors")}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json table = rows(path("eval-grey"));
  ASSERT_EQ(table.size(), 2U);
  const ProgramRun denoised = onemodel({"denoise", "--model", path("model.safetensors"), path("photos"),
                                        "--out", path("denoise-grey"), "--sigma", "25", "--grey", "--json"});
  ASSERT_EQ(denoised.exit_code, 0) << denoised.err;
  const Json mean = Json::parse(denoised.out)["mean"];
  for (const char* metric : {"psnr", "ssim", "ssim_wang"}) {
    EXPECT_NEAR(table[1][metric].get<double>(), mean["denoised"][metric].get<double>(), 1e-12) << metric;
    EXPECT_NEAR(table[0][metric].get<double>(), mean["noisy"][metric].get<double>(), 1e-5) << metric;
  }
  fs::create_directory(path("clean-grey"));
  for (const char* name : {"one.png", "two.jpg", "three.png"}) {
    const Image clean = resize_bilinear(to_grey(read_image(path("photos") + "/" + name)), kSize, kSize);
    write_png(path("clean-grey/") + std::string(name).substr(0, 3) + ".png", clean);
  }
  const double expected = fid(path("denoise-grey"), path("clean-grey"));
  EXPECT_NEAR(table[1]["fid"].get<double>(), expected, 1e-6 * expected);
  EXPECT_GT(std::abs(fid(path("denoise-grey"), path("photos")) - expected), 1e-3 * expected);
  EXPECT_GT(table[1]["fid_authors"].get<double>(), 0);
  // colour results are others
  const ProgramRun colour =
      onemodel(words({"eval", "--model", "ours=" + path("model.safetensors"), "--data",
                      "photos=" + path("photos"), "--out", path("eval-colour"), "--task", "denoise",
                      "--sigmas", "25", "--inception", path("inception.safetensors")}));
  ASSERT_EQ(colour.exit_code, 0) << colour.err;
  const double in_colour = rows(path("eval-colour"))[1]["fid"];
  EXPECT_GT(std::abs(in_colour - expected), 1e-3 * expected);
  // and were not measured against the grey inputs, whose features are kept too
  const ProgramRun anew =
      onemodel({"eval", "--model", "ours=" + path("model.safetensors"), "--data", "photos=" + path("photos"),
                "--out", path("eval-colour"), "--task", "denoise", "--sigmas", "25", "--inception",
                path("inception.safetensors"), "--cache", path("another-cache")});
  ASSERT_EQ(anew.exit_code, 0) << anew.err;
  EXPECT_EQ(rows(path("eval-colour"))[1]["fid"].get<double>(), in_colour);
}

TEST_F(EvalTest, TakesTheGeneratorFromElsewhere) {
  const auto whole = load_autoencoder(path("model.safetensors"), backend("cpu"));
  Model alone = load_model(read_checkpoint(path("model.safetensors")), backend("cpu"));
  alone.decoder.reset();
  save_model(path("encoder.safetensors"), alone);
  const auto evaluate = [&](const std::string& model, const std::vector<std::string>& more) {
    std::vector<std::string> all = {"eval",
                                    "--model",
                                    "ours=" + path(model),
                                    "--data",
                                    "photos=" + path("photos"),
                                    "--out",
                                    path("eval-" + model)};
    all.insert(all.end(), more.begin(), more.end());
    return onemodel(all);
  };
  ASSERT_EQ(evaluate("model.safetensors", {}).exit_code, 0);
  const ProgramRun joined = evaluate("encoder.safetensors", {"--generator", path("generator.safetensors")});
  ASSERT_EQ(joined.exit_code, 0) << joined.err;
  EXPECT_EQ(rows(path("eval-encoder.safetensors")), rows(path("eval-model.safetensors")));
  expect_refused(evaluate("encoder.safetensors", {}), 3, path("encoder.safetensors"));
  expect_refused(evaluate("encoder.safetensors", {"--generator", path("text.txt")}), 3, path("text.txt"));
}

TEST_F(EvalTest, EvalRefusesInOneLine) {
  const std::string model = "ours=" + path("model.safetensors"), data = "photos=" + path("photos"),
                    out = path("none");
  const auto run = [&](const std::string& m, const std::string& d, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"eval", "--model", m, "--data", d, "--out", out};
    words.insert(words.end(), more.begin(), more.end());
    return onemodel(words);
  };
  expect_refused(run(path("model.safetensors"), data), 2, "NAME=VALUE");
  expect_refused(run("input=x", data), 2, "'input'");
  expect_refused(run(model, data, {"--model", model}), 2, "twice");
  expect_refused(run(model, data, {"--sigmas", "10"}), 2, "--task denoise");
  expect_refused(run(model, data, {"--grey"}), 2, "--grey needs --task denoise");
  expect_refused(run(model, data, {"--batch", "0"}), 2, "--batch must lie between 1 and 4096, got 0");
  expect_refused(run(model, data, {"--task", "denoise", "--sigmas", "-5"}), 2, "--sigmas");
  expect_refused(run("a=" + path("text.txt"), data), 3, path("text.txt"));
  expect_refused(run("a=" + path("generator.safetensors"), data), 3, "has only a generator");
  expect_refused(run(model, "a=" + path("empty")), 3, path("empty"));
  expect_refused(run(model, data, {"--inception", path("text.txt")}), 3, path("text.txt"));
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(EvalTest, AFolderWithoutAReadableImageIsBadInput) {
  const ProgramRun run = onemodel({"eval", "--model", "ours=" + path("model.safetensors"), "--data",
                                   "broken=" + path("broken"), "--out", path("eval-broken")});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_NE(run.err.find("holds no readable image"), std::string::npos) << run.err;
}

}  // namespace
}  // namespace om::test
