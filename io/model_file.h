// Models in files: which networks a checkpoint holds, building them at the sizes of its weights, and filling
// them; and the way back, into our own safetensors files.
//
// Recognised by names, wherever they stand in the file:
//   StyleGAN 2 generator   g_ema.*, decoder.*, autoencoder.decoder.*, or the top level; latent_avg beside it
//   encoder                encoder.*, autoencoder.encoder.*, or the top level
// Our files hold the same names as PyTorch's checkpoints (encoder.*, decoder.*; a generator alone at the top
// level), in PyTorch's order, and in the metadata what a state dict does not tell ("onemodel", "kind",
// "latent", "config").
#pragma once

#include <optional>

#include "io/state_dict.h"
#include "models/autoencoder.h"
#include "models/lpips.h"

namespace om {

/// What a checkpoint was found to hold.
struct Model {
  std::unique_ptr<Encoder> encoder;  ///< null where the file has none
  std::unique_ptr<Decoder> decoder;  ///< null where the file has none
  /// Tensors beside those of the networks that belong to them (unknown names under their prefixes), kept so
  /// that saving loses nothing. Named as in our files.
  std::map<std::string, FileTensor> extras;
  std::map<std::string, std::string> metadata;  ///< of our files
  std::vector<std::string> found;  ///< one line per network: "StyleGAN 2 generator, 128 pixels, ..."
  std::vector<std::string> left;   ///< what was not taken, and why
};

/// True where the names of some network that load_model knows are in the file, whole or broken.
bool holds_network(const Checkpoint& checkpoint);

/// Builds and fills whatever `checkpoint` holds. `projection` says how an encoder's latents are meant;
/// without it our metadata says it, else W+. InputError `FILE: reason` where nothing is recognised or a
/// tensor does not fit.
Model load_model(const Checkpoint& checkpoint, Backend& backend, std::optional<Projection> projection = {});

/// The same for a file that must hold both networks: encoder and generator joined.
std::unique_ptr<Autoencoder> load_autoencoder(const std::string& path, Backend& backend);

/// The generator of a file; InputError where it has none.
std::unique_ptr<Decoder> load_generator(const std::string& path, Backend& backend);

/// LPIPS from a torchvision backbone and the lpips package's heads.
std::unique_ptr<Lpips> load_lpips(const std::string& backbone_path, const std::string& heads_path,
                                  Backend& backend);

/// Fills every entry of `module` (aliases included) from the checkpoint's tensors prefix + name; returns the
/// names of buffers that the file lacks and that keep their defaults. InputError where a parameter is missing
/// or a shape differs.
std::vector<std::string> fill(const Module& module, const Checkpoint& checkpoint,
                              const std::string& prefix = "");

/// All entries of `module`, aliases included, in the file's shapes, under prefix + name. f32, or f16 where
/// `half`.
std::map<std::string, FileTensor> to_file(const Module& module, const std::string& prefix = "",
                                          bool half = false);

/// One tensor into a file tensor of the given layout, and back onto a backend as f32 (i64 and i32 become
/// i32).
FileTensor to_file(const Tensor& tensor, const FileLayout& layout = {}, bool half = false);
Tensor from_file(const FileTensor& tensor, const FileLayout& layout, Backend& backend);

/// Writes the networks of `model` as one safetensors file with `metadata` beside our own keys. Atomic.
void save_model(const std::string& path, const Model& model, std::map<std::string, std::string> metadata = {},
                bool half = false);
/// The same for a pair that is in use.
void save_autoencoder(const std::string& path, const Autoencoder& model,
                      std::map<std::string, std::string> metadata = {});
void save_autoencoder(const std::string& path, const Encoder& encoder, const Decoder& decoder,
                      std::map<std::string, std::string> metadata = {});

const char* name_of(Projection projection);

}  // namespace om
