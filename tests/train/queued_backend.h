// A backend that behaves like a card without being one: the kernels of the processor backend, run later. What
// is asked of it goes into a queue, and runs where somebody waits; pinned memory is read only then; and it
// records, as a CUDA stream does: while a capture is open nothing runs, and a replay runs what was recorded.
//
// So what a run may do wrong on a card (a buffer filled again too early, a number frozen into a recording, a
// value that is read when nobody has waited) goes wrong here too, on any machine.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tensor/backend.h"

namespace om::test {

class QueuedBackend : public Backend {
 public:
  /// `records`: whether begin_capture() works.
  explicit QueuedBackend(bool records);
  ~QueuedBackend() override;

  std::string_view name() const override { return "queued"; }
  std::string description() const override { return "queued"; }
  bool supports(DType dtype) const override { return cpu_.supports(dtype); }
  bool supports(Math math) const override { return cpu_.supports(math); }
  bool host_memory() const override { return false; }

  void* allocate(std::size_t bytes) override;
  void release(void* pointer) override;
  void copy_from_host(void* destination, const void* source, std::size_t bytes) override;
  void copy_to_host(void* destination, const void* source, std::size_t bytes) override;
  std::unique_ptr<PendingRead> read_later(const void* source, std::size_t bytes) override;
  void copy(void* destination, const void* source, std::size_t bytes) override;
  void synchronize() override { run_until(SIZE_MAX); }
  void* allocate_pinned(std::size_t bytes) override;
  void release_pinned(void* pointer) override;
  bool records() const override { return records_; }
  bool begin_capture() override;
  std::unique_ptr<CapturedGraph> end_capture() override;

  void fill(Out y, double value) override;
  void strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y, std::int64_t y_offset,
                    const Strides& y_strides, const Shape& extent) override;
  void cast(In x, Out y) override;
  void random(Out y, Distribution distribution, In state) override;
  void unary(UnaryOp op, In x, Out y, double a, double b) override;
  void binary(BinaryOp op, In a, In b, Out y, double parameter) override;
  void where(In condition, In a, In b, Out y) override;
  void reduce(ReduceOp op, In x, Out y) override;
  void matmul(In a, In b, Out y, const MatmulParams& params) override;
  void conv2d(In x, In w, Out y, const Conv2dParams& params) override;
  void conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) override;
  void conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) override;
  void max_pool2d(In x, Out y, Out index, const Pool2dParams& params) override;
  void upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) override;
  void gather(In x, In index, Out y) override;
  void scatter_add(In x, In index, Out y) override;

  // what was asked of it
  int recordings = 0, replays = 0;
  std::size_t most_reads = 0;  ///< read_later() calls that nobody had waited for, at most
  int early_reads = 0;         ///< copy_to_host() calls: each waits for the whole queue

 private:
  using Work = std::function<void()>;
  class Graph;
  class Read;
  void enqueue(Work work);
  /// Runs what was enqueued before the n-th call of enqueue().
  void run_until(std::size_t n);
  bool is_pinned(const void* pointer) const;

  Backend& cpu_;
  bool records_;
  std::vector<Work> queue_, recording_;
  std::size_t done_ = 0;  // of the queue
  bool capturing_ = false;
  CachingAllocator::Pool pool_ = CachingAllocator::kSharedPool;
  std::map<const void*, std::size_t> pinned_;
  std::size_t reads_ = 0;
};

}  // namespace om::test
