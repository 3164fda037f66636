#include "train/bench.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensor/replay.h"
#include "train/bench_side.h"

namespace om {
namespace {

/// Error where the numbers could make kernels faster than real ones do.
void expect_real_numbers(const std::string& what, const std::vector<Tensor>& results) {
  if (results.empty()) fail("bench: ", what, " gave nothing");
  bool zeros = true;  // one of them may be: the gradient of maps of no strength, say
  for (const Tensor& result : results) {
    const std::vector<float> values = result.to_host<float>();
    const auto finite = [](float v) { return std::isfinite(v); };
    if (!std::all_of(values.begin(), values.end(), finite))
      fail("bench: ", what, " gave numbers that are not finite: its time would mean nothing");
    zeros = zeros && std::all_of(values.begin(), values.end(), [](float v) { return v == 0; });
  }
  if (zeros) fail("bench: ", what, " gave nothing but zeros: its time would mean nothing");
}

}  // namespace

Timing time_calls(Backend& backend, const std::function<void()>& body, int runs) {
  constexpr double kRound = 0.02;  // seconds
  const double once = seconds_of(backend, body, 1);
  const int calls = static_cast<int>(std::clamp(kRound / std::max(once, 1e-9), 1.0, 1000.0));
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) times.push_back(seconds_of(backend, body, calls) / calls);
  std::sort(times.begin(), times.end());
  const Timing timing{times[times.size() / 2], times.front(), times.back()};
  if (!(timing.least > 0)) fail("bench: the clock did not move");
  return timing;
}

MachinePeaks measure_peaks(Backend& backend, Precision precision, int runs) {
  constexpr double kLongEnough = 0.03;  // seconds of a convolution that fills the machine
  const PrecisionScope scope(precision);
  const NoGrad no_grad;
  const bool host = backend.host_memory();
  const DType dtype = precision == Precision::bf16 ? DType::bf16 : DType::f32;
  RandomSource random(1, backend);
  MachinePeaks peaks{precision};
  const std::int64_t side = host ? 32 : 64, channels = host ? 256 : 512;
  const Tensor w = random.normal({channels, 3, 3, channels}, dtype);
  for (std::int64_t batch = host ? 1 : 8; batch <= 32; batch *= 2) {
    const Tensor x = random.normal({batch, side, side, channels}, dtype);
    Tensor y;
    const Timing time = time_calls(
        backend, [&] { y = conv2d(x, w, {.pad_h = 1, .pad_w = 1}); }, runs);
    const double flops = 2.0 * static_cast<double>(y.elements()) * static_cast<double>(9 * channels);
    peaks.flops = std::max(peaks.flops, flops / time.median);
    expect_real_numbers("the convolution that measures the peak", {cast(y, DType::f32)});
    if (time.median > kLongEnough) break;
  }
  const std::int64_t elements = (host ? std::int64_t{16} : std::int64_t{256}) << 20;
  const Tensor from = Tensor::full({elements}, 1, dtype, backend), to = from.empty_like();
  const Timing time = time_calls(
      backend, [&] { to.assign(from); }, runs);
  peaks.bytes = 2.0 * static_cast<double>(elements) * static_cast<double>(size_of(dtype)) / time.median;
  return peaks;
}

Bench::Bench(const BenchNetworks& networks, Backend& backend, std::uint64_t seed, int runs, bool profile)
    : backend_(backend),
      dry_(dry_backend(backend)),
      real_(std::make_unique<BenchSide>(networks, backend, seed)),
      counted_(std::make_unique<BenchSide>(networks, *dry_, seed)),
      runs_(runs),
      profile_(profile) {}

Bench::~Bench() = default;

const Autoencoder& Bench::model() const { return real_->model(); }
const Lpips* Bench::lpips() const { return real_->lpips(); }

BenchRow Bench::reconstruct(Precision precision, std::int64_t batch) {
  return row("reconstruct", precision, batch);
}
BenchRow Bench::train(Precision precision, std::int64_t batch) { return row("train", precision, batch); }

BenchRow Bench::row(const std::string& task, Precision precision, std::int64_t batch) {
  const PrecisionScope scope(precision);
  BenchRow row;
  row.task = task;
  row.precision = precision;
  row.batch = batch;
  const std::vector<BenchSide::Piece> pieces = real_->pieces(task, batch),
                                      counted = counted_->pieces(task, batch);
  WorkMeter& dry = *dry_->extension<WorkMeter>();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    backend_.synchronize();
    backend_.memory().release_cached();
    BenchPart part{pieces[i].name, {}, {}};
    {
      const BenchSide::Body body = counted[i].prepare();
      body.run();  // what the first call makes, moments say, is not counted
      const Work before = dry.work();
      body.run();
      part.work = dry.work() - before;
    }
    const BenchSide::Body body = pieces[i].prepare();
    Replay replay(backend_, body.run);
    const std::function<void()> call = body.records ? std::function<void()>([&] { replay(); }) : body.run;
    const double first = seconds_of(backend_, call, 1);
    backend_.memory().reset_peak();  // what the search for engines tried is not the work's
    call();
    part.time = time_calls(backend_, call, runs_);
    expect_real_numbers(text(task, ", ", pieces[i].name), body.results());
    if (i > 0) {
      row.parts.push_back(part);
      continue;
    }
    row.whole = part;
    row.first = first;
    row.replayed = body.recorded ? body.recorded() : replay.recorded();
    const MemoryStatistics statistics = backend_.memory().statistics();
    row.peak = statistics.peak_bytes;
    row.held = statistics.live_bytes + statistics.cached_bytes;
    if (!(part.work.flops > 0)) fail("bench: ", task, " has no work");
  }
  if (profile_) {
    const BenchSide::Body body = pieces.front().prepare(), dry_body = counted.front().prepare();
    row.profile = profile_ops(backend_, body.eager ? body.eager : body.run, dry,
                              dry_body.eager ? dry_body.eager : dry_body.run);
  }
  return row;
}

}  // namespace om
