#include "io/model_file.h"

#include <algorithm>
#include <set>

#include "io/bytes.h"
#include "io/other_model.h"

namespace om {
namespace {

using Names = std::vector<std::string>;

std::string channels_text(const std::vector<std::int64_t>& channels) {
  std::string result;
  for (const std::int64_t c : channels) result += text(result.empty() ? "" : " ", c);
  return result;
}

std::string describe(const Decoder& decoder, const FoundNetwork& found) {
  std::string settings;
  for (const auto& [name, value] : settings_of(decoder))
    if (name != "size") settings += text(", ", name, " ", value);
  const std::string z =
      decoder.z_width() == decoder.latent_width() ? "" : text(", z of width ", decoder.z_width());
  return text(found.title(), ": ", decoder.size(), " pixels, ", decoder.latents(), " latents of width ",
              decoder.latent_width(), z, ", channels ", channels_text(decoder.channels()), " from 4x4 up, ",
              decoder.stored_noise().empty() ? "no stored noise" : "stored noise", ", ",
              decoder.latent_average().defined() ? "latent average" : "no latent average", settings);
}

std::string describe(const EncoderConfig& config, const FoundNetwork& found) {
  const char* kind = !config.latent_heads                 ? "noise encoder"
                     : config.projection == Projection::z ? "encoder into z"
                                                          : "encoder into W+";
  const std::string width = config.latent_heads ? text(", latent width ", config.latent_width) : "";
  return text(kind, " under '", printable(found.prefix), "': ", config.size(), " pixels", width,
              ", channels ", channels_text(config.channels), " from the image down, ",
              !config.noise_heads         ? "no noise heads"
              : config.intermediate_noise ? "two noise maps per size"
                                          : "one noise map per size");
}

/// Files keep a block and a head that nothing calls, so that they load in the authors' code.
bool encoder_uses(const EncoderConfig& config, const std::string& name) {
  const std::string last_head = text("intermediate_to_noise.", config.channels.size() - 1, ".");
  return !name.starts_with("intermediate_block.") && !name.starts_with(last_head);
}

/// "latent_encoder" of "autoencoder.latent_encoder."
std::string_view own_name(std::string_view prefix) {
  if (prefix.empty()) return prefix;
  prefix.remove_suffix(1);
  const std::size_t dot = prefix.rfind('.');
  return dot == std::string_view::npos ? prefix : prefix.substr(dot + 1);
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, Backend& backend, const LoadOptions& options)
      : checkpoint_(checkpoint),
        backend_(backend),
        options_(options),
        networks_(find_networks(checkpoint, options.prefix)) {
    model_.metadata = checkpoint.metadata;
  }

  Model run() {
    if (networks_.empty()) refuse();
    const FoundNetwork* encoder = first(NetworkRole::encoder);
    if (const FoundNetwork* noise = encoder ? second_of(*encoder) : nullptr) {
      const bool swapped = own_name(encoder->prefix) == "noise_encoder";
      model_.encoder = load_encoder(swapped ? *noise : *encoder, "latent_encoder.");
      model_.noise_encoder = load_encoder(swapped ? *encoder : *noise, "noise_encoder.");
    } else if (encoder) {
      model_.encoder = load_encoder(*encoder, "encoder.");
    }
    if (const FoundNetwork* decoder = first(NetworkRole::decoder)) load_decoder(*decoder);
    say_what_was_chosen();
    say_what_was_left();
    return std::move(model_);
  }

 private:
  [[noreturn]] void refuse() const {
    if (const OtherModel* other = other_model(checkpoint_))
      fail<InputError>("holds a ", other->title, ", which `", other->reader, "` takes, and no ",
                       "encoder or generator");
    if (!options_.prefix)
      fail<InputError>("holds no network that is known (", checkpoint_.tensors.size(), " tensors)");
    std::string all;
    for (const FoundNetwork& network : find_networks(checkpoint_))
      all += (all.empty() ? "" : ", ") + network.title();
    fail<InputError>("holds no network under '", printable(*options_.prefix), "'",
                     all.empty() ? "" : text("; it holds: ", printable(all, 500)));
  }

  const FoundNetwork* first(NetworkRole role) const {
    const auto found = std::find_if(networks_.begin(), networks_.end(),
                                    [&](const FoundNetwork& network) { return network.kind->role == role; });
    return found == networks_.end() ? nullptr : &*found;
  }

