// onemodel bench and onemodel train --dry-run through the command line.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "train/flat_json.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class BenchTest : public ProgramTest {
 protected:
  static ProgramRun bench(const Words& more) {
    Words words = {"bench", "--threads", "1", "--runs", "1", "--size", "16", "--width", "0.02"};
    words.insert(words.end(), more.begin(), more.end());
    return onemodel(words);
  }
  static ProgramRun bench_files(const Words& more) {
    Words words = {"bench", "--threads", "1", "--runs", "1", "--no-lpips"};
    words.insert(words.end(), more.begin(), more.end());
    return onemodel(words);
  }
  /// Of the small generator and the photos, unless `more` names others.
  static ProgramRun dry_run(const Words& more) {
    Words words = {"train", "--dry-run", "--out", path("dry"), "--threads", "1"};
    for (const auto& [option, value] :
         {std::pair("--generator", path("generator.safetensors")), std::pair("--images", path("photos"))})
      if (std::find(more.begin(), more.end(), option) == more.end())
        words.insert(words.end(), {option, value});
    words.insert(words.end(), more.begin(), more.end());
    return onemodel(words);
  }
  /// Rows of the table that begin with this word.
  static int rows(const std::string& table, const std::string& word) {
    std::istringstream lines(table);
    int count = 0;
    for (std::string line; std::getline(lines, line);) count += line.starts_with(word + " ") ? 1 : 0;
    return count;
  }
  /// The number after a label of the dry run's lines.
  static double amount(const std::string& lines, const std::string& label) {
    const std::size_t at = lines.find(label);
    EXPECT_NE(at, std::string::npos) << label << "\n" << lines;
    return at == std::string::npos ? -1 : std::stod(lines.substr(lines.find_first_of("0123456789", at)));
  }
};

