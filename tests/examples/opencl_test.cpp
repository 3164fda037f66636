// The program on an OpenCL device, beside the processor backend. Where there is no device every test that
// needs one is skipped, visibly (pocl-opencl-icd drives processors; scripts/setup --check installs it).
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "io/file_tensor.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "tests/harness/comparison.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class OpenClTest : public ProgramTest {
 protected:
  void SetUp() override {
    try {
      backend("opencl");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  static std::string succeed(Words words, const std::string& on = "opencl") {
    words.insert(words.end(), {"--backend", on, "--precision", "fp32"});
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << words.front() << "\n" << run.err;
    return run.out;
  }
  /// Reconstructions as numbers, by way of their codes.
  static std::vector<float> reconstructed(const std::string& on) {
    const std::string codes = path(on + "-codes.safetensors"), out = path(on + "-images");
    succeed({"encode", "--model", path("model.safetensors"), path("photos/one.png"), path("photos/two.jpg"),
             "--tensors", codes},
            on);
    succeed({"generate", "--generator", path("model.safetensors"), "--latents", codes, "--out", out,
             "--tensors", out + ".safetensors"},
            on);
    return floats(read_safetensors(out + ".safetensors"), "image");
  }
};

TEST_F(OpenClTest, ReconstructGivesTheProcessorsImages) {
  const std::vector<float> there = reconstructed("opencl"), here = reconstructed("cpu");
  ASSERT_EQ(here.size(), static_cast<std::size_t>(2 * 3 * kSize * kSize));
  EXPECT_GT(*std::max_element(here.begin(), here.end()) - *std::min_element(here.begin(), here.end()), 0.1);
  EXPECT_EQ(harness::difference(harness::as_doubles(there), harness::as_doubles(here),
                                {.tolerance = 1e-4, .scale = harness::Rule::Scale::absolute}),
            "");
  succeed(
      {"reconstruct", "--model", path("model.safetensors"), path("photos"), "--out", path("opencl-direct")});
  EXPECT_EQ(folder_content(path("opencl-direct")).at("one.png"),
            folder_content(path("opencl-images")).at("000000.png"));
}

/// Programs come from the compiler, then from the cache, then from a cache whose files are torn at every
/// place.
TEST_F(OpenClTest, TheSameBytesTwiceAndWithATornCache) {
  const std::string cache = path("cache");
  const auto files = [&](const std::string& out) {
    const ProgramRun run =
        onemodel_in_shell("XDG_CACHE_HOME='" + cache + "' exec \"$0\" \"$@\"",
                          {"reconstruct", "--model", path("model.safetensors"), path("photos"), "--out",
                           path(out), "--backend", "opencl", "--precision", "fp32"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return folder_content(path(out));
  };
  const auto first = files("cold");
  EXPECT_EQ(first.size(), 4U);
  std::map<std::string, std::string> kept;
  for (const auto& entry : std::filesystem::directory_iterator(cache + "/onemodel"))
    if (entry.path().filename().string().starts_with("opencl-")) kept[entry.path()] = content(entry.path());
  EXPECT_GT(kept.size(), 3U);
  EXPECT_EQ(files("warm"), first);
  std::map<std::string, std::string> broken;
  std::size_t place = 0;
  for (const auto& [file, bytes] : kept) {
    std::string torn = bytes;
    switch (place++ % 3) {
      case 0: torn.resize(bytes.size() / 2); break;
      case 1: torn.clear(); break;
      case 2: torn[bytes.size() - 100] = static_cast<char>(torn[bytes.size() - 100] ^ 1); break;
    }
    std::ofstream(file, std::ios::binary | std::ios::trunc) << torn;
    broken[file] = torn;
  }
  EXPECT_EQ(files("torn"), first);
  for (const auto& [file, torn] : broken) EXPECT_NE(content(file), torn) << "written anew: " << file;
}

TEST_F(ProgramTest, OpenClWithoutADriverIsOneLine) {
  const std::vector<std::string> names = backend_names();
  if (std::find(names.begin(), names.end(), "opencl") == names.end())
    GTEST_SKIP() << "this program was built without OpenCL's headers";
  const ProgramRun run = onemodel_in_shell("OCL_ICD_VENDORS=/no/such/folder exec \"$0\" \"$@\"",
                                           {"reconstruct", "--model", path("model.safetensors"),
                                            path("photos"), "--out", path("nowhere"), "--backend", "opencl"});
  EXPECT_EQ(run.exit_code, 1);
  ASSERT_EQ(run.complaints().size(), 1U) << run.err;
  EXPECT_NE(run.complaints()[0].find("opencl: "), std::string::npos) << run.err;
  EXPECT_NE(run.complaints()[0].find("pocl-opencl-icd"), std::string::npos) << run.err;
}

}  // namespace
}  // namespace om::test
