// Networks as state dicts, with the names and layouts of the code they come from.
//
//   ours        encoder.* (or latent_encoder.*, noise_encoder.*) and decoder.*; a generator alone at the top
//   level authors     {"autoencoder": encoder.*, decoder.*}; one network alone {"encoder": ..} or {"decoder":
//   ..} rosinality  {"g_ema": ..} for StyleGAN 2, {"g_running": ..} for StyleGAN 1
//
// latent_avg stands beside the dict of the decoder, as rosinality's files have it. A safetensors file joins
// the names with dots.
#pragma once

#include "io/model_file.h"

namespace om {

enum class ExportTarget : std::uint8_t { ours, authors, rosinality };
enum class ExportPart : std::uint8_t { all, encoder, generator };

struct ExportOptions {
  std::optional<ExportTarget>
      target;  ///< default: ours; in a PyTorch file authors', rosinality's without an encoder
  ExportPart part = ExportPart::all;
  bool half = false;
};

/// Writes `model`, everything that it keeps included, to `path`: safetensors where it ends so, torch.save's
/// zip format where it ends in .pt, .pth or .model; UsageError for another ending. InputError where the model
/// lacks the part, where the target cannot say something (conv_clamp, z of another width than w, an encoder
/// for rosinality), or where a number is beyond half precision. Returns lines about what was written and what
/// the file does not tell.
std::vector<std::string> export_model(const std::string& path, Model model, const ExportOptions& options);

}  // namespace om
