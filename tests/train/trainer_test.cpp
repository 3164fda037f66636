// Whole runs on a tiny model: what they leave behind, and that stopping and resuming changes no byte of it.
#include "train/trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "io/atomic_file.h"
#include "io/model_file.h"
#include "io/safetensors.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"

namespace om {
namespace {

using test::contains;
using test::difference;
using test::files_of;
using test::message;
using test::StopAfter;
using test::TinyRun;

std::vector<double> losses(const std::string& metrics) {
  std::vector<double> out;
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);)
    if (const auto at = line.find("\"loss\": "); at != std::string::npos)
      out.push_back(std::stod(line.substr(at + 8)));
  return out;
}

TEST(Train, LossFallsAndTheRunIsComplete) {
  TinyRun tiny;
  tiny.config.iterations = 60;
  tiny.config.batch = 4;
  tiny.config.checkpoint_every = 30;
  const TrainResult result = tiny.run("run");
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(result.iteration, 60);
  EXPECT_EQ(result.unreadable, 1);
  EXPECT_EQ(result.model, tiny.out("run") + "/model.safetensors");

  const auto files = files_of(tiny.out("run"));
  const std::vector<double> loss = losses(files.at("metrics.jsonl"));
  ASSERT_EQ(loss.size(), 60U);
  EXPECT_LT(loss[59] + loss[58] + loss[57], 0.6 * (loss[0] + loss[1] + loss[2]));
  EXPECT_TRUE(
      contains(files.at("metrics.jsonl"), "{\"iteration\": 0, \"validation\": {\"images\": 2, \"psnr\": "));
  EXPECT_TRUE(contains(files.at("metrics.jsonl"), "{\"iteration\": 60, \"validation\": "));
  EXPECT_TRUE(contains(files.at("metrics.jsonl"), "\"grad_norm\": {\"main\": "));
  EXPECT_TRUE(contains(files.at("metrics.jsonl"), "\"noise_heads\": "));
  for (const char* name : {"config.json", "model.safetensors", "checkpoints/000030.safetensors",
                           "checkpoints/000060.safetensors", "samples/000060.png"})
    EXPECT_TRUE(files.contains(name)) << name;

  bool named = false;
  for (const std::string& line : tiny.log) named = named || contains(line, "broken.png");
  EXPECT_TRUE(named);
  EXPECT_NO_THROW(load_autoencoder(result.model, backend("cpu")));
}

TEST(Train, FilesCarryNoPathTimeOrHost) {
  TinyRun tiny;
  tiny.run("run");
  const auto files = files_of(tiny.out("run"));
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
  const std::string host_name = host.data();
  for (const auto& [name, content] : files) {
    if (name == "config.json") continue;  // the settings, where the inputs lie among them
    EXPECT_FALSE(contains(content, tiny.folder().path().string())) << name;
    EXPECT_TRUE(host_name.size() < 6 || !contains(content, host_name)) << name;
  }
  // elsewhere, and later
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  TinyRun other;
  other.run("run");
  auto others = files_of(other.out("run"));
  others["config.json"] = files.at("config.json");
  EXPECT_EQ(difference(files, others), "");
}

TEST(Train, RepeatsWhateverTheThreads) {
  TinyRun tiny;
  set_threads(2);
  tiny.run("two", false, {.loader_threads = 3});
  set_threads(1);
  tiny.run("one", false, {.loader_threads = 1});
  set_threads(0);
  EXPECT_EQ(difference(files_of(tiny.out("two")), files_of(tiny.out("one"))), "");
}

