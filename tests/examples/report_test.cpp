// onemodel report: what its page holds, of runs as they are and as they should not be.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "io/image.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "train/run_folder.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;

class ReportTest : public ProgramTest {
 protected:
  static void write(const std::string& name, const std::string& content) {
    fs::create_directories(fs::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << content;
  }
  static bool holds(const std::string& page, const std::string& part) {
    return page.find(part) != std::string::npos;
  }

  /// Reports on folders of the scratch folder; the page.
  static std::string page_of(const std::vector<std::string>& runs, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"report"};
    for (const std::string& run : runs) words.push_back(path(run));
    more.insert(more.end(), {"-o", path("page.html")});
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, "");
    said() = run.err;
    return content(path("page.html"));
  }
  static std::string& said() {
    static std::string line;
    return line;
  }
};

TEST_F(ReportTest, OfATrainedRunAndWhatLiesInItsFolder) {
  const ProgramRun trained =
      onemodel({"train", "--generator", path("generator.safetensors"), "--images", path("photos"), "--val",
                path("photos"), "--strategy", "two-networks", "--iterations", "3", "--stage1-iterations", "2",
                "--batch", "1", "--sample-every", "2", "--out", path("run")});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  ASSERT_EQ(onemodel({"eval", "--model", "ours=" + path("run/model.safetensors"), "--data",
                      "photos=" + path("photos"), "--out", path("run/eval")})
                .exit_code,
            0);
  ASSERT_EQ(onemodel({"figure", "noise-maps", "--model", path("run/model.safetensors"),
                      path("photos/one.png"), "--out", path("run/figure4.png")})
                .exit_code,
            0);
  const std::map<std::string, std::string> before = folder_content(path("run"));
  const std::string page = page_of({"run"});
  for (const char* part : {"\"label\": \"run\", \"state\": \"finished\", ",
                           "\"total\": 5, \"last\": 5",
                           "\"stages\": [[1,0],[2,3]]",
                           "\"loss\": {",
                           "\"mse\": {",
                           "\"lr\": {",
                           "\"grad_norm.",
                           "\"validation.psnr\": {",
                           "\"leak.random.ssim\": {",
                           "[\"strategy\",\"two-networks\"]",
                           "[\"stage1_iterations\",\"2\"]",
                           "\"name\": \"eval/table.json\"",
                           "\"photos\"",
                           "\"name\": \"figure4.png\"",
                           "\"iteration\": 2, \"image\": 0",
                           "\"iteration\": 5, \"image\": ",
                           "data:image/png;base64,",
                           "\"skipped\": 0",
                           "Chart.js v3",
                           "Permission is hereby granted"})
    EXPECT_TRUE(holds(page, part)) << part;
  EXPECT_EQ(page.find("{{"), std::string::npos);
  EXPECT_EQ(folder_content(path("run")), before);  // a report changes nothing
  EXPECT_TRUE(holds(said(), "page.html: 1 run, ")) << said();
  EXPECT_FALSE(holds(said(), "skipped")) << said();
}

TEST_F(ReportTest, FetchesNothing) {
  write("bare/metrics.jsonl", "{\"iteration\": 1, \"loss\": 1}\n");
  const std::string page = page_of({"bare"});
  EXPECT_TRUE(holds(page, "default-src 'none'"));
  for (const char* part : {"<link rel=\"stylesheet", "<script src", "@import", "url(http", "src=\"http",
                           "fetch(", "XMLHttpRequest"})
    EXPECT_FALSE(holds(page, part)) << part;
}

TEST_F(ReportTest, TextsFromFilesAreNoMarkup) {
  const std::string evil = "</script><script>alert(1)</script>";
  write("evil/config.json", R"({"task": ")" + evil + R"(", "<b>": 1})");
  write("evil/metrics.jsonl", R"({"iteration": 1, ")" + evil + R"(": 1})" + "\n");
  write("evil/table.json", R"({"rows": [{"model": ")" + evil + R"("}]})");
  const std::string page = page_of({"evil"}, {"--title", "<script>alert(2)</script> & \"more\""});
  EXPECT_FALSE(holds(page, "<script>alert"));
  EXPECT_TRUE(holds(page, "\\u003c/script>\\u003cscript>alert(1)\\u003c/script>"));
  EXPECT_TRUE(holds(page, "<title>&lt;script&gt;alert(2)&lt;/script&gt; &amp; &quot;more&quot;</title>"));
}

