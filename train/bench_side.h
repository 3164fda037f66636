// The work that bench times, on one backend: the networks, and what a row's whole and parts run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/random.h"
#include "train/bench.h"

namespace om {

/// What so many calls take, with an empty queue before and behind them.
double seconds_of(Backend& backend, const std::function<void()>& body, int calls);

class BenchSide {
 public:
  BenchSide(const BenchNetworks& networks, Backend& backend, std::uint64_t seed);

  struct Body {
    std::function<void()> run;
    std::function<std::vector<Tensor>()> results;  ///< f32, of the last run
    bool records = true;                           ///< may be recorded and replayed
    std::function<void()> eager = {};              ///< the same without its own recording; empty: `run`
    std::function<bool()> recorded = {};           ///< of one that records by itself
  };
  /// A piece of work, whose tensors are made when it is prepared and end with the body.
  struct Piece {
    std::string name;
    std::function<Body()> prepare;
  };
  /// The whole first, then its parts.
  std::vector<Piece> pieces(const std::string& task, std::int64_t batch);

  const Autoencoder& model() const { return *model_; }
  const Lpips* lpips() const { return lpips_.get(); }

 private:
  std::vector<Piece> reconstruction(std::int64_t batch);
  std::vector<Piece> training(std::int64_t batch);
  Body upload(std::int64_t batch);
  Tensor images(std::int64_t batch);
  Code code(std::int64_t batch);

  Backend& backend_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Lpips> lpips_;
  RandomSource random_;
};

}  // namespace om
