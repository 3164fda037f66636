#include "tests/train/course.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "models/stylegan2.h"
#include "nn/initial.h"

namespace om::test {
namespace {

std::unique_ptr<Autoencoder> small_model(DType dtype, Backend& backend) {
  StyleGan2Config shape;
  shape.z_width = shape.latent_width = 12;
  shape.mapping_layers = 2;
  shape.constant_channels = 8;
  shape.channels = {8, 6, 4};
  auto decoder = std::make_unique<StyleGan2>(shape, Placement{backend, dtype});
  auto encoder = std::make_unique<Encoder>(EncoderConfig::for_decoder(*decoder, Projection::wplus, 1),
                                           Placement{backend, dtype});
  RandomSource random(3, backend);
  randomize(*decoder, random, 0.5);
  randomize(*encoder, random, 0.2);
  return std::make_unique<Autoencoder>(std::move(encoder), std::move(decoder));
}

/// Images `first` to `first + count` of step `step`, the same for every rank that asks for them.
Tensor images_of(std::int64_t step, std::int64_t first, std::int64_t count, DType dtype, Backend& backend) {
  std::vector<double> values;
  for (std::int64_t n = first; n < first + count; ++n)
    for (std::int64_t i = 0; i < 16 * 16 * 3; ++i)
      values.push_back(std::sin(0.1 * static_cast<double>(i) * (1 + 0.3 * static_cast<double>(n)) +
                                static_cast<double>(step)));
  return cast(Tensor::from_host(values, {count, 16, 16, 3}, backend), dtype);
}

}  // namespace

Course train_course(Communicator* together, DType dtype, Backend& backend, std::int64_t batch, int steps,
                    std::size_t bucket_bytes) {
  const auto model = small_model(dtype, backend);
  TrainConfig config;
  config.lr = 1e-3;
  config.iterations = steps;
  RandomSource random(5, backend);
  Training training(*model, nullptr, stage_recipe(config, 1), random, together);
  training.set_bucket_bytes(bucket_bytes);
  Course course;
  const int rank = together == nullptr ? 0 : together->rank();
  StepResult done;  // held while the next step runs, as a caller may
  for (int step = 0; step < steps; ++step) {
    done = training.step(step, images_of(step, rank * batch, batch, dtype, backend));
    const Tensor all = done.sums.defined() ? done.sums : reshape(done.loss, {1});
    course.losses.push_back(cast(all, DType::f64).to_host<double>()[0]);
  }
  for (const Entry& entry : model->encoder().entries()) {
    if (entry.value.dtype() == DType::i32) continue;
    auto& into = entry.role == Role::parameter ? course.parameters : course.statistics;
    into.push_back(cast(entry.value, DType::f64).to_host<double>());
  }
  return course;
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference / size);
}

double apart(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, apart(a[i], b[i]));
  return worst;
}

}  // namespace om::test
