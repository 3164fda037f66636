#include "io/export.h"

#include <algorithm>

#include "io/safetensors.h"
#include "io/torch_writer.h"

namespace om {
namespace {

using Groups = std::map<std::string, TensorDict>;

const std::string kAverage = "latent_avg", kDecoder = "decoder.";

bool is_encoder_name(const std::string& name) {
  return name.starts_with("encoder.") || name.starts_with("latent_encoder.") ||
         name.starts_with("noise_encoder.");
}

void keep_part(Model& model, ExportPart part) {
  const bool keeps_encoder = part != ExportPart::generator, keeps_decoder = part != ExportPart::encoder;
  if (part == ExportPart::encoder && !model.encoder) fail<InputError>("holds no encoder");
  if (part == ExportPart::generator && !model.decoder) fail<InputError>("holds no generator");
  if (!keeps_encoder) {
    model.encoder.reset();
    model.noise_encoder.reset();
  }
  if (!keeps_decoder) model.decoder.reset();
  std::erase_if(model.extras, [&](const auto& extra) {
    return is_encoder_name(extra.first) ? !keeps_encoder : !keeps_decoder;
  });
}

void halve(TensorDict& tensors) {
  for (auto& [name, tensor] : tensors) {
    if (!is_floating(tensor.type)) continue;
    const bool was_finite = not_finite(tensor).empty();
    tensor = make_file_tensor(tensor.shape, to_f32(tensor), FileType::f16);
    if (was_finite && !not_finite(tensor).empty())
      fail<InputError>(name, " holds a number beyond half precision's 65504; export it without --half");
  }
}

void refuse_what_cannot_be_said(const Model& model, ExportTarget target, bool torch) {
  if (target == ExportTarget::rosinality && model.encoder)
    fail<InputError>("holds an encoder, which rosinality's format does not; --only generator leaves it out");
  if (!model.decoder) return;
  const std::map<std::string, std::string> settings = settings_of(*model.decoder);
  const char* format = target == ExportTarget::ours         ? "a PyTorch file of ours"
                       : target == ExportTarget::rosinality ? "rosinality's format"
                                                            : "the authors' format";
  if (target == ExportTarget::ours && !torch) return;  // the metadata say everything
  if (const auto clamp = settings.find("conv_clamp"); clamp != settings.end())
    fail<InputError>("its generator has conv_clamp ", clamp->second, ", which ", format, " cannot say");
  if (target != ExportTarget::ours && model.decoder->z_width() != model.decoder->latent_width())
    fail<InputError>("its generator has z of width ", model.decoder->z_width(), " and w of width ",
                     model.decoder->latent_width(), ", which ", format, " cannot say");
}

/// Our names in the target's groups.
Groups grouped(TensorDict tensors, const Model& model, ExportTarget target) {
  Groups groups;
  if (target == ExportTarget::ours) {
    groups[""] = std::move(tensors);
    return groups;
  }
  const bool stylegan1 = model.decoder && kind_of(*model.decoder).word == "stylegan1";
  const bool joined =
      target == ExportTarget::authors && model.encoder && (model.decoder || model.noise_encoder);
  for (auto& [name, tensor] : tensors) {
    std::string own = name;
    const bool of_decoder = !is_encoder_name(name);
    if (of_decoder && own.starts_with(kDecoder)) own = own.substr(kDecoder.size());
    if (of_decoder && own == kAverage) {
      groups[""][own] = std::move(tensor);
    } else if (joined) {
      groups["autoencoder"][of_decoder ? kDecoder + own : own] = std::move(tensor);
    } else if (of_decoder) {
      groups[target == ExportTarget::authors ? "decoder"
             : stylegan1                     ? "g_running"
                                             : "g_ema"][own] = std::move(tensor);
    } else {
      groups["encoder"][own.substr(own.find('.') + 1)] = std::move(tensor);
    }
  }
  return groups;
}

}  // namespace

std::vector<std::string> export_model(const std::string& path, Model model, const ExportOptions& options) {
  const bool torch = path.ends_with(".pt") || path.ends_with(".pth") || path.ends_with(".model");
  if (!torch && !path.ends_with(".safetensors"))
    fail<UsageError>(path, ": expects a name that ends in .safetensors, .pt, .pth or .model");
  keep_part(model, options.part);
  const ExportTarget usual = !torch          ? ExportTarget::ours
                             : model.encoder ? ExportTarget::authors
                                             : ExportTarget::rosinality;
  const ExportTarget target = options.target.value_or(usual);
  refuse_what_cannot_be_said(model, target, torch);

  SafeTensors contents = contents_of(model, model.metadata);
  if (options.half) halve(contents.tensors);
  Groups groups = grouped(std::move(contents.tensors), model, target);
  std::vector<std::string> lines;
  for (const auto& [group, tensors] : groups)
    lines.push_back(text(tensors.size(), tensors.size() == 1 ? " tensor" : " tensors",
                         group.empty() ? " at the top level" : text(" under '", group, "'")));
  const bool untold = torch || target != ExportTarget::ours;
  if (untold && model.encoder && model.encoder->config().projection == Projection::z)
    lines.push_back("the file does not tell that its latents are z: import it with --latent z");
  if (torch) {
    write_torch(path, groups);
    return lines;
  }
  SafeTensors flat;
  for (auto& [group, tensors] : groups)
    for (auto& [name, tensor] : tensors)
      flat.tensors[group.empty() ? name : group + "." + name] = std::move(tensor);
  if (!untold) flat.metadata = std::move(contents.metadata);
  write_safetensors(path, flat);
  return lines;
}

}  // namespace om
