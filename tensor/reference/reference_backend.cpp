// Memory, and the kernels that move numbers without computing on them.
#include "tensor/reference/reference_backend.h"

#include <cstring>
#include <new>

namespace om {

using namespace reference;

void* ReferenceBackend::allocate(std::size_t bytes) {
  void* pointer = ::operator new (bytes, std::align_val_t{64}, std::nothrow);
  if (!pointer) fail<OutOfMemory>("reference: no memory for ", bytes, " bytes");
  return pointer;
}

void ReferenceBackend::release(void* pointer) { ::operator delete (pointer, std::align_val_t{64}); }

void ReferenceBackend::copy_from_host(void* destination, const void* source, std::size_t bytes) {
  copy(destination, source, bytes);
}

void ReferenceBackend::copy_to_host(void* destination, const void* source, std::size_t bytes) {
  copy(destination, source, bytes);
}

void ReferenceBackend::copy(void* destination, const void* source, std::size_t bytes) {
  if (bytes > 0) std::memcpy(destination, source, bytes);
}

void ReferenceBackend::fill(Out y, double value) {
  dispatch(y.dtype, [&]<class T>(Type<T>) {
    for (std::int64_t i = 0; i < y.shape.elements(); ++i) y.as<T>()[i] = convert<T>(value);
  });
}

void ReferenceBackend::strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                                    std::int64_t y_offset, const Strides& y_strides, const Shape& extent) {
  Strides from{}, to{};  // entries beyond the extent's rank count as 0
  for (int d = 0; d < extent.rank(); ++d) from[d] = x_strides[d], to[d] = y_strides[d];
  dispatch(y.dtype, [&]<class T>(Type<T>) {
    for_each_index(extent, [&](const Index& index) {
      y.as<T>()[y_offset + dot(index, to)] = x.as<T>()[x_offset + dot(index, from)];
    });
  });
}

void ReferenceBackend::gather(In x, In index, Out y) {
  const std::int64_t s = x.shape[1], m = y.shape[1];
  dispatch(x.dtype, [&]<class T>(Type<T>) {
    for (std::int64_t i = 0; i < y.shape.elements(); ++i)
      y.as<T>()[i] = x.as<T>()[i / m * s + index.as<std::int32_t>()[i]];
  });
}

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace om
