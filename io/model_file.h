// Models in files: the networks that a checkpoint holds, built at the sizes of its weights and filled, and
// the way back into our own safetensors files.
//
// io/networks finds them, under any prefix. A two-network autoencoder keeps its encoders under
// latent_encoder. and noise_encoder. Our files hold the same names as PyTorch's checkpoints (encoder.*,
// decoder.*; a generator alone at the top level), in PyTorch's order, and in the metadata what a state dict
// does not tell ("onemodel", "kind", "latent", "decoder", "conv_clamp", "size", "config").
#pragma once

#include <functional>
#include <optional>

#include "io/parameters.h"
#include "io/safetensors.h"
#include "io/state_dict.h"
#include "models/autoencoder.h"
#include "models/lpips.h"

namespace om {

/// What a checkpoint was found to hold.
struct Model {
  std::unique_ptr<Encoder> encoder;        ///< null where the file has none; of two, the one for latents
  std::unique_ptr<Encoder> noise_encoder;  ///< the second of two; null otherwise
  std::unique_ptr<Decoder> decoder;        ///< null where the file has none
  /// Tensors beside those of the networks that belong to them (unknown names under their prefixes), kept so
  /// that saving loses nothing. Named as in our files.
  std::map<std::string, FileTensor> extras;
  std::map<std::string, std::string> metadata;  ///< of our files
  std::vector<std::string>
      found;  ///< one line per network: "StyleGAN 2 generator under 'g_ema.': 128 pixels, ..."
  std::vector<std::string> not_taken;  ///< the same for networks in whose place another was taken, and why
  std::vector<std::string> left;       ///< what else was not taken, and why
};

struct LoadOptions {
  LoadOptions() = default;
  LoadOptions(std::optional<Projection> p)
      : projection(p) {}                        // NOLINT: the one option that most callers give
  LoadOptions(Projection p) : projection(p) {}  // NOLINT

  std::optional<Projection> projection;  ///< how latents are meant; without it our metadata says it, else W+
  std::optional<std::string> prefix;     ///< take the networks under this prefix alone
  std::optional<std::int64_t> size;      ///< pixels of a StyleGAN 1, whose files hold blocks up to 1024
  /// The same where neither the file's metadata nor an encoder beside it tell; else the largest size that was
  /// trained.
  std::optional<std::int64_t> size_hint = {};
  /// Told which network was taken where a file holds several.
  std::function<void(const std::string& line)> say = {};
};

/// True where the names of some network that load_model knows are in the file, whole or broken.
bool holds_network(const Checkpoint& checkpoint);

/// Builds and fills whatever `checkpoint` holds. InputError `FILE: reason` where nothing is recognised or a
/// tensor does not fit.
Model load_model(const Checkpoint& checkpoint, Backend& backend, const LoadOptions& options = {});

/// The same for a file that must hold encoder and generator, joined. With `generator`, that file's generator
/// is taken, and `path` need hold no other.
std::unique_ptr<Autoencoder> load_autoencoder(const std::string& path, Backend& backend,
                                              const std::string& generator = "",
                                              const LoadOptions& options = {});

/// The generator of a file; InputError where it has none.
std::unique_ptr<Decoder> load_generator(const std::string& path, Backend& backend,
                                        const LoadOptions& options = {});

/// LPIPS from a torchvision backbone and the lpips package's heads, each under any prefix. Either may be the
/// state dict of a whole lpips.LPIPS.
std::unique_ptr<Lpips> load_lpips(const std::string& backbone_path, const std::string& heads_path,
                                  Backend& backend);

/// Writes the networks of `model` as one safetensors file with `metadata` beside our own keys. Atomic.
void save_model(const std::string& path, const Model& model, std::map<std::string, std::string> metadata = {},
                bool half = false);
/// The same for a pair that is in use.
void save_autoencoder(const std::string& path, const Autoencoder& model,
                      std::map<std::string, std::string> metadata = {});
void save_autoencoder(const std::string& path, const Encoder& encoder, const Decoder& decoder,
                      std::map<std::string, std::string> metadata = {});

/// What save_model writes: the tensors by their names in our files, and the metadata.
SafeTensors contents_of(const Model& model, std::map<std::string, std::string> metadata = {},
                        bool half = false);

const char* name_of(Projection projection);

}  // namespace om
