// Threads for small jobs whose results are wanted in order: pictures decoded ahead, results written behind.
//
//   Workers workers(4);
//   Pending<Image> next = workers.start([] { return read_image("a.png"); });
//   .. next.get() ..
//
// Whoever asks for a result that no thread has begun computes it there and then, so nothing waits for a job
// in vain, and without a single thread all is done in the order in which it is asked for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace om {

class WorkersJob {
 public:
  virtual ~WorkersJob() = default;
  /// True for the one that is to run it.
  bool claim() { return !claimed_.exchange(true); }
  virtual void run() = 0;

 private:
  std::atomic<bool> claimed_ = false;
};

/// A result to come.
template <class T>
class Pending {
 public:
  /// Once. Throws what the job threw.
  T get() {
    const std::shared_ptr<Job> job = std::move(job_);
    if (job->claim()) job->run();
    return job->result.get();
  }

 private:
  friend class Workers;
  struct Job : WorkersJob {
    explicit Job(std::packaged_task<T()> body) : task(std::move(body)), result(task.get_future()) {}
    void run() override { task(); }
    std::packaged_task<T()> task;
    std::future<T> result;
  };
  explicit Pending(std::shared_ptr<Job> job) : job_(std::move(job)) {}
  std::shared_ptr<Job> job_;
};

class Workers {
 public:
  /// So many threads, or as many as the system starts.
  explicit Workers(int threads);
  /// Jobs in progress are finished, those not begun are left to their Pendings.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int threads() const { return static_cast<int>(threads_.size()); }

  /// What the job refers to must live as long as these workers.
  template <class Body>
  auto start(Body body) -> Pending<std::invoke_result_t<Body>> {
    using T = std::invoke_result_t<Body>;
    auto job = std::make_shared<typename Pending<T>::Job>(std::packaged_task<T()>(std::move(body)));
    if (threads() > 0) add(job);
    return Pending<T>(std::move(job));
  }

 private:
  void add(std::shared_ptr<WorkersJob> job);
  void work();
  void stop();

  std::mutex mutex_;  // guards the next three
  std::condition_variable added_;
  std::deque<std::shared_ptr<WorkersJob>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace om