  /// The other encoder of a two-network model; null where `one` is alone.
  const FoundNetwork* second_of(const FoundNetwork& one) const {
    const std::string_view own = own_name(one.prefix);
    if (own != "latent_encoder" && own != "noise_encoder") return nullptr;
    const std::string other = text(one.prefix.substr(0, one.prefix.size() - own.size() - 1),
                                   own == "latent_encoder" ? "noise_encoder." : "latent_encoder.");
    const auto found = std::find_if(networks_.begin(), networks_.end(), [&](const FoundNetwork& network) {
      return network.kind == one.kind && network.prefix == other;
    });
    return found == networks_.end() ? nullptr : &*found;
  }

  std::unique_ptr<Encoder> load_encoder(const FoundNetwork& found, const std::string& our_prefix) {
    std::optional<Projection> projection = options_.projection;
    if (!projection) {
      const auto stored = checkpoint_.metadata.find("latent");
      projection =
          stored != checkpoint_.metadata.end() && stored->second == "z" ? Projection::z : Projection::wplus;
    }
    NetworkView view = found.kind->view(checkpoint_, found.prefix);
    const FileShapes shapes = view.shapes();
    std::int64_t budget = budget_of(shapes);
    auto encoder = std::make_unique<Encoder>(EncoderConfig::from_shapes(shapes, *projection),
                                             Placement{backend_, DType::f32, &budget});
    const EncoderConfig& config = encoder->config();
    take(found, *encoder, view, our_prefix,
         [&](const std::string& name) { return encoder_uses(config, name); });
    model_.found.push_back(describe(config, found));
    return encoder;
  }

  void load_decoder(const FoundNetwork& found) {
    NetworkView view = found.kind->view(checkpoint_, found.prefix);
    if (options_.size) {
      view.settings["size"] = std::to_string(*options_.size);
    } else if (model_.encoder) {
      view.settings["size"] = std::to_string(model_.encoder->config().size());
    } else if (options_.size_hint) {
      view.settings.try_emplace("size", std::to_string(*options_.size_hint));
    }
    std::int64_t budget = budget_of(view.shapes());
    model_.decoder = found.kind->decoder->build(view, Placement{backend_, DType::f32, &budget});
    if (options_.size && model_.decoder->size() != *options_.size)
      fail<InputError>("the generator is of ", model_.decoder->size(), " pixels, not of ", *options_.size);
    take(found, *model_.decoder, view, "decoder.", {});
    model_.found.push_back(describe(*model_.decoder, found));
  }

  /// Fills the module and keeps what the view holds beside it.
  void take(const FoundNetwork& found, const Module& module, const NetworkView& view,
            const std::string& our_prefix, const std::function<bool(const std::string&)>& is_used) {
    taken_.push_back(&found);
    const FillReport report = fill(module, view, is_used);
    if (!view.translated)
      for (const std::string& name : report.missing)
        model_.left.push_back(name + ": not in the file, standard values used");
    model_.left.insert(model_.left.end(), report.left.begin(), report.left.end());
    model_.left.insert(model_.left.end(), view.left.begin(), view.left.end());
    std::set<std::string> known;
    for (const Entry& entry : module.entries(true)) known.insert(entry.name);
    for (const auto& [name, tensor] : view.tensors) {
      origins_.insert(tensor.origin);
      if (!known.contains(name) && !is_foreign(found, found.prefix + name)) keep(our_prefix + name, tensor);
    }
    for (const auto& [name, tensor] : view.kept) {
      origins_.insert(tensor.origin);
      keep(our_prefix + name, tensor);
    }
  }

  /// True for what stands under the longer prefix of another network.
  bool is_foreign(const FoundNetwork& own, const std::string& name) const {
    return std::any_of(networks_.begin(), networks_.end(), [&](const FoundNetwork& other) {
      return other.prefix.size() > own.prefix.size() && name.starts_with(other.prefix);
    });
  }

  void keep(const std::string& our_name, const StoredTensor& tensor) {
    const std::string origin = printable(tensor.origin, 200);
    if (!tensor.problem.empty() || !safetensors_has(tensor.type)) {
      model_.left.push_back(text(
          origin, ": ", tensor.problem.empty() ? text("of type ", name_of(tensor.type)) : tensor.problem));
      return;
    }
    FileTensor loaded = tensor.read(checkpoint_.path);
    if (const std::string bad = not_finite(loaded); !bad.empty())
      model_.left.push_back(text(origin, ": holds ", bad, "; not used, kept for export"));
    if (!is_number(tensor.type))
      model_.left.push_back(text(origin, ": of type ", name_of(tensor.type), ", not used; kept for export"));
    model_.extras[our_name] = std::move(loaded);
  }

