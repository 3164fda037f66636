// --batch: the same pictures, lines and rows in batches as one by one.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/image.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

class BatchTest : public ProgramTest {
 protected:
  static void SetUpTestSuite() {
    ProgramTest::SetUpTestSuite();
    fs::create_directory(path("many"));
    for (int i = 0; i < 7; ++i) {
      Image image = read_image(path("photos/one.png"));
      for (std::size_t k = 0; k < image.pixels.size(); ++k)
        image.pixels[k] = static_cast<std::uint8_t>(image.pixels[k] / (1 + i) + 3 * k % (i + 2));
      write_png(path("many/" + std::to_string(i) + ".png"), image);
    }
    fs::copy_file(path("broken.png"), path("many/3-broken.png"));
  }
  static ProgramRun run(const std::string& command, const Words& images, const Words& more) {
    Words words = {command, "--model", path("model.safetensors")};
    words.insert(words.end(), images.begin(), images.end());
    words.insert(words.end(), more.begin(), more.end());
    return onemodel(words);
  }
  static void expect_near(const Json& a, const Json& b, double tolerance) {
    for (const char* metric : {"psnr", "ssim", "ssim_wang"})
      EXPECT_NEAR(a[metric].get<double>(), b[metric].get<double>(), tolerance) << metric;
  }
};

