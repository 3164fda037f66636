#include "tensor/cpu/patience.h"

#include <algorithm>
#include <chrono>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>

#include <ctime>
#endif

namespace om::cpu {

std::int64_t Patience::wall() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Patience::Moment Patience::now() {
  Moment moment{wall(), 0, 0, 0};
#if defined(CLOCK_THREAD_CPUTIME_ID) && defined(RUSAGE_THREAD)
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  moment.processor = std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  moment.preempted = usage.ru_nivcsw;
  moment.slept = usage.ru_nvcsw;
#endif
  return moment;
}

void Patience::look(const Moment& now) {
  // Less is a daemon's moment, an interrupt, or the two clocks' difference. What a host takes from a virtual
  // machine shows in the clocks alone: sleeping would not give it to a thread of ours.
  constexpr std::int64_t kLoss = 500'000;
  const std::int64_t passed = now.wall - last_.wall, lost = passed - (now.processor - last_.processor);
  const bool scarce = last_.wall != 0 && now.slept == last_.slept && now.preempted > last_.preempted &&
                      lost >= kLoss && lost >= passed / 8;
  last_ = now;
  if (!scarce) return;
  const bool again = now.wall - rest_end_ <= rest_;
  rest_ = again ? std::min(2 * rest_, kMostRest) : kLeastRest;
  rest_end_ = now.wall + rest_;
}

void Patience::waited(std::int64_t length) {
  if (length <= kMostSpin)
    spin_ = std::max(spin_, std::min(2 * length, kMostSpin));
  else
    spin_ = std::max(spin_ - spin_ / 8, kLeastSpin);
}

}  // namespace om::cpu
