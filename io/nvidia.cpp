#include "io/nvidia.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>

#include "io/bytes.h"
#include "tensor/error.h"

namespace om {
namespace {

using Sizes = std::vector<std::int64_t>;

/// `tensor` with its dimensions in another order: dimension i of the result is order[i] of the source, read
/// backwards where the source's is in `flipped`.
FileTensor permuted(const FileTensor& tensor, const std::vector<std::size_t>& order, bool flip_spatial) {
  const std::size_t rank = order.size(), item = size_of(tensor.type);
  Sizes strides(rank, 1), shape(rank);
  for (std::size_t d = rank; d-- > 1;) strides[d - 1] = strides[d] * tensor.shape[d];
  for (std::size_t d = 0; d < rank; ++d) shape[d] = tensor.shape[order[d]];
  FileTensor result{tensor.type, shape, std::vector<std::byte>(tensor.data.size())};
  Sizes index(rank, 0);
  for (std::size_t to = 0; to < result.data.size(); to += item) {
    std::int64_t from = 0;
    for (std::size_t d = 0; d < rank; ++d) {
      const bool backwards = flip_spatial && order[d] < 2;
      from += (backwards ? shape[d] - 1 - index[d] : index[d]) * strides[order[d]];
    }
    std::memcpy(result.data.data() + to, tensor.data.data() + static_cast<std::size_t>(from) * item, item);
    for (std::size_t d = rank; d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  return result;
}

/// What a translation reads of one network: its tensors and settings below the prefix, and which names it has
/// used.
class Translation {
 public:
  Translation(const Checkpoint& checkpoint, const std::string& prefix) : source_(checkpoint) {
    view_.path = checkpoint.path;
    view_.prefix = prefix;
    view_.translated = true;
  }

  bool has(const std::string& name) const { return source_.tensors.contains(view_.prefix + name); }

  std::optional<std::string> setting(const std::string& name) const {
    const auto found = source_.settings.find(view_.prefix + name);
    if (found == source_.settings.end()) return std::nullopt;
    return found->second;
  }

  template <class... Parts>
  [[noreturn]] void refuse(const std::string& name, const Parts&... why) const {
    fail<InputError>(printable(view_.prefix + name), ": ", why...);
  }

  /// Refuses a setting that is there and none of `allowed`.
  void expect(const std::string& name, const std::vector<std::string>& allowed,
              const std::string& what) const {
    const auto value = setting(name);
    if (!value || std::find(allowed.begin(), allowed.end(), *value) != allowed.end()) return;
    refuse(name, what, " '", printable(*value), "' is not built, only '", allowed.front(), "'");
  }

  /// The same for a number, which may have passed through single precision.
  void expect_number(const std::string& name, double allowed, const std::string& what) const {
    const auto value = setting(name);
    if (!value) return;
    const double number = std::strtod(value->c_str(), nullptr);
    if (std::abs(number - allowed) <= 1e-6 * std::abs(allowed)) return;
    refuse(name, what, " '", printable(*value), "' is not built, only '", allowed, "'");
  }

  /// `to` becomes `from` in the shape that `reshape` makes of its own, and its bytes what `change` makes of
  /// them.
  template <class Reshape, class Change>
  void take(const std::string& from, const std::string& to, std::size_t rank, Reshape reshape,
            Change change) {
    const auto found = source_.tensors.find(view_.prefix + from);
    if (found == source_.tensors.end()) return;  // the model names what it lacks
    used_.insert(from);
    StoredTensor tensor = found->second;
    if (tensor.shape.size() != rank)
      refuse(from, "expects ", rank, " dimensions, got ", shape_text(tensor.shape));
    const Sizes shape = reshape(tensor.shape);
    tensor.load = [inner = tensor.load, shape, change] {
      FileTensor result = change(inner());
      result.shape = shape;
      return result;
    };
    tensor.shape = shape;
    view_.tensors[to] = std::move(tensor);
  }
  /// The same bytes in another shape.
  template <class Reshape>
  void take(const std::string& from, const std::string& to, std::size_t rank, Reshape reshape) {
    take(from, to, rank, reshape, [](FileTensor tensor) { return tensor; });
  }

  void zero(const std::string& to, const Sizes& shape) {
    const FileTensor tensor =
        make_file_tensor(shape, std::vector<float>(static_cast<std::size_t>(element_count(shape)), 0));
    view_.tensors[to] = {FileType::f32, shape, [tensor] { return tensor; }, {}, to};
  }

  void uses(const std::string& name) { used_.insert(name); }
  void note(const std::string& line) { view_.left.push_back(line); }
  void set(const std::string& name, const std::string& value) { view_.settings[name] = value; }
  FileTensor read(const std::string& name) const {
    return source_.tensors.at(view_.prefix + name).read(source_.path);
  }

  /// The view, with a line for each tensor that has no place in it.
  NetworkView finish() {
    for (auto it = source_.tensors.lower_bound(view_.prefix); it != source_.tensors.end(); ++it) {
      if (!it->first.starts_with(view_.prefix)) break;
      if (!used_.contains(it->first.substr(view_.prefix.size())))
        view_.left.push_back(printable(it->first, 200) + ": has no place in this generator");
    }
    return std::move(view_);
  }

 private:
  const Checkpoint& source_;
  NetworkView view_;
  std::set<std::string> used_;
};

const auto same = [](const Sizes& s) { return s; };
const auto leading_one = [](const Sizes& s) {
  Sizes shape = {1};
  shape.insert(shape.end(), s.begin(), s.end());
  return shape;
};
const auto scalar_as_one = [](const Sizes&) { return Sizes{1}; };
const auto colour_bias = [](const Sizes& s) { return Sizes{1, s[0], 1, 1}; };

/// Where the convolutions of a size go: conv1 at 4x4, then convs.(2j) and convs.(2j + 1).
std::string styled_name(int level, bool second) {
  return level == 0 ? "conv1." : text("convs.", 2 * (level - 1) + (second ? 1 : 0), ".");
}
std::string colour_name(int level) { return level == 0 ? "to_rgb1." : text("to_rgbs.", level - 1, "."); }
std::string noise_name(int level, bool second) {
  return text("noises.noise_", level == 0 ? 0 : 2 * level - 1 + (second ? 1 : 0));
}

const std::string only_taps = "[1, 3, 3, 1]";

/// The FIR filter of a layer, [4, 4]: the outer product of 1, 3, 3, 1 over 64.
void expect_filter(Translation& from, const std::string& name) {
  if (!from.has(name)) return;
  from.uses(name);
  const FileTensor filter = from.read(name);
  constexpr std::array<double, 4> taps = {1, 3, 3, 1};
  bool fits = is_floating(filter.type) && filter.shape == Sizes{4, 4};
  if (fits) {
    const std::vector<float> values = to_f32(filter);
    for (std::size_t i = 0; i < 16; ++i)
      fits = fits && std::abs(static_cast<double>(values[i]) - taps[i / 4] * taps[i % 4] / 64) < 1e-6;
  }
  if (!fits) from.refuse(name, "a filter other than ", only_taps, " is not built");
}

/// One clamp for all layers, as the configuration sets it.
class Clamp {
 public:
  explicit Clamp(Translation& from) : from_(from) {}
  void add(const std::string& name) {
    const auto value = from_.setting(name);
    if (!value) return;
    if (!value_) value_ = value;
    if (*value_ != *value)
      from_.refuse(name, printable(*value), " where another layer has ", printable(*value_), " is not built");
  }
  void settle(bool settings_known) {
    if (value_ && *value_ != "None") from_.set("conv_clamp", *value_);
    if (!value_ && !settings_known) from_.note("conv_clamp: a state dict does not tell it; none is assumed");
  }

 private:
  Translation& from_;
  std::optional<std::string> value_;
};

void take_ada_modulation(Translation& from, const std::string& layer, const std::string& to) {
  from.take(layer + "affine.weight", to + "conv.modulation.weight", 2, same);
  from.take(layer + "affine.bias", to + "conv.modulation.bias", 1, same);
}

void take_ada_layer(Translation& from, const std::string& layer, int level, bool second, Clamp& clamp) {
  const std::string to = styled_name(level, second);
  from.expect(layer + "activation", {"lrelu"}, "the activation");
  expect_filter(from, layer + "resample_filter");
  clamp.add(layer + "conv_clamp");
  from.take(layer + "weight", to + "conv.weight", 4, leading_one);
  from.take(layer + "bias", to + "activate.bias", 1, same);
  take_ada_modulation(from, layer, to);
  if (from.setting(layer + "use_noise") == "False") {
    from.zero(to + "noise.weight", {1});
  } else {
    from.take(layer + "noise_strength", to + "noise.weight", 0, scalar_as_one);
    from.take(layer + "noise_const", noise_name(level, second), 2, [](const Sizes& s) {
      return Sizes{1, 1, s[0], s[1]};
    });
  }
}

}  // namespace

NetworkView stylegan2_ada_view(const Checkpoint& checkpoint, const std::string& prefix) {
  Translation from(checkpoint, prefix);
  for (const char* name : {"c_dim", "mapping.c_dim"}) {
    const auto classes = from.setting(name);
    if (classes && *classes != "0")
      from.refuse(name, "generators of ", printable(*classes), " classes are not built");
  }
  if (from.has("mapping.embed.weight"))
    from.refuse("mapping.embed.weight", "generators of classes are not built");
  from.expect_number("img_channels", 3, "an image of this many channels:");
  from.expect_number("synthesis.img_channels", 3, "an image of this many channels:");

  for (int i = 0; from.has(text("mapping.fc", i, ".weight")); ++i) {
    const std::string layer = text("mapping.fc", i, "."), to = text("style.", i + 1, ".");
    from.expect(layer + "activation", {"lrelu"}, "the activation");
    from.expect_number(layer + "lr_multiplier", 0.01, "the mapping's rate");
    from.take(layer + "weight", to + "weight", 2, same);
    from.take(layer + "bias", to + "bias", 1, same);
  }
  from.expect_number("mapping.lr_multiplier", 0.01, "the mapping's rate");
  from.expect_number("mapping.fc0.bias_gain", 0.01, "the mapping's rate");
  from.take("mapping.w_avg", "latent_avg", 1, same);

  Clamp clamp(from);
  from.take("synthesis.b4.const", "input.input", 3, leading_one);
  for (int level = 0; level < 9; ++level) {
    const std::string block = text("synthesis.b", 4 << level, ".");
    if (!from.has(block + "conv1.weight")) break;
    from.expect(block + "architecture", {"skip"}, "the architecture");
    if (from.has(block + "skip.weight"))
      from.refuse(block + "skip.weight", "the architecture 'resnet' is not built");
    if (!from.has(block + "torgb.weight"))
      from.refuse(block + "torgb.weight", "is missing: the architecture 'orig' is not built, only 'skip'");
    expect_filter(from, block + "resample_filter");
    if (level > 0) take_ada_layer(from, block + "conv0.", level, false, clamp);
    take_ada_layer(from, block + "conv1.", level, level > 0, clamp);
    const std::string colour = block + "torgb.", to = colour_name(level);
    clamp.add(colour + "conv_clamp");
    from.take(colour + "weight", to + "conv.weight", 4, leading_one);
    from.take(colour + "bias", to + "bias", 1, colour_bias);
    take_ada_modulation(from, colour, to);
  }
  clamp.settle(from.setting("class_name").has_value() || from.setting("synthesis.class_name").has_value());
  NetworkView view = from.finish();
  settle_latent_average(checkpoint, view);
  return view;
}

namespace {

void take_dense(Translation& from, const std::string& layer, const std::string& to) {
  from.take(
      layer, to, 2,
      [](const Sizes& s) {
        return Sizes{s[1], s[0]};
      },
      [](const FileTensor& tensor) {
        return permuted(tensor, {1, 0}, false);
      });
}

void take_tf_conv(Translation& from, const std::string& layer, const std::string& to, bool flip) {
  from.take(
      layer + "weight", to + "conv.weight", 4,
      [](const Sizes& s) {
        return Sizes{1, s[3], s[2], s[0], s[1]};
      },
      [flip](const FileTensor& tensor) {
        return permuted(tensor, {3, 2, 0, 1}, flip);
      });
  take_dense(from, layer + "mod_weight", to + "conv.modulation.weight");
  from.take(layer + "mod_bias", to + "conv.modulation.bias", 1, same, [](const FileTensor& tensor) {
    std::vector<float> values = to_f32(tensor);
    for (float& value : values) value += 1;
    return make_file_tensor(tensor.shape, values, tensor.type);
  });
}

void take_tf_layer(Translation& from, const std::string& layer, int level, bool second, bool flip) {
  const std::string to = styled_name(level, second);
  take_tf_conv(from, layer, to, flip);
  from.take(layer + "bias", to + "activate.bias", 1, same);
  from.take(layer + "noise_strength", to + "noise.weight", 0, scalar_as_one);
}

}  // namespace

NetworkView stylegan2_tf_view(const Checkpoint& checkpoint, const std::string& prefix) {
  Translation from(checkpoint, prefix);
  if (from.has("synthesis/4x4/Const/StyleMod/weight"))
    from.refuse("synthesis", "a StyleGAN 1 of TensorFlow; its conversion by rosinality's port is read");
  for (const char* network : {"", "mapping.", "synthesis."}) {
    // Components keep their own copies of the arguments, under "Gs.synthesis" or "Gs.mapping".
    const std::string arguments = text(network, "static_kwargs.");
    const auto labels = from.setting(arguments + "label_size");
    if (labels && *labels != "0")
      from.refuse(arguments + "label_size", "generators of ", printable(*labels), " classes are not built");
    from.expect(arguments + "architecture", {"skip"}, "the architecture");
    from.expect_number(arguments + "num_channels", 3, "an image of this many channels:");
    from.expect(arguments + "nonlinearity", {"lrelu"}, "the activation");
    from.expect(arguments + "mapping_nonlinearity", {"lrelu"}, "the activation");
    from.expect_number(arguments + "mapping_lrmul", 0.01, "the mapping's rate");
    from.expect(arguments + "resample_kernel", {only_taps}, "the filter");
    from.expect(arguments + "normalize_latents", {"True"}, "a mapping without normalised latents:");
  }
  for (int i = 0; from.has(text("mapping/Dense", i, "/weight")); ++i) {
    take_dense(from, text("mapping/Dense", i, "/weight"), text("style.", i + 1, ".weight"));
    from.take(text("mapping/Dense", i, "/bias"), text("style.", i + 1, ".bias"), 1, same);
  }
  from.take("dlatent_avg", "latent_avg", 1, same);
  from.take("synthesis/4x4/Const/const", "input.input", 4, same);
  for (int level = 0; level < 9; ++level) {
    const int side = 4 << level;
    const std::string block = text("synthesis/", side, "x", side, "/");
    if (!from.has(block + (level == 0 ? "Conv/weight" : "Conv1/weight"))) break;
    if (from.has(block + "Skip/weight"))
      from.refuse(block + "Skip/weight", "the architecture 'resnet' is not built");
    if (!from.has(block + "ToRGB/weight"))
      from.refuse(block + "ToRGB/weight", "is missing: the architecture 'orig' is not built, only 'skip'");
    if (level == 0) {
      take_tf_layer(from, block + "Conv/", 0, false, false);
    } else {
      take_tf_layer(from, block + "Conv0_up/", level, false, true);
      take_tf_layer(from, block + "Conv1/", level, true, false);
    }
    take_tf_conv(from, block + "ToRGB/", colour_name(level), false);
    from.take(block + "ToRGB/bias", colour_name(level) + "bias", 1, colour_bias);
  }
  for (int i = 0; from.has(text("synthesis/noise", i)); ++i)
    from.take(text("synthesis/noise", i), text("noises.noise_", i), 4, same);
  for (const char* unused : {"lod", "synthesis/lod"}) from.uses(unused);  // the growing's level, 0 when done
  NetworkView view = from.finish();
  settle_latent_average(checkpoint, view);
  return view;
}

}  // namespace om
