#include "tensor/ranks/gloo.h"

#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/config.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include "tensor/ranks/member.h"

namespace om::ranks {
namespace {

/// Where the contexts of a run find one another: the hub's values.
class HubStore final : public ::gloo::rendezvous::Store {
 public:
  HubStore(Member& member, std::string prefix) : member_(member), prefix_(std::move(prefix)) {}
  void set(const std::string& key, const std::vector<char>& data) override {
    member_.set(prefix_ + key, {data.begin(), data.end()});
  }
  std::vector<char> get(const std::string& key) override {
    const std::string value = member_.get(prefix_ + key);
    return {value.begin(), value.end()};
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) member_.get(prefix_ + key);
  }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds&) override { wait(keys); }

 private:
  Member& member_;
  std::string prefix_;
};

template <class T>
void add(void* out, const void* a, const void* b, std::size_t count) {
  auto* y = static_cast<T*>(out);
  const auto *left = static_cast<const T*>(a), *right = static_cast<const T*>(b);
  for (std::size_t i = 0; i < count; ++i) y[i] = left[i] + right[i];
}

std::size_t bytes_of(const Tensor& array) {
  return static_cast<std::size_t>(array.elements()) * size_of(array.dtype());
}

/// While it lives, this thread and those that it starts are not ended by a connection whose other end is
/// gone: Gloo writes to it as to a file.
class WithoutBrokenPipes {
 public:
  WithoutBrokenPipes() {
    sigset_t broken;
    ::sigemptyset(&broken);
    ::sigaddset(&broken, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken, &before_);
  }
  ~WithoutBrokenPipes() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutBrokenPipes(const WithoutBrokenPipes&) = delete;
  WithoutBrokenPipes& operator=(const WithoutBrokenPipes&) = delete;

