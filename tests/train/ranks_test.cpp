// Training on several ranks: what one rank with all the images computes, whatever the engine and the buckets;
// the same bytes every time; whole runs that stop and resume.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>

#include "autograd/all_sum.h"
#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "nn/batch_norm.h"
#include "tensor/registry.h"
#include "tests/harness/ranks.h"
#include "tests/train/course.h"
#include "tests/train/queued_backend.h"
#include "tests/train/tiny_run.h"
#include "train/run_inputs.h"
#include "train/run_ranks.h"
#include "train/stage.h"

#ifdef ONEMODEL_HAS_GLOO
#define SKIP_WITHOUT_GLOO()
#else
#define SKIP_WITHOUT_GLOO() GTEST_SKIP() << "this build has no Gloo (libgloo-dev)"
#endif

namespace om {
namespace {

using test::contains;
using test::difference;
using test::files_of;
using test::message;
using test::on_ranks;
using test::QueuedBackend;
using test::TinyRun;
using test::trouble_on_ranks;

using test::apart;
using test::Course;
using test::train_course;

// The first line: 2 ranks of batch 4 and synchronised statistics are 1 rank of batch 8.
TEST(RanksTraining, FollowOneRankWithAllTheImages) {
  SKIP_WITHOUT_GLOO();
  set_threads(1);
  Backend& cpu = backend("cpu");
  for (const auto& [size, steps] : {std::pair(2, 20), std::pair(4, 4)}) {
    const Course alone = train_course(nullptr, DType::f64, cpu, 8, steps);
    std::mutex mutex;
    EXPECT_EQ(trouble_on_ranks(size,
                               [&](ranks::Member& member) {
                                 const auto together = make_communicator(cpu, &member);
                                 const SyncedNorms norms(together.get());
                                 const Course course =
                                     train_course(together.get(), DType::f64, cpu, 8 / size, steps, 4096);
                                 const std::lock_guard lock(mutex);
                                 EXPECT_LE(apart(course.losses, alone.losses), 1e-5);
                                 EXPECT_LE(apart(course.parameters, alone.parameters), 1e-5);
                                 EXPECT_LE(apart(course.statistics, alone.statistics), 1e-5);
                                 for (std::size_t i = 0; i < course.losses.size(); ++i)
                                   EXPECT_NEAR(course.losses[i], alone.losses[i], 1e-5 * alone.losses[i])
                                       << i;
                               }),
              "");
  }
}

// Statistics of each rank's own images make another course: the test above would not see one without the
// other.
TEST(RanksTraining, OwnStatisticsMakeAnotherCourse) {
  SKIP_WITHOUT_GLOO();
  set_threads(1);
  Backend& cpu = backend("cpu");
  const Course alone = train_course(nullptr, DType::f64, cpu, 4, 3);
  EXPECT_EQ(trouble_on_ranks(2,
                             [&](ranks::Member& member) {
                               const auto together = make_communicator(cpu, &member);
                               const Course course = train_course(together.get(), DType::f64, cpu, 2, 3);
                               if (apart(course.losses, alone.losses) < 1e-3) fail("the same course");
                             }),
            "");
}

// Buckets of any size, and a device whose recordings the sums lie between: the same weights to the bit.
TEST(RanksTraining, BucketsAndRecordingsChangeNoBit) {
  SKIP_WITHOUT_GLOO();
  set_threads(1);
  std::mutex mutex;
  std::vector<Course> courses;
  const auto run = [&](std::size_t bucket, int device) {
    EXPECT_EQ(trouble_on_ranks(2,
                               [&](ranks::Member& member) {
                                 QueuedBackend eager(false), recording(true);
                                 Backend& where = device == 0   ? backend("cpu")
                                                  : device == 1 ? static_cast<Backend&>(eager)
                                                                : recording;
                                 const auto together = make_communicator(where, &member);
                                 Course course =
                                     train_course(together.get(), DType::f32, where, 2, 5, bucket);
                                 if (device == 2 && (recording.recordings != 2 || recording.replays != 8))
                                   fail(recording.recordings, " recordings, ", recording.replays, " replays");
                                 const std::lock_guard lock(mutex);
                                 courses.push_back(std::move(course));
                               }),
              "");
  };
  const auto expect_one_course = [&](std::size_t count) {
    ASSERT_EQ(courses.size(), count);
    for (const Course& course : courses) {
      EXPECT_EQ(course.losses, courses[0].losses);
      EXPECT_TRUE(course.parameters == courses[0].parameters);
    }
    courses.clear();
  };
  run(kBucketBytes, 0);
  run(1, 0);
  run(3000, 0);
  expect_one_course(6);
  run(3000, 1);  // without the processor's fused kernels, which round differently
  run(1, 2);
  run(kBucketBytes, 2);
  expect_one_course(6);
}

TEST(RanksTraining, NormsGoBetweenRanksOnADeviceThatRecordsToo) {
  SKIP_WITHOUT_GLOO();
  set_threads(1);
  std::mutex mutex;
  std::vector<Course> courses;
  for (const bool records : {false, true})
    EXPECT_EQ(trouble_on_ranks(2,
                               [&](ranks::Member& member) {
                                 QueuedBackend where(records);
                                 const auto together = make_communicator(where, &member);
                                 const SyncedNorms norms(together.get());
                                 Course course = train_course(together.get(), DType::f32, where, 2, 4);
                                 const std::lock_guard lock(mutex);
                                 courses.push_back(std::move(course));
                               }),
              "");
  ASSERT_EQ(courses.size(), 4U);
  for (const Course& course : courses) EXPECT_TRUE(course.parameters == courses[0].parameters);
}

// L = sum over ranks of sum(w_r * square(all_sum(x_r))): dL/dx_r = 2 s sum of w, s the sum of x.
TEST(AllSum, GradientsGoOverTheRanks) {
  SKIP_WITHOUT_GLOO();
  Backend& cpu = backend("cpu");
  EXPECT_EQ(trouble_on_ranks(3,
                             [&](ranks::Member& member) {
                               const auto together = make_communicator(cpu, &member);
                               const double r = member.rank();
                               const Tensor x = require_grad(Tensor::full({2}, 1 + r, DType::f64, cpu));
                               const Tensor y = sum(square(all_sum(x, *together)) * (10 + r));
                               const std::vector<double> g = grad({y}, {x})[0].to_host<double>();
                               if (g != std::vector<double>{2 * 6 * 33, 2 * 6 * 33})
                                 fail("the gradient is ", g[0]);
                               if (x.to_host<double>()[0] != 1 + r) fail("x was overwritten");
                             }),
            "");
}

// A norm over ranks of the parts is the norm of the whole, its gradients too.
TEST(AllSum, SynchronisedNormIsTheWholeOnes) {
  SKIP_WITHOUT_GLOO();
  Backend& cpu = backend("cpu");
  RandomSource random(1, cpu);
  const Tensor all = random.normal({6, 3, 3, 4}, DType::f64), g = random.normal({6, 3, 3, 4}, DType::f64);
  const Tensor weight = random.normal({4}, DType::f64), bias = random.normal({4}, DType::f64);
  const auto norm = [&](const Tensor& x_, const Tensor& g_, Communicator* together) {
    const Tensor x = require_grad(x_.clone()), w = require_grad(weight.clone()),
                 b = require_grad(bias.clone());
    const BatchNormResult result =
        batch_norm(x, w, b, {.residual = x_ * 0.5, .slope = 0, .together = together});
    std::vector<Tensor> out = grad({result.y}, {x, w, b}, {.output_gradients = {g_}});
    out.insert(out.end(), {result.y.detach(), result.mean, result.variance});
    return out;
  };
  const std::vector<Tensor> whole = norm(all, g, nullptr);
  EXPECT_EQ(
      trouble_on_ranks(2,
                       [&](ranks::Member& member) {
                         const auto together = make_communicator(cpu, &member);
                         const auto part = [&](const Tensor& t) { return slice(t, 0, member.rank() * 3, 3); };
                         std::vector<Tensor> mine = norm(part(all), part(g), together.get());
                         together->all_reduce({mine[1], mine[2]});  // as a step sums them
                         together->join();
                         for (std::size_t i = 0; i < mine.size(); ++i) {
                           const Tensor wanted = i == 0 || i == 3 ? part(whole[i]) : whole[i];
                           const double error = apart(mine[i].to_host<double>(), wanted.to_host<double>());
                           if (!(error <= 1e-12)) fail("result ", i, " is off by ", error);
                         }
                       }),
      "");
}

/// A whole run on several ranks; what rank 0 returned.
TrainResult run_on(int size, TinyRun& tiny, const std::string& name, bool resume = false,
                   const std::function<void(int, TrainOptions&)>& change = {}, bool devices = false) {
  TrainResult first;
  std::mutex mutex;
  const std::vector<std::string> thrown = on_ranks(size, [&](ranks::Member& member) {
    QueuedBackend device(true);
    Backend& where = devices ? static_cast<Backend&>(device) : backend("cpu");
    const auto together = make_communicator(where, &member);
    TrainOptions options;
    options.out = tiny.out(name);
    options.resume = resume;
    options.member = &member;
    options.together = together.get();
    options.log = [&](const std::string& line) {
      const std::lock_guard lock(mutex);
      tiny.log.push_back(line);
    };
    if (change) change(member.rank(), options);
    const TrainResult result = train(tiny.config, options, where);
    if (member.rank() == 0) first = result;
  });
  for (const std::string& what : thrown)
    if (!what.empty()) fail(what);
  return first;
}

class RanksRun : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_GLOO();
    const std::string what = GetParam();
    if (what == "synced") tiny_.config.sync_batch_norm = true;
    if (what == "denoise") tiny_.config.task = what;
    if (what == "twonetworks") tiny_.set_strategy("two-networks");
    if (what == "lpips") tiny_.add_lpips();
  }
  TinyRun tiny_;
};