TEST(Train, StoppedAndResumedEndsInTheSameBytes) {
  TinyRun tiny;
  tiny.run("whole");
  const auto whole = files_of(tiny.out("whole"));
  // 2 and 6 stop before a validation that is due, 1, 3 and 5 between checkpoints
  for (const int step : {1, 2, 3, 5, 6}) {
    const std::string name = "stopped" + std::to_string(step);
    StopAfter stop(step);
    const TrainResult stopped = tiny.run(name, false, stop.options);
    EXPECT_TRUE(stopped.interrupted);
    EXPECT_EQ(stopped.iteration, step);
    EXPECT_TRUE(stopped.model.empty());
    EXPECT_FALSE(files_of(tiny.out(name)).contains("model.safetensors"));
    EXPECT_FALSE(tiny.run(name, true).interrupted);
    EXPECT_EQ(difference(whole, files_of(tiny.out(name))), "") << "stopped after " << step;
    tiny.run(name, true);  // a finished run once more
    EXPECT_EQ(difference(whole, files_of(tiny.out(name))), "") << "finished twice, stopped after " << step;
  }
}

TEST(Train, StoppedAtOnceWritesNoCheckpoint) {
  TinyRun tiny;
  tiny.run("whole");
  std::atomic<bool> stop = true;
  const TrainResult result = tiny.run("run", false, {.stop = &stop});
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.iteration, 0);
  tiny.run("run", true);
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

TEST(Train, ResumingNothingStartsARun) {
  TinyRun tiny;
  tiny.run("whole");
  tiny.run("resumed", true);
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("resumed"))), "");
}

TEST(Train, WithoutIterationsWritesTheUntrainedModel) {
  TinyRun tiny;
  tiny.config.iterations = 0;
  const TrainResult result = tiny.run("run");
  EXPECT_EQ(result.iteration, 0);
  EXPECT_NO_THROW(load_autoencoder(result.model, backend("cpu")));
}

TEST(Train, RefusesAFolderThatHoldsARun) {
  TinyRun tiny;
  tiny.run("run");
  const auto before = files_of(tiny.out("run"));
  EXPECT_TRUE(contains(message<UsageError>([&] { tiny.run("run"); }), "/run: holds a run already"));
  EXPECT_EQ(difference(before, files_of(tiny.out("run"))), "");
}