 private:
  sigset_t before_{};
};

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(Backend& backend, Member& member)
      : Communicator(member.rank(), member.size()), backend_(backend) {
    const WithoutBrokenPipes quiet;
    try {
      ::gloo::transport::tcp::attr attributes;
      attributes.hostname = member.own_host();
      auto device = ::gloo::transport::tcp::CreateDevice(attributes);
      auto context = std::make_shared<::gloo::rendezvous::Context>(rank(), size());
      context->setTimeout(std::chrono::hours(24 * 365));  // the hub knows who is alive
      HubStore store(member, "gloo/");
      context->connectFullMesh(store, device);
      context_ = std::move(context);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      fail_with(error);
    }
    thread_ = std::thread([this] { work(); });
  }

  ~GlooCommunicator() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::string description() const override {
    return text("Gloo ", GLOO_VERSION_MAJOR, '.', GLOO_VERSION_MINOR, '.', GLOO_VERSION_PATCH, " over TCP",
                backend_.host_memory() ? "" : ", through host memory");
  }

  void all_reduce(const std::vector<Tensor>& arrays) override {
    std::vector<Tensor> groups[2];  // a message has one dtype
    for (const Tensor& array : arrays) {
      if (array.dtype() != DType::f32 && array.dtype() != DType::f64)
        fail("all_reduce: expects f32 or f64, got ", name_of(array.dtype()));
      groups[array.dtype() == DType::f64].push_back(array);
    }
    for (const std::vector<Tensor>& group : groups)
      if (!group.empty()) travel(group, true, 0);
  }

  void broadcast(const std::vector<Tensor>& arrays, int root) override {
    if (!arrays.empty()) travel(arrays, false, root);
  }

  void join() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs_.empty() && !busy_; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  void trace(bool on) override {
    join();
    tracing_ = on;
    phases_.clear();
    buckets_.clear();
  }

  /// Here the backend's queue has no more in it than what is done.
  void mark(const char* what) override {
    if (!tracing_) return;
    backend_.synchronize();
    phases_.push_back({what, 0, 0, seconds()});
  }

  std::vector<Span> traced() override {
    join();
    std::size_t first = phases_.size();  // of the last step
    while (first > 0 && (first == phases_.size() || phases_[first].what != "start")) --first;
    if (phases_.empty()) return {};
    const double start = phases_[first].end;
    std::vector<Span> spans;
    for (std::size_t i = first + 1; i < phases_.size(); ++i)
      spans.push_back({phases_[i].what, 0, phases_[i - 1].end - start, phases_[i].end - start});
    for (const Span& bucket : buckets_)
      if (bucket.begin >= start)
        spans.push_back({"", bucket.bytes, bucket.begin - start, bucket.end - start});
    return spans;
  }

  void barrier() override {
    enqueue([this] {
      ::gloo::BarrierOptions options(context_);
      options.setTag(next_tag());
      ::gloo::barrier(options);
    });
    join();
  }

 private:
  /// The arrays' bytes one behind the other, there and back. Host memory is read where it lies by the thread
  /// that sends; a device's is fetched at once.
  void travel(const std::vector<Tensor>& given, bool sum, int root) {
    std::size_t bytes = 0;
    std::vector<Tensor> arrays;
    for (const Tensor& array : given)
      if (array.elements() > 0) arrays.push_back(array);
    for (const Tensor& array : arrays) bytes += bytes_of(array);
    if (bytes == 0) return;
    const bool host = backend_.host_memory();
    const bool wide = arrays[0].dtype() == DType::f64;
    // While others wait for their turn only what travels is there twice.
    auto room = std::make_shared<std::vector<std::byte>>(host ? 0 : bytes);
    const auto each = [arrays, room](const auto& move) {
      std::byte* at = room->data();
      for (const Tensor& array : arrays) {
        move(array, at, bytes_of(array));
        at += bytes_of(array);
      }
    };
    if (!host)
      each([&](const Tensor& array, std::byte* at, std::size_t size) {
        backend_.copy_to_host(at, array.in().data, size);
      });
    else
      for (const Tensor& array : arrays) array.storage()->written();
    enqueue([this, each, room, bytes, host, sum, wide, root] {
      if (host) {
        room->resize(bytes);
        each([](const Tensor& array, std::byte* at, std::size_t size) {
          std::memcpy(at, array.storage()->data(), size);
        });
      }
      const double begin = seconds();
      if (sum)
        wide ? reduce<double>(*room) : reduce<float>(*room);
      else
        send(*room, root);
      if (tracing_) buckets_.push_back({"", room->size(), begin, seconds()});
      if (host)
        each([](const Tensor& array, std::byte* at, std::size_t size) {
          std::memcpy(array.storage()->data(), at, size);
        });
    });
    if (host) return;
    join();
    each([&](const Tensor& array, const std::byte* at, std::size_t size) {
      backend_.copy_from_host(array.out().data, at, size);
    });
    backend_.synchronize();  // `room` ends here
  }

  template <class T>
  void reduce(std::vector<std::byte>& bytes) {
    ::gloo::AllreduceOptions options(context_);
    options.setOutput(reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T));
    options.setReduceFunction(add<T>);
    options.setTag(next_tag());
    ::gloo::allreduce(options);
  }

  void send(std::vector<std::byte>& bytes, int root) {
    ::gloo::BroadcastOptions options(context_);
    options.setOutput(reinterpret_cast<char*>(bytes.data()), bytes.size());
    options.setRoot(root);
    options.setTag(next_tag());
    ::gloo::broadcast(options);
  }

  static double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  std::uint32_t next_tag() { return tag_ = (tag_ + 1) & 0xffffffU; }

  [[noreturn]] void fail_with(const std::exception& error) const {
    const std::string what = error.what();
    throw BrokenCollective(
        text("rank ", rank(), " of ", size(), ": Gloo: ", what.substr(0, what.find('\n'))));
  }

  void enqueue(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      if (error_) std::rethrow_exception(error_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_all();
  }

  void work() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ending_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
        busy_ = true;
      }
      std::exception_ptr error;
      try {
        job();
      } catch (const std::bad_alloc&) {
        error = std::current_exception();
      } catch (const std::exception& broken) {
        try {
          fail_with(broken);
        } catch (...) {
          error = std::current_exception();
        }
      }
      job = nullptr;  // the arrays it kept
      {
        const std::lock_guard lock(mutex_);
        busy_ = false;
        if (error) {
          error_ = error;
          jobs_.clear();
        }
      }
      changed_.notify_all();
    }
  }

  Backend& backend_;
  std::shared_ptr<::gloo::Context> context_;
  std::uint32_t tag_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool busy_ = false, ending_ = false;
  std::exception_ptr error_;
  std::atomic<bool> tracing_ = false;
  std::vector<Span> phases_, buckets_;  // the latter are the thread's, while it works
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Communicator> make_gloo(Backend& backend, Member& member) {
  return std::make_unique<GlooCommunicator>(backend, member);
}

}  // namespace om::ranks
