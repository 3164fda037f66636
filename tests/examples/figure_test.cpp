// onemodel figure: each figure of the paper by its command, its numbers by their meaning, bad input in one
// line.
#include <cmath>

#include "autograd/grad.h"
#include "io/image.h"
#include "io/model_file.h"
#include "io/npz.h"
#include "io/state_dict.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "train/analysis.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;
using Sizes = std::vector<std::int64_t>;

class FigureTest : public ProgramTest {
 protected:
  /// onemodel figure KIND on `pictures`, into path(name).png and path(name).npz: the numbers.
  static Checkpoint draw(const std::string& name, const std::string& kind, const Words& pictures,
                         const Words& more, const std::string& model = "model.safetensors") {
    Words words = {"figure", kind, "--model", path(model)};
    for (const std::string& picture : pictures) words.push_back(path(picture));
    words.insert(words.end(), {"--out", path(name) + ".png", "--tensors", path(name) + ".npz"});
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return read_checkpoint(path(name) + ".npz");
  }
  static ProgramRun refuse(const Words& words, int code) {
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    return run;
  }
  static std::vector<float> numbers(const Checkpoint& file, const std::string& name) {
    return to_f32(file.load(name));
  }
  /// Picture n of a tensor [N, 3, S, S].
  static std::vector<float> picture(const std::vector<float>& all, std::size_t n) {
    constexpr std::size_t kNumbers = 3 * kSize * kSize;
    EXPECT_LE((n + 1) * kNumbers, all.size());
    return {all.begin() + static_cast<std::ptrdiff_t>(n * kNumbers),
            all.begin() + static_cast<std::ptrdiff_t>((n + 1) * kNumbers)};
  }
  /// The largest difference; NaN where there is one.
  static float difference(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    float largest = 0;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      const float here = std::abs(a[i] - b[i]);
      if (!(here <= largest)) largest = here;
      if (std::isnan(largest)) return largest;
    }
    return largest;
  }
  static std::vector<float> reconstruction(const std::string& name, const std::string& model) {
    return picture(
        numbers(draw("as-is", "noise-shift", {name}, {"--factors", "1", "--maps", "0"}, model), "image.0"),
        0);
  }
};

