// The scripts look at every word before they work: help is answered, a wrong word refused, and nothing was
// installed, configured or built by then. What they would work with is a stand-in that leaves a mark.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class ScriptsTest : public ProgramTest {
 protected:
  void SetUp() override {
    fs::create_directories(path("stubs"));
    const auto stub = [](const std::string& name, const std::string& then) {
      std::ofstream(path("stubs/" + name)) << "#!/bin/sh\n" << then;
      fs::permissions(path("stubs/" + name), fs::perms::owner_all);
    };
    const std::string mark = "echo \"$0 $*\" >> '" + path("worked") + "'; ";
    stub("cmake", mark + "exit 1");
    stub("apt-get", mark + "exit 1");
    stub("dpkg-query", mark + "echo install ok installed");
    stub("python3", "[ \"$1\" != -m ] && exec \"$PYTHON_HERE\" \"$@\"; " + mark + "exit 1");
  }
  void TearDown() override {
    fs::remove(path("worked"));
    fs::remove_all(path("cache"));
  }

  /// scripts/NAME with the stand-ins before everything else.
  static ProgramRun script(const std::string& name, Words words) {
    words.insert(words.begin(), std::string(ONEMODEL_SOURCE_DIR) + "/scripts/" + name);
    return onemodel_in_shell("export PYTHON_HERE=\"$(command -v python3)\" PATH='" + path("stubs") +
                                 "':\"$PATH\" XDG_CACHE_HOME='" + path("cache") +
                                 "'; unset ONEMODEL_PYTORCH; exec timeout 20 \"$@\"",
                             words);
  }
  static bool worked() { return fs::exists(path("worked")) || fs::exists(path("cache")); }
  /// compare and mutate are of Python, which building needs not.
  static bool runs_here(const std::string& name) {
    static const bool python = onemodel_in_shell("command -v python3", {}).exit_code == 0;
    return python || (name != "compare" && name != "mutate");
  }
};

TEST_F(ScriptsTest, HelpIsAnsweredAtOnce) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(std::string(ONEMODEL_SOURCE_DIR) + "/scripts")) {
    const std::string name = entry.path().filename();
    if (entry.path().has_extension() || !entry.is_regular_file() || !runs_here(name)) continue;
    ++count;
    for (const char* word : {"--help", "-h"}) {
      SCOPED_TRACE(name + " " + word);
      const ProgramRun run = script(name, {word});
      EXPECT_EQ(run.exit_code, 0);
      EXPECT_EQ(run.err, "");
      EXPECT_NE(run.out.find("  scripts/" + name + " "), std::string::npos) << run.out;
      EXPECT_EQ(run.out.find("set -euo"), std::string::npos) << run.out;  // the comment alone
      EXPECT_FALSE(worked());
    }
  }
  EXPECT_GE(count, 6);
}

TEST_F(ScriptsTest, AWrongWordIsTwoBeforeAnyWork) {
  for (Words words :
       {Words{"check", "nothing"}, Words{"check", "format", "--nothing"}, Words{"compare", "nothing"},
        Words{"compare", "--only", "nothing"}, Words{"demo", "--nothing"}, Words{"demo", "one", "two"},
        Words{"device"}, Words{"device", "nothing"}, Words{"device", "run", "tests", "nothing"},
        Words{"mutate", "--nothing"}, Words{"mutate", "no fault has such a name"}, Words{"paper", "nothing"},
        Words{"setup", "nothing"}, Words{"setup", "--check", "nothing"}, Words{"test", "conv2d"},
        Words{"test", "--nothing"}, Words{"test", "-L", "tensor", "conv2d"}, Words{"test", "-V", "conv2d"},
        Words{"test", "-R"}}) {
    const std::string name = words.front();
    if (!runs_here(name)) continue;
    SCOPED_TRACE(name + " .. " + words.back());
    words.erase(words.begin());
    const ProgramRun run = script(name, words);
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    EXPECT_TRUE(run.err.starts_with(name + ": ")) << run.err;
    EXPECT_FALSE(worked());
  }
}

// What ctest takes goes on to the work, whose stand-in then fails.
TEST_F(ScriptsTest, WordsOfCtestPass) {
  for (const Words& words :
       {Words{}, Words{"-L", "tensor", "-j2"}, Words{"-R", "conv2d", "--timeout", "5"},
        Words{"-Rconv2d", "--repeat", "until-fail:2", "-VV"}, Words{"--no-tests=ignore", "-LE", "golden"}}) {
    SCOPED_TRACE(words.empty() ? "no word" : words.back());
    const ProgramRun run = script("test", words);
    EXPECT_NE(run.exit_code, 2) << run.err;
    EXPECT_TRUE(worked()) << run.err;
    fs::remove(path("worked"));
  }
}

TEST_F(ScriptsTest, PaperRefusesSettingsThatAreNone) {
  for (const auto& [name, value] :
       {std::pair{"PAPER_SEEDS", "1 a"}, {"PAPER_SEEDS", " "}, {"PAPER_STEPS", "0"}}) {
    SCOPED_TRACE(name);
    ::setenv(name, value, 1);
    const ProgramRun run = script("paper", {"list"});
    ::unsetenv(name);
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    EXPECT_TRUE(run.err.starts_with(std::string("paper: ") + name + " expects ")) << run.err;
    EXPECT_NE(run.err.find(std::string("got '") + value + "'"), std::string::npos) << run.err;
  }
}

// What precisions lie off float32 after the same seeds: +0.2 and +0.1, and -0.3 and +0.1.
TEST_F(ScriptsTest, CurvesSayTheMeanAndItsError) {
  const auto run_of = [](const std::string& precision, const std::string& seed, const std::string& psnr) {
    const std::string folder = path("curves/curve-" + precision + "-seed" + seed);
    fs::create_directories(folder);
    std::ofstream(folder + "/model.safetensors") << "a model";
    std::ofstream(folder + "/metrics.jsonl")
        << "{\"iteration\": 1, \"validation\": {\"psnr\": 9}}\n"
        << "{\"iteration\": 2, \"validation\": {\"ssim\": 0.5, \"psnr\": " << psnr << "}}\n";
  };
  run_of("fp32", "4", "31.4"), run_of("fp32", "17", "32.3");
  run_of("tf32", "4", "31.6"), run_of("tf32", "17", "32.4");
  run_of("bf16", "4", "31.1"), run_of("bf16", "17", "32.4");
  const ProgramRun run =
      onemodel_in_shell("PAPER_OUT='" + path("curves") + "' PAPER_SEEDS='4 17' PAPER_ONEMODEL=/bin/true " +
                            "PAPER_BACKEND=cpu exec timeout 20 \"$@\"",
                        {std::string(ONEMODEL_SOURCE_DIR) + "/scripts/paper", "curves"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  for (const char* line :
       {"tf32  31.600  32.400  mean beside fp32 +0.150 dB over 2 seeds, standard error 0.050\n",
        "bf16  31.100  32.400  mean beside fp32 -0.100 dB over 2 seeds, standard error 0.200\n"})
    EXPECT_NE(run.out.find(line), std::string::npos) << run.out;
}

}  // namespace
}  // namespace om::test
