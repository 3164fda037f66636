#include "tests/fuzz/model_recipe.h"

#include <array>

#include "io/model_file.h"
#include "models/autoencoder.h"
#include "models/stylegan2.h"
#include "tensor/error.h"
#include "tensor/registry.h"

namespace om::fuzz {
namespace {

constexpr std::int64_t kMostElements = 65'536;

std::map<std::string, std::vector<std::int64_t>> shapes_of_whole_model() {
  StyleGan2Config config;
  config.z_width = config.latent_width = 2;
  config.mapping_layers = 2;
  config.constant_channels = 2;
  config.channels = {2, 2};
  config.stored_noise = config.latent_average = true;
  const Placement place{backend("reference")};
  const StyleGan2 decoder(config, place);
  const Encoder encoder(EncoderConfig::for_decoder(decoder, Projection::wplus, 1), place);
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, tensor] : to_file(decoder, "decoder.")) shapes[name] = tensor.shape;
  for (const auto& [name, tensor] : to_file(encoder, "encoder.")) shapes[name] = tensor.shape;
  return shapes;
}

StoredTensor stored(FileType type, const std::vector<std::int64_t>& shape) {
  return {type, shape, [type, shape] {
            const auto count = static_cast<std::size_t>(element_count(shape));
            return FileTensor{type, shape, std::vector<std::byte>(count * size_of(type), std::byte{1})};
          }};
}

/// Sizes that break things: small ones, powers of two, and a few beyond every memory.
std::int64_t size_from(std::uint8_t number) {
  if (number < 192) return number;
  return std::int64_t{1} << std::min(number - 192, 59);
}

void edit(Checkpoint& checkpoint, std::uint8_t what, std::uint8_t which, std::uint8_t dimension,
          std::uint8_t number) {
  auto& tensors = checkpoint.tensors;
  if (tensors.empty()) return;
  const auto found = std::next(tensors.begin(), static_cast<std::ptrdiff_t>(which % tensors.size()));
  const std::string name = found->first;
  StoredTensor& tensor = found->second;
  std::vector<std::int64_t> shape = tensor.shape;
  FileType type = tensor.type;
  const std::size_t at = shape.empty() ? 0 : dimension % shape.size();
  switch (what % 8) {
    case 0:
      if (!shape.empty()) shape[at] = size_from(number);
      break;
    case 1: shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(at), number % 12U, 1); break;
    case 2:
      if (!shape.empty()) shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 3: type = static_cast<FileType>(number % 20); break;
    case 4: tensors.erase(found); return;
    case 5: {  // under a neighbour's name or another prefix
      const std::array<std::string, 6> names = {
          "latent_avg",
          "g_ema." + name,
          "autoencoder." + name,
          name.substr(name.find('.') + 1),
          name + ".0",
          std::next(tensors.begin(), static_cast<std::ptrdiff_t>(dimension % tensors.size()))->first};
      tensors[names[number % names.size()]] = stored(type, shape);
      return;
    }
    case 6:  // every size of one value becomes another, everywhere: shapes that fit one another
      for (auto& [other, one] : tensors) {
        std::vector<std::int64_t> sizes = one.shape;
        for (std::int64_t& size : sizes)
          if (size == (dimension & 7)) size = size_from(number);
        one = stored(one.type, sizes);
      }
      return;
    default: checkpoint.metadata["latent"] = number % 2 == 0 ? "z" : "w\n"; return;
  }
  tensor = stored(type, shape);
}

}  // namespace

Checkpoint checkpoint_of(std::span<const std::byte> recipe) {
  static const auto shapes = shapes_of_whole_model();
  Checkpoint checkpoint;
  checkpoint.path = "t";
  checkpoint.format = "safetensors";
  for (const auto& [name, shape] : shapes)
    checkpoint.tensors[name] =
        stored(name.ends_with("num_batches_tracked") ? FileType::i64 : FileType::f32, shape);
  const auto byte = [&](std::size_t i) { return std::to_integer<std::uint8_t>(recipe[i]); };
  for (std::size_t i = 0; i + 4 <= recipe.size() && i < 4 * 64; i += 4)
    edit(checkpoint, byte(i), byte(i + 1), byte(i + 2), byte(i + 3));
  // What a reader of files would have refused.
  std::erase_if(checkpoint.tensors, [](const auto& entry) {
    try {
      return element_count(entry.second.shape) > kMostElements;
    } catch (const InputError&) {
      return true;
    }
  });
  return checkpoint;
}

}  // namespace om::fuzz
