// The threads that tensor/cpu runs on. parallel.h is what kernels call.
//
// A region is a number of tiles. The calling thread opens it, takes tiles itself, one after the other from a
// counter, and so does every thread of the team that comes in time; when none is left it closes the region
// and waits for those inside, nobody else. A thread that is asleep, or off its processor, so costs nothing
// but its help, and the caller does not wait for a team to gather, at the beginning or at the end.
//
// How long threads spin before they sleep is patience.h's matter.
#pragma once

#include <cstdint>
#include <utility>

namespace om::cpu {

struct Work {
  std::int64_t tiles;
  int threads;  ///< members are numbered below this; the calling thread is 0
  void (*run)(void* body, std::int64_t tile, int member);
  void* body;
};

/// Runs every tile once, on work.threads threads or as many as can be started (the others are tried again at
/// the next region), and returns when all are done. Inside another region, and while another thread has the
/// team, all tiles run on the calling thread, as member 0. The first exception of a tile ends the region and
/// is thrown again here. A child of fork() starts a team of its own.
void run_on_team(const Work& work);

/// While one lives, regions that its thread opens run no tile. What is left of a kernel is how it cuts its
/// work and the scratch memory that it takes for that (tensor/dry.h).
class TeamAtRest {
 public:
  TeamAtRest() : before_(std::exchange(resting, true)) {}
  ~TeamAtRest() { resting = before_; }
  TeamAtRest(const TeamAtRest&) = delete;
  TeamAtRest& operator=(const TeamAtRest&) = delete;

  static inline constinit thread_local bool resting = false;

 private:
  bool before_;
};

/// Starts a team of `wanted`, the calling thread included, and returns how many it has. Where the system
/// gives fewer threads, half of those are left to others (an image loader).
int start_team(int wanted);

}  // namespace om::cpu
