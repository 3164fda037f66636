#include "io/model_file.h"

#include <algorithm>
#include <set>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/safetensors.h"
#include "models/stylegan2.h"

namespace om {
namespace {

using Names = std::vector<std::string>;

Shape shape_of(const std::vector<std::int64_t>& sizes) {
  if (sizes.size() > kMaxRank)
    fail<InputError>("a tensor of ", sizes.size(), " dimensions, at most ", kMaxRank, " are known");
  return Shape(std::span(sizes));
}

/// The first prefix under which the checkpoint holds `name`; nothing where none does.
std::optional<std::string> find_prefix(const Checkpoint& checkpoint, const Names& prefixes,
                                       const std::string& name) {
  for (const std::string& prefix : prefixes)
    if (checkpoint.tensors.contains(prefix + name)) return prefix;
  return std::nullopt;
}

/// Shapes below a prefix, without it. Tensors of more dimensions than any of ours are left out.
FileShapes shapes_below(const Checkpoint& checkpoint, const std::string& prefix) {
  FileShapes shapes;
  for (auto it = checkpoint.tensors.lower_bound(prefix); it != checkpoint.tensors.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    if (it->second.shape.size() <= kMaxRank)
      shapes[it->first.substr(prefix.size())] = shape_of(it->second.shape);
  }
  return shapes;
}

/// What a network of these weights may allocate: their elements, and room for constants that files need not
/// hold.
std::int64_t budget_of(const FileShapes& shapes) {
  std::int64_t total = std::int64_t{1} << 16;
  for (const auto& [name, shape] : shapes) total += shape.elements();
  return total + total / 4;
}

/// Runs `body`, naming the file in every complaint about its content.
template <class Body>
auto naming_file(const std::string& path, Body&& body) {
  try {
    return body();
  } catch (const InputError& error) {
    if (std::string_view(error.what()).starts_with(path + ": ")) throw;
    fail<InputError>(path, ": ", error.what());
  }
}

template <class To, class From>
std::vector<To> elements_as(const std::vector<std::byte>& bytes) {
  const std::size_t count = bytes.size() / sizeof(From);
  std::vector<From> values(count);
  std::copy_n(bytes.data(), count * sizeof(From), reinterpret_cast<std::byte*>(values.data()));
  return std::vector<To>(values.begin(), values.end());
}

std::string mapping_text(const Projection projection) { return projection == Projection::z ? "z" : "W+"; }

/// Takes the tensors under `prefix` that no entry of `module` names into `extras`.
void keep_unknown(const Module& module, const Checkpoint& checkpoint, const std::string& prefix,
                  const std::string& our_prefix, const Names& other_prefixes, Model& model) {
  std::set<std::string> known;
  for (const Entry& entry : module.entries(true)) known.insert(entry.name);
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (!name.starts_with(prefix) || known.contains(name.substr(prefix.size()))) continue;
    const bool foreign = std::any_of(
        other_prefixes.begin(), other_prefixes.end(),
        [&](const std::string& other) { return other.size() > prefix.size() && name.starts_with(other); });
    if (prefix.empty() && (foreign || name.find('.') == std::string::npos)) continue;
    model.extras[our_prefix + name.substr(prefix.size())] = tensor.load();
  }
}

// A tensor that each network has and nothing else.
constexpr const char* kDecoderMark = "convs.0.conv.weight";
constexpr const char* kEncoderMark = "resnet_blocks.0.conv1.weight";
const Names kDecoderPrefixes = {"g_ema.", "decoder.", "autoencoder.decoder.", "", "generator.", "g."};
const Names kEncoderPrefixes = {"encoder.", "autoencoder.encoder.", ""};

std::string describe(const Decoder& decoder, const std::string& prefix) {
  std::string channels;
  for (const std::int64_t c : decoder.channels()) channels += text(channels.empty() ? "" : " ", c);
  return text("StyleGAN 2 generator under '", prefix, "': ", decoder.size(), " pixels, ", decoder.latents(),
              " latents of width ", decoder.latent_width(), ", channels ", channels, " from 4x4 up, ",
              decoder.stored_noise().empty() ? "no stored noise" : "stored noise", ", ",
              decoder.latent_average().defined() ? "latent average" : "no latent average");
}

std::string describe(const EncoderConfig& config, const std::string& prefix) {
  std::string channels;
  for (const std::int64_t c : config.channels) channels += text(channels.empty() ? "" : " ", c);
  return text("encoder into ", mapping_text(config.projection), " under '", prefix, "': ", config.size(),
              " pixels, latent width ", config.latent_width, ", channels ", channels,
              " from the image down, ",
              !config.noise_heads         ? "no noise heads"
              : config.intermediate_noise ? "two noise maps per size"
                                          : "one noise map per size");
}

}  // namespace