  bool is_taken(const FoundNetwork& network) const {
    return std::find(taken_.begin(), taken_.end(), &network) != taken_.end();
  }

  void say_what_was_chosen() {
    for (const FoundNetwork& network : networks_) {
      if (is_taken(network)) continue;
      const FoundNetwork& meant = *first(network.kind->role);
      const std::string why = meant.averaged && !network.averaged ? ", the averaged copy" : "";
      model_.not_taken.push_back(text(network.title(), ": not taken, but that under '",
                                      printable(meant.prefix), "'", why, " (--prefix '",
                                      printable(network.prefix), "' takes this one)"));
    }
    if (!options_.say) return;
    for (const std::string& line : model_.not_taken) options_.say(checkpoint_.path + ": " + line);
  }

  void say_what_was_left() {
    std::map<std::string, std::size_t> others;  // by their first name
    for (const auto& [name, tensor] : checkpoint_.tensors) {
      const bool under = std::any_of(taken_.begin(), taken_.end(),
                                     [&](const FoundNetwork* n) { return name.starts_with(n->prefix); });
      if (under || origins_.contains(name)) continue;
      ++others[name.substr(0, name.find('.'))];
      if (model_.left.size() >= max_skipped) continue;
      if (!tensor.problem.empty()) {
        model_.left.push_back(text(printable(name, 200), ": ", tensor.problem));
      } else if (!is_number(tensor.type)) {
        model_.left.push_back(
            text(printable(name, 200), ": of type ", name_of(tensor.type), ", not computed with"));
      }
    }
    for (const auto& [name, count] : others)
      model_.left.push_back(text(printable(name), ": ", count, " tensors that belong to no network taken"));
    for (const std::string& name : checkpoint_.skipped) model_.left.push_back(name);
  }

  const Checkpoint& checkpoint_;
  Backend& backend_;
  const LoadOptions& options_;
  std::vector<FoundNetwork> networks_;
  std::vector<const FoundNetwork*> taken_;
  std::set<std::string> origins_;  // of the tensors that a view holds
  Model model_;
};

}  // namespace

const char* name_of(Projection projection) { return projection == Projection::z ? "z" : "wplus"; }

bool holds_network(const Checkpoint& checkpoint) { return !find_networks(checkpoint).empty(); }

Model load_model(const Checkpoint& checkpoint, Backend& backend, const LoadOptions& options) {
  return naming_file(checkpoint.path, [&] { return Loader(checkpoint, backend, options).run(); });
}

std::unique_ptr<Autoencoder> load_autoencoder(const std::string& path, Backend& backend,
                                              const std::string& generator, const LoadOptions& options) {
  Model model = load_model(read_checkpoint(path), backend, options);
  if (!model.encoder) fail<InputError>(path, ": expects an encoder and a generator, has only a generator");
  if (!generator.empty()) {
    LoadOptions other;
    other.size = options.size ? *options.size : model.encoder->config().size();
    other.say = options.say;
    model.decoder = load_generator(generator, backend, other);
  }
  if (!model.decoder)
    fail<InputError>(path, ": expects an encoder and a generator, has only an encoder; ",
                     "--generator FILE names one");
  return naming_file(path, [&] {
    return std::make_unique<Autoencoder>(std::move(model.encoder), std::move(model.decoder),
                                         std::move(model.noise_encoder));
  });
}

std::unique_ptr<Decoder> load_generator(const std::string& path, Backend& backend,
                                        const LoadOptions& options) {
  Model model = load_model(read_checkpoint(path), backend, options);
  if (!model.decoder) fail<InputError>(path, ": holds no generator");
  return std::move(model.decoder);
}

namespace {

/// Tensors from the first prefix under which `mark` stands, those alone that `is_part` holds for, renamed by
/// it.
NetworkView part_view(const Checkpoint& checkpoint, std::string_view mark,
                      const std::function<std::optional<std::string>(const std::string& name)>& rename) {
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (!name.ends_with(mark)) continue;
    const std::string prefix = name.substr(0, name.size() - mark.size());
    if (!prefix.empty() && !prefix.ends_with('.')) continue;
    NetworkView all = view_below(checkpoint, prefix), part{all.path, prefix, {}, {}, {}, {}, false};
    for (auto& [own, stored] : all.tensors)
      if (const auto named = rename(own)) part.tensors[*named] = std::move(stored);
    return part;
  }
  return view_below(checkpoint, "");  // the model says what is missing
}

