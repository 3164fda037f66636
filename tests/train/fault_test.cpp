// What may go wrong around a run, put there on purpose: writes that fail, a folder that may not be written,
// images that vanish or break. Each is one error or one line, and what stood before stands after.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "io/atomic_file.h"
#include "io/image_folder.h"
#include "io/safetensors.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"

namespace om {
namespace {

using test::difference;
using test::files_of;
using test::TinyRun;
namespace fs = std::filesystem;

/// The message of the Error that `run` ends in, on one line; "" where there is none.
std::string complaint(const std::function<void()>& run) {
  try {
    run();
  } catch (const UsageError& error) {
    return std::string("a usage error: ") + error.what();
  } catch (const InputError& error) {
    return std::string("an input error: ") + error.what();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<FileFault> steps;  // of all files since it was cleared
std::size_t failing_step = 0;

TEST(TrainFaults, EveryWriteThatFailsLosesNothing) {
  TinyRun tiny;
  tiny.config.iterations = 4;
  const auto hook = [](FileFault step, const std::string& path, std::uint64_t) {
    if (step == FileFault::done) return;
    steps.push_back(step);
    if (steps.size() == failing_step) fail(path, ": cannot write: no space left");
  };
  atomic_file_fault = hook;
  failing_step = 0;
  steps.clear();
  tiny.run("whole");
  const std::vector<FileFault> all = steps;
  const auto whole = files_of(tiny.out("whole"));
  ASSERT_GT(all.size(), 20U);
  for (std::size_t n = 1; n <= all.size(); ++n) {
    if (all[n - 1] == FileFault::write && n % (all.size() / 40 + 1) != 0) continue;  // some of these
    SCOPED_TRACE(text("step ", n, " of ", all.size()));
    fs::remove_all(tiny.out("run"));
    failing_step = n;
    steps.clear();
    EXPECT_TRUE(contains(complaint([&] { tiny.run("run"); }), ": cannot write: no space left"));
    for (const auto& [name, content] : files_of(tiny.out("run")))  // what stands is whole
      EXPECT_TRUE(name == "metrics.jsonl" || whole.at(name) == content) << name;
    failing_step = 0;
    tiny.run("run", true);
    EXPECT_EQ(difference(whole, files_of(tiny.out("run"))), "");
  }
  atomic_file_fault = nullptr;
}

/// Files of this process may not grow beyond so many bytes, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  sighandler_t handler_;
};

TEST(TrainFaults, ALineOfMetricsThatDoesNotFit) {
  TinyRun tiny;
  tiny.run("whole");
  std::unique_ptr<FileSizeLimit> limit;
  TrainOptions options;
  options.after_step = [&](const StepReport& report) {
    if (report.iteration == 3)
      limit = std::make_unique<FileSizeLimit>(fs::file_size(tiny.out("run") + "/metrics.jsonl") + 20);
  };
  tiny.config.sample_every = 100;  // nothing else is written before it
  const std::string line = complaint([&] { tiny.run("run", false, options); });
  limit.reset();
  EXPECT_TRUE(contains(line, "/run/metrics.jsonl: cannot write: ")) << line;
  EXPECT_TRUE(files_of(tiny.out("run")).contains("checkpoints/000002.safetensors"));
  tiny.run("run", true);
  tiny.run("rare");  // the same settings, left alone
  EXPECT_EQ(difference(files_of(tiny.out("rare")), files_of(tiny.out("run"))), "");
}

TEST(TrainFaults, MetricsAreCutBackToTheCheckpoint) {
  TinyRun tiny;
  tiny.run("whole");
  std::atomic<bool> stop = false;
  TrainOptions options;
  options.stop = &stop;
  options.after_step = [&](const StepReport& report) { stop = report.iteration == 5; };
  tiny.run("run", false, options);
  // as a run leaves them that was killed between two checkpoints, in the middle of a line
  std::ofstream(tiny.out("run") + "/metrics.jsonl", std::ios::app)
      << "{\"iteration\": 6, \"loss\": 1}\n{\"iteration\": 6, \"validation\": {}}\n{\"iteration\": 7, \"lo";
  tiny.run("run", true);
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

TEST(TrainFaults, WhatAKilledWriterLeftIsRemoved) {
  TinyRun tiny;
  tiny.run("run");
  fs::create_directory(tiny.out("run") + "/plans");
  const auto write = [&](const std::string& name) { std::ofstream(tiny.out("run") + name) << "half"; };
  write("/plans/plans-A-card-cudnn91900.txt");
  const auto before = files_of(tiny.out("run"));
  write("/plans/plans-A-card-cudnn91900.txt.12345");
  write("/checkpoints/.000004.safetensors.tmp");
  tiny.run("run", true);
  EXPECT_EQ(difference(before, files_of(tiny.out("run"))), "");
}

TEST(TrainFaults, ThePositionIsThatOfTheLastFinishedStep) {
  TinyRun tiny;
  tiny.run("run");
  for (const int i : {2, 4, 6}) {  // the loader is batches ahead at each of them
    const std::string path = tiny.out("run") + text("/checkpoints/00000", i, ".safetensors");
    EXPECT_EQ(read_safetensors(path).metadata.at("position"), std::to_string(i * tiny.config.batch));
  }
}

/// Root may write everywhere: for a while this process, and the files below a folder, are nobody's.
class WithoutPrivileges {
 public:
  explicit WithoutPrivileges(const fs::path& folder) : root_(::geteuid() == 0) {
    if (!root_) return;
    works_ = ::chown(folder.c_str(), nobody, nobody) == 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      works_ = works_ && ::chown(entry.path().c_str(), nobody, nobody) == 0;
    works_ = works_ && ::seteuid(nobody) == 0;
  }
  ~WithoutPrivileges() {
    if (root_) (void)!::seteuid(0);
  }
  /// False for a root that may not become another user.
  bool works() const { return works_; }
  WithoutPrivileges(const WithoutPrivileges&) = delete;
  WithoutPrivileges& operator=(const WithoutPrivileges&) = delete;

 private:
  static constexpr uid_t nobody = 65534;
  bool root_, works_ = true;
};

TEST(TrainFaults, AFolderThatMayNotBeWritten) {
  TinyRun tiny;
  const WithoutPrivileges nobody(tiny.folder().path());
  if (!nobody.works()) GTEST_SKIP() << "root may not become another user here";
  fs::create_directory(tiny.out("closed"));
  ::chmod(tiny.out("closed").c_str(), 0555);
  EXPECT_TRUE(
      contains(complaint([&] { tiny.run("closed"); }), "/closed/checkpoints: cannot make the folder"));
  EXPECT_TRUE(contains(complaint([&] { tiny.run("closed/run"); }), "/closed/run: cannot make the folder"));
  EXPECT_TRUE(files_of(tiny.out("closed")).empty());
  EXPECT_TRUE(contains(complaint([&] { tiny.run("../../../proc/onemodel"); }), "cannot make the folder"));
}

TEST(TrainFaults, AFolderThatMayNotBeWrittenAnyMore) {
  TinyRun tiny;
  const WithoutPrivileges nobody(tiny.folder().path());
  if (!nobody.works()) GTEST_SKIP() << "root may not become another user here";
  tiny.run("whole");
  TrainOptions options;
  options.after_step = [&](const StepReport& report) {
    if (report.iteration == 3) ::chmod((tiny.out("run") + "/checkpoints").c_str(), 0555);
  };
  const std::string line = complaint([&] { tiny.run("run", false, options); });
  EXPECT_TRUE(contains(line, "/checkpoints/000004.safetensors: cannot write: ")) << line;
  const auto files = files_of(tiny.out("run"));
  EXPECT_TRUE(files.contains("checkpoints/000002.safetensors"));
  EXPECT_FALSE(files.contains("model.safetensors"));
  // one that may not even be listed is no run without checkpoints
  ::chmod((tiny.out("run") + "/checkpoints").c_str(), 0);
  EXPECT_TRUE(
      contains(complaint([&] { tiny.run("run", true); }), "/run/checkpoints: cannot read the folder: "));
  ::chmod((tiny.out("run") + "/checkpoints").c_str(), 0755);
  tiny.run("run", true);
  EXPECT_EQ(difference(files_of(tiny.out("whole")), files_of(tiny.out("run"))), "");
}

// Thirty images; what the loader has not read yet vanishes, is cut, is overwritten, becomes a folder. The run
// is the one that found them so from the start: what stands in for them is decided by their positions.
TEST(TrainFaults, ImagesThatVanishOrBreak) {
  constexpr int kImages = 30;
  TinyRun tiny;
  tiny.config.val.clear();
  tiny.config.sample_every = 0;
  tiny.config.iterations = 15;
  tiny.config.checkpoint_every = 15;
  const auto name = [&](const std::string& folder, std::size_t i) {
    return tiny.folder() / folder / text("image", 10 + i, ".png");
  };
  for (const char* folder : {"steady", "broken-before"}) {
    fs::create_directory(tiny.folder() / folder);
    for (std::size_t i = 0; i < kImages; ++i) {
      Image image(16, 16);
      for (std::size_t p = 0; p < image.pixels.size(); ++p)
        image.pixels[p] = static_cast<std::uint8_t>(p * (i + 1) / 5);
      write_png(name(folder, i), image);
    }
  }
  const std::vector<std::uint32_t> order =
      epoch_order(static_cast<std::uint64_t>(tiny.config.seed), 0, kImages);
  const auto harm = [&](const std::string& folder) {
    fs::remove(name(folder, order[20]));
    fs::resize_file(name(folder, order[22]), 60);
    std::ofstream(name(folder, order[23])) << "no image any more";
    fs::remove(name(folder, order[27]));
    fs::create_directory(name(folder, order[27]));
  };

  TrainOptions options;
  options.loader_threads = 1;
  options.after_step = [&](const StepReport& report) {
    if (report.iteration == 1) harm("steady");
  };
  tiny.config.images = tiny.folder() / "steady";
  const TrainResult result = tiny.run("run", false, options);
  EXPECT_EQ(result.iteration, 15);
  EXPECT_EQ(result.unreadable, 4);
  for (const int i : {20, 22, 23, 27}) {
    const std::string file = name("steady", order[static_cast<std::size_t>(i)]).string();
    EXPECT_EQ(std::count_if(tiny.log.begin(), tiny.log.end(),
                            [&](const std::string& line) { return line.starts_with(file + ": "); }),
              1)
        << file;
  }

  // Unreadable from the start, but listed: so not a folder, and not gone.
  harm("broken-before");
  fs::remove(name("broken-before", order[27]));
  for (const int i : {20, 27})
    std::ofstream(name("broken-before", order[static_cast<std::size_t>(i)])) << "no image";
  tiny.config.images = tiny.folder() / "broken-before";
  tiny.run("other");
  const auto run = files_of(tiny.out("run")), other = files_of(tiny.out("other"));
  EXPECT_TRUE(run.at("model.safetensors") == other.at("model.safetensors"));
  EXPECT_EQ(run.at("metrics.jsonl"), other.at("metrics.jsonl"));
}

}  // namespace
}  // namespace om