TEST_F(BatchTest, RowsFilesAndLinesStayAsTheyWere) {
  const ProgramRun one = run("reconstruct", {path("many")}, {"--out", path("one"), "--json"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  for (const char* batch : {"2", "3", "7", "40"}) {
    SCOPED_TRACE(batch);
    const ProgramRun more =
        run("reconstruct", {path("many")}, {"--out", path("more"), "--json", "--batch", batch});
    ASSERT_EQ(more.exit_code, 0) << more.err;
    const Json rows = Json::parse(more.out), expected = Json::parse(one.out);
    ASSERT_EQ(rows["images"].size(), 7U);
    for (std::size_t i = 0; i < 7; ++i) {
      EXPECT_EQ(rows["images"][i]["file"], expected["images"][i]["file"]);
      EXPECT_EQ(rows["images"][i]["output"], path("more/" + std::to_string(i) + ".png"));
      expect_near(rows["images"][i], expected["images"][i], 1e-3);
    }
    EXPECT_GT(rows["images_per_second"].get<double>(), 0);
    ASSERT_EQ(more.complaints().size(), 3U) << more.err;
    EXPECT_TRUE(more.complaints()[0].starts_with("skipped " + path("many/3-broken.png") + ": "));
    EXPECT_EQ(more.complaints()[1], path("many") + ": skipped 1 of 8 images");
    EXPECT_EQ(folder_content(path("more")).size(), 8U);  // with the sheet
    fs::remove_all(path("more"));
  }
}

TEST_F(BatchTest, APicturesBytesKnowNoNeighbours) {
  const Words batch = {"--batch", "3"};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  ASSERT_EQ(run("reconstruct", {path("many")}, with({"--out", path("all")}, batch)).exit_code, 0);
  const auto all = folder_content(path("all"));
  Words turned;
  for (int i = 6; i >= 0; --i) turned.push_back(path("many/" + std::to_string(i) + ".png"));
  ASSERT_EQ(run("reconstruct", turned, with({"--out", path("turned")}, batch)).exit_code, 0);
  const auto back = folder_content(path("turned"));
  for (const std::string& file : turned) {
    const std::string name = fs::path(file).filename().string();
    EXPECT_TRUE(all.at(name) == back.at(name)) << name;
    ASSERT_EQ(run("reconstruct", {file}, with({"--out", path("alone")}, batch)).exit_code, 0);
    EXPECT_TRUE(all.at(name) == content(path("alone/" + name))) << name << " alone";
  }
  // the numbers themselves
  ASSERT_EQ(run("encode", {path("many")}, with({"--tensors", path("a.safetensors")}, batch)).exit_code, 0);
  ASSERT_EQ(run("encode", turned, with({"--tensors", path("b.safetensors")}, batch)).exit_code, 0);
  const SafeTensors a = read_safetensors(path("a.safetensors")), b = read_safetensors(path("b.safetensors"));
  for (const auto& [name, tensor] : a.tensors) {
    const std::vector<float> forward = floats(a, name), backward = floats(b, name);
    const std::size_t each = forward.size() / 7;
    for (std::size_t i = 0; i < 7; ++i)
      EXPECT_TRUE(std::equal(forward.begin() + static_cast<std::ptrdiff_t>(i * each),
                             forward.begin() + static_cast<std::ptrdiff_t>((i + 1) * each),
                             backward.begin() + static_cast<std::ptrdiff_t>((6 - i) * each)))
          << name << " " << i;
  }
}

TEST_F(BatchTest, EveryCommandMeasuresTheSame) {
  const auto both = [&](const std::string& command, Words more) {
    more.emplace_back("--json");
    const ProgramRun one = run(command, {path("many")}, more);
    EXPECT_EQ(one.exit_code, 0) << one.err;
    more.insert(more.end(), {"--batch", "4"});
    const ProgramRun four = run(command, {path("many")}, more);
    EXPECT_EQ(four.exit_code, 0) << four.err;
    return std::pair(Json::parse(one.out), Json::parse(four.out));
  };
  const auto [denoised, denoised4] = both("denoise", {"--out", path("denoised"), "--sigma", "25"});
  ASSERT_EQ(denoised4["images"].size(), 7U);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(denoised4["images"][i]["file"], denoised["images"][i]["file"]);
    EXPECT_EQ(denoised4["images"][i]["noisy"], denoised["images"][i]["noisy"]);
    expect_near(denoised4["images"][i]["denoised"], denoised["images"][i]["denoised"], 1e-3);
  }
  const auto [leak, leak4] = both("leak", {});
  EXPECT_EQ(leak4["images"], 7);
  for (const char* kind : {"predicted", "random", "zero"}) expect_near(leak4[kind], leak[kind], 1e-3);
  EXPECT_NE(leak["random"], leak["zero"]);
  const auto evaluate = [&](const Words& more) {
    Words words = {
        "eval",  "--model",   "ours=" + path("model.safetensors"), "--data", "many=" + path("many"),
        "--out", path("eval")};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun done = onemodel(words);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    return Json::parse(content(path("eval/table.json")))["rows"][0];
  };
  const Json row = evaluate({}), row4 = evaluate({"--batch", "4"});
  EXPECT_EQ(row4["images"], 7);
  expect_near(row4, row, 1e-3);
}

TEST_F(BatchTest, BadBatchesAreWrongUsage) {
  for (const char* command : {"reconstruct", "encode", "denoise", "leak"})
    for (const char* batch : {"0", "-1", "4097", "two", "1.5"}) {
      Words more = {text("--batch=", batch)};
      if (std::string(command) == "encode") more.insert(more.end(), {"--tensors", path("no.safetensors")});
      if (std::string(command) != "encode" && std::string(command) != "leak")
        more.insert(more.end(), {"--out", path("no")});
      const ProgramRun done = run(command, {path("many")}, more);
      SCOPED_TRACE(text(command, " ", batch, "\n", done.err));
      EXPECT_EQ(done.exit_code, 2);
      EXPECT_EQ(done.complaints().size(), 1U);
      EXPECT_NE(done.err.find("--batch"), std::string::npos);
    }
  EXPECT_FALSE(fs::exists(path("no")));
  EXPECT_FALSE(fs::exists(path("no.safetensors")));
}

// An unreadable file that was named, and one that is the last of a batch.
TEST_F(BatchTest, UnreadableFilesAreToldAsBefore) {
  const Words images = {path("many/0.png"), path("broken.png"), path("many/1.png"), path("mixed")};
  const ProgramRun one = run("reconstruct", images, {"--out", path("told")});
  const ProgramRun two = run("reconstruct", images, {"--out", path("told"), "--batch", "2"});
  EXPECT_EQ(one.exit_code, 3);
  EXPECT_EQ(two.exit_code, 3);
  EXPECT_EQ(two.err, one.err);
  EXPECT_EQ(two.complaints().size(), 4U) << two.err;
  const ProgramRun none = run("reconstruct", {path("broken")}, {"--out", path("none"), "--batch", "2"});
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_EQ(none.out, "");
  EXPECT_NE(none.err.find(path("broken") + ": holds no readable image"), std::string::npos) << none.err;
}

// Ctrl-C in the middle: what is written is whole, and the code says what happened.
TEST_F(BatchTest, AnInterruptionEndsTheBatches) {
  fs::create_directory(path("long"));
  fs::copy_file(path("broken.png"), path("long/0000.png"));  // its line is when to interrupt
  for (int i = 1; i <= 3000; ++i) {
    const std::string number = std::to_string(i);
    fs::create_hard_link(path("photos/one.png"),
                         path("long/") + std::string(4 - number.size(), '0') + number + ".png");
  }
  const ProgramRun done = onemodel_interrupted({"reconstruct", "--model", path("model.safetensors"),
                                                path("long"), "--out", path("stopped"), "--batch", "4"},
                                               "skipped ");
  EXPECT_EQ(done.exit_code, 130) << done.err;
  EXPECT_NE(done.complaints().back().find("interrupted"), std::string::npos) << done.err;
  EXPECT_EQ(done.out, "");
  const auto files = folder_content(path("stopped"));
  EXPECT_LT(files.size(), 3000U);
  for (const auto& [name, bytes] : files)
    if (!name.starts_with('.')) EXPECT_NO_THROW(read_image(path("stopped/" + name))) << name;
}

// A limit on files' sizes stands for a full disk: exit code 1, and the first picture that found no room.
TEST_F(BatchTest, AFullDiskEndsTheBatches) {
  const ProgramRun done = onemodel_in_shell(
      "ulimit -f 0; exec \"$0\" \"$@\"", {"reconstruct", "--model", path("model.safetensors"), path("many"),
                                          "--out", path("full"), "--batch", "3"});
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_TRUE(done.complaints().back().starts_with("onemodel: " + path("full/0.png") + ": cannot write: "))
      << done.err;
}

}  // namespace
}  // namespace om::test
