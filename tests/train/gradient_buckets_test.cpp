// The buckets that gradients are summed in: their sizes follow from those of the gradients and their order
// alone, what ends a pass is small, and each is on its way as soon as its last gradient is final.
#include "train/gradient_buckets.h"

#include <gtest/gtest.h>

#include <numeric>

#include "autograd/ops.h"
#include "nn/losses.h"
#include "tensor/registry.h"
#include "tests/train/course.h"
#include "train/dry_ranks.h"

namespace om {
namespace {

using Sizes = std::vector<std::size_t>;
constexpr std::size_t kMiB = std::size_t{1} << 20;

std::size_t total(const Sizes& sizes) { return std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}); }

/// The sums, in bytes, that gradients of these sizes make when they become final in this order.
Sizes sums_for(const Sizes& sizes, std::size_t most) {
  DryRanks together(2, true);
  GradientBuckets buckets(together, most);
  buckets.expect(total(sizes));
  for (const std::size_t size : sizes)
    buckets.add(Tensor::zeros({static_cast<std::int64_t>(size)}, DType::u8, backend("cpu")));
  buckets.finish({});
  return together.sums();
}

TEST(GradientBuckets, HalveWhatIsLeftTowardsTheEnd) {
  EXPECT_EQ(sums_for(Sizes(32, kMiB), 8 * kMiB),
            (Sizes{8 * kMiB, 8 * kMiB, 8 * kMiB, 4 * kMiB, 2 * kMiB, kMiB, kMiB}));
  // below an eighth of the largest a launch costs more than it brings forward
  EXPECT_EQ(sums_for(Sizes(16, kMiB / 8), 8 * kMiB), (Sizes{kMiB, kMiB}));
  EXPECT_EQ(sums_for(Sizes(7, kMiB / 8), 8 * kMiB), (Sizes{7 * kMiB / 8}));
}

TEST(GradientBuckets, ALargeGradientGoesAtOnce) {
  EXPECT_EQ(sums_for({9 * kMiB, kMiB / 2, 9 * kMiB, kMiB / 4}, 8 * kMiB),
            (Sizes{9 * kMiB, 19 * kMiB / 2, kMiB / 4}));
  EXPECT_EQ(sums_for({kMiB / 4, 9 * kMiB}, 8 * kMiB), (Sizes{37 * kMiB / 4}));
  EXPECT_EQ(sums_for({5}, 8 * kMiB), (Sizes{5}));
  EXPECT_EQ(sums_for({}, 8 * kMiB), (Sizes{}));
}

// Whatever the sizes: nothing is lost, no bucket waited for more than `most` before its last gradient came,
// and the last one is no larger than an eighth of that, or than its gradients could not help.
TEST(GradientBuckets, OfAnySizesTheLastIsSmall) {
  std::uint32_t state = 1;
  const auto draw = [&](std::uint32_t below) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % below;
  };
  for (int turn = 0; turn < 300; ++turn) {
    Sizes sizes(1 + draw(60));
    for (std::size_t& size : sizes) size = 4 + draw(draw(4) == 0 ? 30'000 : 400);
    for (const std::size_t most : {1, 1'000, 10'000}) {
      const Sizes plan = sums_for(sizes, most);
      ASSERT_EQ(total(plan), total(sizes));
      std::size_t at = 0;
      for (std::size_t i = 0; i < plan.size(); ++i) {
        const std::size_t first = at;
        std::size_t filled = 0;
        while (filled < plan[i]) filled += sizes[at++];
        ASSERT_EQ(filled, plan[i]);
        ASSERT_TRUE(at - first == 1 || filled - sizes[at - 1] < most);
        if (i + 1 < plan.size() || at - first == 1) continue;
        // of the last: what came before its last gradient was less than that, or than was worth a launch
        ASSERT_LT(filled - sizes[at - 1], std::max(sizes[at - 1], std::max<std::size_t>(most / 8, 1)));
      }
      ASSERT_EQ(at, sizes.size());
    }
  }
}

TEST(GradientBuckets, GoWhenTheirLastGradientIsThere) {
  Backend& cpu = backend("cpu");
  const Sizes sizes = {400, 4, 80, 2000, 4, 4, 300, 120, 40, 8};
  DryRanks together(2, true);
  GradientBuckets buckets(together, 500);
  buckets.expect(total(sizes));
  std::vector<std::size_t> sent;  // after each gradient
  for (const std::size_t size : sizes) {
    buckets.add(Tensor::zeros({static_cast<std::int64_t>(size / 4)}, DType::f32, cpu));
    sent.push_back(together.sums().size());
  }
  EXPECT_EQ(sent, (Sizes{0, 0, 0, 1, 1, 1, 2, 3, 3, 3}));
  buckets.finish({});
  EXPECT_EQ(together.sums(), (Sizes{2484, 308, 120, 48}));
}

// A step knows beforehand which weights get a gradient, the encoder's spare block for one has none: it makes
// the buckets that its gradients' sizes ask for, and the losses go with the last.
TEST(GradientBuckets, OfAStepFollowItsGradients) {
  const auto sums_of = [](std::size_t most) {
    DryRanks together(2, true);
    test::train_course(&together, DType::f32, backend("cpu"), 2, 1, most);
    return together.sums();
  };
  constexpr std::size_t kLosses = 2 * sizeof(float);
  Sizes sizes = sums_of(1);  // one each
  ASSERT_GT(sizes.size(), 30U);
  sizes.back() -= kLosses;
  for (const std::size_t most : {800, 1600, 6000, 1'000'000}) {
    Sizes plan = sums_for(sizes, most);
    plan.back() += kLosses;
    EXPECT_EQ(sums_of(most), plan) << most;
  }
}

}  // namespace
}  // namespace om
