// What a model takes on this machine: reconstruction and training steps as the commands run them, by batch
// and precision, and each of their parts by itself.
//
// Every figure is a median of several runs after a warm-up, with the least and the most. Work that a backend
// records (tensor/replay.h) is timed as a replay. A part runs alone, on inputs of its own, so the parts of a
// whole need not add up to it: between them results leave the caches, and what only the whole has (the sum of
// two losses, say) is in none. GFLOP are those of convolutions and matrix products as their shapes say,
// counted on a dry backend (tensor/dry.h); bytes those of every kernel's arrays.
//
// A result that is not finite, or all zeros, is an error: kernels may be faster on such numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/precision.h"
#include "models/autoencoder.h"
#include "models/lpips.h"
#include "tensor/dry.h"
#include "train/op_profile.h"

namespace om {

/// Seconds of one call.
struct Timing {
  double median = 0, least = 0, most = 0;
};

/// Calls `body` once to warm up, then `runs` rounds of as many calls as last about 20 ms.
Timing time_calls(Backend& backend, const std::function<void()>& body, int runs);

/// What this machine does at best in a precision, measured: a large 3x3 convolution and a large copy.
struct MachinePeaks {
  Precision precision = Precision::fp32;
  double flops = 0;  ///< a second
  double bytes = 0;  ///< a second, read and written ones together
};
MachinePeaks measure_peaks(Backend& backend, Precision precision, int runs);

/// The networks to time, made on the backend that is asked for. `lpips` may be empty or give null: the mean
/// squared error alone.
struct BenchNetworks {
  std::function<std::unique_ptr<Autoencoder>(Backend&)> model;
  std::function<std::unique_ptr<Lpips>(Backend&)> lpips;
};

struct BenchPart {
  std::string name;
  Timing time;
  Work work;
};

struct BenchRow {
  std::string task;  ///< "reconstruct" or "train"
  Precision precision = Precision::fp32;
  std::int64_t batch = 1;
  bool replayed = false;  ///< recorded and replayed, else run as it is
  double first = 0;       ///< seconds of the first call, a search for engines included
  BenchPart whole;        ///< inputs already on the backend
  std::size_t peak = 0;   ///< bytes handed out at one time while the whole ran, weights included
  std::size_t held = 0;   ///< the same and what lies ready for reuse
  std::vector<BenchPart> parts;
  std::vector<OpRow> profile;  ///< where asked for
};

class BenchSide;  // train/bench_side.h

class Bench {
 public:
  Bench(const BenchNetworks& networks, Backend& backend, std::uint64_t seed, int runs, bool profile);
  ~Bench();
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  /// Encoder, decoder, and the input's way to the backend. Error where the model predicts no latents or no
  /// noise.
  BenchRow reconstruct(Precision precision, std::int64_t batch);
  /// Encoder, decoder and loss, each forward and backward, optimiser and input.
  BenchRow train(Precision precision, std::int64_t batch);

  const Autoencoder& model() const;
  const Lpips* lpips() const;

 private:
  BenchRow row(const std::string& task, Precision precision, std::int64_t batch);

  Backend& backend_;
  std::unique_ptr<Backend> dry_;
  std::unique_ptr<BenchSide> real_, counted_;
  int runs_;
  bool profile_;
};

}  // namespace om