TEST_F(FigureTest, NoiseMapsAreThePredictedOnes) {
  const Checkpoint file = draw("maps", "noise-maps", {"photos/one.png", "photos/three.png"}, {});
  EXPECT_EQ(file.tensors.at("noise.0").shape, (Sizes{2, 1, 4, 4}));
  ASSERT_TRUE(file.tensors.contains("noise.4"));
  EXPECT_EQ(file.tensors.at("noise.4").shape, (Sizes{2, 1, 16, 16}));
  const ProgramRun run = onemodel({"encode", "--model", path("model.safetensors"), path("photos/one.png"),
                                   path("photos/three.png"), "--tensors", path("codes.npz")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Checkpoint codes = read_checkpoint(path("codes.npz"));
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(numbers(file, text("noise.", i)), numbers(codes, text("noise.", i))) << i;
  const Image sheet = read_image(path("maps.png"));
  EXPECT_GT(sheet.height, 2 * kSize);
}

TEST_F(FigureTest, AMapIsShownByItsOwnSmallestAndLargestValue) {
  Backend& cpu = backend("cpu");
  const auto shown = [&](const std::vector<float>& values) {
    return normalised_map(Tensor::from_host(values, {1, 1, static_cast<std::int64_t>(values.size()), 1}, cpu))
        .to_host<float>();
  };
  EXPECT_EQ(shown({-2, 0, 2}), (std::vector<float>{0, 0.5F, 1}));
  EXPECT_EQ(shown({3, 3}), (std::vector<float>{0, 0}));
  EXPECT_EQ(shown({1e-6F, 3e-6F}), (std::vector<float>{0, 1}));
}

TEST_F(FigureTest, ShiftingMultipliesOneMapAndLeavesTheOthers) {
  const Checkpoint file =
      draw("shift", "noise-shift", {"photos/one.png"}, {"--factors=-2,1,0", "--maps", "1,3"});
  const std::vector<float> all = numbers(file, "image.0");
  EXPECT_EQ(numbers(file, "factors"), (std::vector<float>{-2, 1, 0}));
  EXPECT_EQ(file.tensors.at("image.0").shape, (Sizes{6, 3, kSize, kSize}));
  // a factor of 1 is the reconstruction, whichever map
  EXPECT_EQ(picture(all, 1), picture(all, 4));
  EXPECT_GT(difference(picture(all, 0), picture(all, 1)), 1e-4F);
  EXPECT_GT(difference(picture(all, 0), picture(all, 3)), 1e-4F);

  // by the library: map 3 times -2
  const NoGrad no_grad;
  Backend& cpu = backend("cpu");
  const auto model = load_autoencoder(path("model.safetensors"), cpu);
  const Checkpoint codes = [&] {
    onemodel({"encode", "--model", path("model.safetensors"), path("photos/one.png"), "--tensors",
              path("one.npz")});
    return read_checkpoint(path("one.npz"));
  }();
  SafeTensors changed;
  for (const auto& [name, tensor] : codes.tensors) changed.tensors[name] = tensor.load();
  std::vector<float> map = to_f32(changed.tensors.at("noise.3"));
  for (float& value : map) value *= -2;
  changed.tensors["noise.3"] = make_file_tensor(changed.tensors.at("noise.3").shape, map);
  write_npz(path("changed.npz"), changed.tensors);
  const ProgramRun made =
      onemodel({"generate", "--generator", path("model.safetensors"), "--latents", path("changed.npz"),
                "--out", path("made"), "--tensors", path("made.npz")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_LT(difference(numbers(read_checkpoint(path("made.npz")), "image"), picture(all, 3)), 1e-5F);
}

TEST_F(FigureTest, TransposedSheetsHaveAColumnPerMap) {
  draw("rows", "noise-shift", {"photos/one.png"}, {"--factors", "0,1,2,3,4,5,6,7", "--maps", "0"});
  draw("columns", "noise-shift", {"photos/one.png"},
       {"--factors", "0,1,2,3,4,5,6,7", "--maps", "0", "--transpose"});
  const Image rows = read_image(path("rows.png")), columns = read_image(path("columns.png"));
  EXPECT_LT(rows.height, rows.width);
  EXPECT_GT(columns.height, columns.width);
}

TEST_F(FigureTest, TheColourGridMovesTwoMaps) {
  const Checkpoint file =
      draw("grid", "colour-grid", {"photos/one.png"}, {"--maps", "3,4", "--factors=1,-1"});
  const std::vector<float> all = numbers(file, "image.0");
  EXPECT_EQ(picture(all, 0), reconstruction("photos/one.png", "model.safetensors"));
  // rows are the first map's factors, columns the second's
  const std::vector<float> column =
      numbers(draw("four", "noise-shift", {"photos/one.png"}, {"--maps", "4", "--factors=-1"}), "image.0");
  const std::vector<float> row =
      numbers(draw("three", "noise-shift", {"photos/one.png"}, {"--maps", "3", "--factors=-1"}), "image.0");
  EXPECT_EQ(picture(all, 1), column);
  EXPECT_EQ(picture(all, 2), row);
}

TEST_F(FigureTest, InterpolationsEndInTheirPictures) {
  for (const char* model : {"model.safetensors", "z-model.safetensors"}) {
    const Checkpoint file = draw("between", "interpolate", {"photos/one.png", "photos/three.png"},
                                 {"--steps", "3", "--seed", "2"}, model);
    const auto left = reconstruction("photos/one.png", model),
               right = reconstruction("photos/three.png", model);
    const std::vector<float> both = numbers(file, "both.0"), latent = numbers(file, "latent.0"),
                             noise = numbers(file, "noise.0");
    EXPECT_EQ(numbers(file, "t"), (std::vector<float>{0, 0.5F, 1}));
    EXPECT_EQ(difference(picture(both, 0), left), 0) << model;
    EXPECT_EQ(difference(picture(both, 2), right), 0) << model;
    EXPECT_EQ(difference(picture(noise, 0), left), 0) << model;
    // the left picture's latent stays, so the right one is not reached (a z of this small model moves little)
    EXPECT_GT(difference(picture(noise, 2), right), std::string(model) == "z-model.safetensors" ? 0 : 1e-4F)
        << model;
    // predicted noise does not enter; the seed's does
    EXPECT_GT(difference(picture(latent, 0), left), 1e-4F) << model;
    const Checkpoint again = draw("again", "interpolate", {"photos/one.png", "photos/three.png"},
                                  {"--steps", "3", "--seed", "3"}, model);
    EXPECT_GT(difference(numbers(again, "latent.0"), latent), 1e-4F) << model;
    EXPECT_EQ(numbers(again, "both.0"), both) << model;
    EXPECT_EQ(numbers(again, "noise.0"), noise) << model;
  }
}

TEST_F(FigureTest, ComparisonsShowARowPerModel) {
  const Words words = {"figure",
                       "compare",
                       "--model",
                       "W+=" + path("model.safetensors"),
                       "--model",
                       "mixed=" + path("model.safetensors") + "," + path("z-model.safetensors"),
                       path("photos/one.png"),
                       path("photos/three.png"),
                       "--out",
                       path("compare.png"),
                       "--tensors",
                       path("compare.npz")};
  const ProgramRun run = onemodel(words);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Checkpoint file = read_checkpoint(path("compare.npz"));
  const std::vector<float> first = numbers(file, "model.0"), second = numbers(file, "model.1");
  EXPECT_EQ(picture(first, 0), picture(second, 0));
  EXPECT_EQ(picture(first, 0), reconstruction("photos/one.png", "model.safetensors"));
  EXPECT_EQ(picture(second, 1), reconstruction("photos/three.png", "z-model.safetensors"));

  Words noisy = words;
  noisy.insert(noisy.end(), {"--sigma", "25"});
  ASSERT_EQ(onemodel(noisy).exit_code, 0);
  const Checkpoint shown = read_checkpoint(path("compare.npz"));
  EXPECT_GT(difference(numbers(shown, "input"), numbers(file, "input")), 0.05F);

  // Grey through and through, and shown the same noise as by `denoise --grey`.
  Words grey = noisy;
  grey.emplace_back("--grey");
  ASSERT_EQ(onemodel(grey).exit_code, 0);
  ASSERT_EQ(onemodel({"denoise", "--model", path("model.safetensors"), path("photos/one.png"), "--sigma",
                      "25", "--grey", "--noise-at", "model", "--out", path("denoised")})
                .exit_code,
            0);
  const Image sheet = read_image(path("compare.png")), given = read_image(path("denoised/noisy/one.png"));
  for (std::size_t i = 0; i < sheet.pixels.size(); i += 3)
    ASSERT_TRUE(sheet.pixels[i] == sheet.pixels[i + 1] && sheet.pixels[i] == sheet.pixels[i + 2]) << i;
  const std::vector<float> greys = numbers(read_checkpoint(path("compare.npz")), "input");
  ASSERT_EQ(greys.size(), 2 * given.pixels.size());
  const std::size_t plane = given.pixels.size() / 3;
  for (std::size_t i = 0; i < given.pixels.size(); ++i)
    ASSERT_NEAR(greys[i % 3 * plane + i / 3], given.pixels[i] / 127.5 - 1, 1e-6) << i;
}

TEST_F(FigureTest, BadInputIsOneLine) {
  const std::string model = path("model.safetensors"), one = path("photos/one.png"), out = path("x.png");
  const auto figure = [&](const std::string& kind, Words more) {
    Words words = {"figure", kind, "--model", model, "--out", out};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  refuse({"figure"}, 2);
  refuse({"figure", "nothing"}, 2);
  refuse(figure("noise-shift", {one, "--maps", "5"}), 2);
  refuse(figure("noise-shift", {one, "--maps", "-1"}), 2);
  refuse(figure("noise-shift", {one, "--factors", "1,,2"}), 2);
  refuse(figure("noise-shift", {one, "--factors", "nan"}), 2);
  refuse(figure("colour-grid", {one, "--maps", "1"}), 2);
  refuse(figure("colour-grid", {one, "--maps", "1,1"}), 2);
  refuse(figure("interpolate", {one}), 2);
  refuse(figure("interpolate", {one, one, "--steps", "1"}), 2);
  refuse({"figure", "compare", "--model", model, one, "--out", out}, 2);
  refuse({"figure", "compare", "--model", "a=" + model + "," + model, one, "--out", out}, 2);
  refuse({"figure", "compare", "--model", "a=" + path("text.txt"), one, "--out", out}, 3);
  refuse(figure("noise-maps", {path("broken.png")}), 3);
  refuse({"figure", "noise-maps", "--model", path("generator.safetensors"), one, "--out", out}, 3);
  EXPECT_FALSE(std::filesystem::exists(out));
  // over an input
  refuse({"figure", "noise-maps", "--model", model, one, "--out", one}, 2);
}

}  // namespace
}  // namespace om::test