TEST_F(BenchTest, Table) {
  const ProgramRun run = bench({"--batches", "1,2", "--no-lpips"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with("cpu: ")) << run.out;
  EXPECT_NE(run.out.find("drawn weights: 16 pixels"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("no LPIPS"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("fp32: a 3x3 convolution here makes "), std::string::npos) << run.out;
  EXPECT_EQ(rows(run.out, "reconstruct"), 2) << run.out;
  EXPECT_EQ(rows(run.out, "train"), 2) << run.out;
  for (const char* part : {"encoder", "decoder", "loss", "optimiser", "input"})
    EXPECT_NE(run.out.find(std::string("\n  ") + part + " "), std::string::npos) << part;
  EXPECT_EQ(run.out.find("by op"), std::string::npos);
  EXPECT_EQ(run.out.find("nan"), std::string::npos);
  EXPECT_EQ(run.out.find("inf"), std::string::npos);
}

TEST_F(BenchTest, TasksAndProfile) {
  const ProgramRun run = bench({"--task", "reconstruct", "--profile"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(rows(run.out, "reconstruct"), 2) << run.out;  // its row, and the profile's title
  EXPECT_EQ(rows(run.out, "train"), 0) << run.out;
  EXPECT_NE(run.out.find("by op: run as it is, every op waited for"), std::string::npos);
  EXPECT_EQ(rows(run.out, "conv2d"), 1) << run.out;
  const ProgramRun train = bench({"--task", "train", "--no-lpips", "--profile"});
  ASSERT_EQ(train.exit_code, 0) << train.err;
  EXPECT_EQ(rows(train.out, "reconstruct"), 0) << train.out;
  EXPECT_EQ(rows(train.out, "conv2d"), 2) << train.out;  // forward, backward
  EXPECT_EQ(rows(train.out, "adam"), 1) << train.out;
}

TEST_F(BenchTest, Json) {
  const ProgramRun run = bench({"--task", "reconstruct", "--precisions", "fp32,bf16", "--json", "--profile"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const FlatJson json = read_flat_json(run.out);
  ASSERT_TRUE(json.valid && json.is_object) << run.out;
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.members) keys.push_back(key);
  EXPECT_EQ(keys, (Words{"device", "model", "peaks", "rows"}));
  for (const char* part : {"\"precision\": \"fp32\"", "\"precision\": \"bf16\"",
                           "\"peak_bytes\": ", "\"median\": ", "\"convolution_share\": ", "\"profile\": [",
                           "\"pass\": \"forward\""})
    EXPECT_NE(run.out.find(part), std::string::npos) << part;
  EXPECT_EQ(run.out.find("null"), std::string::npos) << run.out;
}

TEST_F(BenchTest, FilesAndASavedModel) {
  const ProgramRun model = bench_files({"--model", path("model.safetensors"), "--save", path("saved")});
  ASSERT_EQ(model.exit_code, 0) << model.err;
  EXPECT_NE(model.out.find("model.safetensors: 16 pixels"), std::string::npos) << model.out;
  EXPECT_EQ(onemodel({"info", path("saved/model.safetensors")}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(path("saved/lpips.safetensors")));
  const SafeTensors check = read_safetensors(path("saved/check.safetensors"));
  EXPECT_EQ(check.tensors.at("image").shape, (std::vector<std::int64_t>{2, 3, 16, 16}));
  const std::vector<float> in = floats(check, "image"), out = floats(check, "output");
  double mse = 0;
  for (std::size_t i = 0; i < in.size(); ++i) mse += (in[i] - out[i]) * (in[i] - out[i]) / (3 * 16 * 16);
  EXPECT_NEAR(mse / floats(check, "mse").at(0), 1, 1e-4);
  EXPECT_FALSE(check.tensors.contains("lpips"));

  const ProgramRun generator =
      bench_files({"--task", "train", "--generator", path("bare.safetensors"), "--encoder-width", "2"});
  ASSERT_EQ(generator.exit_code, 0) << generator.err;
  EXPECT_NE(generator.out.find("a new encoder for "), std::string::npos) << generator.out;
}

TEST_F(BenchTest, SavesLpips) {
  const ProgramRun run = bench({"--task", "reconstruct", "--save", path("saved-lpips")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const SafeTensors lpips = read_safetensors(path("saved-lpips/lpips.safetensors"));
  EXPECT_EQ(lpips.tensors.at("features.0.weight").shape, (std::vector<std::int64_t>{64, 3, 3, 3}));
  EXPECT_EQ(lpips.tensors.at("lin4.model.1.weight").shape, (std::vector<std::int64_t>{1, 512, 1, 1}));
  EXPECT_GT(floats(read_safetensors(path("saved-lpips/check.safetensors")), "lpips").at(0), 0);
}

TEST_F(BenchTest, RefusesWhatMakesNoSense) {
  expect_error(2, bench({"--batches", "0"}), "--batches");
  expect_error(2, bench({"--batches", "1,x"}), "--batches");
  expect_error(2, bench({"--task", "sleep"}), "--task");
  expect_error(2, bench({"--precisions", "fp16"}), "fp16");
  expect_error(2, bench({"--precisions", "fp32", "--precision", "bf16"}), "--precision contradicts");
  expect_error(2, bench({"--lpips", path("text.txt")}), "--lpips-heads");
  expect_error(2, bench({"--model", path("model.safetensors")}), "--size");
  expect_error(2, onemodel({"bench", "--size", "100"}), "power of two");
  expect_error(2, onemodel({"bench", "--runs", "0"}), "--runs");
  expect_error(2, bench_files({"--model", path("model.safetensors"), "--encoder-width", "1"}),
               "--encoder-width");
  expect_error(2, bench_files({"--lpips", path("text.txt"), "--lpips-heads", path("text.txt")}),
               "--no-lpips");
  expect_error(3, bench_files({"--model", path("missing.safetensors")}), "missing.safetensors");
  expect_error(3, bench_files({"--generator", path("text.txt")}), "text.txt");
  expect_error(3, bench_files({"--model", path("bare.safetensors")}), "bare.safetensors");
  expect_error(1, bench({"--save", path("text.txt") + "/in-a-file"}), "text.txt");
}

TEST_F(BenchTest, DryRunSaysWhatATrainingTakes) {
  const ProgramRun one = dry_run({"--batch", "1"}), four = dry_run({"--batch", "4"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  ASSERT_EQ(four.exit_code, 0) << four.err;
  EXPECT_FALSE(std::filesystem::exists(path("dry")));
  for (const char* label : {"weights, trained", "weights, frozen", "optimiser", "kernels' workspace", "held"})
    EXPECT_GE(amount(one.out, label), 0) << label;
  EXPECT_GT(amount(four.out, "peak memory"), amount(one.out, "peak memory"));
  EXPECT_GT(amount(four.out, "activations kept"), amount(one.out, "activations kept"));
  EXPECT_NE(four.out.find("GFLOP, 4 images"), std::string::npos) << four.out;
  EXPECT_EQ(four.out.find("stage"), std::string::npos);

  const ProgramRun stages = dry_run({"--strategy", "two-networks"});
  ASSERT_EQ(stages.exit_code, 0) << stages.err;
  EXPECT_NE(stages.out.find("stage 1\n"), std::string::npos);
  EXPECT_NE(stages.out.find("stage 2\n"), std::string::npos);
}

TEST_F(BenchTest, DryRunWritesNothingIntoARun) {
  const std::string out = path("real-run");
  ASSERT_EQ(onemodel({"train", "--generator", path("generator.safetensors"), "--images", path("photos"),
                      "--out", out, "--iterations", "1"})
                .exit_code,
            0);
  const auto before = folder_content(out);
  const ProgramRun run = onemodel({"train", "--dry-run", "--config", out + "/config.json", "--out", out});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_GT(amount(run.out, "peak memory"), 0);
  EXPECT_EQ(folder_content(out), before);
  const ProgramRun resumed = onemodel({"train", "--dry-run", "--resume", "--out", out});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(resumed.out, run.out);
  const ProgramRun less =
      onemodel({"train", "--dry-run", "--resume", "--checkpoint-activations", "--out", out});
  EXPECT_LT(amount(less.out, "activations kept"), amount(run.out, "activations kept"));
  EXPECT_EQ(folder_content(out), before);
}

TEST_F(BenchTest, DryRunRefusesWhatTrainingWould) {
  expect_error(2, onemodel({"train", "--dry-run", "--resume", "--out", path("none")}), "no run to resume");
  expect_error(2, dry_run({"--batch", "0"}), "batch");
  expect_error(3, dry_run({"--images", path("missing")}), "missing");
  expect_error(3, dry_run({"--val", path("missing")}), "missing");
  expect_error(3, dry_run({"--generator", path("text.txt")}), "text.txt");
  expect_error(3, dry_run({"--lpips", path("text.txt"), "--lpips-heads", path("text.txt")}), "text.txt");
}

}  // namespace
}  // namespace om::test
