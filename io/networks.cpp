#include "io/networks.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include "io/bytes.h"
#include "io/nvidia.h"
#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "tensor/error.h"

namespace om {
namespace {

bool all_zero(const NetworkView& view, const std::string& name) {
  const auto found = view.tensors.find(name);
  if (found == view.tensors.end() || !is_floating(found->second.type)) return false;
  const std::vector<float> values = to_f32(found->second.read(view.path));
  return std::all_of(values.begin(), values.end(), [](float v) { return v == 0; });
}

/// What our own files' metadata say.
void take_setting(const Checkpoint& checkpoint, const char* name, NetworkView& view) {
  const auto found = checkpoint.metadata.find(name);
  if (found != checkpoint.metadata.end() && checkpoint.metadata.contains("onemodel"))
    view.settings.insert(*found);
}

NetworkView stylegan2_view(const Checkpoint& checkpoint, const std::string& prefix) {
  NetworkView view = view_below(checkpoint, prefix);
  take_setting(checkpoint, "conv_clamp", view);
  settle_latent_average(checkpoint, view);
  return view;
}

std::unique_ptr<Decoder> build_stylegan2(NetworkView& view, const Placement& place) {
  StyleGan2Config config = StyleGan2Config::from_shapes(view.shapes());
  if (const auto clamp = view.settings.find("conv_clamp"); clamp != view.settings.end()) {
    const std::string& s = clamp->second;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), config.conv_clamp);
    if (error != std::errc{} || end != s.data() + s.size() || !(config.conv_clamp > 0))
      fail<InputError>("conv_clamp expects a positive number, got '", printable(s), "'");
  }
  return std::make_unique<StyleGan2>(config, place);
}

NetworkView stylegan1_view(const Checkpoint& checkpoint, const std::string& prefix) {
  NetworkView view = view_below(checkpoint, prefix);
  take_setting(checkpoint, "size", view);
  return view;
}

std::unique_ptr<Decoder> build_stylegan1(NetworkView& view, const Placement& place) {
  const FileShapes shapes = view.shapes();
  const auto given = view.settings.find("size");
  const std::int64_t size =
      given == view.settings.end()
          ? trained_size(shapes, [&](const std::string& name) { return all_zero(view, name); })
          : std::atoll(given->second.c_str());
  const StyleGan1Config config = StyleGan1Config::from_shapes(shapes, size);
  if (const std::vector<std::int64_t> unused = config.unused_sizes(shapes); !unused.empty())
    view.left.push_back(text(
        "its blocks for ", unused.front(), " to ", unused.back(), " pixels: not used at ", size, " pixels",
        given == view.settings.end() ? ", the largest that was trained" : "", "; kept for export"));
  return std::make_unique<StyleGan1>(config, place);
}

using Settings = std::optional<std::map<std::string, std::string>>;

Settings settings_of_stylegan2(const Decoder& decoder) {
  const auto* stylegan2 = dynamic_cast<const StyleGan2*>(&decoder);
  if (stylegan2 == nullptr) return std::nullopt;
  if (!(stylegan2->config().conv_clamp > 0)) return Settings::value_type{};
  std::array<char, 32> digits;
  char* end = std::to_chars(digits.data(), digits.data() + digits.size(), stylegan2->config().conv_clamp).ptr;
  return Settings::value_type{{"conv_clamp", {digits.data(), end}}};
}

Settings settings_of_stylegan1(const Decoder& decoder) {
  const auto* stylegan1 = dynamic_cast<const StyleGan1*>(&decoder);
  if (stylegan1 == nullptr) return std::nullopt;
  return Settings::value_type{{"size", std::to_string(stylegan1->size())}};
}

// One row a class.
constexpr std::array decoder_kinds{DecoderKind{"stylegan2", build_stylegan2, settings_of_stylegan2},
                                   DecoderKind{"stylegan1", build_stylegan1, settings_of_stylegan1}};
constexpr const DecoderKind *stylegan2 = &decoder_kinds[0], *stylegan1 = &decoder_kinds[1];

