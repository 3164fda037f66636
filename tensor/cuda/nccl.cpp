// NCCL between the cards of a run's ranks: a stream of its own, joined to the backend's by events, or in a
// recording by what its kernels read and write (capture_order.h).
#include "tensor/cuda/nccl.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "tensor/communicator.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/library.h"
#include "tensor/ranks/member.h"

namespace om::cuda {
namespace {

constexpr int kFirstThatRecords = 20906;  // 2.9.6: collectives may be captured

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(CudaBackend& backend, ranks::Member& member)
      : Communicator(member.rank(), member.size()), backend_(backend) {
    NcclId id{};
    if (rank() == 0) check_nccl(nccl().unique_id(&id), "ncclGetUniqueId");
    const std::string text = member.share({id.bytes, sizeof id.bytes});
    if (text.size() != sizeof id.bytes) fail("cuda: NCCL: rank 0 sent no id");
    std::memcpy(id.bytes, text.data(), sizeof id.bytes);
    backend_.synchronize();
    check_nccl(nccl().init_rank(&comm_, size(), id, rank()), "ncclCommInitRank");
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest),
          "cudaStreamCreateWithPriority");
    for (cudaEvent_t* event : {&begun_, &done_})
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }

  /// What was recorded must have ended before: NCCL waits for it.
  ~NcclCommunicator() override {
    if (!aborted_) {
      cudaStreamSynchronize(stream_);
      nccl().destroy(comm_);
    }
    for (cudaEvent_t event : {begun_, done_}) cudaEventDestroy(event);
    cudaStreamDestroy(stream_);
  }

  std::string description() const override {
    const int version = nccl_version();
    return text("NCCL ", version / 10000, '.', version / 100 % 100, '.', version % 100);
  }

  bool records() const override { return nccl_version() >= kFirstThatRecords && !told_not_to_record(); }

  void all_reduce(const std::vector<Tensor>& arrays) override {
    for (const Tensor& array : arrays)
      if (array.dtype() != DType::f32 && array.dtype() != DType::f64)
        fail("all_reduce: expects f32 or f64, got ", name_of(array.dtype()));
    run(arrays, [&](const Tensor& array, void* data) {
      return nccl().all_reduce(data, data, static_cast<std::size_t>(array.elements()),
                               array.dtype() == DType::f64 ? kNcclF64 : kNcclF32, kNcclSum, comm_, stream_);
    });
  }

  void broadcast(const std::vector<Tensor>& arrays, int root) override {
    run(arrays, [&](const Tensor& array, void* data) {
      return nccl().broadcast(data, data, bytes_of(array), kNcclU8, root, comm_, stream_);
    });
  }

  void join() override {
    if (backend_.capturing()) return;  // whoever reads an array waits for it
    expect_alive();
    check(cudaEventRecord(done_, stream_), "cudaEventRecord");
    check(cudaStreamWaitEvent(backend_.stream(), done_, 0), "cudaStreamWaitEvent");
    kept_.clear();  // what is freed now is used again behind the event
  }

  void trace(bool on) override {
    tracing_ = on;
    marks_.clear();
    buckets_.clear();
  }

  void mark(const char* what) override {
    if (!tracing_) return;
    if (std::strcmp(what, "start") == 0) {  // of another step, as it is or recorded
      marks_.clear();
      buckets_.clear();
    }
    marks_.push_back({what, 0, {}, Moment(backend_.stream(), backend_.capturing())});
  }

  std::vector<Span> traced() override {
    backend_.synchronize();
    std::vector<Span> spans;
    for (std::size_t i = 1; i < marks_.size(); ++i)
      spans.push_back({marks_[i].what, 0, since_start(marks_[i - 1].end), since_start(marks_[i].end)});
    if (!marks_.empty())
      for (const Traced& bucket : buckets_)
        spans.push_back({"", bucket.bytes, since_start(bucket.begin), since_start(bucket.end)});
    return spans;
  }

  void barrier() override {
    const Tensor one = Tensor::full({1}, 1, DType::f32, backend_);
    all_reduce({one});
    join();
    backend_.synchronize();
  }

  void abort() noexcept override {
    if (!aborted_.exchange(true)) nccl().abort(comm_);
  }

 private:
  /// A place in a stream whose time can be asked for, of the last replay where it was recorded.
  class Moment {
   public:
    Moment() = default;
    Moment(cudaStream_t stream, bool recording)
        : event_(new cudaEvent_t{}, [](cudaEvent_t* event) {
            cudaEventDestroy(*event);
            delete event;
          }) {
      check(cudaEventCreate(event_.get()), "cudaEventCreate");
      check(cudaEventRecordWithFlags(*event_, stream,
                                     recording ? cudaEventRecordExternal : cudaEventRecordDefault),
            "cudaEventRecordWithFlags");
    }
    cudaEvent_t event() const { return *event_; }

   private:
    std::shared_ptr<cudaEvent_t> event_;
  };
  struct Traced {
    std::string what;
    std::size_t bytes = 0;
    Moment begin, end;
  };

  double since_start(const Moment& moment) const {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, marks_.front().end.event(), moment.event()),
          "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  static bool told_not_to_record() {
    const char* word = std::getenv("ONEMODEL_NCCL_GRAPH");
    return word != nullptr && std::strcmp(word, "0") == 0;
  }

  static std::size_t bytes_of(const Tensor& array) {
    return static_cast<std::size_t>(array.elements()) * size_of(array.dtype());
  }

  void expect_alive() const {
    if (aborted_) throw BrokenCollective(text("rank ", rank(), " of ", size(), ": NCCL was told to give up"));
  }

  void check_nccl(NcclResult result, const char* call) const {
    if (result == kNcclSuccess) return;
    const char* more = nccl().last_error(nullptr);
    std::string reason = more == nullptr ? "" : more;
    reason = reason.substr(0, reason.find('\n'));
    throw BrokenCollective(text("rank ", rank(), " of ", size(), ": NCCL: ", call, ": ",
                                nccl().error_string(result), reason.empty() ? "" : " (" + reason + ")"));
  }

  /// One launch for all arrays: NCCL makes one kernel of a group.
  template <class Call>
  void run(const std::vector<Tensor>& arrays, const Call& call) {
    expect_alive();
    std::vector<Out> outs;
    for (const Tensor& array : arrays)
      if (array.elements() > 0) outs.push_back(array.out());
    if (outs.empty()) return;
    CaptureOrder* order = backend_.order();
    if (order != nullptr) {
      order->begin();
      for (const Out& out : outs)
        order->write(out.data, static_cast<std::size_t>(out.shape.elements()) * size_of(out.dtype));
      order->enter(stream_, begun_);
    } else {
      check(cudaEventRecord(begun_, backend_.stream()), "cudaEventRecord");
      check(cudaStreamWaitEvent(stream_, begun_, 0), "cudaStreamWaitEvent");
      kept_.insert(kept_.end(), arrays.begin(), arrays.end());
    }
    Traced traced;
    if (tracing_) {
      for (const Out& out : outs)
        traced.bytes += static_cast<std::size_t>(out.shape.elements()) * size_of(out.dtype);
      traced.begin = Moment(stream_, order != nullptr);
    }
    check_nccl(nccl().group_start(), "ncclGroupStart");
    NcclResult worst = kNcclSuccess;
    for (const Tensor& array : arrays)
      if (array.elements() > 0)
        if (const NcclResult result = call(array, array.storage()->data()); worst == kNcclSuccess)
          worst = result;
    const NcclResult ended = nccl().group_end();
    if (tracing_) {
      traced.end = Moment(stream_, order != nullptr);
      buckets_.push_back(std::move(traced));
    }
    if (order != nullptr) order->leave(stream_);
    check_nccl(worst, "a collective");
    check_nccl(ended, "ncclGroupEnd");
  }

  CudaBackend& backend_;
  NcclComm* comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begun_ = nullptr, done_ = nullptr;
  std::vector<Tensor> kept_;  // until the backend's stream has joined
  std::atomic<bool> aborted_ = false;
  bool tracing_ = false;
  std::vector<Traced> marks_, buckets_;  // of the last step
};

}  // namespace

Nccl::Nccl()
    : Library(
          open_library("libnccl.so.2", "several cards need NCCL 2",
                       "libnccl2 of NVIDIA's repositories, nvidia-nccl-cu12 or nvidia-nccl-cu13 of PyPI")) {}

const Nccl& nccl() {
  static const Nccl table;
  return table;
}

int nccl_version() {
  int version = 0;
  nccl().version(&version);
  return version;
}

int CudaBackend::devices() const {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

std::unique_ptr<Communicator> CudaBackend::make_communicator(ranks::Member& member) {
  return std::make_unique<NcclCommunicator>(*this, member);
}

}  // namespace om::cuda
