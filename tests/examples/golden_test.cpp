// `onemodel generate` gives the images that the PyTorch originals gave: on the bundled generator, and on
// every generator beside a case of ONEMODEL_GOLDEN (default: tests/golden).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

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
    return error_of(golden_, source("examples/pretrained/cats128-generator.safetensors"), latents, reference,
                    {});
  }
  static double error_of(const SafeTensors& golden, const std::string& generator,
                         const std::map<std::string, FileTensor>& latents, const std::string& reference,
                         const std::vector<std::string>& more) {
    write_safetensors(path("in.safetensors"), {latents, {}});
    std::vector<std::string> words = {"generate",
                                      "--generator",
                                      generator,
                                      "--latents",
                                      path("in.safetensors"),
                                      "--out",
                                      path("images"),
                                      "--tensors",
                                      path("out.safetensors")};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    if (run.exit_code != 0) return INFINITY;
    const std::vector<float> image = to_f32(read_safetensors(path("out.safetensors")).tensors.at("image"));
    const std::vector<float> expected = to_f32(golden.tensors.at(reference));
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

TEST_F(GenerateGolden, EveryGeneratorBesideACase) {
  const char* folder = std::getenv("ONEMODEL_GOLDEN");
  int drawn = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder != nullptr ? std::string(folder)
                                                                                 : source("tests/golden"))) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafeTensors golden = read_safetensors(entry.path().string());
    const auto kind = golden.metadata.find("case"), file = golden.metadata.find("checkpoint");
    if (kind == golden.metadata.end() || file == golden.metadata.end() ||
        !kind->second.starts_with("stylegan"))
      continue;
    const std::string generator = (entry.path().parent_path() / file->second).string();
    if (!std::filesystem::exists(generator)) continue;
    SCOPED_TRACE(entry.path().string());
    const auto inputs = [&](const std::string& latent, const std::string& noise) {
      std::map<std::string, FileTensor> all = {{latent, golden.tensors.at(latent)}};
      for (int i = 0; golden.tensors.contains(text(noise, i)); ++i)
        all[text("noise.", i)] = golden.tensors.at(text(noise, i));
      return all;
    };
    const bool first = kind->second == "stylegan1", second = kind->second == "stylegan2";
    const std::string from_wplus = first || second ? "image_from_wplus" : "image_from_wplus_stored_noise";
    EXPECT_LE(error_of(golden, generator, inputs("z", first ? "noise_z." : "none."), "image_from_z", {}),
              1e-4);
    EXPECT_LE(error_of(golden, generator, inputs("wplus", first ? "noise_wplus." : "noise."), from_wplus, {}),
              1e-4);
    if (golden.tensors.contains("image_from_z_truncation_0.6"))
      EXPECT_LE(error_of(golden, generator, inputs("z", "none."), "image_from_z_truncation_0.6",
                         {"--truncation", "0.6"}),
                1e-4);
    ++drawn;
  }
  if (drawn == 0) GTEST_SKIP() << "no generator lies beside its case";
}

}  // namespace
}  // namespace om::test