const char* name_of(Projection projection) { return projection == Projection::z ? "z" : "wplus"; }

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

Names fill(const Module& module, const Checkpoint& checkpoint, const std::string& prefix) {
  Names missing;
  for (const Entry& entry : module.entries(true)) {
    const auto found = checkpoint.tensors.find(prefix + entry.name);
    if (found == checkpoint.tensors.end()) {
      const bool statistics = entry.name.find("running_") != std::string::npos;
      if (entry.role == Role::parameter || statistics)
        fail<InputError>(checkpoint.path, ": no tensor ", prefix, entry.name);
      missing.push_back(entry.name);
      continue;
    }
    const Shape expected = entry.layout.to_file(entry.value.shape());
    const std::vector<std::int64_t>& sizes = found->second.shape;
    if (!std::equal(sizes.begin(), sizes.end(), expected.begin(), expected.end()))
      fail<InputError>(checkpoint.path, ": ", prefix, entry.name, " expects shape ", expected, ", got ",
                       shape_text(sizes));
    const NoGrad no_grad;
    const Tensor value = from_file(found->second.load(), entry.layout, entry.value.backend());
    entry.value.assign(cast(value, entry.value.dtype()));
  }
  return missing;
}

std::map<std::string, FileTensor> to_file(const Module& module, const std::string& prefix, bool half) {
  std::map<std::string, FileTensor> tensors;
  for (const Entry& entry : module.entries(true))
    tensors[prefix + entry.name] = to_file(entry.value, entry.layout, half);
  return tensors;
}

bool holds_network(const Checkpoint& checkpoint) {
  return std::any_of(checkpoint.tensors.begin(), checkpoint.tensors.end(), [](const auto& entry) {
    return entry.first.ends_with(kDecoderMark) || entry.first.ends_with(kEncoderMark);
  });
}

Model load_model(const Checkpoint& checkpoint, Backend& backend, std::optional<Projection> projection) {
  return naming_file(checkpoint.path, [&] {
    Model model;
    model.metadata = checkpoint.metadata;
    const auto decoder_prefix = find_prefix(checkpoint, kDecoderPrefixes, kDecoderMark);
    const auto encoder_prefix = find_prefix(checkpoint, kEncoderPrefixes, kEncoderMark);
    if (!decoder_prefix && !encoder_prefix)
      fail<InputError>("holds neither a StyleGAN 2 generator nor an encoder (", checkpoint.tensors.size(),
                       " tensors)");
    Names prefixes;
    if (decoder_prefix) prefixes.push_back(*decoder_prefix);
    if (encoder_prefix) prefixes.push_back(*encoder_prefix);

    if (decoder_prefix) {
      FileShapes shapes = shapes_below(checkpoint, *decoder_prefix);
      // rosinality's files keep the average beside the weights, ours among them
      const bool outside = !shapes.contains("latent_avg") && checkpoint.tensors.contains("latent_avg");
      if (outside) shapes["latent_avg"] = shape_of(checkpoint.tensors.at("latent_avg").shape);
      std::int64_t budget = budget_of(shapes);
      auto decoder = std::make_unique<StyleGan2>(StyleGan2Config::from_shapes(shapes),
                                                 Placement{backend, DType::f32, &budget});
      Checkpoint view = checkpoint;
      if (outside) view.tensors[*decoder_prefix + "latent_avg"] = checkpoint.tensors.at("latent_avg");
      const Names missing = fill(*decoder, view, *decoder_prefix);
      model.found.push_back(describe(*decoder, *decoder_prefix));
      for (const std::string& name : missing)
        model.left.push_back(name + ": not in the file, standard values used");
      keep_unknown(*decoder, checkpoint, *decoder_prefix, "decoder.", prefixes, model);
      model.decoder = std::move(decoder);
    }
    if (encoder_prefix) {
      if (!projection) {
        const auto stored = checkpoint.metadata.find("latent");
        projection =
            stored != checkpoint.metadata.end() && stored->second == "z" ? Projection::z : Projection::wplus;
      }
      const FileShapes shapes = shapes_below(checkpoint, *encoder_prefix);
      std::int64_t budget = budget_of(shapes);
      auto encoder = std::make_unique<Encoder>(EncoderConfig::from_shapes(shapes, *projection),
                                               Placement{backend, DType::f32, &budget});
      const Names missing = fill(*encoder, checkpoint, *encoder_prefix);
      model.found.push_back(describe(encoder->config(), *encoder_prefix));
      for (const std::string& name : missing)
        model.left.push_back(name + ": not in the file, standard values used");
      keep_unknown(*encoder, checkpoint, *encoder_prefix, "encoder.", prefixes, model);
      model.encoder = std::move(encoder);
    }

    std::map<std::string, std::size_t> others;  // by their first name
    for (const auto& [name, tensor] : checkpoint.tensors) {
      const bool taken =
          name == "latent_avg" || std::any_of(prefixes.begin(), prefixes.end(),
                                              [&](const auto& prefix) { return name.starts_with(prefix); });
      if (!taken) ++others[name.substr(0, name.find('.'))];
    }
    for (const auto& [name, count] : others)
      model.left.push_back(text(name, ": ", count, " tensors that belong to neither network taken"));
    for (const std::string& name : checkpoint.skipped) model.left.push_back(name + ": not a tensor");
    return model;
  });
}