/// torchvision's features.*; or the lpips package's net.slice1.0.weight, which keeps torchvision's numbers.
NetworkView backbone_view(const Checkpoint& checkpoint) {
  const std::string slice = "net.slice";
  const auto features = [](const std::string& name) -> std::optional<std::string> {
    if (!name.starts_with("features.")) return std::nullopt;
    return name;
  };
  const bool packaged =
      std::none_of(checkpoint.tensors.begin(), checkpoint.tensors.end(),
                   [](const auto& entry) { return entry.first.ends_with("features.0.weight"); });
  if (!packaged) return part_view(checkpoint, "features.0.weight", features);
  return part_view(checkpoint, "net.slice1.0.weight",
                   [&](const std::string& name) -> std::optional<std::string> {
                     const std::size_t dot = name.find('.', slice.size());
                     if (!name.starts_with(slice) || dot == std::string::npos) return std::nullopt;
                     return "features" + name.substr(dot);
                   });
}

NetworkView heads_view(const Checkpoint& checkpoint) {
  return part_view(
      checkpoint, "lin0.model.1.weight", [](const std::string& name) -> std::optional<std::string> {
        if (!name.starts_with("lin") || !name.ends_with(".model.1.weight") || name.starts_with("lins."))
          return std::nullopt;
        return name;
      });
}

}  // namespace

std::unique_ptr<Lpips> load_lpips(const std::string& backbone_path, const std::string& heads_path,
                                  Backend& backend) {
  const NetworkView backbone = backbone_view(read_checkpoint(backbone_path)),
                    heads = heads_view(read_checkpoint(heads_path));
  const FileShapes backbone_shapes = backbone.shapes(), head_shapes = heads.shapes();
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

SafeTensors contents(const Encoder* encoder, const Encoder* noise_encoder, const Decoder* decoder,
                     std::map<std::string, FileTensor> tensors, std::map<std::string, std::string> metadata,
                     bool half) {
  const bool alone = encoder == nullptr;
  metadata["onemodel"] = "1";
  metadata["kind"] = alone ? "generator" : decoder == nullptr ? "encoder" : "autoencoder";
  if (encoder != nullptr) {
    metadata["latent"] = name_of(encoder->config().projection);
    tensors.merge(to_file(*encoder, noise_encoder == nullptr ? "encoder." : "latent_encoder.", half));
  }
  if (noise_encoder != nullptr) tensors.merge(to_file(*noise_encoder, "noise_encoder.", half));
  if (decoder != nullptr) {
    metadata["decoder"] = kind_of(*decoder).word;
    for (const auto& [name, value] : settings_of(*decoder)) metadata[name] = value;
    tensors.merge(to_file(*decoder, alone ? "" : "decoder.", half));
  }
  return {std::move(tensors), std::move(metadata)};
}

}  // namespace

SafeTensors contents_of(const Model& model, std::map<std::string, std::string> metadata, bool half) {
  std::map<std::string, FileTensor> tensors;
  for (const auto& [name, tensor] : model.extras) {
    const bool strip = model.encoder == nullptr && name.starts_with("decoder.");
    tensors[strip ? name.substr(std::string_view("decoder.").size()) : name] = tensor;
  }
  return contents(model.encoder.get(), model.noise_encoder.get(), model.decoder.get(), std::move(tensors),
                  std::move(metadata), half);
}

void save_model(const std::string& path, const Model& model, std::map<std::string, std::string> metadata,
                bool half) {
  write_safetensors(path, contents_of(model, std::move(metadata), half));
}

void save_autoencoder(const std::string& path, const Autoencoder& model,
                      std::map<std::string, std::string> metadata) {
  write_safetensors(path, contents(&model.encoder(), model.noise_encoder(), &model.decoder(), {},
                                   std::move(metadata), false));
}

void save_autoencoder(const std::string& path, const Encoder& encoder, const Decoder& decoder,
                      std::map<std::string, std::string> metadata) {
  write_safetensors(path, contents(&encoder, nullptr, &decoder, {}, std::move(metadata), false));
}

}  // namespace om
