#include "io/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/bytes.h"

namespace om {
namespace {

template <class To, class From>
std::vector<To> elements_as(const std::vector<std::byte>& bytes) {
  const std::size_t count = bytes.size() / sizeof(From);
  std::vector<From> values(count);
  std::copy_n(bytes.data(), count * sizeof(From), reinterpret_cast<std::byte*>(values.data()));
  return std::vector<To>(values.begin(), values.end());
}

std::string origin_of(const StoredTensor& tensor, const NetworkView& view, const std::string& name) {
  return tensor.origin.empty() ? view.prefix + name : printable(tensor.origin, 200);
}

/// Whether no float among these has the exponent of infinities and NaNs.
bool all_finite(std::span<const std::byte> floats) {
  constexpr std::uint32_t exponent = 0x7f800000;
  bool finite = true;
  for (std::size_t at = 0; at + sizeof(std::uint32_t) <= floats.size(); at += sizeof(std::uint32_t)) {
    std::uint32_t word = 0;
    std::memcpy(&word, floats.data() + at, sizeof word);
    finite &= (word & exponent) != exponent;
  }
  return finite;
}

}  // namespace

std::string not_finite(const FileTensor& tensor) {
  if (!is_floating(tensor.type)) return "";
  if (tensor.type == FileType::f32 && all_finite(tensor.data)) return "";  // as nearly always
  const std::vector<float> values = to_f32(tensor);
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == values.end()) return "";
  return text(std::isnan(*bad) ? "NaN" : "an infinity", " at element ", bad - values.begin());
}

Tensor from_file(const FileTensor& tensor, const FileLayout& layout, Backend& backend) {
  const Shape shape = shape_of(tensor.shape);
  Tensor value;
  if (tensor.type == FileType::i64) {
    value = Tensor::from_host(elements_as<std::int32_t, std::int64_t>(tensor.data), shape, backend);
  } else if (tensor.type == FileType::i32) {
    value = Tensor::from_bytes(tensor.data, shape, DType::i32, backend);
  } else if (tensor.type == FileType::f32) {
    value = Tensor::from_bytes(tensor.data, shape, DType::f32, backend);
  } else {
    value = Tensor::from_host(to_f32(tensor), shape, backend);
  }
  return layout.from_file(value);
}

FileTensor to_file(const Tensor& tensor, const FileLayout& layout, bool half) {
  const Tensor value = layout.to_file(tensor);
  const std::vector<std::int64_t> sizes(value.shape().begin(), value.shape().end());
  if (value.dtype() == DType::i32) {
    const auto words = value.to_host<std::int32_t>();
    const std::vector<std::int64_t> wide(words.begin(), words.end());
    const auto bytes = std::as_bytes(std::span(wide));
    return {FileType::i64, sizes, {bytes.begin(), bytes.end()}};
  }
  const NoGrad no_grad;
  return make_file_tensor(sizes, cast(value, DType::f32).to_host<float>(),
                          half ? FileType::f16 : FileType::f32);
}

FillReport fill(const Module& module, const NetworkView& view,
                const std::function<bool(const std::string& name)>& is_used) {
  FillReport report;
  for (const Entry& entry : module.entries(true)) {
    const bool used = !is_used || is_used(entry.name);
    const auto found = view.tensors.find(entry.name);
    if (found == view.tensors.end()) {
      const bool statistics = entry.name.find("running_") != std::string::npos;
      if (used && (entry.role == Role::parameter || statistics))
        fail<InputError>(
            view.path, ": no tensor ", view.translated ? "" : printable(view.prefix, 200), entry.name,
            view.translated ? text(" (as rosinality's port names it) under '", view.prefix, "'") : "");
      report.missing.push_back(entry.name);
      continue;
    }
    const std::string origin = origin_of(found->second, view, entry.name);
    const Shape expected = entry.layout.to_file(entry.value.shape());
    const std::vector<std::int64_t>& sizes = found->second.shape;
    if (!std::equal(sizes.begin(), sizes.end(), expected.begin(), expected.end()))
      fail<InputError>(view.path, ": ", origin, " expects shape ", expected, ", got ", shape_text(sizes));
    const FileType type = found->second.type;
    const bool computed = entry.value.dtype() == DType::i32 ? is_number(type) : is_floating(type);
    if (!computed)
      fail<InputError>(view.path, ": ", origin, " is of type ", name_of(type),
                       ", which weights are not computed in");
    const FileTensor stored = found->second.read(view.path);
    if (const std::string bad = not_finite(stored); !bad.empty()) {
      if (used) fail<InputError>(view.path, ": ", origin, " holds ", bad);
      report.left.push_back(text(origin, ": holds ", bad, "; not used"));
    }
    const NoGrad no_grad;
    const Tensor value = from_file(stored, entry.layout, entry.value.backend());
    entry.value.assign(cast(value, entry.value.dtype()));
  }
  return report;
}

std::vector<std::string> fill(const Module& module, const Checkpoint& checkpoint, const std::string& prefix) {
  return fill(module, view_below(checkpoint, prefix)).missing;
}

std::map<std::string, FileTensor> to_file(const Module& module, const std::string& prefix, bool half) {
  std::map<std::string, FileTensor> tensors;
  for (const Entry& entry : module.entries(true))
    tensors[prefix + entry.name] = to_file(entry.value, entry.layout, half);
  return tensors;
}

}  // namespace om