std::unique_ptr<Autoencoder> load_autoencoder(const std::string& path, Backend& backend) {
  Model model = load_model(read_checkpoint(path), backend);
  if (!model.encoder || !model.decoder)
    fail<InputError>(path, ": expects an encoder and a generator, has only ",
                     model.encoder ? "an encoder" : "a generator");
  return naming_file(path, [&] {
    return std::make_unique<Autoencoder>(std::move(model.encoder), std::move(model.decoder));
  });
}

std::unique_ptr<Decoder> load_generator(const std::string& path, Backend& backend) {
  Model model = load_model(read_checkpoint(path), backend);
  if (!model.decoder) fail<InputError>(path, ": holds no generator");
  return std::move(model.decoder);
}

std::unique_ptr<Lpips> load_lpips(const std::string& backbone_path, const std::string& heads_path,
                                  Backend& backend) {
  const Checkpoint backbone = read_checkpoint(backbone_path), heads = read_checkpoint(heads_path);
  const FileShapes backbone_shapes = shapes_below(backbone, ""), head_shapes = shapes_below(heads, "");
  std::int64_t budget = budget_of(backbone_shapes) + budget_of(head_shapes);
  std::unique_ptr<Lpips> lpips;
  try {
    lpips = std::make_unique<Lpips>(backbone_shapes, head_shapes, Placement{backend, DType::f32, &budget});
  } catch (const LpipsHeadsError& error) {
    fail<InputError>(heads_path, ": ", error.what());
  } catch (const InputError& error) {
    fail<InputError>(backbone_path, ": ", error.what());
  }
  fill(lpips->backbone(), backbone);
  fill(lpips->heads(), heads);
  return lpips;
}

namespace {

void write_model(const std::string& path, const Encoder* encoder, const Decoder* decoder,
                 std::map<std::string, FileTensor> tensors, std::map<std::string, std::string> metadata,
                 bool half) {
  const bool alone = encoder == nullptr;
  metadata["onemodel"] = "1";
  metadata["kind"] = alone ? "generator" : decoder == nullptr ? "encoder" : "autoencoder";
  if (encoder != nullptr) {
    metadata["latent"] = name_of(encoder->config().projection);
    tensors.merge(to_file(*encoder, "encoder.", half));
  }
  if (decoder != nullptr) {
    metadata["decoder"] = "stylegan2";
    tensors.merge(to_file(*decoder, alone ? "" : "decoder.", half));
  }
  write_safetensors(path, {std::move(tensors), std::move(metadata)});
}

}  // namespace

void save_model(const std::string& path, const Model& model, std::map<std::string, std::string> metadata,
                bool half) {
  std::map<std::string, FileTensor> tensors;
  for (const auto& [name, tensor] : model.extras) {
    const bool strip = model.encoder == nullptr && name.starts_with("decoder.");
    tensors[strip ? name.substr(std::string_view("decoder.").size()) : name] = tensor;
  }
  write_model(path, model.encoder.get(), model.decoder.get(), std::move(tensors), std::move(metadata), half);
}

void save_autoencoder(const std::string& path, const Autoencoder& model,
                      std::map<std::string, std::string> metadata) {
  save_autoencoder(path, model.encoder(), model.decoder(), std::move(metadata));
}

void save_autoencoder(const std::string& path, const Encoder& encoder, const Decoder& decoder,
                      std::map<std::string, std::string> metadata) {
  write_model(path, &encoder, &decoder, {}, std::move(metadata), false);
}

}  // namespace om
