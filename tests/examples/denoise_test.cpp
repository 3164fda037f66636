// onemodel denoise: with noise of its own and without.
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/image.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "train/denoise.h"
#include "train/evaluate.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class DenoiseTest : public ProgramTest {
 protected:
  static ProgramRun denoise(const std::string& out, const Words& more) {
    Words words = {"denoise", "--model", path("model.safetensors"), path("photos"), "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return onemodel(words);
  }
  static nlohmann::json figures(const std::string& out, Words more) {
    more.emplace_back("--json");
    const ProgramRun run = denoise(out, more);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out);
  }
  static std::vector<std::string> keys(const nlohmann::json& object) {
    std::vector<std::string> names;
    for (const auto& [name, value] : object.items()) names.push_back(name);
    return names;  // nlohmann sorts them
  }
};

TEST_F(DenoiseTest, AddsNoiseAndMeasures) {
  const auto json = figures("added", {"--sigma", "25", "--noise-at", "model", "--seed", "3"});
  ASSERT_EQ(keys(json), (Words{"images", "mean"}));
  ASSERT_EQ(json.at("images").size(), 3U);
  const Words scores = {"psnr", "ssim", "ssim_wang"};
  const auto model = load_autoencoder(path("model.safetensors"), backend("cpu"));
  double noisy = 0, denoised = 0;
  for (const auto& image : json.at("images")) {
    EXPECT_EQ(keys(image),
              (Words{"denoised", "file", "noise_at", "noise_channels", "noisy", "output", "sigma"}));
    EXPECT_EQ(image.at("sigma"), 25);
    EXPECT_EQ(image.at("noise_at"), "model");
    EXPECT_EQ(image.at("noise_channels"), "independent");
    EXPECT_EQ(keys(image.at("noisy")), scores);
    EXPECT_EQ(keys(image.at("denoised")), scores);
    noisy += image.at("noisy").at("psnr").get<double>() / 3;
    denoised += image.at("denoised").at("psnr").get<double>() / 3;

    // the same through the library
    const Image file = read_image(image.at("file").get<std::string>());
    DenoiseSettings settings;
    settings.at = NoiseAt::model;
    const ImagePair pair = denoise_pair(file, 25, settings, kSize, 3, picture_of(file));
    const std::filesystem::path output = image.at("output").get<std::string>();
    EXPECT_EQ(read_image(output.parent_path() / "noisy" / output.filename()), pair.input);
    const FloatImage made = reconstruct(*model, pair.input, backend("cpu"));
    EXPECT_EQ(read_image(output), to_image(made));
    EXPECT_NEAR(image.at("denoised").at("psnr").get<double>(), *score("", pair.target, made).psnr, 1e-9);
    EXPECT_NEAR(image.at("noisy").at("psnr").get<double>(),
                *score("", pair.target, to_float_image(pair.input)).psnr, 1e-9);
  }
  EXPECT_NEAR(json.at("mean").at("noisy").at("psnr").get<double>(), noisy, 1e-9);
  EXPECT_NEAR(json.at("mean").at("denoised").at("psnr").get<double>(), denoised, 1e-9);
  EXPECT_NEAR(noisy, 20.7, 1);  // 20.2 without clipping, and 768 draws a picture
}

TEST_F(DenoiseTest, SaysHowTheNoiseWasMade) {
  const auto file = figures("at-file", {"--sigma=50"}),
             shared = figures("s", {"--sigma=50", "--noise-channels=shared"}),
             grey = figures("grey", {"--sigma=50", "--grey"});
  EXPECT_EQ(file.at("images")[0].at("noise_at"), "file");
  EXPECT_EQ(shared.at("images")[0].at("noise_channels"), "shared");
  EXPECT_NE(shared.at("mean"), file.at("mean"));
  EXPECT_EQ(grey.at("images")[0].at("noise_channels"), "shared");
  for (const auto& [name, bytes] : folder_content(path("grey"))) {
    const Image image = read_image(path("grey/" + name));
    EXPECT_EQ(image, to_grey(image)) << name;
  }
  const ProgramRun table = denoise("at-file", {"--sigma", "50"});
  EXPECT_NE(table.out.find("sigma 50 of 255, added at file resolution"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("mean of 3"), std::string::npos);
}

TEST_F(DenoiseTest, WithoutSigmaTheImagesAreTakenAsTheyAre) {
  const auto json = figures("taken", {});
  for (const auto& image : json.at("images")) {
    EXPECT_FALSE(image.contains("noisy") || image.contains("denoised"));
    EXPECT_TRUE(image.at("sigma").is_null());
  }
  EXPECT_TRUE(json.at("mean").empty());
  EXPECT_EQ(
      onemodel({"reconstruct", "--model", path("model.safetensors"), path("photos"), "--out", path("as-is")})
          .exit_code,
      0);
  for (const char* name : {"one.png", "two.png", "three.png"})
    EXPECT_EQ(content(path("taken/") + name), content(path("as-is/") + name)) << name;
  EXPECT_FALSE(std::filesystem::exists(path("taken/noisy")));
}

// Neither the backend nor the other pictures nor a picture's name have a part in its noise.
TEST_F(DenoiseTest, TheSameSeedGivesTheSameNoise) {
  ASSERT_EQ(denoise("cpu", {"--sigma", "25"}).exit_code, 0);
  ASSERT_EQ(denoise("naive", {"--sigma", "25", "--backend", "reference"}).exit_code, 0);
  EXPECT_EQ(folder_content(path("cpu/noisy")), folder_content(path("naive/noisy")));
  EXPECT_EQ(folder_content(path("cpu/noisy")).size(), 3U);
  std::filesystem::create_directories(path("alone"));
  std::filesystem::copy_file(path("photos/three.png"), path("alone/renamed.png"));
  ASSERT_EQ(onemodel({"denoise", "--model", path("model.safetensors"), path("alone"), "--sigma", "25",
                      "--out", path("alone-out")})
                .exit_code,
            0);
  EXPECT_EQ(content(path("alone-out/noisy/renamed.png")), content(path("cpu/noisy/three.png")));
  EXPECT_EQ(content(path("alone-out/renamed.png")), content(path("cpu/three.png")));
  ASSERT_EQ(denoise("seeded", {"--sigma", "25", "--seed", "1"}).exit_code, 0);
  EXPECT_NE(content(path("seeded/noisy/three.png")), content(path("cpu/noisy/three.png")));
}

TEST_F(DenoiseTest, BadInput) {
  for (const char* sigma : {"-1", "nan", "1e9", "many", "5,10"})
    expect_error(2, denoise("bad", {std::string("--sigma=") + sigma}), "--sigma");
  expect_error(2, denoise("bad", {"--noise-at", "model"}), "--noise-at needs --sigma");
  expect_error(2, denoise("bad", {"--noise-channels", "shared"}), "--noise-channels needs --sigma");
  expect_error(2, denoise("bad", {"--sigma", "5", "--noise-at", "disk"}),
               "--noise-at expects one of file, model");
  const auto with = [](const std::string& model, const std::string& image) {
    return onemodel({"denoise", "--model", path(model), path(image), "--out", path("bad"), "--sigma", "5"});
  };
  expect_error(3, with("missing", "photos"), path("missing") + ": ");
  expect_error(3, with("generator.safetensors", "photos"),
               path("generator.safetensors") + ": expects an encoder");
  expect_error(3, with("model.safetensors", "missing"), path("missing") + ": ");
  expect_error(3, with("model.safetensors", "broken.png"), path("broken.png") + ": ");
  expect_error(1, denoise("text.txt", {}), "text.txt: ");
}

}  // namespace
}  // namespace om::test