TEST(Train, ResumingKeepsTheSettings) {
  TinyRun tiny;
  StopAfter stop(3);
  tiny.run("run", false, stop.options);
  tiny.config.batch = 4;
  EXPECT_TRUE(
      contains(message<UsageError>([&] { tiny.run("run", true, {.given = {"batch"}}); }), "'batch' is 4"));
  tiny.run("run", true, {.given = {"iterations", "images"}});  // not given: the stored batch rules
  tiny.config.batch = 2;
  tiny.run("whole");
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

TEST(Train, TakesTheCheckpointBeforeABrokenOne) {
  TinyRun tiny;
  tiny.run("whole");
  StopAfter stop(5);
  tiny.run("run", false, stop.options);
  const std::string newest = tiny.out("run") + "/checkpoints/000005.safetensors";
  {  // one bit of a weight
    std::fstream file(newest, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-100, std::ios::end);
    const int byte = file.get();
    file.seekp(-100, std::ios::end);
    file.put(static_cast<char>(byte ^ 4));
  }
  tiny.log.clear();
  tiny.run("run", true);
  EXPECT_TRUE(contains(tiny.log.at(0), "000005.safetensors: its checksum does not hold"));
  EXPECT_TRUE(contains(tiny.log.at(1), "resumed from") && contains(tiny.log.at(1), "000004.safetensors"));
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");

  for (const char* name : {"000002", "000004", "000006"})
    std::filesystem::resize_file(tiny.out("run") + "/checkpoints/" + name + ".safetensors", 200);
  EXPECT_TRUE(
      contains(message<InputError>([&] { tiny.run("run", true); }), "none of its checkpoints can be used"));
}

TEST(Train, KeepsOnlyTheNewestCheckpointsWhereAsked) {
  TinyRun tiny;
  tiny.config.checkpoint_every = 1;
  tiny.config.keep_checkpoints = 2;
  tiny.run("run");
  const auto files = files_of(tiny.out("run"));
  EXPECT_FALSE(files.contains("checkpoints/000004.safetensors"));
  EXPECT_TRUE(files.contains("checkpoints/000005.safetensors"));
  EXPECT_TRUE(files.contains("checkpoints/000006.safetensors"));
}

TEST(Train, EndsAtANumberThatIsNone) {
  TinyRun tiny;
  tiny.config.lr = 1e30;
  tiny.config.checkpoint_every = 1;
  const std::string line = message<Error>([&] { tiny.run("run"); });
  EXPECT_TRUE(contains(line, "iteration 2: the loss or its gradient is not finite")) << line;
  const auto files = files_of(tiny.out("run"));
  EXPECT_TRUE(files.contains("checkpoints/000001.safetensors"));
  EXPECT_FALSE(files.contains("checkpoints/000002.safetensors"));
  EXPECT_FALSE(files.contains("model.safetensors"));
  EXPECT_EQ(losses(files.at("metrics.jsonl")).size(), 1U);
}

TEST(Train, BadInputLeavesNothingBehind) {
  TinyRun tiny;
  const TrainConfig good = tiny.config;
  const auto complaint = [&] {
    const std::string line = message<InputError>([&] { tiny.run("run"); });
    EXPECT_FALSE(std::filesystem::exists(tiny.out("run"))) << line;
    tiny.config = good;
    return line;
  };
  tiny.config.generator = tiny.folder() / "none.safetensors";
  EXPECT_TRUE(contains(complaint(), "none.safetensors: "));
  tiny.config.images = tiny.folder() / "none";
  EXPECT_TRUE(contains(complaint(), "none: "));
  std::filesystem::create_directory(tiny.folder() / "bad");
  std::ofstream(tiny.folder() / "bad" / "x.png") << "x";
  tiny.config.images = tiny.folder() / "bad";
  EXPECT_TRUE(contains(complaint(), "bad"));
}

TEST(Train, AFolderThatCannotBeMadeIsOneError) {
  TinyRun tiny;
  EXPECT_TRUE(
      contains(message<Error>([&] { tiny.run("generator.safetensors/run"); }), "cannot make the folder"));
}

TEST(Train, OneProcessAtATime) {
  TinyRun tiny;
  std::string line;
  TrainOptions options;
  options.after_step = [&](const StepReport& report) {
    if (report.iteration == 1) line = message<UsageError>([&] { tiny.run("run", true); });
  };
  tiny.run("run", false, options);
  EXPECT_TRUE(contains(line, "another process is training in this folder")) << line;
}

// Those to train on: TrainFaults.
TEST(Train, AnImageToValidateOnThatVanishesIsSkipped) {
  TinyRun tiny;
  TrainOptions options;
  options.after_step = [&](const StepReport&) {
    std::filesystem::remove(tiny.folder() / "val" / "square5.png");
  };
  EXPECT_EQ(tiny.run("run", false, options).iteration, 6);
  int named = 0;
  for (const std::string& line : tiny.log)
    named += contains(line, "square5.png: ") && contains(line, "(skipped)");
  EXPECT_EQ(named, 1);
}

// A disk that fills up while the second checkpoint is written: one error, the first checkpoint still good.
TEST(Train, AFullDiskLosesNoCheckpoint) {
  TinyRun tiny;
  tiny.run("whole");
  atomic_file_fault = [](FileFault step, const std::string& path, std::uint64_t) {
    if (step == FileFault::sync && path.ends_with("000004.safetensors"))
      fail(path, ": cannot write: no space left");
  };
  const std::string line = message<Error>([&] { tiny.run("run"); });
  atomic_file_fault = nullptr;
  EXPECT_TRUE(contains(line, "000004.safetensors: cannot write: no space left")) << line;
  const auto files = files_of(tiny.out("run"));
  EXPECT_TRUE(files.contains("checkpoints/000002.safetensors"));
  EXPECT_FALSE(files.contains("checkpoints/000004.safetensors"));
  tiny.run("run", true);
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

}  // namespace
}  // namespace om
