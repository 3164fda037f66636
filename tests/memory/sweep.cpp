#include "tests/memory/sweep.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <set>

#include "tensor/registry.h"

namespace om::test {
namespace {

/// Checkpoints are synced thousands of times here; a folder in memory takes them at once.
[[maybe_unused]] const bool quick =
    ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", /*overwrite=*/0) == 0;

enum class End { done, no_memory, other };

struct Run {
  End end = End::done;
  std::string result;  ///< or the error's message
  std::int64_t requests = 0;
};

std::function<void()> arm;

Run run(const Sweep& sweep, std::int64_t n, FailingMallocMode mode) {
  Run run;
  arm = [&] { failing_malloc_arm(n, mode, sweep.aligned); };
  const auto disarmed = [&](End end) {
    run.requests = failing_malloc_disarm();
    run.end = end;
  };
  sweep.prepare();
  backend("cpu").memory().release_cached();
  if (!sweep.later) arm();
  try {
    std::string result = sweep.work();
    disarmed(End::done);
    run.result = std::move(result);
  } catch (const OutOfMemory& error) {
    disarmed(End::no_memory);
    run.result = error.what();
  } catch (const std::bad_alloc&) {
    disarmed(End::no_memory);
    run.result = "not enough memory";
  } catch (const std::exception& error) {
    disarmed(End::other);
    run.result = error.what();
  }
  return run;
}

std::set<std::int64_t> moments(std::int64_t requests, const Sweep& sweep) {
  std::set<std::int64_t> out;
  for (std::int64_t n = 1; n <= std::min<std::int64_t>(requests, sweep.dense); ++n) out.insert(n);
  for (std::int64_t i = 1; i <= sweep.sparse; ++i)
    out.insert(std::max<std::int64_t>(1, requests * (2 * i - 1) / (2 * sweep.sparse)));
  return out;
}

}  // namespace

void count_from_here() { arm(); }

void sweep(const Sweep& sweep) {
  run(sweep, 0, kFailOnce);  // what is made once and kept
  const std::size_t live = backend("cpu").memory().statistics().live_bytes;
  const Run whole = run(sweep, 0, kFailOnce);
  ASSERT_EQ(whole.end, End::done) << whole.result;
  ASSERT_GT(whole.requests, 0);
  EXPECT_EQ(backend("cpu").memory().statistics().live_bytes, live);
  const Run elsewhere = run(sweep, 1, kMetElsewhere);
  ASSERT_EQ(elsewhere.end, End::done) << elsewhere.result;
  EXPECT_TRUE(elsewhere.result == whole.result) << "another result";
  int failed = 0;
  for (const std::int64_t n : moments(whole.requests, sweep)) {
    for (const FailingMallocMode mode : {kFailOnce, kFailOnward}) {
      SCOPED_TRACE(
          text(mode == kFailOnce ? "once, at request " : "from request ", n, " of ", whole.requests));
      const Run run = test::run(sweep, n, mode);
      EXPECT_NE(run.end, End::other) << run.result;
      EXPECT_EQ(backend("cpu").memory().statistics().live_bytes, live);
      if (run.end == End::done) {
        EXPECT_TRUE(run.result == whole.result) << "another result";
        continue;
      }
      ++failed;
      EXPECT_NE(run.result.find("not enough memory"), std::string::npos) << run.result;
      EXPECT_EQ(run.result.find('\n'), std::string::npos) << run.result;
      sweep.check();
      if (testing::Test::HasFailure() && failed > 500) return;  // enough to see
    }
  }
  EXPECT_GT(failed, 0);
}

}  // namespace om::test
