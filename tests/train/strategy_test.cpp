// The strategies of two stages: what each stage trains and leaves alone, what it writes, and that a run of
// them stops, resumes and grows like any other.
#include <gtest/gtest.h>

#include <cstring>
#include <sstream>

#include "io/image.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "io/safetensors.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/evaluate.h"
#include "train/schedule.h"
#include "train/stage.h"

namespace om {
namespace {

using test::contains;
using test::difference;
using test::files_of;
using test::message;
using test::StopAfter;
using test::TinyRun;

/// One number of every line of metrics that has it: `"lr": `.
std::vector<double> numbers(const std::string& metrics, const std::string& key) {
  std::vector<double> out;
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);)
    if (const auto at = line.find(key); at != std::string::npos)
      out.push_back(std::stod(line.substr(at + key.size())));
  return out;
}

SafeTensors checkpoint(const TinyRun& tiny, const std::string& run, int iteration) {
  return read_safetensors(tiny.out(run) + text("/checkpoints/00000", iteration, ".safetensors"));
}

bool is_noise_head(const std::string& name) { return contains(name, "to_noise."); }
bool is_statistic(const std::string& name) {
  return contains(name, ".running_") || contains(name, "num_batches_tracked");
}
bool unused(const std::string& name) {  // no output depends on these
  return contains(name, "intermediate_to_noise.2.") || contains(name, ".intermediate_block.") ||
         contains(name, "noise_encoder.intermediate_resnet_blocks.2.");
}

/// Names of the encoders' tensors for which `which` holds, and how many of them differ.
struct Changes {
  std::size_t of = 0, changed = 0;
};
Changes changes(const SafeTensors& a, const SafeTensors& b, const auto& which) {
  Changes found;
  for (const auto& [name, tensor] : a.tensors) {
    if (!contains(name, "encoder.") || name.starts_with("optimizer.") || unused(name) || !which(name))
      continue;
    ++found.of;
    found.changed += tensor.data != b.tensors.at(name).data;
  }
  return found;
}

void expect_all_changed(const Changes& c) {
  EXPECT_GT(c.of, 0U);
  EXPECT_EQ(c.changed, c.of);
}
void expect_none_changed(const Changes& c) {
  EXPECT_GT(c.of, 0U);
  EXPECT_EQ(c.changed, 0U);
}

const auto heads = [](const std::string& name) { return is_noise_head(name); };
const auto rest = [](const std::string& name) { return !is_noise_head(name) && !is_statistic(name); };
const auto statistics = [](const std::string& name) { return is_statistic(name); };

TEST(Strategy, LearningRateTrainsTheRestThenTheNoiseHeads) {
  TinyRun tiny;
  tiny.config.checkpoint_every = 1;
  tiny.set_strategy("learning-rate");
  tiny.config.backbone_rate = 0;
  tiny.run("frozen");
  const SafeTensors first = checkpoint(tiny, "frozen", 1), middle = checkpoint(tiny, "frozen", 3),
                    last = checkpoint(tiny, "frozen", 6);
  expect_none_changed(changes(first, middle, heads));
  expect_all_changed(changes(first, middle, rest));
  expect_all_changed(changes(middle, last, heads));
  expect_none_changed(changes(middle, last, rest));
  expect_all_changed(changes(middle, last, statistics));
  for (const auto& [name, tensor] : last.tensors)  // Adam knows nothing of what stands
    EXPECT_TRUE(!name.starts_with("optimizer.") || is_noise_head(name)) << name;

  tiny.config.backbone_rate = 0.01;
  tiny.run("slow");
  expect_all_changed(changes(middle, checkpoint(tiny, "slow", 6), rest));
  const std::string metrics = files_of(tiny.out("slow")).at("metrics.jsonl");
  const std::vector<double> lr = numbers(metrics, "\"lr\": "),
                            noise = numbers(metrics, "\"lr_noise_heads\": ");
  ASSERT_EQ(lr.size(), 6U);
  ASSERT_EQ(noise.size(), 3U);
  const double first_rate = tiny.config.lr, low = tiny.config.lr_min;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto done = static_cast<std::int64_t>(i);
    EXPECT_EQ(lr[i], (CosineSchedule{first_rate, low, 3}.at(done)));
    EXPECT_EQ(lr[3 + i], (CosineSchedule{0.01 * first_rate, low, 3}.at(done)));
    EXPECT_EQ(noise[i], (CosineSchedule{first_rate, low, 3}.at(done)));
  }
}

