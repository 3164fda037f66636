#include "train/analysis.h"

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "train/evaluate.h"

namespace om {
namespace {

Tensor between(const Tensor& left, const Tensor& right, double t) { return left * (1 - t) + right * t; }

}  // namespace

Code wplus_code(const Autoencoder& model, const Tensor& image, const std::vector<Tensor>& noise) {
  const NoGrad no_grad;
  const EvaluationMode evaluation(model);
  Code code = model.encode(image);
  code.latent = model.wplus(code);
  if (code.noise.empty()) code.noise = noise;
  return code;
}

Tensor picture_of(const Autoencoder& model, const Code& code) {
  const NoGrad no_grad;
  const EvaluationMode evaluation(model);
  return model.decoder().synthesize(code.latent, code.noise);
}

Tensor normalised_map(const Tensor& map) {
  const NoGrad no_grad;
  const Tensor low = -max(-map), range = max(map) - low;
  return where(greater(range, Tensor::zeros(range.shape(), range.dtype(), range.backend())),
               (map - low) / range, Tensor::zeros(map.shape(), map.dtype(), map.backend()));
}

Code scaled_noise(const Code& code, std::int64_t map, double factor) {
  const NoGrad no_grad;
  if (map < 0 || map >= static_cast<std::int64_t>(code.noise.size()))
    fail("scaled_noise: map ", map, " of ", code.noise.size());
  Code scaled = code;
  Tensor& chosen = scaled.noise[static_cast<std::size_t>(map)];
  chosen = chosen * factor;
  return scaled;
}

const char* name_of(Interpolation kind) {
  switch (kind) {
    case Interpolation::both: return "both";
    case Interpolation::latent: return "latent";
    case Interpolation::noise: return "noise";
  }
  return "?";
}

Code interpolate(const Code& left, const Code& right, double t, Interpolation kind,
                 const std::vector<Tensor>& fixed) {
  const NoGrad no_grad;
  Code code;
  code.latent = kind == Interpolation::noise ? left.latent : between(left.latent, right.latent, t);
  if (kind == Interpolation::latent) {
    code.noise = fixed;
  } else {
    if (left.noise.size() != right.noise.size()) fail("interpolate: codes of different generators");
    for (std::size_t i = 0; i < left.noise.size(); ++i)
      code.noise.push_back(between(left.noise[i], right.noise[i], t));
  }
  return code;
}

}  // namespace om
