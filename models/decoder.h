// What the autoencoder asks of a generator: StyleGAN 1 and 2 answer alike (paper, section 3.1).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "autograd/random.h"
#include "nn/module.h"

namespace om {

/// Shapes of a checkpoint's tensors as files give them, by name. Models read their sizes off these.
using FileShapes = std::map<std::string, Shape>;

/// The shape of `name`; InputError naming the model and the tensor where it is missing or has another rank.
const Shape& require_shape(const FileShapes& shapes, const std::string& model, const std::string& name,
                           int rank);

class Decoder : public Module {
 public:
  /// Side of the square image.
  virtual std::int64_t size() const = 0;
  /// Width of z, which the mapping network takes.
  virtual std::int64_t z_width() const = 0;
  /// Width D and number L of the latents that synthesize takes.
  virtual std::int64_t latent_width() const = 0;
  virtual std::int64_t latents() const = 0;
  /// Channels at 4x4, 8x8, .., size x size.
  virtual std::vector<std::int64_t> channels() const = 0;
  /// Side of each noise map, first to last.
  virtual std::vector<std::int64_t> noise_sizes() const = 0;

  /// The mapping network: z [N, z_width] -> w [N, D].
  virtual Tensor map(const Tensor& z) const = 0;
  /// The synthesis network: wplus [N, L, D], one noise map [N or 1, s, s, 1] per entry of noise_sizes() ->
  /// image [N, size, size, 3], about [-1, 1], not clamped.
  virtual Tensor synthesize(const Tensor& wplus, const std::vector<Tensor>& noise) const = 0;

  /// The maps stored in the checkpoint; empty where it had none.
  virtual std::vector<Tensor> stored_noise() const { return {}; }
  /// The mean of w over many z, [D], stored in the checkpoint; undefined where it had none.
  virtual Tensor latent_average() const { return {}; }

  /// Fresh standard normal maps [batch, s, s, 1].
  std::vector<Tensor> random_noise(std::int64_t batch, RandomSource& random) const;
  std::vector<Tensor> zero_noise(Backend& backend) const;

 protected:
  /// Error where wplus or the number of noise maps is not what synthesize takes.
  void expect_inputs(const char* model, const Tensor& wplus, const std::vector<Tensor>& noise) const;
};

/// w [N, D] for every layer: [N, layers, D].
Tensor repeat_latent(const Tensor& w, std::int64_t layers);

/// Layer i of wplus [N, L, D]: [N, D].
Tensor latent_layer(const Tensor& wplus, std::int64_t i);

/// The truncation trick (Karras et al. 2019, section 4.3): average + t (w - average). w [N, D] or [N, L, D].
Tensor truncate(const Tensor& w, const Tensor& average, double t);

/// The mean of w over `count` seeded z: what truncation uses where the checkpoint stores none.
Tensor estimate_latent_average(const Decoder& decoder, std::int64_t count, RandomSource& random);

}  // namespace om
