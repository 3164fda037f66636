// A denoising run: noisy pictures in, clean ones as targets, and the same bytes after a stop.
#include <gtest/gtest.h>

#include <fstream>

#include "io/image_folder.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/denoise.h"
#include "train/evaluate.h"
#include "train/flat_json.h"
#include "train/stage.h"
#include "train/start.h"

namespace om::test {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(TrainDenoise, StoppedAndResumedEndsInTheSameBytes) {
  TinyRun tiny;
  tiny.config.task = "denoise";
  tiny.config.sigmas = {25, 50};
  for (const char* at : {"file", "model"}) {
    tiny.config.noise_at = at;
    const std::string whole = std::string("whole-") + at;
    tiny.run(whole);
    for (const int step : {1, 2, 5}) {
      const std::string name = at + std::to_string(step);
      std::atomic<bool> stop = false;
      TrainOptions options;
      options.stop = &stop;
      options.after_step = [&](const StepReport& report) { stop = report.iteration == step; };
      EXPECT_TRUE(tiny.run(name, false, options).interrupted);
      EXPECT_FALSE(tiny.run(name, true).interrupted);
      EXPECT_EQ(difference(files_of(tiny.out(whole)), files_of(tiny.out(name))), "") << name;
    }
  }
}

TEST(TrainDenoise, EverySettingOfTheNoiseCounts) {
  TinyRun tiny;
  const auto model = [&](const std::string& name) {
    tiny.run(name);
    return text_of(tiny.out(name) + "/model.safetensors");
  };
  std::vector<std::string> models = {model("plain")};
  tiny.config.task = "denoise";
  models.push_back(model("denoise"));
  tiny.config.noise_at = "model";
  models.push_back(model("at-model"));
  tiny.config.noise_channels = "shared";
  models.push_back(model("shared"));
  tiny.config.sigmas = {50};
  models.push_back(model("sigma"));
  tiny.config.grey = true;
  models.push_back(model("grey"));
  for (std::size_t i = 0; i < models.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(models[i], models[j]) << i << " and " << j;
}

// Step by step through the library: noisy pictures in, clean ones as targets, other noise in each epoch.
TEST(TrainDenoise, TheLossIsAgainstTheCleanPictures) {
  TinyRun tiny;
  tiny.config.task = "denoise";
  tiny.config.sigmas = {50};
  tiny.run("run");
  std::vector<double> logged;
  std::ifstream lines(tiny.out("run") + "/metrics.jsonl");
  for (std::string line; std::getline(lines, line);)
    for (const auto& [key, value] : read_flat_json(line).members)
      if (const auto* mse = std::get_if<double>(&value); mse != nullptr && key == "mse")
        logged.push_back(*mse);
  ASSERT_EQ(logged.size(), 6U);

  Backend& cpu = backend("cpu");
  RandomSource random(static_cast<std::uint64_t>(tiny.config.seed), cpu);
  const auto model = make_model(tiny.config, random, cpu);
  Training training(*model, nullptr, stage_recipe(tiny.config, 1), random);
  LoaderOptions options;
  options.size = 16;
  options.batch = 2;
  options.seed = static_cast<std::uint64_t>(tiny.config.seed);
  options.make_pair = [&](const Image& image, std::int64_t position) {
    return denoise_pair(image, 50, {}, 16, options.seed, picture_of(position));
  };
  ImageLoader loader(ImageFolder(tiny.config.images), options);
  for (std::size_t i = 0; i < logged.size(); ++i) {
    const ImageBatch batch = loader.next();
    const StepResult step = training.step(static_cast<std::int64_t>(i), to_tensor(batch.inputs, 2, 16, cpu),
                                          to_tensor(batch.pixels, 2, 16, cpu));
    EXPECT_NEAR(step.mse.item(), logged[i], 1e-6 * logged[i]) << "step " << i + 1;
  }
}

// What the loader gives is what the functions of train/denoise.h make of file and position.
TEST(TrainDenoise, TheLoaderGivesPairs) {
  const TinyRun tiny;
  LoaderOptions options;
  options.size = 16;
  options.batch = 3;
  options.make_pair = [](const Image& image, std::int64_t position) {
    return denoise_pair(image, 25, {}, 16, 4, picture_of(position));
  };
  ImageLoader loader(ImageFolder(tiny.config.images), options);
  for (int b = 0; b < 4; ++b) {
    const ImageBatch batch = loader.next();
    for (std::size_t i = 0; i < 3; ++i) {
      const ImagePair pair = options.make_pair(read_image(loader.folder().file(batch.files[i])),
                                               batch.position + static_cast<std::int64_t>(i));
      const auto part = [&](const std::vector<std::uint8_t>& pixels) {
        return std::vector<std::uint8_t>(pixels.begin() + static_cast<std::ptrdiff_t>(i * 768),
                                         pixels.begin() + static_cast<std::ptrdiff_t>((i + 1) * 768));
      };
      EXPECT_EQ(part(batch.inputs), pair.input.pixels);
      EXPECT_EQ(part(batch.pixels), pair.target.pixels);
      EXPECT_NE(pair.input, pair.target);
    }
  }
  options.make_pair = [](const Image& image, std::int64_t) {
    return ImagePair{image, image};
  };  // of other sizes
  ImageLoader wrong(ImageFolder(tiny.config.images), options);
  EXPECT_THROW(wrong.next(), Error);
}

}  // namespace
}  // namespace om::test
