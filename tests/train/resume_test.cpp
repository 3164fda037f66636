// Resuming where things have moved, where nothing began, and starting again after a start that failed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

#include "io/bytes.h"
#include "io/safetensors.h"
#include "tensor/error.h"
#include "tests/train/tiny_run.h"
#include "train/run_inputs.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;

class Resume : public testing::Test {
 protected:
  void stop_after(int step, const std::string& name) {
    std::atomic<bool> stop = false;
    TrainOptions options;
    options.stop = &stop;
    options.after_step = [&](const StepReport& report) { stop = report.iteration == step; };
    ASSERT_TRUE(tiny_.run(name, false, options).interrupted);
  }
  TrainResult resume(const std::string& name, std::vector<std::string> given) {
    TrainOptions options;
    options.given = std::move(given);
    return tiny_.run(name, true, options);
  }
  bool logged(const std::string& text) const {
    return std::any_of(tiny_.log.begin(), tiny_.log.end(),
                       [&](const std::string& line) { return line.find(text) != std::string::npos; });
  }
  TinyRun tiny_;
};

TEST_F(Resume, InputsMayHaveMoved) {
  tiny_.run("whole");
  stop_after(3, "run");
  for (std::string* path : {&tiny_.config.images, &tiny_.config.val, &tiny_.config.generator}) {
    fs::rename(*path, *path + "-moved");
    *path += "-moved";
  }
  EXPECT_FALSE(resume("run", {"images", "val", "generator"}).interrupted);
  auto whole = files_of(tiny_.out("whole")), run = files_of(tiny_.out("run"));
  EXPECT_NE(run.at("config.json").find("images-moved"), std::string::npos);
  for (auto* files : {&whole, &run}) files->erase("config.json");
  EXPECT_EQ(difference(whole, run), "");
  resume("run", {});  // the new places are kept
}

TEST_F(Resume, OtherContentIsRefused) {
  stop_after(3, "run");
  const auto refused = [&](std::string& path, const std::string& key, const std::string& reason) {
    const std::string before = std::exchange(path, path + "-other");
    const std::string line = message<UsageError>([&] { resume("run", {key}); });
    EXPECT_EQ(line.rfind("'" + key + "' is " + path, 0), 0U) << line;
    EXPECT_NE(line.find(reason), std::string::npos) << line;
    path = before;
  };
  fs::copy(tiny_.config.images, tiny_.config.images + "-other");
  std::ofstream(tiny_.config.images + "-other/square0.png", std::ios::app) << "longer";
  refused(tiny_.config.images, "images", "whose files' names or sizes");
  fs::copy(tiny_.config.val, tiny_.config.val + "-other");
  fs::rename(tiny_.config.val + "-other/square5.png", tiny_.config.val + "-other/square9.png");
  refused(tiny_.config.val, "val", "whose files' names or sizes");
  fs::copy_file(tiny_.config.generator, tiny_.config.generator + "-other");
  std::fstream file(tiny_.config.generator + "-other", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-3, std::ios::end);
  file.put('\x3f');
  file.close();
  refused(tiny_.config.generator, "generator", "whose weights");
  fs::remove(tiny_.out("run") + "/inputs.json");  // an older run did not keep them
  refused(tiny_.config.images, "images", "cannot be compared");
  EXPECT_FALSE(resume("run", {"images", "val", "generator"}).interrupted);
}

