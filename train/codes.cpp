#include "train/codes.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/bytes.h"
#include "io/model_file.h"
#include "io/npz.h"

namespace om {
namespace {

/// A tensor of floating numbers with the sizes expected; -1 stands for any size.
Tensor read_tensor(const Checkpoint& file, const std::string& name, const std::vector<std::int64_t>& expected,
                   const FileLayout& layout, Backend& backend) {
  const StoredTensor& stored = file.tensors.at(name);
  bool fits = stored.shape.size() == expected.size();
  for (std::size_t i = 0; fits && i < expected.size(); ++i)
    fits = expected[i] < 0 ? stored.shape[i] > 0 : stored.shape[i] == expected[i];
  if (!fits) {
    std::string wanted;
    for (const std::int64_t size : expected)
      wanted += (wanted.empty() ? "" : ", ") + (size < 0 ? std::string("N") : std::to_string(size));
    fail<InputError>(file.path, ": ", name, " expects shape [", wanted, "], got ", shape_text(stored.shape));
  }
  const bool floating = stored.type == FileType::f16 || stored.type == FileType::bf16 ||
                        stored.type == FileType::f32 || stored.type == FileType::f64;
  if (!floating)
    fail<InputError>(file.path, ": ", name, " expects floating numbers, got ", name_of(stored.type));
  const std::vector<float> values = to_f32(stored.load());
  for (const float value : values)
    if (!std::isfinite(value)) fail<InputError>(file.path, ": ", name, " holds a number that is not finite");
  return layout.from_file(Tensor::from_host(values, Shape(std::span(stored.shape)), backend));
}

}  // namespace

std::optional<std::int64_t> size_of_codes(const std::string& path) {
  const Checkpoint file = read_checkpoint(path);
  std::int64_t size = 0;
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with("noise.") && tensor.shape.size() == 4) size = std::max(size, tensor.shape[3]);
  const auto wplus = file.tensors.find("wplus");
  if (size == 0 && wplus != file.tensors.end() && wplus->second.shape.size() == 3)
    for (std::int64_t layers = 4; layers <= 18; layers += 2)
      if (wplus->second.shape[1] == layers) size = std::int64_t{2} << (layers / 2);
  if (size < 8 || size > 1024 || (size & (size - 1)) != 0) return std::nullopt;
  return size;
}

Codes read_codes(const std::string& path, const Decoder& decoder, Backend& backend) {
  const Checkpoint file = read_checkpoint(path);
  const bool has_z = file.tensors.contains("z"), has_wplus = file.tensors.contains("wplus");
  if (has_z == has_wplus)
    fail<InputError>(path, ": expects either z or wplus, holds ", has_z ? "both" : "neither");
  Codes codes;
  if (has_z) {
    codes.z = read_tensor(file, "z", {-1, decoder.z_width()}, layouts::plain, backend);
  } else {
    codes.wplus =
        read_tensor(file, "wplus", {-1, decoder.latents(), decoder.latent_width()}, layouts::plain, backend);
  }
  const std::vector<std::int64_t> sizes = decoder.noise_sizes();
  std::set<std::string> known;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::string& name = *known.insert(text("noise.", i)).first;
    codes.noise.emplace_back();
    if (!file.tensors.contains(name)) continue;
    codes.noise[i] = read_tensor(file, name, {-1, 1, sizes[i], sizes[i]}, layouts::image, backend);
    const std::int64_t given = codes.noise[i].size(0);
    if (given != 1 && given != codes.count())
      fail<InputError>(path, ": ", name, " holds ", given, " maps for ", codes.count(), " latents");
  }
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with("noise.") && !known.contains(name))
      fail<InputError>(path, ": ", printable(name), ": this generator takes noise.0 to noise.",
                       sizes.size() - 1);
  return codes;
}

SafeTensors contents_of(const std::vector<Code>& codes, Projection projection) {
  const NoGrad no_grad;
  std::vector<Tensor> latents;
  std::vector<std::vector<Tensor>> noise;
  for (const Code& code : codes) {
    if (code.latent.defined()) latents.push_back(code.latent);
    noise.resize(code.noise.size());
    for (std::size_t i = 0; i < code.noise.size(); ++i) noise[i].push_back(code.noise[i]);
  }
  SafeTensors out;
  if (!latents.empty()) out.tensors[name_of(projection)] = to_file(concat(latents, 0));
  for (std::size_t i = 0; i < noise.size(); ++i)
    out.tensors[text("noise.", i)] = to_file(concat(noise[i], 0), layouts::image);
  return out;
}

void write_codes(const std::string& path, const std::vector<Code>& codes, Projection projection) {
  write_tensors(path, contents_of(codes, projection));
}

}  // namespace om
