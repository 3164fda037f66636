// Which networks a checkpoint holds, and where: one table, whatever the file's kind.
//
// A network is recognised by one tensor that each of its kind has and nothing else, its mark, under
// whatever prefix ("g_ema.", "autoencoder.module.encoder.", "state_dict.decoder.", "0.", ""). Where
// several of one role stand in a file, the averaged copy (ema or running in its prefix) is the one meant.
//
// A row of the table says how the tensors below the prefix become those that our class takes (its view): the
// same names in rosinality's and the authors' files, a translation in NVIDIA's (io/nvidia). A decoder's row
// also says how it is built, so a new decoder is its class, its row and its view.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/state_dict.h"
#include "models/decoder.h"

namespace om {

/// The tensors of one network under the names that our class gives them, each with its origin in the file.
struct NetworkView {
  std::string path, prefix;
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string>
      settings;                   ///< what shapes do not tell ("conv_clamp", "size"); as our metadata
  std::vector<std::string> left;  ///< what the view leaves out, and why
  std::map<std::string, StoredTensor> kept;  ///< of that, what an export can hold
  bool translated = false;                   ///< the file's own names are others

  /// Shapes by name. Tensors of more dimensions than any of ours are left out.
  FileShapes shapes() const;
};

enum class NetworkRole : std::uint8_t { decoder, encoder };

/// A class of decoders.
struct DecoderKind {
  std::string_view word;  ///< in our metadata: "stylegan2"
  /// `view.left` takes what was not used.
  std::unique_ptr<Decoder> (*build)(NetworkView& view, const Placement& place);
  /// What the metadata of our files keep beside the tensors; nothing where the decoder is of another kind.
  std::optional<std::map<std::string, std::string>> (*settings)(const Decoder& decoder);
};

struct NetworkKind {
  std::string_view title;  ///< "StyleGAN 2 generator"
  NetworkRole role;
  std::string_view mark;
  std::array<std::string_view, 2>
      companions;  ///< one of them stands beside the mark too, or it is another network's
  NetworkView (*view)(const Checkpoint& checkpoint, const std::string& prefix);
  const DecoderKind* decoder;  ///< null for an encoder
};

struct FoundNetwork {
  const NetworkKind* kind;
  std::string prefix;  ///< "" or ending in a dot
  bool averaged;

  /// "StyleGAN 2 generator under 'g_ema.'"
  std::string title() const;
};

/// All of them, the one meant of each role first; with `below`, those under that prefix alone.
std::vector<FoundNetwork> find_networks(const Checkpoint& checkpoint,
                                        const std::optional<std::string>& below = {});

/// True where the prefix names an averaged copy: a word of it is or contains "ema" at an end, or "running".
bool names_average(std::string_view prefix);

/// The row of a decoder, and what it says of this one.
const DecoderKind& kind_of(const Decoder& decoder);
std::map<std::string, std::string> settings_of(const Decoder& decoder);

/// What a network of these weights may allocate: their elements, and room for constants that files need not
/// hold.
std::int64_t budget_of(const FileShapes& shapes);

/// InputError where the rank is beyond ours.
Shape shape_of(const std::vector<std::int64_t>& sizes);

/// The tensors below `prefix` as they are.
NetworkView view_below(const Checkpoint& checkpoint, const std::string& prefix);

/// latent_avg of a StyleGAN 2 as [D]: found beside the network too, from [1, D], or from [L, D] whose rows
/// are equal. Another is taken out of the view, with a line.
void settle_latent_average(const Checkpoint& checkpoint, NetworkView& view);

}  // namespace om