// Backbone and heads in a file each, told by the weights of both.
TEST_F(Resume, ThePerceptualLossMayHaveMoved) {
  tiny_.add_lpips();
  tiny_.config.lpips_heads = (tiny_.folder() / "heads.safetensors").string();
  fs::copy_file(tiny_.config.lpips, tiny_.config.lpips_heads);
  const TrainConfig before = tiny_.config;
  tiny_.run("whole");
  stop_after(3, "run");
  fs::copy(tiny_.out("run"), tiny_.out("older"), fs::copy_options::recursive);
  for (std::string* path : {&tiny_.config.lpips, &tiny_.config.lpips_heads}) {
    fs::rename(*path, *path + "-moved");
    *path += "-moved";
  }
  EXPECT_FALSE(resume("run", {"lpips", "lpips_heads"}).interrupted);
  auto whole = files_of(tiny_.out("whole")), run = files_of(tiny_.out("run"));
  EXPECT_NE(run.at("config.json").find("lpips.safetensors-moved"), std::string::npos);
  EXPECT_NE(run.at("config.json").find("heads.safetensors-moved"), std::string::npos);
  for (auto* files : {&whole, &run}) files->erase("config.json");
  EXPECT_EQ(difference(whole, run), "");

  // of a run that did not note it down, the checkpoint tells
  write_run_inputs(tiny_.out("older") + "/inputs.json", [&] {
    RunInputs inputs = read_run_inputs(tiny_.out("older") + "/inputs.json");
    EXPECT_FALSE(inputs.lpips.empty());
    inputs.lpips.clear();
    return inputs;
  }());
  SafeTensors other = read_safetensors(tiny_.config.lpips);
  other.tensors.at("features.5.bias").data[1] ^= std::byte{1};
  const std::string good = std::exchange(tiny_.config.lpips, tiny_.config.lpips + "-other");
  write_safetensors(tiny_.config.lpips, other);
  EXPECT_EQ(message<UsageError>([&] {
              resume("run", {"lpips", "lpips_heads"});
            }),
            "'lpips' is " + tiny_.config.lpips + ", whose weights are not those that the run began with");
  EXPECT_EQ(message<InputError>([&] {
              resume("older", {"lpips", "lpips_heads"});
            }),
            tiny_.config.lpips + ": is not the perceptual loss that this run began with");
  tiny_.config.lpips = good;
  EXPECT_FALSE(resume("older", {"lpips", "lpips_heads"}).interrupted);
  run = files_of(tiny_.out("older"));
  run.erase("config.json");
  EXPECT_EQ(difference(whole, run), "");  // and it is noted down now

  // without one nobody does
  const TrainConfig now = std::exchange(tiny_.config, before);
  tiny_.config.lpips = now.lpips;
  tiny_.config.lpips_heads = now.lpips_heads;
  stop_after(1, "unnoted");
  fs::remove(tiny_.out("unnoted") + "/inputs.json");
  fs::remove_all(tiny_.out("unnoted") + "/checkpoints");
  fs::copy_file(now.lpips_heads, before.lpips_heads);
  tiny_.config.lpips_heads = before.lpips_heads;
  EXPECT_NE(message<UsageError>([&] { resume("unnoted", {"lpips_heads"}); }).find("cannot be compared"),
            std::string::npos);

  tiny_.config.lpips.clear();
  EXPECT_NE(message<UsageError>([&] { resume("run", {"lpips"}); }).find("a resumed run keeps its settings"),
            std::string::npos);
}

TEST_F(Resume, TheStartMayHaveMoved) {
  TinyRun other;
  other.config.iterations = 2;
  const std::string model = other.run("model").model;
  other.config.seed = 77;
  const std::string stranger = other.run("stranger").model;
  tiny_.config.init = (tiny_.folder() / "start.safetensors").string();
  fs::copy_file(model, tiny_.config.init);
  tiny_.run("whole");
  stop_after(3, "run");
  fs::rename(tiny_.config.init, tiny_.config.init + "-moved");
  const std::string first = std::exchange(tiny_.config.init, stranger);
  EXPECT_EQ(message<UsageError>([&] { resume("run", {"init"}); }),
            "'init' is " + stranger + ", whose weights are not those that the run began with");
  tiny_.config.init = first + "-moved";
  EXPECT_FALSE(resume("run", {"init"}).interrupted);
  auto whole = files_of(tiny_.out("whole")), run = files_of(tiny_.out("run"));
  EXPECT_NE(run.at("config.json").find("start.safetensors-moved"), std::string::npos);
  for (auto* files : {&whole, &run}) files->erase("config.json");
  EXPECT_EQ(difference(whole, run), "");
  fs::remove(tiny_.config.init);  // what is not named as moved is not read
  fs::rename(tiny_.config.val, tiny_.config.val + "-moved");
  tiny_.config.val += "-moved";
  EXPECT_FALSE(resume("run", {"val"}).interrupted);
  EXPECT_FALSE(read_run_inputs(tiny_.out("run") + "/inputs.json").init.empty());
}