TEST_F(ReportTest, ReadsARunThatGoesOnAndTornLines) {
  write(
      "torn/metrics.jsonl",
      "{\"iteration\": 1, \"loss\": 4}\nnonsense\n{\"iteration\": 2, \"loss\": 3}\n{\"iteration\": 3, \"lo");
  const std::string page = page_of({"torn"});
  EXPECT_TRUE(holds(page, "\"total\": null, \"last\": 2, \"lines\": 2, \"skipped\": 2"));
  EXPECT_TRUE(holds(page, "\"state\": \"not finished\", "));
  EXPECT_TRUE(holds(page, "\"x\": [1,2], \"y\": [4,3]"));
  EXPECT_TRUE(holds(said(), "2 lines of metrics, 2 skipped")) << said();
  // broken settings and pictures cost neither the page nor the others
  write("torn/config.json", "{\"lr\": ");
  write("torn/samples/000001.png", "no picture");
  write("torn/bad.png", "no picture");
  write("torn/table.json", "{\"rows\": [");
  const std::string second = page_of({"torn", "torn/../torn"});
  EXPECT_TRUE(holds(second, "config.json: is no JSON object"));
  EXPECT_TRUE(holds(second, "000001.png: "));
  EXPECT_TRUE(holds(second, "bad.png: "));
  EXPECT_TRUE(holds(second, "\"x\": [1,2], \"y\": [4,3]"));
}

