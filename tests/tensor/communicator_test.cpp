// Sums and broadcasts between ranks on processors, 2, 3 and 4 of them: the right numbers, the same bits on
// every rank and every time, in whatever order arrays end.
#include "tensor/communicator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>

#include "tensor/ranks/gloo.h"
#include "tensor/registry.h"
#include "tests/harness/ranks.h"

namespace om {
namespace {

using test::trouble_on_ranks;

bool has_gloo() {
#ifdef ONEMODEL_HAS_GLOO
  return true;
#else
  return false;
#endif
}

/// A number of every rank and place, no sum of which is exact in float32.
double value_at(int rank, std::int64_t i) {
  return std::sin(1.0 + 0.37 * static_cast<double>(i) + 1.7 * rank);
}

template <class T>
std::vector<T> values_of(int rank, std::int64_t count) {
  std::vector<T> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<T>(value_at(rank, i)));
  return values;
}

class CommunicatorOf : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!has_gloo()) GTEST_SKIP() << "this build has no Gloo (libgloo-dev)";
  }
  Backend& cpu_ = backend("cpu");
};

TEST_P(CommunicatorOf, SumsAreTheSameBitsOnEveryRankAndEveryTime) {
  const std::vector<std::int64_t> counts = {0, 1, 2, 7, 100'003, 3};
  std::mutex mutex;
  std::vector<std::vector<std::byte>> seen;  // by rank and run
  const auto run = [&](ranks::Member& member) {
    const auto together = make_communicator(cpu_, &member);
    std::vector<Tensor> arrays;
    for (const std::int64_t count : counts) {
      arrays.push_back(Tensor::from_host(values_of<float>(member.rank(), count), {count}, cpu_));
      arrays.push_back(Tensor::from_host(values_of<double>(member.rank(), count), {count}, cpu_));
    }
    together->all_reduce(arrays);
    together->join();
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      const std::int64_t count = counts[i / 2];
      std::vector<double> got;
      if (i % 2 == 0) {
        const std::vector<float> values = arrays[i].to_host<float>();
        got.assign(values.begin(), values.end());
      } else {
        got = arrays[i].to_host<double>();
      }
      for (std::int64_t at = 0; at < count; ++at) {
        double wanted = 0;
        for (int rank = 0; rank < GetParam(); ++rank) wanted += value_at(rank, at);
        const double bound = i % 2 == 0 ? 1e-6 : 1e-14;
        if (!(std::abs(got[static_cast<std::size_t>(at)] - wanted) <= bound))
          fail("element ", at, " of array ", i, " is ", got[static_cast<std::size_t>(at)], ", not ", wanted);
      }
      const auto raw = std::as_bytes(std::span(got));
      bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    together->barrier();
    const std::lock_guard lock(mutex);
    seen.push_back(std::move(bytes));
  };
  EXPECT_EQ(trouble_on_ranks(GetParam(), run), "");
  EXPECT_EQ(trouble_on_ranks(GetParam(), run), "");
  ASSERT_EQ(seen.size(), 2U * static_cast<std::size_t>(GetParam()));
  for (const auto& bytes : seen) EXPECT_TRUE(bytes == seen[0]);
}

TEST_P(CommunicatorOf, BroadcastsEveryDtypeFromAnyRank) {
  const auto run = [&](ranks::Member& member) {
    const auto together = make_communicator(cpu_, &member);
    for (int root = 0; root < member.size(); ++root) {
      std::vector<Tensor> arrays;
      for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8})
        arrays.push_back(Tensor::full({3, 5}, member.rank() + 1, dtype, cpu_));
      together->broadcast(arrays, root);
      together->join();
      for (const Tensor& array : arrays)
        for (std::int64_t i = 0; i < 15; ++i) {
          const Tensor wanted = Tensor::full({3, 5}, root + 1, array.dtype(), cpu_);
          const auto bytes = static_cast<std::size_t>(15) * size_of(array.dtype());
          if (std::memcmp(array.in().data, wanted.in().data, bytes) != 0)
            fail("root ", root, ": ", name_of(array.dtype()), " is wrong");
        }
    }
  };
  EXPECT_EQ(trouble_on_ranks(GetParam(), run), "");
}

