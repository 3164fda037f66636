#include "autograd/random.h"

#include "autograd/observer.h"

namespace om {

RandomSource::RandomSource(std::uint64_t seed, Backend& backend) : state_{seed, 0}, backend_(backend) {}

Tensor RandomSource::draw(const Shape& shape, DType dtype, Distribution distribution) {
  const auto word = [](std::uint64_t value) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
  };
  const std::vector<std::int32_t> words = {word(state_.seed), word(state_.seed >> 32), word(state_.draw),
                                           word(state_.draw >> 32)};
  ++state_.draw;
  const Tensor state = Tensor::from_host(words, {4}, backend_);
  Tensor y = Tensor::empty(shape, dtype, backend_);
  backend_.random(y.out(), distribution, state.in());
  op_ran("random");
  return y;
}

Tensor RandomSource::normal(const Shape& shape, DType dtype) {
  return draw(shape, dtype, Distribution::normal);
}
Tensor RandomSource::uniform(const Shape& shape, DType dtype) {
  return draw(shape, dtype, Distribution::uniform);
}

}  // namespace om