TEST_P(RanksRun, RepeatsItsBytes) {
  for (const int size : {2, 3}) {
    if (size == 3 && GetParam() != std::string("plain")) continue;
    run_on(size, tiny_, text("once", size));
    run_on(size, tiny_, text("twice", size));
    EXPECT_EQ(difference(files_of(tiny_.out(text("once", size))), files_of(tiny_.out(text("twice", size)))),
              "");
  }
}

// A stop that one rank is told of is one of all, and the run goes on from its checkpoint.
TEST_P(RanksRun, StoppedAndResumedEndsInTheSameBytes) {
  run_on(2, tiny_, "whole");
  const auto whole = files_of(tiny_.out("whole"));
  const int last = GetParam() == std::string("synced") ? 1 : 4;
  for (int step = 1; step <= last; ++step) {
    const std::string name = text("stopped", step);
    std::atomic<bool> stop = false;
    const TrainResult result = run_on(2, tiny_, name, false, [&](int rank, TrainOptions& options) {
      if (rank != step % 2) return;
      options.stop = &stop;
      options.after_step = [&stop, step](const StepReport& report) {
        stop = stop || report.iteration == step;
      };
    });
    EXPECT_TRUE(result.interrupted || result.iteration == total_steps(tiny_.config));
    EXPECT_GE(result.iteration, step);
    EXPECT_FALSE(run_on(2, tiny_, name, true).interrupted);
    EXPECT_EQ(difference(whole, files_of(tiny_.out(name))), "") << "stopped after " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, RanksRun, testing::Values("plain", "synced", "denoise", "twonetworks", "lpips"),
                         [](const auto& info) { return std::string(info.param); });

// A picture that cannot be read may come to any rank: all of them are named and counted once, on rank 0.
TEST(RanksTrain, PicturesThatCannotBeReadAreNamedOnce) {
  SKIP_WITHOUT_GLOO();
  TinyRun tiny;
  for (int i = 1; i <= 12; ++i)  // with those that are there an epoch of three steps, each of them once
    std::ofstream(std::filesystem::path(tiny.config.images) / text("broken", i, ".png")) << "no image";
  tiny.config.val.clear();
  tiny.config.sample_every = 0;
  tiny.config.iterations = 3;
  std::mutex mutex;
  std::vector<std::pair<int, std::string>> said;
  const TrainResult result = run_on(3, tiny, "run", false, [&](int rank, TrainOptions& options) {
    options.log = [&, rank](const std::string& line) {
      const std::lock_guard lock(mutex);
      if (contains(line, "(skipped)")) said.emplace_back(rank, line);
    };
  });
  EXPECT_EQ(result.unreadable, 13);
  std::set<std::string> lines;
  for (const auto& [rank, line] : said) {
    EXPECT_EQ(rank, 0) << line;
    EXPECT_TRUE(lines.insert(line).second) << line;
  }
  EXPECT_EQ(lines.size(), 13U);
}

// The global order is that of one rank with all the images: the first loss, before any step, is the same.
TEST(RanksTrain, ShareOutTheBatchOfOneRank) {
  SKIP_WITHOUT_GLOO();
  TinyRun tiny;
  tiny.config.iterations = 4;
  tiny.config.sync_batch_norm = true;
  std::vector<double> together, alone;
  run_on(2, tiny, "two", false, [&](int rank, TrainOptions& options) {
    if (rank == 0)
      options.after_step = [&](const StepReport& report) {
        EXPECT_EQ(report.images, 4);
        together.push_back(report.loss);
      };
  });
  tiny.config.batch = 4;
  tiny.config.sync_batch_norm = false;
  TrainOptions options;
  options.after_step = [&](const StepReport& report) { alone.push_back(report.loss); };
  tiny.run("one", false, options);
  ASSERT_EQ(together.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(together[i], alone[i], 2e-4 * alone[i]) << i;
  // and validation is of all pictures, whoever measured them
  const std::string two = files_of(tiny.out("two")).at("metrics.jsonl"),
                    one = files_of(tiny.out("one")).at("metrics.jsonl");
  EXPECT_EQ(two.substr(0, two.find('\n')), one.substr(0, one.find('\n')));
}

// Recorded steps, values read later, and rank 0 going first where a device chooses engines.
TEST(RanksTrain, OnDevicesARunRepeatsStopsAndResumesToo) {
  SKIP_WITHOUT_GLOO();
  TinyRun tiny;
  tiny.set_strategy("two-networks");
  const auto unchanged = [](int, TrainOptions&) {};
  run_on(2, tiny, "whole", false, unchanged, true);
  const auto whole = files_of(tiny.out("whole"));
  std::atomic<bool> stop = false;
  const auto stopping = [&](int rank, TrainOptions& options) {
    if (rank != 1) return;
    options.stop = &stop;
    options.after_step = [&stop](const StepReport& report) { stop = stop || report.iteration == 2; };
  };
  run_on(2, tiny, "stopped", false, stopping, true);
  run_on(2, tiny, "stopped", true, unchanged, true);
  EXPECT_EQ(difference(whole, files_of(tiny.out("stopped"))), "");
}

TEST(RanksTrain, AnotherNumberOfRanksIsRefusedOrAccepted) {
  SKIP_WITHOUT_GLOO();
  TinyRun tiny;
  run_on(2, tiny, "run");
  tiny.config.iterations = 8;
  const auto longer = [](int, TrainOptions& options) { options.given = {"iterations"}; };
  const std::string line = message<Error>([&] { run_on(3, tiny, "run", true, longer); });
  EXPECT_TRUE(
      contains(line,
               "was written by 2 ranks, now there are 3; --accept-other-ranks goes on with 6 images a "
               "step in place of 4"))
      << line;
  EXPECT_TRUE(contains(message<UsageError>([&] { tiny.run("run", true, {.given = {"iterations"}}); }),
                       "was written by 2 ranks, now there is 1"));
  const TrainResult result = run_on(3, tiny, "run", true, [](int, TrainOptions& options) {
    options.given = {"iterations"};
    options.accept_other_ranks = true;
  });
  EXPECT_EQ(result.iteration, 8);
}

TEST(RanksTrain, OtherFilesOnARankAreNamed) {
  SKIP_WITHOUT_GLOO();
  TinyRun tiny, other;
  std::filesystem::remove(std::filesystem::path(other.config.images) / "square1.png");
  const std::vector<std::string> thrown = on_ranks(2, [&](ranks::Member& member) {
    const auto together = make_communicator(backend("cpu"), &member);
    RunRanks ranks(&member, together.get());
    const TinyRun& mine = member.rank() == 0 ? tiny : other;
    ranks.expect_same(listing_of(ImageFolder(mine.config.images)), "images: holds other files");
  });
  EXPECT_EQ(thrown[0], "");
  EXPECT_EQ(thrown[1], "rank 1: images: holds other files than on rank 0");
}

// NaN of one rank ends all of them at its step; no checkpoint is written after it.
TEST(RanksTrain, ALossThatIsNoNumberEndsAll) {
  SKIP_WITHOUT_GLOO();
  TinyRun tiny;
  tiny.config.lr = 1e30;
  tiny.config.val.clear();
  tiny.config.checkpoint_every = 1;
  std::vector<std::string> said = on_ranks(2, [&](ranks::Member& member) {
    const auto together = make_communicator(backend("cpu"), &member);
    TrainOptions options;
    options.out = tiny.out("run");
    options.member = &member;
    options.together = together.get();
    train(tiny.config, options, backend("cpu"));
  });
  for (const std::string& line : said)
    EXPECT_TRUE(contains(line, "iteration 2: the loss or its gradient is not finite")) << line;
  const auto files = files_of(tiny.out("run"));
  EXPECT_TRUE(files.contains("checkpoints/000001.safetensors"));
  EXPECT_FALSE(files.contains("checkpoints/000002.safetensors"));
}

}  // namespace
}  // namespace om