// Gradients end while the next bucket is filled: their memory must not be given out again before the sum.
TEST_P(CommunicatorOf, KeepsWhatItWasGivenUntilItIsDone) {
  const auto run = [&](ranks::Member& member) {
    const auto together = make_communicator(cpu_, &member);
    std::vector<std::weak_ptr<Storage>> given;
    std::shared_ptr<Storage> last;
    for (int i = 0; i < 8; ++i) {
      const Tensor array = Tensor::full({1 << 18}, 1, DType::f32, cpu_);
      given.push_back(array.storage());
      // ranks that come at different times: what they keep meanwhile is what this is about
      if (member.rank() == i % member.size()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      together->all_reduce({array});
      if (i == 7) last = array.storage();
    }
    if (member.rank() == 0 && given[7].expired()) fail("the last array is gone");
    together->join();
    for (int i = 0; i < (1 << 18); ++i)
      if (static_cast<const float*>(last->data())[i] != static_cast<float>(member.size()))
        fail("place ", i, " is wrong");
    last.reset();
    for (const auto& storage : given)
      if (!storage.expired()) fail("kept after it was done");
  };
  EXPECT_EQ(trouble_on_ranks(GetParam(), run), "");
}

TEST_P(CommunicatorOf, NotANumberOfOneRankIsOneOfAll) {
  const auto run = [&](ranks::Member& member) {
    const auto together = make_communicator(cpu_, &member);
    const bool mine = member.rank() == member.size() - 1;
    const Tensor array =
        Tensor::full({5}, mine ? std::numeric_limits<double>::quiet_NaN() : 1, DType::f32, cpu_);
    together->all_reduce({array});
    together->join();
    for (const float value : array.to_host<float>())
      if (!std::isnan(value)) fail("a sum with NaN is ", value);
  };
  EXPECT_EQ(trouble_on_ranks(GetParam(), run), "");
}

INSTANTIATE_TEST_SUITE_P(Ranks, CommunicatorOf, testing::Values(2, 3, 4),
                         [](const auto& info) { return std::to_string(info.param); });

TEST(Communicator, AloneChangesNothing) {
  Backend& cpu = backend("cpu");
  const auto alone = make_communicator(cpu, nullptr);
  EXPECT_EQ(alone->rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  EXPECT_TRUE(alone->records());
  const Tensor array = Tensor::full({3}, 2.5, DType::f32, cpu);
  alone->all_reduce({array});
  alone->broadcast({array}, 0);
  alone->join();
  alone->barrier();
  EXPECT_EQ(array.to_host<float>(), (std::vector<float>{2.5, 2.5, 2.5}));
}

TEST(Communicator, ARankThatLeavesBreaksTheOthersCollective) {
  if (!has_gloo()) GTEST_SKIP() << "this build has no Gloo (libgloo-dev)";
  Backend& cpu = backend("cpu");
  ranks::Hub hub({.ranks = 2});
  std::string said;
  const auto rank = [&](int number) {
    ranks::Member member({.rank = number, .size = 2, .hub = hub.address()});
    {
      const auto together = make_communicator(cpu, &member);
      together->barrier();
      if (number == 0) {
        try {
          together->all_reduce({Tensor::full({1000}, 1, DType::f32, cpu)});
          together->join();
        } catch (const BrokenCollective& error) {
          said = error.what();
        }
      }
    }
    member.finish();
  };
  std::thread other([&] { rank(1); });
  rank(0);
  other.join();
  EXPECT_EQ(said.rfind("rank 0 of 2: Gloo: ", 0), 0U) << said;
  EXPECT_EQ(said.find('\n'), std::string::npos) << said;
}

TEST(Communicator, SumsAreOfFloatingArrays) {
  if (!has_gloo()) GTEST_SKIP() << "this build has no Gloo (libgloo-dev)";
  Backend& cpu = backend("cpu");
  for (const std::string& what : test::on_ranks(2, [&](ranks::Member& member) {
         make_communicator(cpu, &member)->all_reduce({Tensor::full({3}, 1, DType::i32, cpu)});
       }))
    EXPECT_EQ(what, "all_reduce: expects f32 or f64, got i32");
}

}  // namespace
}  // namespace om
