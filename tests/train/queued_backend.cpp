#include "tests/train/queued_backend.h"

#include <cstring>
#include <new>
#include <utility>

#include "tensor/error.h"
#include "tensor/registry.h"

namespace om::test {

class QueuedBackend::Graph final : public CapturedGraph {
 public:
  Graph(QueuedBackend& owner, std::vector<Work> work, CachingAllocator::Pool pool)
      : owner_(owner), work_(std::make_shared<std::vector<Work>>(std::move(work))), pool_(pool) {}
  ~Graph() override {
    owner_.synchronize();
    owner_.memory().drop_pool(pool_);
  }
  void replay() override {
    ++owner_.replays;
    owner_.enqueue([work = work_] {
      for (const Work& piece : *work) piece();
    });
  }

 private:
  QueuedBackend& owner_;
  std::shared_ptr<std::vector<Work>> work_;
  CachingAllocator::Pool pool_;
};

class QueuedBackend::Read final : public PendingRead {
 public:
  Read(QueuedBackend& owner, const void* source, std::size_t bytes) : owner_(owner), bytes_(bytes) {
    owner.enqueue([this, source] { std::memcpy(bytes_.data(), source, bytes_.size()); });
    place_ = owner.queue_.size();
    owner.most_reads = std::max(owner.most_reads, ++owner.reads_);
  }
  ~Read() override {
    owner_.run_until(place_);
    --owner_.reads_;
  }
  bool arrived() override { return owner_.done_ >= place_; }
  std::span<const std::byte> wait() override {
    owner_.run_until(place_);
    return bytes_;
  }

 private:
  QueuedBackend& owner_;
  std::vector<std::byte> bytes_;
  std::size_t place_ = 0;
};

QueuedBackend::QueuedBackend(bool records) : cpu_(backend("cpu")), records_(records) {}

QueuedBackend::~QueuedBackend() {
  synchronize();
  memory().close();
}

void QueuedBackend::enqueue(Work work) { (capturing_ ? recording_ : queue_).push_back(std::move(work)); }

void QueuedBackend::run_until(std::size_t n) {
  if (capturing_) fail("queued: waiting is not possible while a graph is being captured");
  for (; done_ < queue_.size() && done_ < n; ++done_) {
    queue_[done_]();
    queue_[done_] = nullptr;
  }
}

bool QueuedBackend::is_pinned(const void* pointer) const {
  const auto after = pinned_.upper_bound(pointer);
  if (after == pinned_.begin()) return false;
  const auto& [start, bytes] = *std::prev(after);
  return static_cast<const std::byte*>(pointer) < static_cast<const std::byte*>(start) + bytes;
}

void* QueuedBackend::allocate(std::size_t bytes) { return cpu_.allocate(bytes); }

void QueuedBackend::release(void* pointer) {
  if (!capturing_) synchronize();  // as cudaFree waits
  cpu_.release(pointer);
}

void QueuedBackend::copy_from_host(void* destination, const void* source, std::size_t bytes) {
  if (capturing_) fail("queued: copying from the host is not possible while a graph is being captured");
  if (is_pinned(source)) return enqueue([=] { std::memcpy(destination, source, bytes); });
  const auto* start = static_cast<const std::byte*>(source);
  enqueue([destination, copied = std::vector<std::byte>(start, start + bytes)] {
    std::memcpy(destination, copied.data(), copied.size());
  });
}

void QueuedBackend::copy_to_host(void* destination, const void* source, std::size_t bytes) {
  synchronize();
  ++early_reads;
  std::memcpy(destination, source, bytes);
}

std::unique_ptr<PendingRead> QueuedBackend::read_later(const void* source, std::size_t bytes) {
  if (capturing_) fail("queued: reading a value is not possible while a graph is being captured");
  return std::make_unique<Read>(*this, source, bytes);
}

void QueuedBackend::copy(void* destination, const void* source, std::size_t bytes) {
  enqueue([=] { std::memcpy(destination, source, bytes); });
}

void* QueuedBackend::allocate_pinned(std::size_t bytes) {
  void* pointer = Backend::allocate_pinned(bytes);
  pinned_[pointer] = bytes;
  return pointer;
}

void QueuedBackend::release_pinned(void* pointer) {
  synchronize();
  pinned_.erase(pointer);
  Backend::release_pinned(pointer);
}

bool QueuedBackend::begin_capture() {
  if (!records_) return false;
  if (capturing_) fail("queued: a second capture");
  pool_ = memory().begin_pool();
  capturing_ = true;
  return true;
}

std::unique_ptr<CapturedGraph> QueuedBackend::end_capture() {
  capturing_ = false;
  memory().end_pool();
  ++recordings;
  return std::make_unique<Graph>(*this, std::exchange(recording_, {}), pool_);
}

void QueuedBackend::fill(Out y, double value) {
  enqueue([=, this] { cpu_.fill(y, value); });
}
void QueuedBackend::strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                                 std::int64_t y_offset, const Strides& y_strides, const Shape& extent) {
  enqueue([=, this] { cpu_.strided_copy(x, x_offset, x_strides, y, y_offset, y_strides, extent); });
}
void QueuedBackend::cast(In x, Out y) {
  enqueue([=, this] { cpu_.cast(x, y); });
}
void QueuedBackend::random(Out y, Distribution distribution, In state) {
  enqueue([=, this] { cpu_.random(y, distribution, state); });
}
void QueuedBackend::unary(UnaryOp op, In x, Out y, double a, double b) {
  enqueue([=, this] { cpu_.unary(op, x, y, a, b); });
}
void QueuedBackend::binary(BinaryOp op, In a, In b, Out y, double parameter) {
  enqueue([=, this] { cpu_.binary(op, a, b, y, parameter); });
}
void QueuedBackend::where(In condition, In a, In b, Out y) {
  enqueue([=, this] { cpu_.where(condition, a, b, y); });
}
void QueuedBackend::reduce(ReduceOp op, In x, Out y) {
  enqueue([=, this] { cpu_.reduce(op, x, y); });
}
void QueuedBackend::matmul(In a, In b, Out y, const MatmulParams& params) {
  enqueue([=, this] { cpu_.matmul(a, b, y, params); });
}
void QueuedBackend::conv2d(In x, In w, Out y, const Conv2dParams& params) {
  enqueue([=, this] { cpu_.conv2d(x, w, y, params); });
}
void QueuedBackend::conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) {
  enqueue([=, this] { cpu_.conv2d_input_grad(g, w, x, params); });
}
void QueuedBackend::conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) {
  enqueue([=, this] { cpu_.conv2d_weight_grad(x, g, w, params); });
}
void QueuedBackend::max_pool2d(In x, Out y, Out index, const Pool2dParams& params) {
  enqueue([=, this] { cpu_.max_pool2d(x, y, index, params); });
}
void QueuedBackend::upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) {
  enqueue([=, this] { cpu_.upfirdn2d(x, filter, y, params); });
}
void QueuedBackend::gather(In x, In index, Out y) {
  enqueue([=, this] { cpu_.gather(x, index, y); });
}
void QueuedBackend::scatter_add(In x, In index, Out y) {
  enqueue([=, this] { cpu_.scatter_add(x, index, y); });
}

}  // namespace om::test
