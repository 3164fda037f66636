// onemodel project: the optimisation brings the picture nearer, goes on where it stopped, and refuses in one
// line.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/image.h"
#include "io/state_dict.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class ProjectTest : public ProgramTest {
 protected:
  static Words words(const std::string& out, const Words& more) {
    Words all = {
        "project", "--generator", path("generator.safetensors"), path("photos/one.png"), "--out", path(out),
        "--every", "10"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// Lines that begin with the program's name; notes on the way do not.
  static std::ptrdiff_t complaints(const ProgramRun& run) {
    const std::vector<std::string> lines = run.complaints();
    return std::count_if(lines.begin(), lines.end(),
                         [](const std::string& line) { return line.starts_with("onemodel: "); });
  }
  static nlohmann::json project(const std::string& out, Words more) {
    more.emplace_back("--json");
    const ProgramRun run = onemodel(words(out, more));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out);
  }
};

TEST_F(ProjectTest, EverySpaceComesNearer) {
  for (const char* space : {"wplus", "w", "z"}) {
    const nlohmann::json result =
        project(text("spaces-", space), {"--latent", space, "--iterations", "60", "--lr", "0.05"});
    const nlohmann::json& image = result["images"][0];
    EXPECT_EQ(image["file"], path("photos/one.png"));
    EXPECT_TRUE(std::filesystem::exists(image["output"].get<std::string>()));
    ASSERT_EQ(image["history"].size(), 6U) << space;
    EXPECT_EQ(image["history"][0]["iteration"], 10);
    EXPECT_GT(image["psnr"].get<double>(), image["history"][0]["psnr"].get<double>()) << space;
    EXPECT_GT(result["images_per_second"].get<double>(), 0) << space;
    EXPECT_EQ(result["mean"]["psnr"], image["psnr"]);
  }
}

TEST_F(ProjectTest, NoiseMapsTooReachFurther) {
  const double fixed = project("fixed", {"--iterations", "40"})["mean"]["psnr"];
  const double free = project("free", {"--iterations", "40", "--optimise-noise"})["mean"]["psnr"];
  EXPECT_GT(free, fixed);
}

TEST_F(ProjectTest, TheCodeGivesThePictureAgain) {
  project("coded", {"--iterations", "20", "--optimise-noise"});
  const ProgramRun run = onemodel({"generate", "--generator", path("generator.safetensors"), "--latents",
                                   path("coded/one.safetensors"), "--out", path("again")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(read_image(path("again/000000.png")), read_image(path("coded/one.png")));
}

TEST_F(ProjectTest, StoppedAndStartedAgainEndsInTheSameBytes) {
  project("whole", {"--iterations", "50"});
  const ProgramRun stopped = onemodel_interrupted(words("parts", {"--iterations", "50"}), "iteration 20");
  ASSERT_EQ(stopped.exit_code, 130) << stopped.err;
  const nlohmann::json result = project("parts", {"--iterations", "50"});
  EXPECT_EQ(result["images"][0]["history"].size(), 5U);
  for (const char* file : {"one.png", "one.safetensors", "progress/one.safetensors"})
    EXPECT_EQ(content(path("parts/") + file), content(path("whole/") + file)) << file;
  // a finished picture is not made again
  EXPECT_TRUE(project("parts", {"--iterations", "50"})["images_per_second"].is_null());
}

TEST_F(ProjectTest, OtherSettingsAreRefused) {
  project("settled", {"--iterations", "10"});
  const ProgramRun run = onemodel(words("settled", {"--iterations", "10", "--lr", "0.02"}));
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_EQ(complaints(run), 1) << run.err;
}

TEST_F(ProjectTest, ADamagedStateIsRefused) {
  project("damaged", {"--iterations", "10"});
  const std::string file = path("damaged/progress/one.safetensors");
  std::string bytes = content(file);
  const std::size_t at = bytes.find("\"iteration\":\"10\"");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 13] = '0';
  bytes[at + 14] = '0';
  std::ofstream(file, std::ios::binary) << bytes;
  const ProgramRun run = onemodel(words("damaged", {"--iterations", "20"}));
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_EQ(complaints(run), 1) << run.err;
}

TEST_F(ProjectTest, TheCodeIsNotWrittenOverTheGenerator) {
  std::filesystem::create_directory(path("beside"));
  const std::string generator = path("beside/one.safetensors");
  std::filesystem::copy_file(path("generator.safetensors"), generator);
  const ProgramRun run = onemodel({"project", "--generator", generator, path("photos/one.png"), "--out",
                                   path("beside"), "--iterations", "1"});
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(content(generator), content(path("generator.safetensors")));
}

TEST_F(ProjectTest, BadInputIsOneLine) {
  const auto refuse = [](const Words& all, int code) {
    const ProgramRun run = onemodel(all);
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_EQ(complaints(run), 1) << run.err;
  };
  refuse(words("x", {"--iterations", "0"}), 2);
  refuse(words("x", {"--lr", "0"}), 2);
  refuse(words("x", {"--latent", "v"}), 2);
  refuse(words("x", {"--vgg", path("text.txt")}), 3);
  refuse(words("x", {"--vgg", path("model.safetensors")}), 3);
  refuse({"project", "--generator", path("text.txt"), path("photos/one.png"), "--out", path("x")}, 3);
}

}  // namespace
}  // namespace om::test