// It changes no number: a run may switch it on when it goes on.
TEST_F(Resume, MemoryMayBeSavedFromNowOn) {
  tiny_.run("whole");
  stop_after(3, "run");
  tiny_.config.checkpoint_activations = true;
  EXPECT_FALSE(resume("run", {"checkpoint_activations"}).interrupted);
  auto whole = files_of(tiny_.out("whole")), run = files_of(tiny_.out("run"));
  EXPECT_NE(run.at("config.json").find("\"checkpoint_activations\": true"), std::string::npos);
  for (auto* files : {&whole, &run}) files->erase("config.json");
  EXPECT_EQ(difference(whole, run), "");
}

TEST_F(Resume, OfNothingSaysSo) {
  tiny_.run("fresh", true);
  EXPECT_TRUE(logged(tiny_.out("fresh") + ": holds no run yet; this one begins"));
  tiny_.config.generator = "";
  EXPECT_EQ(message<UsageError>([&] { tiny_.run("nothing", true); }),
            tiny_.out("nothing") + ": holds no run to resume");
  EXPECT_FALSE(fs::exists(tiny_.out("nothing")));
}

TEST_F(Resume, AFailedStartBlocksNoOther) {
  tiny_.run("whole");
  const std::string val = tiny_.config.val;
  tiny_.config.val = (tiny_.folder() / "no-images").string();
  fs::create_directory(tiny_.config.val);
  std::ofstream(tiny_.config.val + "/broken.png") << "no image";
  EXPECT_THROW(tiny_.run("run"), InputError);
  EXPECT_TRUE(fs::exists(tiny_.out("run") + "/config.json"));
  tiny_.config.val = val;
  EXPECT_FALSE(tiny_.run("run").interrupted);
  EXPECT_EQ(difference(files_of(tiny_.out("whole")), files_of(tiny_.out("run"))), "");
  EXPECT_THROW(tiny_.run("run"), UsageError);  // now it holds one
}

TEST_F(Resume, ListingsTellNamesAndSizesApart) {
  const std::string before = listing_of(ImageFolder(tiny_.config.images));
  fs::copy(tiny_.config.images, tiny_.config.images + "2");
  EXPECT_EQ(listing_of(ImageFolder(tiny_.config.images + "2")), before);
  fs::rename(tiny_.config.images + "2/square1.png", tiny_.config.images + "2/square7.png");
  EXPECT_NE(listing_of(ImageFolder(tiny_.config.images + "2")), before);
}

// As any picture in a folder that cannot be read.
TEST_F(Resume, ALinkThatLeadsNowhereIsSkippedInTraining) {
  for (const std::string& folder : {tiny_.config.images, tiny_.config.val}) {
    const std::string before = listing_of(ImageFolder(folder));
    fs::create_symlink("nowhere", folder + "/dangling.png");
    EXPECT_NE(listing_of(ImageFolder(folder)), before);
  }
  EXPECT_GT(tiny_.run("run").unreadable, 0);
  EXPECT_TRUE(std::any_of(tiny_.log.begin(), tiny_.log.end(), [](const std::string& line) {
    return line.find("dangling.png: cannot open") != std::string::npos;
  }));
  EXPECT_EQ(read_run_inputs(tiny_.out("run") + "/inputs.json").images,
            listing_of(ImageFolder(tiny_.config.images)));
}

TEST_F(Resume, InputsGoThroughTheirFile) {
  const std::string path = (tiny_.folder() / "inputs.json").string();
  EXPECT_EQ(read_run_inputs(path), RunInputs());
  for (const RunInputs& inputs : {RunInputs{"g \"1\"", "5 files", ""}, RunInputs{"g", "", "v", "i", "l"}}) {
    write_run_inputs(path, inputs);
    EXPECT_EQ(read_run_inputs(path), inputs);
  }
  for (const char* json : {"", "[]", "{\"images\": {}}", "{\"images\": "}) {
    std::ofstream(path) << json;
    EXPECT_THROW(read_run_inputs(path), InputError) << json;
  }
}

}  // namespace
}  // namespace om::test
