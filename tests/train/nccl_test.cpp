// Ranks on cards, one each, through NCCL: sums, and courses of training that are recorded and replayed. Where
// there are fewer than two cards every test is skipped, visibly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <mutex>

#include "nn/batch_norm.h"
#include "tensor/registry.h"
#include "tests/harness/ranks.h"
#include "tests/train/course.h"

namespace om {
namespace {

using test::apart;
using test::Course;
using test::train_course;

class RanksOnCards : public testing::Test {
 protected:
  void SetUp() override {
    try {
      auto* source = backend("cuda").extension<CommunicatorSource>();
      cards_ = source == nullptr ? 0 : source->devices();
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    if (cards_ < 2) GTEST_SKIP() << "ranks on cards need two of them, here is " << cards_;
    cards_ = std::min(cards_, 4);
  }

  /// Each rank in a thread, with a card of its own.
  void on_cards(int size, const std::function<void(Backend&, Communicator&)>& body) {
    std::mutex making;
    EXPECT_EQ(test::trouble_on_ranks(size,
                                     [&](ranks::Member& member) {
                                       std::unique_ptr<Backend> card;
                                       {
                                         const std::lock_guard lock(making);
                                         set_device(member.rank());
                                         card = make_backend("cuda");
                                         set_device(0);
                                       }
                                       const auto together = make_communicator(*card, &member);
                                       body(*card, *together);
                                       together->barrier();
                                     }),
              "");
  }

  int cards_ = 0;
};

TEST_F(RanksOnCards, SumsAreTheSameBitsOnEveryRankAndEveryTime) {
  std::mutex mutex;
  std::vector<std::vector<float>> seen;
  for (int time = 0; time < 2; ++time)
    on_cards(cards_, [&](Backend& card, Communicator& together) {
      std::vector<Tensor> arrays;
      std::vector<std::int64_t> counts = {1, 7, 3'000'001, 0, 513};
      for (const std::int64_t count : counts) {
        std::vector<float> values;
        for (std::int64_t i = 0; i < count; ++i)
          values.push_back(
              std::sin(0.37F * static_cast<float>(i % 9973) + static_cast<float>(together.rank())));
        arrays.push_back(Tensor::from_host(values, {count}, card));
      }
      const Tensor wide = Tensor::full({5}, 1 + together.rank(), DType::f64, card);
      arrays.push_back(wide);
      together.all_reduce(arrays);
      together.join();
      std::vector<float> all;
      for (std::size_t i = 0; i < counts.size(); ++i) {
        const std::vector<float> got = arrays[i].to_host<float>();
        for (std::int64_t at = 0; at < counts[i]; ++at) {
          double wanted = 0;
          for (int rank = 0; rank < together.size(); ++rank)
            wanted += std::sin(0.37F * static_cast<float>(at % 9973) + static_cast<float>(rank));
          if (!(std::abs(got[static_cast<std::size_t>(at)] - wanted) <= 2e-6)) fail("array ", i, " at ", at);
        }
        all.insert(all.end(), got.begin(), got.end());
      }
      if (wide.to_host<double>()[3] != together.size() * (together.size() + 1) / 2.0)
        fail("the f64 array is wrong");
      const std::lock_guard lock(mutex);
      seen.push_back(std::move(all));
    });
  for (const auto& values : seen) EXPECT_TRUE(values == seen.at(0));
}

// What is freed before the sum is done is not given out again: kernels behind the call write other arrays.
TEST_F(RanksOnCards, KeepWhatTheySumWhileOthersComputeBesideIt) {
  on_cards(2, [&](Backend& card, Communicator& together) {
    for (int turn = 0; turn < 20; ++turn) {
      std::vector<Tensor> kept;
      for (int i = 0; i < 6; ++i) {
        Tensor array = Tensor::full({1 << 20}, i + 1, DType::f32, card);
        together.all_reduce({array});
        if (i % 2 == 0) kept.push_back(array);
        array = Tensor();
        for (int k = 0; k < 4; ++k) Tensor::full({1 << 20}, -1000, DType::f32, card);  // freed at once
      }
      together.join();
      for (std::size_t i = 0; i < kept.size(); ++i)
        for (const float value : kept[i].to_host<float>())
          if (value != 2.0F * static_cast<float>(2 * i + 1))
            fail("turn ", turn, ", array ", i, " holds ", value);
    }
  });
}

TEST_F(RanksOnCards, RecordedStepsAndBucketsChangeNoBit) {
  // Each rank would otherwise time engines of its own; what one card finds first is kept for all (the trainer
  // does so).
  train_course(nullptr, DType::f32, backend("cuda"), 4, 1);
  std::mutex mutex;
  std::vector<Course> courses;
  const auto run = [&](std::size_t bucket) {
    on_cards(2, [&](Backend& card, Communicator& together) {
      Course course = train_course(&together, DType::f32, card, 4, 6, bucket);
      const std::lock_guard lock(mutex);
      courses.push_back(std::move(course));
    });
  };
  run(kBucketBytes);
  run(1);
  run(2000);
  ::setenv("ONEMODEL_NCCL_GRAPH", "0", 1);
  run(2000);
  ::unsetenv("ONEMODEL_NCCL_GRAPH");
  for (const Course& course : courses) {
    EXPECT_EQ(course.losses, courses.at(0).losses);
    EXPECT_TRUE(course.parameters == courses.at(0).parameters);
  }
}

// Within roundoff's growth in float32 over 20 steps; the processors' test has the bound in double.
TEST_F(RanksOnCards, FollowOneRankWithAllTheImages) {
  const Course alone = train_course(nullptr, DType::f32, backend("cuda"), 8, 20);
  on_cards(2, [&](Backend& card, Communicator& together) {
    const SyncedNorms norms(&together);
    const Course course = train_course(&together, DType::f32, card, 4, 20, 4096);
    EXPECT_LE(apart(course.losses, alone.losses), 1e-3);
    EXPECT_LE(apart(course.parameters, alone.parameters), 1e-2);
  });
}

}  // namespace
}  // namespace om
