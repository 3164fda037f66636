#include "io/workers.h"

#include <system_error>

namespace om {

Workers::Workers(int threads) {
  threads_.reserve(static_cast<std::size_t>(threads));
  try {
    while (static_cast<int>(threads_.size()) < threads) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {  // the system starts no more: fewer do the same work
  } catch (...) {
    stop();
    throw;
  }
}

Workers::~Workers() { stop(); }

void Workers::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  added_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::add(std::shared_ptr<WorkersJob> job) {
  {
    const std::scoped_lock lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  added_.notify_one();
}

void Workers::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    added_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    std::shared_ptr<WorkersJob> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    if (job->claim()) job->run();
    job.reset();  // what it holds ends here, not under the lock
    lock.lock();
  }
}

}  // namespace om
