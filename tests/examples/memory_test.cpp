// Not enough memory, through the program itself: exit code 1 and one line that says so, whatever is refused
// and when; and a training run that ended so goes on as if nothing had been.
//
// Requests are refused one by one by a library loaded before the C library (tests/memory/failing_malloc.h),
// and all together by a limit on the address space.
#include <set>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;
namespace fs = std::filesystem;

class MemoryTest : public ProgramTest {
 protected:
  void SetUp() override {
#ifndef ONEMODEL_FAILING_MALLOC
    GTEST_SKIP() << "needs glibc, and no sanitizer";
#endif
    for (const char* name : {"out", "whole"}) fs::remove_all(path(name));
  }

  static Words train(const std::string& out, const Words& more = {}) {
    Words words = {"train",
                   "--generator",
                   path("generator.safetensors"),
                   "--images",
                   path("photos"),
                   "--out",
                   path(out),
                   "--batch",
                   "2",
                   "--encoder-width",
                   "0.5",
                   "--iterations",
                   "4",
                   "--checkpoint-every",
                   "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  static std::vector<Words> commands() {
    const std::string out = path("out"), model = path("model.safetensors");
    return {{"info", model},
            {"import", path("generator.safetensors"), "-o", out},
            {"generate", "--generator", path("generator.safetensors"), "--count", "2", "--out", out},
            {"encode", "--model", model, path("photos"), "--tensors", out},
            {"reconstruct", "--model", model, path("photos"), "--out", out, "--json"},
            train("out")};
  }

  /// Refuses the n-th request for memory; mode 1: and every later one.
  static ProgramRun refusing(const Words& words, std::int64_t n, int mode) {
    return preloaded(
        text("ONEMODEL_FAIL_AT=", n, " ONEMODEL_FAIL_MODE=", mode, " ONEMODEL_FAIL_COUNT=", path("count")),
        words);
  }
  static ProgramRun preloaded(const std::string& settings, const Words& words) {
#ifdef ONEMODEL_FAILING_MALLOC
    const std::string library = ONEMODEL_FAILING_MALLOC;
#else
    const std::string library;
#endif
    return onemodel_in_shell("exec env LD_PRELOAD='" + library + "' " + settings + " \"$0\" \"$@\"", words);
  }
  /// With so much address space.
  static ProgramRun within(std::int64_t kib, const Words& words) {
    return onemodel_in_shell(text("ulimit -v ", kib, "; exec \"$0\" \"$@\""), words);
  }

  /// One line of complaint, the last, behind what the command said while all was well.
  static void expect_no_memory(const ProgramRun& run) {
    EXPECT_EQ(run.exit_code, 1);
    const std::vector<std::string> lines = run.complaints();
    ASSERT_FALSE(lines.empty());
    EXPECT_TRUE(lines.back().starts_with("onemodel: not enough memory")) << lines.back();
    for (std::size_t i = 0; i + 1 < lines.size(); ++i) EXPECT_FALSE(lines[i].starts_with("onemodel: "));
    EXPECT_EQ(run.err.find("terminate"), std::string::npos);
  }

  /// A run in path("out") that ended for want of memory goes on to the bytes of path("whole").
  static void expect_resumes() {
    const auto before = fs::exists(path("out/checkpoints")) ? folder_content(path("out/checkpoints"))
                                                            : std::map<std::string, std::string>();
    const ProgramRun resumed = onemodel(train("out", {"--resume"}));
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    for (const char* folder : {"", "/checkpoints", "/samples"})
      EXPECT_EQ(folder_content(path("out") + folder), folder_content(path("whole") + folder)) << folder;
    for (const auto& [name, bytes] : before) {
      const bool temporary = name.starts_with('.');
      EXPECT_TRUE(temporary || content(path("whole/checkpoints/" + name)) == bytes) << name;
    }
  }
};

TEST_F(MemoryTest, EveryRefusalIsOneLine) {
  for (const Words& words : commands()) {
    fs::remove_all(path("out"));
    ASSERT_EQ(refusing(words, 0, 0).exit_code, 0);
    const std::int64_t requests = std::stoll(content(path("count")));
    std::set<std::int64_t> moments;
    for (std::int64_t i = 0; i < 12; ++i) moments.insert(1 + 3 * i);  // before main and soon after
    for (std::int64_t i = 0; i < 20; ++i) moments.insert(1 + requests * (2 * i + 1) / 40);
    for (const std::int64_t n : moments) {
      for (const int mode : {0, 1}) {
        fs::remove_all(path("out"));
        const ProgramRun run = refusing(words, n, mode);
        SCOPED_TRACE(text(words.front(), ", request ", n, " of ", requests, ", mode ", mode, "\n", run.err));
        if (mode == 0 && run.exit_code == 0) continue;  // it asked again and got it
        expect_no_memory(run);
      }
    }
  }
}

TEST_F(MemoryTest, ARunGoesOnAfterIt) {
  ASSERT_EQ(onemodel(train("whole")).exit_code, 0);
  ASSERT_EQ(refusing(train("out"), 0, 0).exit_code, 0);
  const std::int64_t requests = std::stoll(content(path("count")));
  for (std::int64_t i = 0; i < 16; ++i) {
    const std::int64_t n = 1 + requests * (2 * i + 1) / 32;
    fs::remove_all(path("out"));
    const ProgramRun run = refusing(train("out"), n, 1);
    SCOPED_TRACE(text("request ", n, " of ", requests, "\n", run.err));
    expect_no_memory(run);
    expect_resumes();
  }
  // and while resuming: a second attempt without memory loses nothing either
  fs::remove_all(path("out"));
  expect_no_memory(refusing(train("out"), requests * 3 / 4, 1));
  for (std::int64_t i = 0; i < 8; ++i) {
    const ProgramRun run = refusing(train("out", {"--resume"}), 1 + requests * (2 * i + 1) / 80, 1);
    SCOPED_TRACE(run.err);
    expect_no_memory(run);
  }
  expect_resumes();
}

// The bundled generator at a batch that takes some hundred MiB, in ever less room.
TEST_F(MemoryTest, AFallingLimitIsOneLine) {
  const std::string cats = ONEMODEL_SOURCE_DIR "/examples/pretrained/cats128-generator.safetensors";
  const auto train_cats = [&](const std::string& out, const Words& more = {}) {
    Words words = {"train",
                   "--generator",
                   cats,
                   "--images",
                   path("photos"),
                   "--out",
                   path(out),
                   "--batch",
                   "2",
                   "--encoder-width",
                   "0.25",
                   "--iterations",
                   "2",
                   "--checkpoint-every",
                   "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::vector<Words> all = {
      {"import", cats, "-o", path("out/imported")},
      {"generate", "--generator", cats, "--out", path("out/generated")},
      {"reconstruct", "--model", path("whole/model.safetensors"), path("photos"), "--out", path("out/r")},
      train_cats("out")};
  ASSERT_EQ(onemodel(train_cats("whole")).exit_code, 0);
  std::int64_t least = 4096;  // in which the program starts at all; below it the loader of programs speaks
  while (within(least, {"--help"}).exit_code != 0) least += 1024;
  for (const Words& words : all) {
    int refused = 0, done = 0;
    for (std::int64_t kib = least + 2048; done == 0; kib += kib / 6) {
      ASSERT_LT(kib, 8 << 20);
      fs::remove_all(path("out"));
      fs::create_directory(path("out"));
      if (words.front() == "train") fs::remove_all(path("out"));
      const ProgramRun run = within(kib, words);
      SCOPED_TRACE(text(words.front(), " in ", kib, " KiB\n", run.err));
      if (run.exit_code == 0) {
        ++done;
        continue;
      }
      ++refused;
      expect_no_memory(run);
      if (words.front() != "train" || !fs::exists(path("out/config.json"))) continue;
      ASSERT_EQ(onemodel(train_cats("out", {"--resume"})).exit_code, 0);
      for (const std::string name : {"model.safetensors", "metrics.jsonl", "checkpoints/000001.safetensors"})
        EXPECT_TRUE(content(path("out/" + name)) == content(path("whole/" + name))) << name;
    }
    EXPECT_GT(refused, 3) << words.front();
  }
}

TEST_F(MemoryTest, ThreadsThatCannotBeStarted) {
  ASSERT_EQ(onemodel(train("whole")).exit_code, 0);
  int done = 0;
  for (int most = 0; most <= 9; ++most) {
    fs::remove_all(path("out"));
    const ProgramRun run = preloaded(text("ONEMODEL_MOST_THREADS=", most), train("out", {"--threads", "6"}));
    SCOPED_TRACE(text(most, " threads\n", run.err));
    if (run.exit_code != 0) {
      expect_no_memory(run);
      EXPECT_NE(run.err.find("cannot start thread "), std::string::npos);
      EXPECT_FALSE(fs::exists(path("out")));
      continue;
    }
    ++done;  // on fewer threads, said in a line, to the same bytes
    EXPECT_EQ(run.err.find("; the system starts no more\n") != std::string::npos, most < 7);
    EXPECT_EQ(folder_content(path("out")), folder_content(path("whole")));
  }
  EXPECT_GE(done, 7);
}

}  // namespace
}  // namespace om::test
