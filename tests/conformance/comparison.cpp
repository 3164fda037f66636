#include "tests/conformance/comparison.h"

namespace om::conformance {

Guarded::Guarded() {
  Storage::take_guard_violations();
  Storage::set_guard(64);
}

Guarded::~Guarded() {
  Storage::set_guard(0);
  EXPECT_EQ(Storage::take_guard_violations(), 0) << "bytes outside of a tensor were written";
}

std::vector<std::byte> bytes_of(const Tensor& x) {
  return dispatch(x.dtype(), [&]<class T>(Type<T>) {
    const std::vector<T> host = x.to_host<T>();
    const auto bytes = std::as_bytes(std::span(host));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  });
}

}  // namespace om::conformance