TEST_F(ReportTest, HundredThousandStepsStayUnderFiveMegabytesWithTheirPeaks) {
  std::ostringstream lines;
  for (int i = 1; i <= 100'000; ++i) {
    const double loss = i == 54'321 ? 7.125 : i == 77'777 ? 0.00012345 : 0.3 + 0.1 * std::sin(i * 0.7);
    lines << "{\"iteration\": " << i << ", \"loss\": " << loss << ", \"mse\": " << loss / 3
          << ", \"lpips\": " << loss / 7 << ", \"lr\": " << 1e-4 / i << ", \"lr_noise_heads\": " << 1e-5 / i
          << ", \"grad_norm\": {\"main\": " << 1 + std::cos(i * 0.3)
          << ", \"noise_heads\": " << 1 + std::cos(i * 0.1) << "}, \"stage\": 1}\n";
  }
  write("long/metrics.jsonl", lines.str());
  fs::create_directories(path("long/samples"));
  Image picture(512, 256);
  std::uint32_t state = 1;
  for (std::uint8_t& value : picture.pixels)
    value = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  write_png(path("long/samples/000000.png"), picture);
  for (int i = 1000; i <= 100'000; i += 1000)
    fs::copy_file(path("long/samples/000000.png"),
                  path("long/samples/" + std::string(i < 100'000 ? 6 - std::to_string(i).size() : 0, '0') +
                       std::to_string(i) + ".png"));
  const std::string page = page_of({"long"});
  EXPECT_LT(page.size(), 5'000'000U);
  EXPECT_GT(page.size(), 1'000'000U);  // with its pictures
  for (const char* part : {"\"last\": 100000, \"lines\": 100000, \"skipped\": 0", "54321,", "7.125", "77777,",
                           "0.00012345", "\"count\": 100000", "\"iteration\": 0, \"image\": 0",
                           "\"iteration\": 100000, \"image\": 11", "\"samples_left\": 89"})
    EXPECT_TRUE(holds(page, part)) << part;
  // three of them likewise, and a foreign file of one endless line
  write("endless/metrics.jsonl", std::string(3'000'000, '{'));
  EXPECT_LT(page_of({"long", "long/.", "long/..//long", "endless"}).size(), 5'000'000U);
}

TEST_F(ReportTest, RunsOfOneNameAreToldApart) {
  write("a/run/metrics.jsonl", "{\"iteration\": 1, \"loss\": 1}\n");
  write("b/run/metrics.jsonl", "{\"iteration\": 1, \"loss\": 1}\n");
  write("b/other/metrics.jsonl", "{\"iteration\": 1, \"loss\": 1}\n");
  const std::string page = page_of({"a/run", "b/run", "b/other/"});
  for (const std::string& label : {path("a/run"), path("b/run"), std::string("other")})
    EXPECT_TRUE(holds(page, "\"label\": \"" + label + "\"")) << label;
  // one that is named three times
  const std::string thrice = page_of({"b/other", "b/other", "b/other"});
  for (const char* more : {"", " (2)", " (3)"})
    EXPECT_TRUE(holds(thrice, "\"label\": \"" + path("b/other") + more + "\"")) << more;
}

TEST_F(ReportTest, ARunWithoutItsModelSaysHowFarItCame) {
  write("kept/config.json", R"({"iterations": 3, "lr": 0.5})");
  write("kept/metrics.jsonl", "{\"iteration\": 2, \"loss\": 1}\n");
  fs::last_write_time(
      path("kept/metrics.jsonl"),
      fs::file_time_type::clock::from_sys(std::chrono::sys_seconds(std::chrono::seconds(1'700'000'000))));
  EXPECT_TRUE(holds(page_of({"kept"}), "\"state\": \"not finished\", \"written\": 1700000000, \"total\": 3"));
  write("kept/metrics.jsonl", "{\"iteration\": 3, \"loss\": 1}\n");
  EXPECT_TRUE(holds(page_of({"kept"}), "\"state\": \"all steps done, no model here\""));
  write("kept/model.safetensors", "");
  EXPECT_TRUE(holds(page_of({"kept"}), "\"state\": \"finished\""));
  // a folder of tables alone is no run
  write("tables/table.json", R"({"rows": [{"z": 1, "a": 2}]})");
  EXPECT_TRUE(holds(page_of({"tables"}), "\"state\": \"no run\", \"written\": null, \"total\": null"));
}

TEST_F(ReportTest, TablesKeepTheirColumnsOrderAndAreBounded) {
  write("tables2/table.json", R"({"rows": [{"z": "b", "a": 2.5}, {"z": "c", "m": null, "b": 1}]})");
  EXPECT_TRUE(holds(page_of({"tables2"}),
                    R"("columns": ["z","a","m","b"], "rows": [["b","2.5","",""],["c","","","1"]])"));
  // a hundred thousand keys: left out, and soon
  std::string keys;
  for (int i = 0; i < 100'000; ++i) keys += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":1";
  write("tables2/wide.json", "{\"rows\": [{" + keys + "}]}");
  write("tables2/wider.json", "{" + keys + "}");
  write("tables2/deep.json",
        "{\"rows\": [{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}]}");
  const auto begin = std::chrono::steady_clock::now();
  const std::string page = page_of({"tables2"});
  for (const char* name : {"wide.json", "wider.json"}) EXPECT_FALSE(holds(page, name)) << name;
  EXPECT_TRUE(holds(page, "[[\"{..}\"]]"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
}

TEST_F(ReportTest, WhatIsNoNumberIsAGap) {
  write("gaps/metrics.jsonl",
        "{\"iteration\": 1, \"loss\": 4}\n{\"iteration\": 2, \"loss\": null}\n{\"iteration\": 3, \"loss\": "
        "NaN}\n"
        "{\"iteration\": 4, \"loss\": 1e999}\n{\"iteration\": 5, \"loss\": -0.5}\n");
  const std::string page = page_of({"gaps"});
  EXPECT_TRUE(holds(page, "\"x\": [1,5], \"y\": [4,-0.5]")) << page.substr(0, 200);
  EXPECT_TRUE(holds(page, "\"last\": 5, \"lines\": 3, \"skipped\": 2"));
}

TEST_F(ReportTest, WhatCannotBeIsOneLine) {
  const auto expect = [](const std::vector<std::string>& words, int code, const std::string& reason) {
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    EXPECT_TRUE(holds(run.err, reason)) << run.err;
  };
  write("good/metrics.jsonl", "{\"iteration\": 1, \"loss\": 1}\n");
  const std::string out = path("unused.html");
  expect({"report", path("nowhere"), "-o", out}, 3, "nowhere: is no folder of a run");
  expect({"report", path("text.txt"), "-o", out}, 3, "text.txt: is no folder of a run");
  expect({"report", path("empty"), "-o", out}, 3, "empty: holds no run");
  expect({"report", path("good"), path("empty"), "-o", out}, 3, "empty: holds no run");
  expect({"report", path("good"), "-o", path("text.txt") + "/x.html"}, 1, "cannot write");
  // whatever else lies in a run's folder has no such name
  write("good/samples/000002.png", "a picture");
  for (const char* name : {"good", "good/metrics.jsonl", "good/samples/000002.png"})
    expect({"report", path("good"), "-o", path(name)}, 2, "ends in .html");
  EXPECT_EQ(content(path("good/samples/000002.png")), "a picture");
  expect({"report", path("good"), "-o", out, "--every", "0"}, 2, "--every must lie between");
  expect({"report", "-o", out}, 2, "RUNS");
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(ReportTest, WatchWritesAnewUntilTheRunIsFinished) {
  write("live/metrics.jsonl", "{\"iteration\": 1, \"loss\": 1}\n");
  std::thread writer([] {
    const auto wait_for = [](const std::string& part) {
      for (int i = 0; i < 200; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(50))) {
        if (!fs::exists(path("live.html"))) continue;
        if (holds(content(path("live.html")), part)) return true;
      }
      return false;
    };
    EXPECT_TRUE(wait_for("\"lines\": 1,"));
    std::ofstream(path("live/metrics.jsonl"), std::ios::app) << "{\"iteration\": 2, \"loss\": 0.5}\n";
    EXPECT_TRUE(wait_for("\"lines\": 2,"));
    std::ofstream(path("live/model.safetensors")) << "done";
  });
  const ProgramRun run =
      onemodel({"report", path("live"), "-o", path("live.html"), "--watch", "--every", "1"});
  writer.join();
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.complaints().size(), 3U) << run.err;
  const std::string page = content(path("live.html"));
  EXPECT_TRUE(holds(page, "\"state\": \"finished\""));
  EXPECT_TRUE(holds(page, "{\"refresh\": 0,"));
}

TEST_F(ReportTest, WatchEndsWithRunsThatAreOverWithoutTheirModel) {
  write("over/config.json", R"({"iterations": 3})");
  write("over/metrics.jsonl", "{\"iteration\": 3, \"loss\": 1}\n");
  write("stages/config.json", R"({"iterations": 2, "stage1_iterations": 3, "strategy": "two-networks"})");
  write("stages/metrics.jsonl", "{\"iteration\": 5, \"loss\": 1}\n");
  write("tables3/table.json", R"({"rows": [{"z": 1}]})");
  const ProgramRun run = onemodel_in_shell(
      "exec timeout 20 \"$0\" \"$@\"",
      {"report", path("over"), path("stages"), path("tables3"), "-o", path("over.html"), "--watch"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.complaints().size(), 1U) << run.err;
  const std::string page = content(path("over.html"));
  EXPECT_TRUE(holds(page, "{\"refresh\": 0,"));
  EXPECT_TRUE(holds(page, "\"state\": \"all steps done, no model here\""));
}

// Between the last step and the model lie validation and the leak figure.
TEST_F(ReportTest, WatchGoesOnAfterTheLastStepWhileTheRunIsAtWork) {
  write("late/config.json", R"({"iterations": 3})");
  write("late/metrics.jsonl", "{\"iteration\": 3, \"loss\": 1}\n");
  write("late/model.safetensors", "of fewer steps");
  auto log = std::make_unique<MetricsLog>(path("late/metrics.jsonl"));
  RunningProgram report({"report", path("late"), "-o", path("late.html"), "--watch", "--every", "1"});
  EXPECT_TRUE(report.says("1 lines of metrics")) << report.said();
  fs::remove(path("late/model.safetensors"));
  log->append(R"({"iteration": 3, "validation": {"psnr": 20}})");
  EXPECT_TRUE(report.says("2 lines of metrics")) << report.said();
  EXPECT_TRUE(holds(content(path("late.html")), "{\"refresh\": 1,"));
  log.reset();  // its end, though no file tells of it
  bool ended = false;
  for (int i = 0; i < 200 && !ended; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(50)))
    ended = holds(content(path("late.html")), "{\"refresh\": 0,");
  EXPECT_TRUE(ended);
  if (!ended) report.send(SIGKILL);
  EXPECT_EQ(report.end().exit_code, 0) << report.said();
}

TEST_F(ReportTest, ARunThatIsMadeLongerIsNotFinished) {
  write("longer/config.json", R"({"iterations": 9})");
  write("longer/metrics.jsonl", "{\"iteration\": 3, \"loss\": 1}\n");
  write("longer/model.safetensors", "of three steps");
  {
    const MetricsLog log(path("longer/metrics.jsonl"));
    EXPECT_TRUE(holds(page_of({"longer"}), "\"state\": \"not finished\""));
  }
  EXPECT_TRUE(holds(page_of({"longer"}), "\"state\": \"finished\""));
}

// Asking whether somebody trains there keeps nobody from it.
TEST_F(ReportTest, ALookAtTheLockRefusesNoRun) {
  write("looked/metrics.jsonl", "");
  const int look = ::open(path("looked/metrics.jsonl").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::flock(look, LOCK_SH | LOCK_NB), 0);
  std::thread away([look] {
    std::this_thread::sleep_for(std::chrono::milliseconds(15));
    ::close(look);
  });
  EXPECT_NO_THROW(MetricsLog(path("looked/metrics.jsonl")));
  away.join();
}

TEST_F(ReportTest, WatchOfARunThatWasBrokenOffIsEndedBySigint) {
  write("live2/config.json", R"({"iterations": 2})");
  write("live2/metrics.jsonl", "{\"iteration\": 1, \"loss\": 1}\n");
  const ProgramRun run = onemodel_interrupted({"report", path("live2"), "-o", path("live2.html"), "--watch"},
                                              "1 lines of metrics");
  EXPECT_EQ(run.exit_code, 130) << run.err;
  EXPECT_TRUE(holds(content(path("live2.html")), "{\"refresh\": 10,"));
}

}  // namespace
}  // namespace om::test