TEST(Strategy, TwoNetworksTrainOneAfterTheOther) {
  TinyRun tiny;
  tiny.config.checkpoint_every = 1;
  tiny.set_strategy("two-networks");
  tiny.run("run");
  const SafeTensors first = checkpoint(tiny, "run", 1), middle = checkpoint(tiny, "run", 3),
                    last = checkpoint(tiny, "run", 6);
  const auto part = [](const std::string& network, bool of_statistics) {
    return [=](const std::string& name) {
      return name.starts_with(network) && is_statistic(name) == of_statistics;
    };
  };
  expect_all_changed(changes(first, middle, part("latent_encoder.", false)));
  expect_all_changed(changes(first, middle, part("latent_encoder.", true)));
  expect_none_changed(changes(first, middle, part("noise_encoder.", false)));
  expect_none_changed(changes(first, middle, part("noise_encoder.", true)));
  // the latent encoder's weights stand, in train mode: its statistics move on and are kept
  expect_none_changed(changes(middle, last, part("latent_encoder.", false)));
  expect_all_changed(changes(middle, last, part("latent_encoder.", true)));
  expect_all_changed(changes(middle, last, part("noise_encoder.", false)));
  expect_all_changed(changes(middle, last, part("noise_encoder.", true)));
  for (const auto& [name, tensor] : last.tensors) {
    EXPECT_FALSE(name.starts_with("latent_encoder.to_noise.")) << name;
    EXPECT_FALSE(name.starts_with("noise_encoder.to_latent.")) << name;
  }
  const SafeTensors model = read_safetensors(tiny.out("run") + "/model.safetensors");
  for (const auto& [name, tensor] : last.tensors)
    if (!name.starts_with("optimizer.")) {
      EXPECT_EQ(model.tensors.at(name).data, tensor.data) << name;
    }
  const auto loaded = load_autoencoder(tiny.out("run") + "/model.safetensors", backend("cpu"));
  EXPECT_NE(loaded->noise_encoder(), nullptr);
  EXPECT_TRUE(loaded->predicts_noise());
}

TEST(Strategy, ANewStageHasAFreshAdam) {
  TinyRun tiny;
  tiny.set_strategy("learning-rate");
  tiny.config.stage1_iterations = 4;
  tiny.run("run");
  const auto steps = [&](int iteration) {
    std::int64_t count = 0;
    std::memcpy(
        &count,
        checkpoint(tiny, "run", iteration).tensors.at("optimizer.start_block.conv1.weight.step").data.data(),
        sizeof count);
    return count;
  };
  EXPECT_EQ(steps(4), 4);
  EXPECT_EQ(steps(6), 2);
  EXPECT_EQ(steps(7), 3);
}

class StrategyOfTwoStages : public testing::TestWithParam<const char*> {
 protected:
  StrategyOfTwoStages() { tiny_.set_strategy(GetParam()); }
  TinyRun tiny_;
};

TEST_P(StrategyOfTwoStages, SaysItsStagesAndMeasuresTheLeak) {
  const TrainResult result = tiny_.run("run");
  EXPECT_EQ(result.iteration, 6);
  const auto files = files_of(tiny_.out("run"));
  const std::string& metrics = files.at("metrics.jsonl");
  std::istringstream lines(metrics);
  std::vector<std::string> all;
  for (std::string line; std::getline(lines, line);) {
    const auto at = line.find("{\"iteration\": ");
    ASSERT_EQ(at, 0U) << line;
    EXPECT_TRUE(line.ends_with(std::stoi(line.substr(14)) <= 3 ? ", \"stage\": 1}" : ", \"stage\": 2}"))
        << line;
    all.push_back(line);
  }
  // 6 steps, validation at 0, 2, 3, 4 and 6, the leak
  ASSERT_EQ(all.size(), 12U) << metrics;
  EXPECT_TRUE(
      all.back().starts_with("{\"iteration\": 6, \"leak\": {\"images\": 2, \"predicted\": {\"psnr\": "))
      << all.back();
  for (const char* kind : {"\"predicted\": {", "\"random\": {", "\"zero\": {"}) {
    const auto at = all.back().find(kind);
    ASSERT_NE(at, std::string::npos);
    EXPECT_GT(std::stod(all.back().substr(all.back().find("\"psnr\": ", at) + 8)), 0);
  }
  EXPECT_TRUE(contains(tiny_.log.back(), "semantic leak: PSNR ")) << tiny_.log.back();
  for (const char* name : {"stage1.safetensors", "checkpoints/000003.safetensors", "samples/000003.png"})
    EXPECT_TRUE(files.contains(name)) << name;
}

