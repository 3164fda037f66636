// Assembling the table, and numbers for it.
#include "tests/cases/case.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <unordered_set>

#include "tensor/philox.h"

namespace om::cases {
namespace {

/// A stream of random numbers that is the same on every machine and standard library.
class Stream {
 public:
  explicit Stream(std::uint64_t seed) : state_{seed, 0} {}
  std::uint32_t word() {
    if (at_ == 4) {
      block_ = philox::block(state_, next_++);
      at_ = 0;
    }
    return block_[at_++];
  }
  double uniform() { return philox::angle_uniform(word()); }
  double normal() {
    const double radius = std::sqrt(-2 * std::log(philox::radius_uniform(word())));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  philox::State state_;
  philox::Block block_{};
  std::uint64_t next_ = 0;
  std::size_t at_ = 4;
};

/// FNV-1a, which unlike std::hash is the same everywhere.
std::uint64_t hash(const std::string& text) {
  std::uint64_t h = 14695981039346656037ULL;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return h;
}

DType dtype_of_input(const Input& input, DType dtype) {
  if (input.dtype) return *input.dtype;
  switch (input.kind) {
    case Input::Kind::index: return DType::i32;
    case Input::Kind::mask: return DType::u8;
    default: return input.full && dtype == DType::bf16 ? DType::f32 : dtype;
  }
}

double rounded(double value, DType dtype) {
  switch (dtype) {
    case DType::f32: return static_cast<float>(value);
    case DType::bf16: return BFloat16(static_cast<float>(value));
    default: return value;
  }
}

double draw_one(const Input& input, Stream& stream) {
  const double span = input.high - input.low;
  switch (input.kind) {
    case Input::Kind::normal: return stream.normal();
    case Input::Kind::uniform: return input.low + span * stream.uniform();
    case Input::Kind::grid: return input.low + std::floor(stream.uniform() * span * 16) / 16;
    case Input::Kind::integer:
    case Input::Kind::index: return input.low + std::floor(stream.uniform() * span);
    case Input::Kind::mask: return stream.word() >> 31;
    default: return 0;
  }
}

bool near_a_kink(double value, const Input& input) {
  return std::any_of(input.kinks.begin(), input.kinks.end(),
                     [&](double kink) { return std::abs(value - kink) < 0.05; });
}

std::vector<double> draw_input(const Input& input, Stream& stream) {
  const auto count = static_cast<std::size_t>(input.shape.elements());
  if (input.kind == Input::Kind::values) {
    if (input.values.size() != count)
      fail("cases: shape ", input.shape, " got ", input.values.size(), " values");
    return input.values;
  }
  std::vector<double> numbers(count);
  if (input.kind == Input::Kind::distinct) {
    const double spacing = (input.high - input.low) / static_cast<double>(std::max<std::size_t>(count, 1));
    for (std::size_t i = 0; i < count; ++i)
      numbers[i] = input.low + spacing * (static_cast<double>(i) + 0.25 + input.values[0]);
    for (std::size_t i = count; i > 1; --i) std::swap(numbers[i - 1], numbers[stream.word() % i]);
    return numbers;
  }
  for (double& number : numbers) do
      number = draw_one(input, stream);
    while (near_a_kink(number, input));
  return numbers;
}

}  // namespace

Input normal(const Shape& shape) { return {.kind = Input::Kind::normal, .shape = shape}; }
Input normal_away_from(std::vector<double> kinks, const Shape& shape) {
  return {.kind = Input::Kind::normal, .shape = shape, .kinks = std::move(kinks)};
}
Input uniform(const Shape& shape, double low, double high) {
  return {.kind = Input::Kind::uniform, .shape = shape, .low = low, .high = high};
}
Input distinct(const Shape& shape, double offset) {
  return {.kind = Input::Kind::distinct, .shape = shape, .low = -2, .high = 2, .values = {offset}};
}
Input grid(const Shape& shape) { return {.kind = Input::Kind::grid, .shape = shape, .low = -2, .high = 2}; }
Input values(const Shape& shape, std::vector<double> numbers) {
  return {.kind = Input::Kind::values, .shape = shape, .values = std::move(numbers)};
}
Input index(const Shape& shape, std::int64_t size) {
  return {
      .kind = Input::Kind::index, .shape = shape, .high = static_cast<double>(size), .differentiable = false};
}
Input mask(const Shape& shape) {
  return {.kind = Input::Kind::mask, .shape = shape, .differentiable = false};
}
Input integers(const Shape& shape, double low, double high) {
  return {.kind = Input::Kind::integer, .shape = shape, .low = low, .high = high, .differentiable = false};
}
Input fixed(Input input) {
  input.differentiable = false;
  return input;
}
Input of_dtype(DType dtype, Input input) {
  input.dtype = dtype;
  return input;
}
Input exact(Input input) {
  input.exact = true;
  return input;
}

Input full(Input input) {
  input.full = true;
  return input;
}

const std::vector<Case>& all() {
  static const std::vector<Case> table = [] {
    std::vector<Case> cases;
    std::unordered_set<std::string> names;
    for (const auto& family :
         {elementwise_cases, shape_cases, reduction_cases, matmul_cases, conv_cases, filter_cases,
          indexing_cases, fused_cases, composed_cases, layer_cases, elementwise_kernel_cases,
          moving_kernel_cases, image_kernel_cases, product_kernel_cases, benchmark_cases})
      for (Case& c : family()) {
        if (!names.insert(c.name).second) fail("cases: ", c.name, " is there twice");
        cases.push_back(std::move(c));
      }
    return cases;
  }();
  return table;
}

std::optional<DType> lacking(const Case& c, DType dtype, const Backend& backend) {
  std::vector<DType> needed = c.also;
  needed.push_back(dtype);
  for (const Input& input : c.inputs) needed.push_back(dtype_of_input(input, dtype));
  for (const DType each : needed)
    if (!backend.supports(each)) return each;
  return std::nullopt;
}

std::vector<std::vector<double>> draw(const Case& c, DType dtype, std::uint64_t seed) {
  std::vector<std::vector<double>> result;
  for (const Input& input : c.inputs) {
    Stream stream(hash(c.name) + 1000003 * seed + result.size());
    result.push_back(draw_input(input, stream));
    const DType held = input.exact ? DType::bf16 : dtype_of_input(input, dtype);
    for (double& number : result.back()) number = rounded(number, held);
  }
  return result;
}

std::vector<double> draw_weights(std::int64_t count, std::uint64_t seed) {
  Stream stream(seed);
  std::vector<double> weights(static_cast<std::size_t>(count));
  for (double& weight : weights) {
    weight = (32 + stream.word() % 96) / 64.0;
    if (stream.word() >> 31) weight = -weight;
  }
  return weights;
}

Tensor tensor(const std::vector<double>& numbers, const Shape& shape, DType dtype, Backend& backend) {
  return Tensor::from_numbers(numbers, shape, dtype, backend);
}

Inputs tensors(const Case& c, const std::vector<std::vector<double>>& numbers, DType dtype,
               Backend& backend) {
  Inputs result;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    result.push_back(tensor(numbers[i], c.inputs[i].shape, dtype_of_input(c.inputs[i], dtype), backend));
  return result;
}

std::vector<double> numbers_of(const Tensor& x) {
  return dispatch(x.dtype(), [&]<class T>(Type<T>) {
    const std::vector<T> host = x.to_host<T>();
    return std::vector<double>(host.begin(), host.end());
  });
}

}  // namespace om::cases
