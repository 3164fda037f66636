#include "tensor/cpu/team.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "tensor/cpu/patience.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace om::cpu {
namespace {

// std::atomic::wait yields the processor several times before it sleeps, which on a busy machine is worse
// than to sleep: one who yields has no claim to come back first. So the system is asked directly.
using Word = std::atomic<std::uint32_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == sizeof(std::uint32_t));

/// Until `word` is woken; at once where it is not `value`. May return early.
void sleep_on(Word& word, std::uint32_t value) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
#else
  word.wait(value);
#endif
}

void wake(Word& word, int threads) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr,
          0);
#else
  static_cast<void>(threads);
  word.notify_all();
#endif
}

thread_local Patience patience;

void run_alone(const Work& work) {
  for (std::int64_t i = 0; i < work.tiles; ++i) work.run(work.body, i, 0);
}

class Team {
 public:
  /// Whether the calling thread now has the team.
  bool take() { return !taken_.exchange(true, std::memory_order_acquire); }
  void give_back() { taken_.store(false, std::memory_order_release); }

  // For the thread that has it:

  int size() const { return size_; }
  void grow(int size) noexcept {
    try {
      const std::uint32_t seen = call_.load(std::memory_order_relaxed);
      for (; size_ < size; ++size_)
        std::thread([this, seen, member = size_] { serve(member, seen); }).detach();
    } catch (const std::exception&) {  // no thread, or no memory to describe one
    }
  }

  void run(const Work& work) {
    work_ = work;
    next_.store(0, std::memory_order_relaxed);
    failed_.store(false, std::memory_order_relaxed);
    error_ = nullptr;
    gate_.store(kOpen, std::memory_order_release);
    call();
    take_tiles(0);
    close();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  static constexpr std::uint32_t kOpen = 1U << 31, kAwaited = 1U << 30;

  /// The sum of both orders is what matters: a thread counts itself asleep, then looks at the call; the
  /// caller calls, then looks for sleepers. One of the two sees the other.
  void call() {
    call_.fetch_add(1, std::memory_order_seq_cst);
    const int asleep = asleep_.load(std::memory_order_seq_cst);
    if (asleep == 0) return;
    const auto useful = static_cast<int>(std::min<std::int64_t>(work_.threads, work_.tiles)) - 1;
    const int awake = size_ - 1 - asleep;
    if (work_.threads < size_)
      wake(call_, INT_MAX);  // only some of them may come in
    else if (useful > awake)
      wake(call_, useful - awake);
  }

  void take_tiles(int member) noexcept {
    try {
      for (std::int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < work_.tiles;)
        work_.run(work_.body, i, member);
    } catch (...) {
      next_.store(work_.tiles, std::memory_order_relaxed);
      if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
    }
  }

  /// From now on nobody comes in; waits until all are out.
  void close() {
    if (gate_.fetch_and(~kOpen, std::memory_order_acq_rel) == kOpen) return;
    const auto empty = [this] { return gate_.load(std::memory_order_acquire) == 0; };
    std::int64_t began = 0;
    if (patience.spin_until(empty, began)) return;
    std::uint32_t gate = gate_.fetch_or(kAwaited, std::memory_order_acq_rel) | kAwaited;
    for (; gate != kAwaited; gate = gate_.load(std::memory_order_acquire)) sleep_on(gate_, gate);
    gate_.store(0, std::memory_order_relaxed);
    rested(began);
  }

  static void rested(std::int64_t began) {
    const Patience::Moment now = Patience::now();
    patience.woke(now);
    patience.waited(now.wall - began);
  }

  [[noreturn]] void serve(int member, std::uint32_t seen) {
    patience.woke(Patience::now());
    for (;;) {
      seen = next_call(seen);
      std::uint32_t gate = gate_.load(std::memory_order_relaxed);
      while ((gate & kOpen) != 0 && !gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire,
                                                                 std::memory_order_relaxed)) {
      }
      if ((gate & kOpen) == 0) continue;
      if (member < work_.threads) take_tiles(member);
      if (gate_.fetch_sub(1, std::memory_order_acq_rel) == (kAwaited | 1)) wake(gate_, 1);
    }
  }

  /// Waits for a call other than `seen`.
  std::uint32_t next_call(std::uint32_t seen) {
    std::uint32_t now = seen;
    const auto called = [&] { return (now = call_.load(std::memory_order_acquire)) != seen; };
    std::int64_t began = 0;
    if (called() || patience.spin_until(called, began)) return now;
    asleep_.fetch_add(1, std::memory_order_seq_cst);
    while ((now = call_.load(std::memory_order_seq_cst)) == seen) sleep_on(call_, seen);
    asleep_.fetch_sub(1, std::memory_order_relaxed);
    rested(began);
    return now;
  }

  // Each on its own lines of the cache, two of which are often fetched together.
  alignas(128) Word call_{0};  // one more for each region; what an idle thread waits for
  alignas(128) Word gate_{0};  // threads inside, kOpen, kAwaited
  alignas(128) std::atomic<std::int64_t> next_{0};
  alignas(128) std::atomic<int> asleep_{0};
  std::atomic<bool> taken_{false}, failed_{false};
  std::exception_ptr error_;
  Work work_{};  // changes while nobody is inside
  int size_ = 1;
};

/// Never destroyed: threads of the team may outlive static objects, and in a child of fork(), which has none
/// of them, the parent's team is left as it was.
std::atomic<Team*> the_team{nullptr};

Team& team() {
  if (Team* team = the_team.load(std::memory_order_acquire)) return *team;
#if defined(__unix__) || defined(__APPLE__)
  [[maybe_unused]] static const int once = pthread_atfork(nullptr, nullptr, [] { the_team = nullptr; });
#endif
  auto* made = new Team;
  Team* other = nullptr;
  if (the_team.compare_exchange_strong(other, made, std::memory_order_acq_rel)) return *made;
  delete made;
  return *other;
}

/// How many of `wanted` threads can run beside this one, found by starting them.
int startable(int wanted) noexcept {
  std::vector<std::thread> threads;
  std::atomic<bool> go = false;
  try {
    threads.reserve(static_cast<std::size_t>(wanted));
    while (static_cast<int>(threads.size()) < wanted) threads.emplace_back([&] { go.wait(false); });
  } catch (const std::exception&) {  // no thread, or no memory to describe one
  }
  go = true;
  go.notify_all();
  for (std::thread& thread : threads) thread.join();
  return static_cast<int>(threads.size());
}

}  // namespace

void run_on_team(const Work& work) {
  if (TeamAtRest::resting) return;
  if (work.tiles <= 1 || work.threads <= 1) return run_alone(work);
  Team& team = cpu::team();
  if (!team.take()) return run_alone(work);  // inside another region, for one
  struct GiveBack {
    Team& team;
    ~GiveBack() { team.give_back(); }
  } give_back{team};
  team.grow(work.threads);
  if (team.size() == 1) return run_alone(work);
  team.run(work);
}

int start_team(int wanted) {
  if (wanted == 1) return 1;
  constexpr int kForOthers = 2;
  const int needed = wanted - 1 + kForOthers, there = startable(needed);
  const int size = there == needed ? wanted : std::min(wanted, 1 + there / 2);
  Team& team = cpu::team();
  if (!team.take()) return size;
  team.grow(size);
  const int reached = std::min(size, team.size());
  team.give_back();
  return reached;
}

}  // namespace om::cpu
