// A network's forward pass over pictures in batches of one size: what `reconstruct`, `encode`, `denoise`,
// `eval` and `leak` run.
//
// The last batch is filled up with its last picture, so that all batches are the same work on the same
// shapes: it is recorded once and replayed (tensor/replay.h), and what becomes of a picture depends neither
// on its place nor on how many there are. Pictures go up in 8 bits; what comes out comes back while the next
// batch computes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/image.h"
#include "tensor/replay.h"
#include "train/evaluate.h"
#include "train/pixels.h"

namespace om {

/// Pictures in a batch unless a command is told otherwise: 1 where the host computes, else 32, halved until
/// the model's activations fit the card's whole memory with room to spare (not what is free of it: the same
/// card always takes the same batch).
std::int64_t default_batch(Backend& backend, std::int64_t largest_map_bytes);
/// Bytes of the largest activation of one picture in float32.
std::int64_t largest_map_bytes(const Encoder& encoder);
std::int64_t largest_map_bytes(const Autoencoder& model);

inline constexpr std::int64_t kMaxBatch = 4096;

/// Takes batches one after the other through a network whose parameters stay as they are meanwhile.
class Inference {
 public:
  struct Inputs {
    Tensor pixels;              ///< u8 [N, S, S, 3]
    Tensor images;              ///< the same as f32 in [-1, 1]
    std::vector<Tensor> noise;  ///< [N, s, s, 1] each; empty unless `draw` is set
  };
  using Outputs = std::vector<Tensor>;  ///< f32, each [N, ..]

  struct Work {
    /// Recorded: may not read values, nor bring any from the host.
    std::function<Outputs(const Inputs&)> forward;
    /// What is computed from inputs and outputs besides, and not counted in seconds(); not recorded.
    std::function<Outputs(const Inputs&, const Outputs&)> measure = {};
    /// The noise maps, [1, s, s, 1] each, of a picture by its number.
    std::function<std::vector<Tensor>(std::uint64_t picture)> draw = {};
  };

  /// What came of a batch: one number after the other on the host.
  class Batch {
   public:
    /// Output k (those of forward, then those of measure) of picture i. After settle().
    std::span<const float> output(std::size_t k, std::size_t i) const;

   private:
    friend class Inference;
    std::int64_t batch_ = 0;
    std::vector<std::unique_ptr<PendingRead>> reads_;
    std::size_t forward_ = 0;  // how many of them are forward's
    std::vector<std::span<const float>> values_;
    std::chrono::steady_clock::time_point begin_;
    std::optional<std::chrono::steady_clock::time_point> computed_;
  };

  /// For pictures of `side` pixels. UsageError where `batch` is not between 1 and kMaxBatch.
  Inference(std::int64_t side, std::int64_t batch, Work work, Backend& backend);

  std::int64_t batch() const { return batch_; }
  Backend& backend() const { return backend_; }
  /// Batches that should be under way before one is waited for: 0 where start() has computed already.
  std::size_t under_way() const { return backend_.host_memory() ? 0 : 1; }

  /// Puts 1 to batch() pictures, side x side, on their way. `numbers`: theirs for `draw`.
  std::shared_ptr<Batch> start(std::span<const Image* const> pictures,
                               std::span<const std::uint64_t> numbers);
  /// Waits until the batch is there. Batches in the order in which they were started.
  void settle(Batch& batch);

  /// Seconds that forward took for all that was settled.
  double seconds() const { return seconds_; }

 private:
  void forward();
  void draw(std::span<const std::uint64_t> numbers);

  std::int64_t side_, batch_;
  Work work_;
  Backend& backend_;
  PixelTable values_;
  PixelFeed feed_;
  std::vector<std::uint8_t> host_;  // a batch's pixels
  Tensor pixels_;                   // u8, where each batch's are put
  Inputs inputs_;
  Outputs outputs_;
  Replay replay_;
  double seconds_ = 0;
  std::chrono::steady_clock::time_point end_{};  // of the batch before
};

/// Whose random maps a picture gets, where it gets any: its own, by its number, or those of picture 0.
enum class MapsFor : std::uint8_t { each, all };

/// What draws them: Inference::Work::draw.
std::function<std::vector<Tensor>(std::uint64_t)> drawn_maps(const Autoencoder& model, std::uint64_t seed,
                                                             MapsFor maps, Backend& backend);

/// Reconstructions in evaluation mode: one output, images [N, S, S, 3], not clamped. The model must outlive
/// it.
Inference::Work reconstruction(const Autoencoder& model, NoiseMaps noise, std::uint64_t seed, MapsFor maps,
                               Backend& backend);

}  // namespace om
