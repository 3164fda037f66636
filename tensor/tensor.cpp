#include "tensor/tensor.h"

#include <array>
#include <atomic>
#include <cstring>

namespace om {
namespace {

std::atomic<std::size_t> guard_bytes{0};
std::atomic<std::int64_t> guard_violations{0};
constexpr unsigned char kGuardPattern = 0xA5;
constexpr unsigned char kPoison = 0xFF;  // a NaN in every floating dtype

}  // namespace

void Storage::set_guard(std::size_t bytes) { guard_bytes = bytes; }
std::int64_t Storage::take_guard_violations() { return guard_violations.exchange(0); }

Storage::Storage(Backend& backend, std::size_t bytes)
    : backend_(backend), bytes_(bytes), guard_(guard_bytes) {
  if (guard_ == 0) {
    data_ = block_ = backend.memory().allocate(bytes);
    return;
  }
  block_ = backend.memory().allocate(bytes + 2 * guard_);
  data_ = static_cast<std::byte*>(block_) + guard_;
  std::vector<unsigned char> pattern(bytes + 2 * guard_, kGuardPattern);
  std::memset(pattern.data() + guard_, kPoison, bytes);
  backend.copy_from_host(block_, pattern.data(), pattern.size());
  backend.synchronize();
}

Storage::~Storage() {
  if (guard_ > 0) {
    std::vector<unsigned char> found(bytes_ + 2 * guard_);
    backend_.copy_to_host(found.data(), block_, found.size());
    std::int64_t touched = 0;
    for (std::size_t i = 0; i < guard_; ++i)
      touched += (found[i] != kGuardPattern) + (found[guard_ + bytes_ + i] != kGuardPattern);
    guard_violations += touched;
  }
  backend_.memory().free(block_);
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Backend& backend) {
  if (!backend.supports(dtype)) fail(backend.name(), ": does not support dtype ", name_of(dtype));
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(shape.elements()), size_of(dtype), &bytes))
    fail<OutOfMemory>("tensor: ", shape, " of ", name_of(dtype), " is more than any memory holds");
  return Tensor(
      std::make_shared<State>(State{std::make_shared<Storage>(backend, bytes), shape, dtype, nullptr}));
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Backend& backend) {
  Tensor result = empty(shape, dtype, backend);
  backend.fill(result.out(), value);
  return result;
}

Tensor Tensor::from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType dtype,
                          Backend& backend) {
  Tensor result = empty(shape, dtype, backend);
  const std::size_t expected = result.storage()->bytes();
  if (bytes.size() != expected)
    fail("tensor: shape ", shape, " of ", name_of(dtype), " expects ", expected, " bytes, got ",
         bytes.size());
  if (expected > 0) backend.copy_from_host(result.out().data, bytes.data(), expected);
  return result;
}

Tensor Tensor::from_numbers(std::span<const double> numbers, const Shape& shape, DType dtype,
                            Backend& backend) {
  return dispatch(dtype, [&]<class T>(Type<T>) {
    std::vector<T> values;
    values.reserve(numbers.size());
    for (const double number : numbers) {
      if constexpr (std::is_same_v<T, BFloat16>)
        values.push_back(BFloat16(static_cast<float>(number)));
      else
        values.push_back(static_cast<T>(number));
    }
    return from_host(values, shape, backend);
  });
}

Tensor Tensor::with_shape(const Shape& shape) const {
  if (shape.elements() != elements())
    fail("reshape: expects ", elements(), " elements, got shape ", shape, " (x ", this->shape(), ")");
  return Tensor(std::make_shared<State>(State{state().storage, shape, dtype(), nullptr}));
}

Tensor Tensor::detach() const { return with_shape(shape()); }

void Tensor::assign(const Tensor& other) const {
  if (other.shape() != shape() || other.dtype() != dtype())
    fail("assign: expects ", shape(), " of ", name_of(dtype()), ", got ", other.shape(), " of ",
         name_of(other.dtype()));
  const std::size_t bytes = static_cast<std::size_t>(elements()) * size_of(dtype());
  if (bytes == 0) return;
  if (&other.backend() == &backend()) {
    backend().copy(out().data, other.in().data, bytes);
    return;
  }
  std::vector<std::byte> host(bytes);
  other.copy_to_host(host, dtype());
  backend().copy_from_host(out().data, host.data(), bytes);
}

Tensor Tensor::to(Backend& target) const {
  if (&target == &backend()) return detach();
  Tensor result = empty(shape(), dtype(), target);
  result.assign(*this);
  return result;
}

Tensor Tensor::clone() const {
  Tensor result = empty_like();
  result.assign(*this);
  return result;
}

void Tensor::copy_to_host(std::span<std::byte> bytes, DType wanted) const {
  if (wanted != dtype()) fail("tensor: read as ", name_of(wanted), " but holds ", name_of(dtype()));
  if (!bytes.empty()) backend().copy_to_host(bytes.data(), state().storage->data(), bytes.size());
}

double Tensor::item() const {
  if (elements() != 1) fail("item: expects one element, got shape ", shape());
  return dispatch(dtype(), [&]<class T>(Type<T>) { return static_cast<double>(to_host<T>().front()); });
}

}  // namespace om