// What stage 1 trained is what its file holds, and with random noise it gives what validation said.
TEST_P(StrategyOfTwoStages, WritesTheModelOfStage1) {
  tiny_.run("run");
  const std::string file = tiny_.out("run") + "/stage1.safetensors";
  const auto model = load_autoencoder(file, backend("cpu"));
  EXPECT_FALSE(model->encoder().config().noise_heads);
  const SafeTensors stored = read_safetensors(file), middle = checkpoint(tiny_, "run", 3);
  std::size_t compared = 0;
  for (const auto& [name, tensor] : stored.tensors) {
    if (!name.starts_with("encoder.")) continue;
    const auto found = middle.tensors.find(name);
    const auto other = middle.tensors.find("latent_" + name);
    ASSERT_TRUE(found != middle.tensors.end() || other != middle.tensors.end()) << name;
    EXPECT_EQ(tensor.data, (found != middle.tensors.end() ? found : other)->second.data) << name;
    ++compared;
  }
  EXPECT_GT(compared, 50U);

  std::vector<ImageScores> scores;
  for (std::uint64_t i = 0; i < 2; ++i) {
    const std::string picture = tiny_.config.val + text("/square", 5 + i, ".png");
    const Image image = resize_bilinear(read_image(picture), 16, 16);
    scores.push_back(
        score(picture, image,
              reconstruct(*model, image, backend("cpu"),
                          {NoiseMaps::random, static_cast<std::uint64_t>(tiny_.config.seed), i})));
  }
  const std::string line = text("{\"iteration\": 3, \"validation\": {\"images\": 2, \"psnr\": ");
  const std::string metrics = files_of(tiny_.out("run")).at("metrics.jsonl");
  ASSERT_TRUE(contains(metrics, line));
  EXPECT_NEAR(std::stod(metrics.substr(metrics.find(line) + line.size())), *mean_of(scores).psnr, 1e-9);
}

TEST_P(StrategyOfTwoStages, StoppedAnywhereItEndsInTheSameBytes) {
  tiny_.run("whole");
  const auto whole = files_of(tiny_.out("whole"));
  for (int step = 1; step <= 6; ++step) {
    const std::string name = "stopped" + std::to_string(step);
    StopAfter stop(step);
    EXPECT_TRUE(tiny_.run(name, false, stop.options).interrupted);
    EXPECT_FALSE(tiny_.run(name, true).interrupted);
    EXPECT_EQ(difference(whole, files_of(tiny_.out(name))), "") << "stopped after " << step;
  }
}

TEST_P(StrategyOfTwoStages, ALargerNumberExtendsStage2) {
  tiny_.run("run");
  tiny_.run("again");
  tiny_.config.iterations = 5;
  tiny_.log.clear();
  const TrainResult result = tiny_.run("run", true, {.given = {"iterations"}});
  EXPECT_EQ(result.iteration, 8);
  EXPECT_TRUE(
      contains(tiny_.log.at(0), "5 iterations where the run had 3: the cosine of stage 2 spans them all"))
      << tiny_.log.at(0);
  const auto run = files_of(tiny_.out("run"));
  EXPECT_TRUE(contains(run.at("config.json"), "\"iterations\": 5"));
  EXPECT_TRUE(contains(run.at("config.json"), "\"stage1_iterations\": 3"));
  const std::vector<double> lr = numbers(run.at("metrics.jsonl"), "\"lr\": ");
  ASSERT_EQ(lr.size(), 8U);
  const double high = tiny_.config.strategy == "learning-rate" ? 0.01 * tiny_.config.lr : tiny_.config.lr;
  EXPECT_EQ(lr[6], (CosineSchedule{high, tiny_.config.lr_min, 5}.at(3)));
  // killed after the first step of the longer run, and gone on: the same bytes
  StopAfter stop(7);
  tiny_.run("again", true, [&] {
    TrainOptions options = stop.options;
    options.given = {"iterations"};
    return options;
  }());
  tiny_.run("again", true);
  EXPECT_EQ(difference(run, files_of(tiny_.out("again"))), "");
  // and it cannot be shortened again
  tiny_.config.iterations = 4;
  EXPECT_TRUE(contains(message<UsageError>([&] { tiny_.run("run", true, {.given = {"iterations"}}); }),
                       "'iterations' is 4, but the run to resume has 5"));
}

