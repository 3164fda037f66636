// What a checkpoint is worth: no byte of its meaning changes unnoticed, one of the format before still
// serves, and what lies beside it must be what the run began with.
#include "train/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "io/atomic_file.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/checksum.h"

namespace om {
namespace {

using test::contains;
using test::difference;
using test::files_of;
using test::message;
using test::StopAfter;
using test::TinyRun;

std::string complaint_about(const std::string& path) {
  return message<InputError>([&] { TrainingCheckpoint checkpoint(path); });
}

std::string read_text(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

TEST(TrainingCheckpoint, EveryEntryOfItsMetadataIsCovered) {
  TinyRun tiny;
  StopAfter stop(1);
  tiny.run("run", false, stop.options);
  const std::string path = tiny.out("run") + "/checkpoints/000001.safetensors";
  const SafeTensors good = read_safetensors(path);
  ASSERT_EQ(complaint_about(path), "no error");
  ASSERT_GE(good.metadata.size(), 14U);
  for (const auto& [key, value] : good.metadata) {
    SafeTensors bad = good;
    bad.metadata[key] = value.empty() ? "0" : std::string(value.size(), value[0] == '1' ? '2' : '1');
    write_safetensors(path, bad);
    EXPECT_TRUE(contains(complaint_about(path), path + ": ")) << key << " changed";
    bad.metadata.erase(key);
    write_safetensors(path, bad);
    EXPECT_TRUE(contains(complaint_about(path), path + ": ")) << key << " removed";
  }
  SafeTensors more = good;
  more.metadata["settle"] = "0";
  write_safetensors(path, more);
  EXPECT_TRUE(contains(complaint_about(path), "its checksum does not hold"));
}

TEST(TrainingCheckpoint, TypesShapesAndNamesOfTensorsAreCovered) {
  TinyRun tiny;
  StopAfter stop(1);
  tiny.run("run", false, stop.options);
  const std::string path = tiny.out("run") + "/checkpoints/000001.safetensors";
  const SafeTensors good = read_safetensors(path);
  const std::string name = "encoder.to_latent.0.weight";
  const auto complaint = [&](const auto& change) {
    SafeTensors bad = good;
    change(bad.tensors);
    write_safetensors(path, bad);
    return complaint_about(path);
  };
  using Tensors = std::map<std::string, FileTensor>;
  for (const std::string& line :
       {complaint([&](Tensors& t) { t.at(name).type = FileType::i32; }),
        complaint([&](Tensors& t) { std::swap(t.at(name).shape[0], t.at(name).shape[1]); }),
        complaint([&](Tensors& t) { t.at(name).data[5] ^= std::byte{1}; }),
        complaint([&](Tensors& t) { t.erase(name); }),
        complaint([&](Tensors& t) { t["encoder.more"] = t.at(name); })})
    EXPECT_TRUE(contains(line, "its checksum does not hold")) << line;
}

// The images taken so far, set back: the next ones would be others than in a run left alone.
TEST(TrainingCheckpoint, AnEditedPositionIsNotResumedFrom) {
  TinyRun tiny;
  tiny.run("whole");
  StopAfter stop(5);
  tiny.run("run", false, stop.options);
  const std::string newest = tiny.out("run") + "/checkpoints/000005.safetensors";
  SafeTensors edited = read_safetensors(newest);
  EXPECT_EQ(edited.metadata.at("position"), "10");
  edited.metadata.at("position") = "0";
  write_safetensors(newest, edited);
  tiny.log.clear();
  tiny.run("run", true);
  EXPECT_TRUE(contains(tiny.log.at(0), "000005.safetensors: its checksum does not hold"));
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

std::string without_lines_of(const std::string& json, const std::vector<std::string>& keys) {
  std::istringstream lines(json);
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    bool dropped = false;
    for (const std::string& key : keys) dropped = dropped || contains(line, "\"" + key + "\":");
    if (!dropped) out += line + "\n";
  }
  return out;
}

/// As programs wrote it before format 2, when there was one strategy.
void make_old(const std::string& path) {
  SafeTensors content = read_safetensors(path);
  for (const char* key : {"format", "lpips", "metrics"}) content.metadata.erase(key);
  std::string& settings = content.metadata.at("config");
  settings = without_lines_of(settings, {"strategy", "stage1_iterations", "backbone_rate"});
  Checksum sum;
  for (const auto& [name, tensor] : content.tensors) {
    sum.add(name);
    sum.add(std::as_bytes(std::span(tensor.shape)));
    sum.add(tensor.data);
  }
  content.metadata.at("checksum") = sum.text();
  write_safetensors(path, content);
}

TEST(TrainingCheckpoint, OneOfTheOldFormatResumesWithALine) {
  TinyRun tiny;
  tiny.run("whole");
  StopAfter stop(3);
  tiny.run("run", false, stop.options);
  const std::string path = tiny.out("run") + "/checkpoints/000003.safetensors";
  make_old(path);
  const std::string config = tiny.out("run") + "/config.json";
  const std::string json =
      without_lines_of(read_text(config), {"init", "strategy", "stage1_iterations", "backbone_rate"});
  std::ofstream(config) << json;
  tiny.log.clear();
  tiny.run("run", true);
  bool said = false;
  for (const std::string& line : tiny.log)
    said = said || contains(line, path + ": of the old format, whose counters no checksum covers");
  EXPECT_TRUE(said);
  auto whole = files_of(tiny.out("whole")), run = files_of(tiny.out("run"));
  whole["config.json"] = run["config.json"];
  // what this run wrote before it resumed is as it was
  EXPECT_EQ(difference(whole, run), "");
}

TEST(TrainingCheckpoint, ThePerceptualLossIsTheOneThatTheRunBeganWith) {
  TinyRun tiny;
  tiny.add_lpips();
  StopAfter stop(3);
  tiny.run("run", false, stop.options);
  const std::string config = tiny.out("run") + "/config.json", good = read_text(config);
  const auto complaint = [&] { return message<InputError>([&] { tiny.run("run", true); }); };
  // the settings edited: no perceptual loss any more
  std::string without = good;
  for (const std::string key : {"lpips", "lpips_heads"}) {
    const auto from = without.find("\"" + key + "\": \"");
    const auto to = without.find('\n', from);
    without.replace(from, to - from, "\"" + key + "\": \"\",");
  }
  std::ofstream(config) << without;
  EXPECT_TRUE(contains(complaint(), "config.json: is not the perceptual loss that this run began with"));
  std::ofstream(config) << good;
  // other weights under the same name
  SafeTensors weights = read_safetensors(tiny.config.lpips);
  const SafeTensors before = weights;
  weights.tensors.begin()->second.data[2] ^= std::byte{8};
  write_safetensors(tiny.config.lpips, weights);
  EXPECT_TRUE(contains(complaint(), "lpips.safetensors: is not the perceptual loss"));
  write_safetensors(tiny.config.lpips, before);
  tiny.run("run", true);
  tiny.run("whole");
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

// It says nothing of the loss: one that lies elsewhere now may be another.
TEST(TrainingCheckpoint, TheOldFormatDoesNotTellAPerceptualLossThatHasMoved) {
  TinyRun tiny;
  tiny.add_lpips();
  StopAfter stop(3);
  tiny.run("run", false, stop.options);
  make_old(tiny.out("run") + "/checkpoints/000003.safetensors");
  std::filesystem::remove(tiny.out("run") + "/checkpoints/000002.safetensors");
  std::filesystem::remove(tiny.out("run") + "/inputs.json");
  std::filesystem::rename(tiny.config.lpips, tiny.config.lpips + "-moved");
  tiny.config.lpips = tiny.config.lpips_heads += "-moved";
  const std::string line = message<InputError>([&] {
    tiny.run("run", true, {.given = {"lpips", "lpips_heads"}});
  });
  EXPECT_TRUE(contains(line, "000003.safetensors: is of the old format and does not tell")) << line;
}

TEST(TrainingCheckpoint, LinesOfMetricsThatWereChangedAreSaid) {
  TinyRun tiny;
  StopAfter stop(3);
  tiny.run("run", false, stop.options);
  const std::string file = tiny.out("run") + "/metrics.jsonl";
  std::string lines = read_text(file);
  const auto loss = lines.find("\"loss\": ");
  lines[loss + 8] = lines[loss + 8] == '9' ? '8' : '9';
  std::ofstream(file) << lines;
  tiny.log.clear();
  tiny.run("run", true);
  EXPECT_TRUE(
      contains(tiny.log.at(0), "metrics.jsonl: its lines up to iteration 3 are not those of the run"));
  EXPECT_TRUE(contains(read_text(file), lines));
}

// A stop leaves validation undone; the next try writes its line and dies before the checkpoint that says so.
TEST(TrainingCheckpoint, ValidationThatAStopLeftIsCountedOnce) {
  TinyRun tiny;
  tiny.run("whole");
  for (const int step : {2, 6}) {
    const std::string name = "run" + std::to_string(step);
    StopAfter stop(step);
    tiny.run(name, false, stop.options);
    atomic_file_fault = [](FileFault fault, const std::string& path, std::uint64_t) {
      if (fault == FileFault::open && contains(path, "/checkpoints/")) fail(path, ": cannot write");
    };
    EXPECT_TRUE(contains(message<Error>([&] { tiny.run(name, true); }), "cannot write"));
    atomic_file_fault = nullptr;
    EXPECT_TRUE(contains(read_text(tiny.out(name) + "/metrics.jsonl"),
                         text("{\"iteration\": ", step, ", \"validation\"")));
    tiny.run(name, true);
    EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out(name))), "") << step;
  }
}

// A stop that comes between two pictures of a validation: no line of half of them stays.
TEST(TrainingCheckpoint, AStopAmidValidationLeavesNoFigure) {
  TinyRun tiny;
  const std::filesystem::path between = tiny.folder() / "val" / "square5a.png";
  const std::filesystem::path good = tiny.folder() / "val" / "square6.png";
  std::filesystem::copy_file(good, between);
  tiny.run("whole");
  std::atomic<bool> stop = false;
  TrainOptions options;
  options.out = tiny.out("run");
  options.stop = &stop;
  options.after_step = [&](const StepReport& report) {
    if (report.iteration == 2) std::ofstream(between) << "no picture for a while";
  };
  options.log = [&](const std::string& line) { stop = stop || contains(line, "square5a.png"); };
  EXPECT_TRUE(train(tiny.config, options, backend("cpu")).interrupted);
  EXPECT_TRUE(stop);
  std::filesystem::copy_file(good, between, std::filesystem::copy_options::overwrite_existing);
  tiny.run("run", true);
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

}  // namespace
}  // namespace om