// One row a kind of network in a kind of file.
constexpr std::array kinds{
    NetworkKind{"StyleGAN 2 generator",
                NetworkRole::decoder,
                "convs.0.conv.weight",
                {"style.1.weight", "input.input"},
                stylegan2_view,
                stylegan2},
    NetworkKind{"StyleGAN 2 generator (stylegan2-ada-pytorch)",
                NetworkRole::decoder,
                "synthesis.b4.const",
                {"mapping.fc0.weight", "synthesis.b4.conv1.weight"},
                stylegan2_ada_view,
                stylegan2},
    NetworkKind{"StyleGAN 2 generator (TensorFlow)",
                NetworkRole::decoder,
                "synthesis/4x4/Const/const",
                {"mapping/Dense0/weight", "synthesis/4x4/ToRGB/weight"},
                stylegan2_tf_view,
                stylegan2},
    NetworkKind{"StyleGAN 1 generator",
                NetworkRole::decoder,
                StyleGan1::kMark,
                {"style.1.linear.weight_orig", "generator.to_rgb.0.conv.weight_orig"},
                stylegan1_view,
                stylegan1},
    NetworkKind{"encoder",
                NetworkRole::encoder,
                "resnet_blocks.0.conv1.weight",
                {"start_block.conv1.weight", "intermediate_resnet_blocks.0.conv1.weight"},
                view_below,
                nullptr}};

// "g_ema.0.decoder." -> g_ema, 0, decoder
std::vector<std::string_view> parts_of(std::string_view prefix) {
  std::vector<std::string_view> parts;
  while (!prefix.empty()) {
    const std::size_t dot = prefix.find('.');
    parts.push_back(prefix.substr(0, dot));
    prefix.remove_prefix(dot == std::string_view::npos ? prefix.size() : dot + 1);
  }
  return parts;
}

// Names in order, numbers by their value.
bool natural_less(std::string_view a, std::string_view b) {
  const auto left = parts_of(a), right = parts_of(b);
  const auto is_number_text = [](std::string_view s) {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                      [&](std::string_view x, std::string_view y) {
                                        if (is_number_text(x) && is_number_text(y) && x.size() != y.size())
                                          return x.size() < y.size();
                                        return x < y;
                                      });
}

// Without an average: what is called a decoder or encoder, then what stands at the top, then the rest.
int rank_of(const FoundNetwork& network) {
  if (network.averaged) return 0;
  const auto parts = parts_of(network.prefix);
  const std::string_view own = network.kind->role == NetworkRole::decoder ? "decoder" : "encoder";
  if (!parts.empty() && parts.back() == own) return 1;
  if (parts.empty()) return 2;
  return parts.back() == "generator" ? 3 : 4;
}

}  // namespace

FileShapes NetworkView::shapes() const {
  FileShapes shapes;
  for (const auto& [name, tensor] : tensors)
    if (tensor.shape.size() <= kMaxRank) shapes[name] = shape_of(tensor.shape);
  return shapes;
}

std::string FoundNetwork::title() const { return text(kind->title, " under '", printable(prefix), "'"); }

bool names_average(std::string_view prefix) {
  // Words: at dots, dashes, underscores, and where a capital follows a small letter (netG_ema, modelEMA, Gs).
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < prefix.size(); ++i) {
    const auto c = static_cast<unsigned char>(prefix[i]);
    const bool starts = std::isupper(c) && i > 0 && std::islower(static_cast<unsigned char>(prefix[i - 1]));
    if (starts || !std::isalnum(c)) words.emplace_back();
    if (std::isalnum(c)) words.back() += static_cast<char>(std::tolower(c));
  }
  return prefix == "Gs." || prefix.ends_with(".Gs.") ||
         std::any_of(words.begin(), words.end(), [](const auto& word) {
           const bool ema = word.starts_with("ema") || (word.ends_with("ema") && word != "schema");
           return ema || word.find("running") != std::string::npos;
         });
}

std::vector<FoundNetwork> find_networks(const Checkpoint& checkpoint,
                                        const std::optional<std::string>& below) {
  std::vector<FoundNetwork> found;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    for (const NetworkKind& kind : kinds) {
      if (!name.ends_with(kind.mark)) continue;
      const std::string prefix = name.substr(0, name.size() - kind.mark.size());
      if (!prefix.empty() && !prefix.ends_with('.')) continue;  // intermediate_resnet_blocks, say
      if (std::none_of(kind.companions.begin(), kind.companions.end(), [&](std::string_view other) {
            return checkpoint.tensors.contains(text(prefix, other));
          }))
        continue;
      if (below) {
        const std::string wanted = below->empty() || below->ends_with('.') ? *below : *below + ".";
        if (wanted.empty() ? !prefix.empty() : !prefix.starts_with(wanted)) continue;
      }
      found.push_back({&kind, prefix, names_average(prefix)});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const FoundNetwork& a, const FoundNetwork& b) {
    if (a.kind->role != b.kind->role) return a.kind->role < b.kind->role;
    const int left = rank_of(a), right = rank_of(b);
    if (left != right) return left < right;
    const auto depth = [](const FoundNetwork& n) {
      return std::count(n.prefix.begin(), n.prefix.end(), '.');
    };
    if (depth(a) != depth(b)) return depth(a) < depth(b);
    return natural_less(a.prefix, b.prefix);
  });
  return found;
}

