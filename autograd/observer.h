// Watching ops: one object a thread is told of every op and of every rule once its kernels are enqueued. What
// it measures since it was told last is that op's: time where it waits for the backend, work where the
// backend is a dry one. What is no op (filling, assigning, drawing) counts to the op after it.
//
// While nobody watches, an op tests one pointer.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

namespace om {

/// backward: in grad(), by the op whose rule it is; the ops that a rule calls are part of it. What
/// recompute() runs again is told op by op, as backward.
enum class Pass : std::uint8_t { forward, backward };

class OpObserver {
 public:
  virtual ~OpObserver() = default;
  /// `op` lives as long as the program.
  virtual void ran(std::string_view op, Pass pass) = 0;
};

namespace detail {

struct Watch {
  OpObserver* observer = nullptr;
  bool in_grad = false, in_rule = false;
};
inline constinit thread_local Watch watch;

void tell(const char* op);

/// While it lives, in a rule, ops are told of after all.
class ToldApart {
 public:
  ToldApart() : previous_(std::exchange(watch.in_rule, false)) {}
  ~ToldApart() { watch.in_rule = previous_; }
  ToldApart(const ToldApart&) = delete;
  ToldApart& operator=(const ToldApart&) = delete;

 private:
  bool previous_;
};

}  // namespace detail

/// Said by every op at its end.
inline void op_ran(const char* op) {
  if (detail::watch.observer != nullptr) [[unlikely]]
    detail::tell(op);
}

/// While it lives, `observer` watches the ops of this thread; one at a time.
class Watching {
 public:
  explicit Watching(OpObserver& observer);
  ~Watching();
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

 private:
  OpObserver* previous_;
};

}  // namespace om
