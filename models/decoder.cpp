#include "models/decoder.h"

#include "autograd/grad.h"
#include "autograd/ops.h"

namespace om {

const Shape& require_shape(const FileShapes& shapes, const std::string& model, const std::string& name,
                           int rank) {
  const auto found = shapes.find(name);
  if (found == shapes.end()) fail<InputError>(model, ": no tensor ", name);
  if (found->second.rank() != rank)
    fail<InputError>(model, ": ", name, " expects ", rank, " dimensions, got ", found->second);
  for (const std::int64_t size : found->second)
    if (size == 0) fail<InputError>(model, ": ", name, " is empty, ", found->second);
  return found->second;
}

std::vector<Tensor> Decoder::random_noise(std::int64_t batch, RandomSource& random) const {
  std::vector<Tensor> maps;
  for (const std::int64_t side : noise_sizes()) maps.push_back(random.normal({batch, side, side, 1}));
  return maps;
}

std::vector<Tensor> Decoder::zero_noise(Backend& backend) const {
  std::vector<Tensor> maps;
  for (const std::int64_t side : noise_sizes())
    maps.push_back(Tensor::zeros({1, side, side, 1}, DType::f32, backend));
  return maps;
}

void Decoder::expect_inputs(const char* model, const Tensor& wplus, const std::vector<Tensor>& noise) const {
  if (wplus.rank() != 3 || wplus.size(1) != latents() || wplus.size(2) != latent_width())
    fail(model, ": expects wplus [N, ", latents(), ", ", latent_width(), "], got ", wplus.shape());
  if (noise.size() != noise_sizes().size())
    fail(model, ": expects ", noise_sizes().size(), " noise maps, got ", noise.size());
}

Tensor repeat_latent(const Tensor& w, std::int64_t layers) {
  return broadcast(reshape(w, {w.size(0), 1, w.size(1)}), {w.size(0), layers, w.size(1)});
}

Tensor latent_layer(const Tensor& wplus, std::int64_t i) {
  return reshape(slice(wplus, 1, i, 1), {wplus.size(0), wplus.size(2)});
}

Tensor truncate(const Tensor& w, const Tensor& average, double t) { return average + (w - average) * t; }

Tensor estimate_latent_average(const Decoder& decoder, std::int64_t count, RandomSource& random) {
  const NoGrad no_grad;
  const Tensor w = decoder.map(random.normal({count, decoder.z_width()}));
  return reshape(mean(w, {0}), {w.size(1)});
}

}  // namespace om