const DecoderKind& kind_of(const Decoder& decoder) {
  const auto found = std::find_if(decoder_kinds.begin(), decoder_kinds.end(), [&](const DecoderKind& kind) {
    return kind.settings(decoder).has_value();
  });
  if (found == decoder_kinds.end()) fail("a decoder that no row of the table is for");
  return *found;
}

std::map<std::string, std::string> settings_of(const Decoder& decoder) {
  return kind_of(decoder).settings(decoder).value();
}

std::int64_t budget_of(const FileShapes& shapes) {
  std::int64_t total = std::int64_t{1} << 16;
  for (const auto& [name, shape] : shapes) total += shape.elements();
  return total + total / 4;
}

Shape shape_of(const std::vector<std::int64_t>& sizes) {
  if (sizes.size() > kMaxRank)
    fail<InputError>("a tensor of ", sizes.size(), " dimensions, at most ", kMaxRank, " are known");
  return Shape(std::span(sizes));
}

NetworkView view_below(const Checkpoint& checkpoint, const std::string& prefix) {
  NetworkView view{checkpoint.path, prefix, {}, {}, {}, {}, false};
  for (auto it = checkpoint.tensors.lower_bound(prefix); it != checkpoint.tensors.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    StoredTensor& tensor = view.tensors[it->first.substr(prefix.size())] = it->second;
    tensor.origin = it->first;
  }
  return view;
}

void settle_latent_average(const Checkpoint& checkpoint, NetworkView& view) {
  const std::string name = "latent_avg";
  // rosinality's files keep it beside the weights' dict, pSp's beside the state dict that holds the decoder
  std::string outside = view.prefix;
  while (!view.tensors.contains(name) && !outside.empty()) {
    outside.pop_back();
    outside.resize(outside.rfind('.') == std::string::npos ? 0 : outside.rfind('.') + 1);
    const auto found = checkpoint.tensors.find(outside + name);
    if (found == checkpoint.tensors.end()) continue;
    view.tensors[name] = found->second;
    view.tensors[name].origin = found->first;
  }
  const auto found = view.tensors.find(name);
  const auto first = view.tensors.find("style.1.weight");
  if (found == view.tensors.end() || first == view.tensors.end() || first->second.shape.empty()) return;
  StoredTensor& average = found->second;
  const std::int64_t width = first->second.shape[0];
  const auto leave = [&](const auto&... why) {
    view.left.push_back(text(average.origin.empty() ? name : printable(average.origin), ": ", why...));
    if (average.problem.empty()) view.kept[name] = average;
    view.tensors.erase(found);
  };
  const std::vector<std::int64_t>& shape = average.shape;
  if (!average.problem.empty()) return leave(average.problem);
  if (!is_floating(average.type)) return leave("of type ", name_of(average.type), ", no average of latents");
  const bool rows = shape.size() == 2 && shape[0] > 0 && shape[1] == width;
  if (!rows && shape != std::vector<std::int64_t>{width})
    return leave("of shape ", shape_text(shape), ", no average of latents of width ", width);
  const FileTensor values = average.read(view.path);
  const std::size_t row = values.data.size() / static_cast<std::size_t>(rows ? shape[0] : 1);
  for (std::size_t at = row; at < values.data.size(); at += row)
    if (!std::equal(values.data.begin(), values.data.begin() + static_cast<std::ptrdiff_t>(row),
                    values.data.begin() + static_cast<std::ptrdiff_t>(at)))
      return leave("of shape ", shape_text(shape), " with rows that differ, so no average of all layers");
  for (const float value : to_f32(values))
    if (!std::isfinite(value)) return leave("holds a number that is not finite");
  if (!rows) return;
  FileTensor one{
      values.type, {width}, {values.data.begin(), values.data.begin() + static_cast<std::ptrdiff_t>(row)}};
  average.shape = one.shape;
  average.load = [one = std::move(one)] { return one; };
}

}  // namespace om
