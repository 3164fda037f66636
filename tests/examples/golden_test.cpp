// `onemodel generate` on the bundled generator gives the images that the PyTorch original gave.
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "tests/harness/comparison.h"

namespace om::test {
namespace {

class GenerateGolden : public ProgramTest {
 protected:
  /// Largest error of the generated `image` against the case's tensor `reference`, relative to its largest
  /// value.
  double error_of(const std::map<std::string, FileTensor>& latents, const std::string& reference) {
    write_safetensors(path("in.safetensors"), {latents, {}});
    const ProgramRun run = onemodel(
        {"generate", "--generator", source("examples/pretrained/cats128-generator.safetensors"), "--latents",
         path("in.safetensors"), "--out", path("images"), "--tensors", path("out.safetensors")});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const std::vector<float> image = to_f32(read_safetensors(path("out.safetensors")).tensors.at("image"));
    const std::vector<float> expected = to_f32(golden_.tensors.at(reference));
    return harness::relative_error(harness::as_doubles(image), harness::as_doubles(expected));
  }
  static std::string source(const std::string& file) { return std::string(ONEMODEL_SOURCE_DIR) + "/" + file; }

  SafeTensors golden_ = read_safetensors(source("tests/golden/cats128-stylegan2.safetensors"));
};

TEST_F(GenerateGolden, FromZWithStoredNoise) {
  EXPECT_LE(error_of({{"z", golden_.tensors.at("z")}}, "image_from_z"), 1e-4);
}

TEST_F(GenerateGolden, FromWplusWithGivenNoise) {
  std::map<std::string, FileTensor> latents = {{"wplus", golden_.tensors.at("wplus")}};
  for (const auto& [name, tensor] : golden_.tensors)
    if (name.starts_with("noise.")) latents[name] = tensor;
  EXPECT_LE(error_of(latents, "image_from_wplus"), 1e-4);
}

}  // namespace
}  // namespace om::test
