// conv_clamp of stylegan2-ada-pytorch: after the activation and its gain, and on colours before the image so
// far is added.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "autograd/random.h"
#include "nn/initial.h"
#include "nn/modulated_conv.h"
#include "nn/resample.h"
#include "tensor/registry.h"

namespace om {
namespace {

class Clamp : public testing::Test {
 protected:
  /// The same weights in both.
  template <class Layer>
  void fill(Layer& a, Layer& b) {
    randomize(a, random_, 1);
    const std::vector<Entry> from = a.entries(), to = b.entries();
    for (std::size_t i = 0; i < from.size(); ++i) to[i].value.assign(from[i].value);
  }
  Backend& cpu_ = backend("cpu");
  RandomSource random_{3, cpu_};
  Placement place_{cpu_};
};

TEST_F(Clamp, OfAStyledConvolutionIsThatOfItsResult) {
  for (const auto kind : {ModulatedConv::Kind::same, ModulatedConv::Kind::up}) {
    const ModulatedConv::Options options{3, 4, 3, 5, kind};
    StyledConv plain(place_, options), clamped(place_, options, 0.5);
    fill(plain, clamped);
    const Tensor x = random_.normal({2, 4, 4, 3}), w = random_.normal({2, 5});
    const std::int64_t side = kind == ModulatedConv::Kind::up ? 8 : 4;
    const Tensor noise = random_.normal({1, side, side, 1});
    const Tensor whole = plain(x, w, noise);
    const std::vector<float> values = whole.to_host<float>(), result = clamped(x, w, noise).to_host<float>();
    EXPECT_GT(*std::max_element(values.begin(), values.end()), 0.6F);  // else nothing would be clipped
    EXPECT_LT(*std::min_element(values.begin(), values.end()), -0.51F);
    EXPECT_EQ(result, clamp(whole, -0.5, 0.5).to_host<float>());
  }
}

TEST_F(Clamp, OfColoursComesBeforeTheImageSoFar) {
  ToRgb plain(place_, 3, 5, true), clamped(place_, 3, 5, true, 0.25);
  fill(plain, clamped);
  const Tensor x = random_.normal({2, 8, 8, 3}), w = random_.normal({2, 5}),
               before = random_.normal({2, 4, 4, 3});
  const Tensor colours = plain(x, w, {});
  const std::vector<float> result = clamped(x, w, before).to_host<float>();
  const Tensor skip = plain(x, w, before) - colours;
  const std::vector<float> expected = (clamp(colours, -0.25, 0.25) + skip).to_host<float>();
  ASSERT_EQ(result.size(), expected.size());
  float largest = 0;
  for (std::size_t i = 0; i < result.size(); ++i) {
    EXPECT_NEAR(result[i], expected[i], 1e-5) << i;
    largest = std::max(largest, std::abs(result[i]));
  }
  EXPECT_GT(largest, 0.5F);  // the sum itself is not clipped
  EXPECT_EQ(clamped(x, w, {}).to_host<float>(), clamp(colours, -0.25, 0.25).to_host<float>());
}

}  // namespace
}  // namespace om
