// How long a thread that waits for another spins before it sleeps.
//
// A sleeping thread takes 5 to 100 microseconds to wake, longer than many parallel regions last, so on a
// quiet machine it pays to spin for milliseconds. On a busy one a spinning thread takes the processor from
// one that has work (the thread it waits for, perhaps), uses up its own share of time, and is off the
// processor when its work comes. No fixed time serves both, so each thread watches itself:
//
// - What it loses. While it is awake, its own processor's time should keep up with the clock. Where it falls
//   behind, and the system says that another thread was put in its place, processors are scarce: the thread
//   sleeps at once for a rest of 50 ms, and twice as long each time that the next try ends the same way.
// - What spinning gains. Waits that outlast every spin make it shorter by and by; one that a longer
//   spin would have met makes it longer.
#pragma once

#include <cstdint>

namespace om::cpu {

/// Times in nanoseconds. One for each thread; it does not read clocks itself, so that a test can.
class Patience {
 public:
  static constexpr std::int64_t kMostSpin = 4'000'000, kLeastSpin = 50'000;
  static constexpr std::int64_t kWindow = 2'000'000;  // between two looks
  static constexpr std::int64_t kLeastRest = 50'000'000, kMostRest = 800'000'000;

  struct Moment {
    std::int64_t wall = 0;       ///< a steady clock
    std::int64_t processor = 0;  ///< what the thread has had of a processor
    std::int64_t preempted = 0;  ///< how often it was put off one for another thread
    std::int64_t slept = 0;      ///< how often it gave one up: to wait for a file, a lock, ..
  };
  /// The calling thread's.
  static Moment now();
  static std::int64_t wall();

  /// The thread comes from a sleep: what it lost asleep does not count.
  void woke(const Moment& now) { last_ = now; }
  /// Whether a look is due.
  bool due(std::int64_t wall) const { return wall - last_.wall >= kWindow; }
  /// It was awake since the last look.
  void look(const Moment& now);

  /// How long a wait that begins now may spin; 0 during a rest.
  std::int64_t spin(std::int64_t wall) const { return wall < rest_end_ ? 0 : spin_; }
  /// A wait was so long.
  void waited(std::int64_t length);

  /// Spins until done() or for as long as it pays; whether done(). Sets `began`.
  template <class Done>
  bool spin_until(const Done& done, std::int64_t& began) {
    began = wall();
    if (due(began)) look(now());
    for (std::int64_t at = began, end = began + spin(began); at < end;) {
      for (int i = 0; i < kPauses; ++i) {
        if (done()) {
          waited(wall() - began);
          return true;
        }
        pause();
      }
      at = wall();
      if (due(at)) {
        look(now());
        if (spin(at) == 0) return done();
      }
    }
    return done();
  }

 private:
  static constexpr int kPauses = 32;  // between looks at the clock
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  Moment last_;
  std::int64_t spin_ = kMostSpin;
  std::int64_t rest_ = 0, rest_end_ = 0;
};

}  // namespace om::cpu