TEST_P(StrategyOfTwoStages, StartsFromATrainedEncoder) {
  TinyRun other;
  other.config.iterations = 2;
  other.config.seed = 77;
  tiny_.config.init = other.run("plain").model;
  tiny_.config.stage1_iterations = 0;
  tiny_.config.iterations = 0;
  tiny_.run("run");
  const SafeTensors stage1 = read_safetensors(tiny_.out("run") + "/stage1.safetensors"),
                    trained = read_safetensors(tiny_.config.init);
  std::size_t compared = 0;
  for (const auto& [name, tensor] : stage1.tensors) {
    if (!name.starts_with("encoder.")) continue;
    EXPECT_EQ(tensor.data, trained.tensors.at(name).data) << name;
    ++compared;
  }
  EXPECT_GT(compared, 50U);

  tiny_.config.encoder_width = 2;
  EXPECT_TRUE(
      contains(message<InputError>([&] { tiny_.run("wide"); }), "another generator or 'encoder_width'?"));
  tiny_.config.encoder_width = 1;
  tiny_.config.latent = "z";
  EXPECT_TRUE(
      contains(message<InputError>([&] { tiny_.run("z"); }), "its encoder predicts wplus, the run wants z"));
  tiny_.config.init = tiny_.config.generator;
  EXPECT_TRUE(contains(message<InputError>([&] { tiny_.run("none"); }), "holds no encoder to start from"));
}

TEST_P(StrategyOfTwoStages, BothStagesHaveTheSameLengthUnlessSaid) {
  tiny_.config.stage1_iterations.reset();
  EXPECT_EQ(tiny_.run("run").iteration, 6);
  EXPECT_TRUE(contains(files_of(tiny_.out("run")).at("config.json"), "\"stage1_iterations\": 3"));
}

INSTANTIATE_TEST_SUITE_P(All, StrategyOfTwoStages, testing::Values("two-networks", "learning-rate"),
                         [](const auto& info) {
                           return std::string(info.param) == "learning-rate" ? "LearningRate" : "TwoNetworks";
                         });

TEST(Strategy, SettingsThatDoNotGoTogether) {
  TrainConfig config;
  config.generator = config.images = "x";
  const auto complaint = [&] { return message<UsageError>([&] { check(config); }); };
  config.strategy = "three-networks";
  EXPECT_EQ(complaint(), "'strategy' must be plain, two-networks or learning-rate, got 'three-networks'");
  config.strategy = "plain";
  config.stage1_iterations = 4;
  EXPECT_TRUE(contains(complaint(), "'stage1_iterations' needs a strategy of two stages"));
  config.stage1_iterations.reset();
  config.backbone_rate = 0.1;
  EXPECT_TRUE(contains(complaint(), "'backbone_rate' needs the strategy learning-rate"));
  config.strategy = "two-networks";
  EXPECT_TRUE(contains(complaint(), "'backbone_rate' needs the strategy learning-rate"));
  config.backbone_rate.reset();
  config.lr_noise_heads = 1e-4;
  EXPECT_TRUE(contains(complaint(), "'lr_noise_heads' has no use with two networks"));
  config.lr_noise_heads.reset();
  EXPECT_EQ(complaint(), "no error");
}

// The first step runs at the first rate, whatever the stage; the metrics say what the optimiser was given.
TEST(Strategy, ThePlainRunsRatesAreTheCosines) {
  TinyRun tiny;
  tiny.config.lr_noise_heads = 1e-3;
  tiny.run("run");
  const std::string metrics = files_of(tiny.out("run")).at("metrics.jsonl");
  const std::vector<double> lr = numbers(metrics, "\"lr\": "),
                            noise = numbers(metrics, "\"lr_noise_heads\": ");
  ASSERT_EQ(lr.size(), 6U);
  ASSERT_EQ(noise.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(lr[i], (CosineSchedule{1e-2, 1e-8, 6}.at(static_cast<std::int64_t>(i))));
    EXPECT_EQ(noise[i], (CosineSchedule{1e-3, 1e-8, 6}.at(static_cast<std::int64_t>(i))));
  }
  EXPECT_TRUE(contains(metrics, "\"leak\": {\"images\": 2, \"predicted\": "));
}

}  // namespace
}  // namespace om
