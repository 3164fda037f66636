// The noise that `onemodel generate --noise random` draws: its seed's own, other numbers than the latents',
// and the same for image n however many follow.
#include <gtest/gtest.h>

#include "autograd/grad.h"
#include "io/model_file.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

class NoiseTest : public ProgramTest {
 protected:
  /// The images of `onemodel generate --noise random`.
  static std::vector<float> images(const std::vector<std::string>& more) {
    std::vector<std::string> words = {"generate", "--generator", path("bare.safetensors"),
                                      "--noise",  "random",      "--out",
                                      path("n"),  "--tensors",   path("n.safetensors")};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return to_f32(read_safetensors(path("n.safetensors")).tensors.at("image"));
  }
};

TEST_F(NoiseTest, FollowsTheSeedForGivenLatents) {
  RandomSource random(3, backend("cpu"));
  write_safetensors(path("z.safetensors"), {{{"z", to_file(random.normal({1, kWidth}))}}, {}});
  const auto with_seed = [&](const char* seed) {
    return images({"--latents", path("z.safetensors"), "--seed", seed});
  };
  const std::vector<float> one = with_seed("1");
  EXPECT_NE(one, with_seed("2"));
  EXPECT_EQ(one, with_seed("1"));
}

TEST_F(NoiseTest, IsNotMadeOfTheLatentsNumbers) {
  const NoGrad no_grad;
  const auto generator = load_generator(path("bare.safetensors"), backend("cpu"));
  RandomSource latents(5, backend("cpu")), noise(5, backend("cpu"));
  const Tensor w = generator->map(latents.normal({1, kWidth}));
  const std::vector<Tensor> same_numbers = generator->random_noise(1, noise);
  const std::vector<Tensor> next_numbers = generator->random_noise(1, latents);
  const auto image_with = [&](const std::vector<Tensor>& maps) {
    return to_f32(
        to_file(generator->synthesize(repeat_latent(w, generator->latents()), maps), layouts::image));
  };
  const std::vector<float> image = images({"--seed", "5"});
  EXPECT_NE(image, image_with(same_numbers));
  EXPECT_NE(image, image_with(next_numbers));
}

TEST_F(NoiseTest, OfAnImageDoesNotDependOnHowManyFollow) {
  const std::vector<float> one = images({"--seed", "5"}), three = images({"--seed", "5", "--count", "3"});
  ASSERT_EQ(three.size(), 3 * one.size());
  const auto size = static_cast<std::ptrdiff_t>(one.size());
  EXPECT_EQ(std::vector<float>(three.begin(), three.begin() + size), one);
  EXPECT_NE(std::vector<float>(three.begin() + size, three.begin() + 2 * size), one);
}

}  // namespace
}  // namespace om::test
