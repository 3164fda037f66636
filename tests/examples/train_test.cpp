// onemodel train: the run's folder, settings from options and files, stopping and going on.
#include <csignal>
#include <fstream>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class TrainTest : public ProgramTest {
 protected:
  static Words command(const std::string& out, const Words& more) {
    Words words = {"train",    "--generator",  path("generator.safetensors"),
                   "--images", path("photos"), "--out",
                   path(out),  "--batch",      "2",
                   "--lr",     "1e-3",         "--encoder-width",
                   "0.5"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static ProgramRun train(const std::string& out, const Words& more) { return onemodel(command(out, more)); }
  static std::string write(const std::string& name, const std::string& text) {
    std::ofstream(path(name)) << text;
    return path(name);
  }
};

TEST_F(TrainTest, LeavesARunThatReconstructs) {
  const ProgramRun run =
      train("run", {"--iterations", "5", "--checkpoint-every", "2", "--val", path("mixed")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, path("run/model.safetensors") + "\n");
  EXPECT_NE(run.err.find(path("mixed/broken.png") + ": "), std::string::npos);
  EXPECT_NE(content(path("run/config.json")).find("\"encoder_width\": 0.5"), std::string::npos);
  EXPECT_NE(content(path("run/metrics.jsonl")).find("\"iteration\": 5"), std::string::npos);
  EXPECT_EQ(folder_content(path("run/checkpoints")).size(), 3U);
  const ProgramRun after = onemodel({"reconstruct", "--model", path("run/model.safetensors"), path("photos"),
                                     "--out", path("reconstructed")});
  EXPECT_EQ(after.exit_code, 0) << after.err;
  EXPECT_EQ(onemodel({"info", path("run/model.safetensors")}).exit_code, 0);
  const ProgramRun checkpoint = onemodel({"info", path("run/checkpoints/000004.safetensors")});
  EXPECT_EQ(checkpoint.exit_code, 0) << checkpoint.err;

  expect_error(2, train("run", {"--iterations", "5"}), "--resume");
  expect_error(2, train("run", {"--iterations", "4", "--resume"}), "iterations");
  EXPECT_EQ(onemodel({"train", "--out", path("run"), "--resume"}).exit_code, 0);
}

TEST_F(TrainTest, TrainsInStagesAndMeasuresTheLeak) {
  const ProgramRun run =
      train("stages", {"--strategy", "learning-rate", "--stage1-iterations", "2", "--iterations", "3",
                       "--backbone-rate", "0.1", "--val", path("photos")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("semantic leak: PSNR "), std::string::npos) << run.err;
  const std::string metrics = content(path("stages/metrics.jsonl"));
  EXPECT_NE(metrics.find("{\"iteration\": 5, \"leak\": {\"images\": 3, \"predicted\": {\"psnr\": "),
            std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path("stages/stage1.safetensors")));

  const Words leak = {"leak", "--model", path("stages/model.safetensors"), path("photos")};
  const ProgramRun table = onemodel(leak);
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_NE(table.out.find("noise (3 images)"), std::string::npos) << table.out;
  Words json = leak;
  json.emplace_back("--json");
  const ProgramRun figures = onemodel(json);
  EXPECT_EQ(figures.exit_code, 0) << figures.err;
  EXPECT_TRUE(figures.out.starts_with("{\n  \"images\": 3,\n  \"predicted\": {\"psnr\": ")) << figures.out;
  // the same figure as the run's, which has the same seed
  const std::string random = "\"random\": {\"psnr\": ";
  const auto number = [&](const std::string& text) {
    return std::stod(text.substr(text.find(random) + random.size()));
  };
  EXPECT_NEAR(number(figures.out), number(metrics), 1e-6);
  // a model without noise heads predicts none
  const ProgramRun first =
      onemodel({"leak", "--model", path("stages/stage1.safetensors"), path("photos"), "--json"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.out.find("\"predicted\": {\"psnr\": null, \"ssim\": null, \"ssim_wang\": null}"),
            std::string::npos)
      << first.out;

  expect_error(3, onemodel({"leak", "--model", path("generator.safetensors"), path("photos")}),
               "generator.safetensors: ");
  expect_error(3, onemodel({"leak", "--model", path("model.safetensors"), path("broken.png")}),
               "broken.png: ");
  expect_error(2, onemodel({"leak", path("photos")}), "--model is required");
  expect_error(2, train("plain", {"--backbone-rate", "0.1"}),
               "'backbone_rate' needs the strategy learning-rate");
  expect_error(2, train("plain", {"--strategy", "both"}), "--strategy expects one of plain, two-networks");
  expect_error(3, train("plain", {"--init", path("generator.safetensors")}),
               "holds no encoder to start from");
}

TEST_F(TrainTest, RepeatsToTheByte) {
  std::map<std::string, std::string> expected;
  for (const char* threads : {"1", "2"}) {
    const std::string out = std::string("threads-") + threads;
    ASSERT_EQ(train(out, {"--iterations", "6", "--threads", threads, "--seed", "3"}).exit_code, 0);
    const auto files = folder_content(path(out));
    if (expected.empty()) expected = files;
    for (const char* name : {"model.safetensors", "metrics.jsonl"})
      EXPECT_EQ(files.at(name), expected.at(name));
  }
  ASSERT_EQ(train("other-seed", {"--iterations", "6"}).exit_code, 0);
  EXPECT_NE(content(path("other-seed/model.safetensors")), expected.at("model.safetensors"));
}

TEST_F(TrainTest, InterruptedRunGoesOn) {
  const Words settings = {"--iterations", "200", "--val", path("photos"), "--threads", "1"};
  const ProgramRun stopped = onemodel_interrupted(command("it's stopped", settings), "validation");
  ASSERT_EQ(stopped.exit_code, 130) << stopped.err;
  EXPECT_FALSE(std::filesystem::exists(path("it's stopped/model.safetensors")));
  const std::string last = stopped.complaints().back();
  const std::size_t at = last.find("onemodel train --out ");
  ASSERT_NE(at, std::string::npos) << last;
  EXPECT_NE(last.find(" --resume"), std::string::npos);

  const ProgramRun resumed =
      onemodel_in_shell("\"$0\"" + last.substr(at + std::string("onemodel").size()), {});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  ASSERT_EQ(train("left-alone", settings).exit_code, 0);
  for (const std::string name : {"model.safetensors", "metrics.jsonl"})
    EXPECT_EQ(content(path("it's stopped/" + name)), content(path("left-alone/" + name))) << name;
}

// Slurm and docker send SIGTERM, a closed terminal SIGHUP; nohup has the latter ignored.
TEST_F(TrainTest, EndingSignalsStopAsCtrlC) {
  const Words settings = {"--iterations", "200", "--val", path("photos"), "--threads", "1"};
  for (const auto& [signal, name] : {std::pair{SIGTERM, "term"}, {SIGHUP, "hup"}}) {
    const ProgramRun stopped = onemodel_interrupted(command(name, settings), "validation", signal);
    EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
    EXPECT_NE(stopped.complaints().back().find("--resume"), std::string::npos) << stopped.err;
    EXPECT_FALSE(std::filesystem::exists(path(name) + "/model.safetensors"));
  }
  const auto ignoring = [&](const std::string& word) {
    return onemodel_in_shell(
        "trap '' " + word + "; \"$0\" \"$@\" & sleep 0.3; kill -" + word + " $!; wait $!",
        command("ignored-" + word, {"--iterations", "60"}));
  };
  for (const char* word : {"HUP", "TERM", "INT"}) {
    const ProgramRun run = ignoring(word);
    EXPECT_EQ(run.exit_code, 0) << word << "\n" << run.err;
  }
}

// `timeout` signals its child and then the group that both are in: one ending, two signals. A second one that
// comes later ends the program at once.
TEST_F(TrainTest, TwoSignalsAtOnceAreOneEnding) {
  const Words settings = {"--iterations", "100000", "--val", path("photos"), "--threads", "1"};
  RunningProgram twice(command("twice", settings));
  ASSERT_TRUE(twice.says("validation"));
  twice.send(SIGINT);  // no pause: a tiny run may have ended soon after the first
  twice.send(SIGTERM);
  const ProgramRun run = twice.end();
  EXPECT_EQ(run.exit_code, 130) << run.err;
  EXPECT_NE(run.complaints().back().find("--resume"), std::string::npos) << run.err;
}

TEST_F(TrainTest, OtherRanksAreForResuming) {
  const ProgramRun run = train("never", {"--accept-other-ranks", "--iterations", "1"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.err.find("--accept-other-ranks needs --resume"), std::string::npos) << run.err;
  EXPECT_FALSE(std::filesystem::exists(path("never")));
}

TEST_F(TrainTest, AFolderWhoseNameIsNoUtf8) {
  const std::string photos = path("caf\xe9");
  std::filesystem::copy(path("photos"), photos);
  const Words words = {"train",
                       "--generator",
                       path("generator.safetensors"),
                       "--images",
                       photos,
                       "--val",
                       photos,
                       "--iterations",
                       "3",
                       "--encoder-width",
                       "0.5",
                       "--out",
                       path("run-\xff")};
  ASSERT_EQ(onemodel(words).exit_code, 0);
  const std::string model = content(path("run-\xff/model.safetensors"));
  for (const char* file : {"model.safetensors", "checkpoints/000003.safetensors"})
    std::filesystem::remove(path("run-\xff/") + file);
  Words resume = words;
  resume.emplace_back("--resume");
  for (const Words& again : {Words{"train", "--out", path("run-\xff"), "--resume"}, resume}) {
    const ProgramRun run = onemodel(again);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(content(path("run-\xff/model.safetensors")), model);
  }
}

TEST_F(TrainTest, PathsInAFileAreRelativeToIt) {
  std::filesystem::create_directories(path("settings"));
  const std::string file =
      write("settings/run.json", R"({"images": "../photos", "generator": "../generator.safetensors"})");
  const ProgramRun run = onemodel(
      {"train", "--config", file, "--out", path("beside"), "--iterations", "1", "--encoder-width", "0.5"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

TEST_F(TrainTest, InputsAreNotOverwritten) {
  std::filesystem::create_directories(path("taken/samples"));
  std::filesystem::copy_file(path("photos/one.png"), path("taken/samples/000001.png"));
  expect_error(2,
               onemodel({"train", "--generator", path("generator.safetensors"), "--images",
                         path("taken/samples"), "--out", path("taken"), "--iterations", "1"}),
               "taken/samples: is where the run writes its samples");
  std::filesystem::create_directories(path("linked"));
  std::filesystem::create_symlink(path("generator.safetensors"), path("linked/model.safetensors"));
  expect_error(2, train("linked", {"--iterations", "1"}), "linked/model.safetensors: is also an input");
}

TEST_F(TrainTest, DenoisingThroughTheProgram) {
  ASSERT_EQ(train("noisy", {"--iterations", "4", "--task", "denoise", "--sigmas=25,50", "--noise-at", "model",
                            "--val", path("photos")})
                .exit_code,
            0);
  const std::string settings = content(path("noisy/config.json"));
  for (const char* line : {"\"task\": \"denoise\"", "\"sigmas\": [25.0, 50.0]", "\"noise_at\": \"model\""})
    EXPECT_NE(settings.find(line), std::string::npos) << settings;
  const ProgramRun run = onemodel({"denoise", "--model", path("noisy/model.safetensors"), path("photos"),
                                   "--sigma", "25", "--out", path("denoised")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  ASSERT_EQ(train("plain", {"--iterations", "4", "--val", path("photos")}).exit_code, 0);
  EXPECT_NE(content(path("noisy/metrics.jsonl")), content(path("plain/metrics.jsonl")));

  expect_error(2, train("unused", {"--sigmas=5,,10", "--task", "denoise"}), "--sigmas");
  expect_error(2, train("unused", {"--sigmas=5,-1", "--task", "denoise"}), "sigmas");
  expect_error(2, train("unused", {"--sigmas=5"}), "'sigmas' needs --task denoise");
  expect_error(2, train("unused", {"--task", "paint"}), "--task expects one of reconstruct, denoise");
  expect_error(2, train("noisy", {"--resume", "--sigmas=5"}),
               "'sigmas' is [5.0], but the run to resume has [25.0, 50.0]");
  EXPECT_FALSE(std::filesystem::exists(path("unused")));
}

TEST_F(TrainTest, SubfoldersAreTrainedOnWhereAskedFor) {
  std::filesystem::create_directories(path("nested/sub"));
  std::filesystem::copy_file(path("photos/one.png"), path("nested/sub/one.png"));
  const Words words = {"train",
                       "--generator",
                       path("generator.safetensors"),
                       "--images",
                       path("nested"),
                       "--iterations",
                       "2",
                       "--encoder-width",
                       "0.5",
                       "--batch",
                       "1"};
  const auto with = [&](const Words& more) {
    Words all = words;
    all.insert(all.end(), more.begin(), more.end());
    return onemodel(all);
  };
  expect_error(3, with({"--out", path("nested-run")}), "but its subfolders do; --recursive reads those");
  ASSERT_EQ(with({"--out", path("nested-run"), "--recursive"}).exit_code, 0);
  std::filesystem::remove(path("nested-run/checkpoints/000002.safetensors"));
  std::filesystem::remove(path("nested-run/model.safetensors"));
  EXPECT_EQ(onemodel({"train", "--out", path("nested-run"), "--resume"}).exit_code, 0);
  expect_error(2, with({"--out", path("nested/run"), "--recursive"}), "is where the run writes its samples");
}

TEST_F(TrainTest, OptionsWinOverTheFile) {
  const std::string file = write(
      "settings.json", "{\"iterations\": 7, \"lr\": 0.5, \"latent\": \"z\", \"seed\": 9, \"images\": \"" +
                           path("photos") + "\"}");
  const ProgramRun run = onemodel({"train", "--config", file, "--generator", path("generator.safetensors"),
                                   "--out", path("from-file"), "--iterations", "1", "--lr", "0.25"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string resolved = content(path("from-file/config.json"));
  for (const char* line :
       {"\"iterations\": 1,", "\"lr\": 0.25,", "\"latent\": \"z\"", "\"seed\": 9", "\"batch\": 4"})
    EXPECT_NE(resolved.find(line), std::string::npos) << line << "\n" << resolved;
}

TEST_F(TrainTest, Errors) {
  const auto with_file = [&](const std::string& json) {
    return train("unused", {"--iterations", "1", "--config", write("wrong.json", json)});
  };
  expect_error(3, with_file("{\"itertions\": 3}"), "unknown key 'itertions'; did you mean 'iterations'?");
  expect_error(3, with_file("{\"iterations\": \"many\"}"), "wrong.json: 'iterations' expects a number");
  expect_error(3, with_file("{\"beta1\": 2}"), "wrong.json: 'beta1' must lie between");
  expect_error(3, with_file("[1, 2"), "wrong.json: ");
  expect_error(3, train("unused", {"--config", path("missing.json")}), "missing.json: ");
  expect_error(2, train("unused", {"--weight-decay", "-1"}), "weight_decay");
  expect_error(2, train("unused", {"--itertions", "1"}),
               "unknown option '--itertions'; did you mean '--iterations'?");
  expect_error(2, train("unused", {"--latent", "w"}), "--latent");
  expect_error(2, train("unused", {"--lpips", path("text.txt")}), "lpips_heads");
  expect_error(2, onemodel({"train", "--images", path("photos"), "--out", path("unused")}), "generator");
  expect_error(2, onemodel({"train", "--generator", path("bare.safetensors"), "--out", path("unused")}),
               "images");
  const auto on = [&](const std::string& generator, const std::string& images, const std::string& out) {
    return onemodel({"train", "--generator", path(generator), "--images", path(images), "--out", path(out),
                     "--iterations", "1", "--encoder-width", "0.5"});
  };
  expect_error(3, on("missing", "photos", "unused"), path("missing") + ": ");
  expect_error(3, on("text.txt", "photos", "unused"), path("text.txt") + ": ");
  expect_error(3, on("bare.safetensors", "missing", "unused"), path("missing") + ": ");
  expect_error(3, on("bare.safetensors", "empty", "unused"), path("empty") + ": ");
  EXPECT_EQ(on("bare.safetensors", "broken", "unused").exit_code, 3);
  expect_error(1, on("bare.safetensors", "photos", "text.txt/run"), "text.txt/run");
}

TEST_F(TrainTest, ResumingNothingStartsARun) {
  ASSERT_EQ(train("begun", {"--iterations", "2"}).exit_code, 0);
  ASSERT_EQ(train("resumed", {"--iterations", "2", "--resume"}).exit_code, 0);
  EXPECT_EQ(folder_content(path("resumed")), folder_content(path("begun")));
}

// A limit on the size of files refuses further bytes, as a full disk does.
TEST_F(TrainTest, FullDiskIsOneLineAndTheRunGoesOn) {
  const Words settings = {"--iterations", "3", "--checkpoint-every", "1"};
  ASSERT_EQ(train("roomy", settings).exit_code, 0);
  const auto limited = [&](int blocks) {
    return onemodel_in_shell(text("ulimit -f ", blocks, "; exec \"$0\" \"$@\""), command("full", settings));
  };
  expect_error(1, limited(0), "full/inputs.json: cannot write: ");
  const ProgramRun run = limited(8);  // enough for the settings and the first lines of metrics
  EXPECT_EQ(run.exit_code, 1);
  ASSERT_EQ(run.complaints().size(), 3U) << run.err;  // the first a header, the second progress
  EXPECT_TRUE(run.complaints().back().starts_with("onemodel: " + path("full/checkpoints/000001.safetensors") +
                                                  ": cannot write: "))
      << run.err;
  EXPECT_TRUE(folder_content(path("full/checkpoints")).empty());
  Words resume = settings;
  resume.emplace_back("--resume");
  ASSERT_EQ(train("full", resume).exit_code, 0);
  for (const char* folder : {"", "/checkpoints"})
    EXPECT_EQ(folder_content(path("full") + folder), folder_content(path("roomy") + folder));
}

TEST_F(TrainTest, TheLpipsFileAtFaultIsNamed) {
  std::map<std::string, FileTensor> alex, heads;
  const std::vector<std::int64_t> channels = {3, 4, 5, 6, 7, 8}, indices = {0, 3, 6, 8, 10},
                                  sides = {11, 5, 3, 3, 3};
  for (std::size_t i = 0; i < 5; ++i) {
    const std::string name = text("features.", indices[i]);
    alex[name + ".weight"] = waves({channels[i + 1], channels[i], sides[i], sides[i]}, 0.3);
    alex[name + ".bias"] = waves({channels[i + 1]}, 0.5);
    heads[text("lin", i, ".model.1.weight")] = waves({1, channels[i + 1], 1, 1}, 0.7);
  }
  save("alex.safetensors", alex);
  const auto with = [&](const std::string& backbone, const std::map<std::string, FileTensor>& lin) {
    save("heads.safetensors", lin);
    return train("lpips", {"--iterations", "1", "--lpips", path(backbone), "--lpips-heads",
                           path("heads.safetensors")});
  };
  const std::string at_fault = path("heads.safetensors") + ": ";
  std::map<std::string, FileTensor> four = heads, wide = heads, flat = heads;
  four.erase("lin4.model.1.weight");
  expect_error(3, with("alex.safetensors", four), at_fault);
  wide["lin2.model.1.weight"] = waves({1, 9, 1, 1}, 1);
  expect_error(3, with("alex.safetensors", wide),
               at_fault + "LPIPS heads: lin2.model.1.weight expects 6 channels");
  flat["lin1.model.1.weight"] = waves({5}, 1);
  expect_error(3, with("alex.safetensors", flat), at_fault);
  expect_error(3, with("generator.safetensors", heads), path("generator.safetensors") + ": ");
}

TEST_F(TrainTest, UnwritableFolderIsOneLine) {
  expect_error(1, train("../../proc/onemodel", {"--iterations", "1"}), "cannot make the folder");
}

TEST_F(TrainTest, LossThatIsNotFinite) {
  SafeTensors generator = read_safetensors(path("generator.safetensors"));
  generator.tensors.at("to_rgb1.bias") = make_file_tensor({1, 3, 1, 1}, std::vector<float>(3, 1e30F));
  write_safetensors(path("wild.safetensors"), generator);
  ProgramRun run = onemodel({"train", "--generator", path("wild.safetensors"), "--images", path("photos"),
                             "--out", path("wild"), "--iterations", "3", "--encoder-width", "0.5"});
  EXPECT_TRUE(run.err.starts_with("cpu: ")) << run.err;
  run.err.erase(0, run.err.find('\n') + 1);  // the header; one line follows it
  expect_error(1, run, "not finite");
}

}  // namespace
}  // namespace om::test
