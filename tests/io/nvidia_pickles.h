// Writes a StyleGAN 2 generator as NVIDIA's pickles hold it, from the tensors that to_file() gives: the way
// back of io/nvidia, for its tests and as seeds of the fuzzers.
#pragma once

#include <bit>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/file_tensor.h"
#include "tests/io/checkpoint_bytes.h"

namespace om::test {

using Tensors = std::map<std::string, FileTensor>;
using Attributes = std::vector<std::pair<std::string, std::string>>;  // name, pickled value

inline std::string p_bytes(std::string_view bytes) { return "B" + le(bytes.size(), 4) + std::string(bytes); }
inline std::string p_real(double value) {  // big-endian
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(value);
  std::string out = "G";
  for (int i = 7; i >= 0; --i) out += static_cast<char>(bits >> (8 * i));
  return out;
}
inline const std::string p_empty_dict = p_name("collections", "OrderedDict") + ")R";

inline std::string bytes_text(const FileTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()};
}

/// A tensor whose storage stands in the pickle, as a file of the format before zip of its own.
inline std::string p_tensor_with_blob(const FileTensor& tensor) {
  const std::string type = tensor.type == FileType::f16 ? "HalfStorage" : "FloatStorage";
  const std::int64_t count = element_count(tensor.shape);
  const std::string id =
      "(" + p_text("storage") + p_name("torch", type) + p_text("7") + p_text("cpu") + p_int(count) + "NtQ";
  const std::string blob = old_magic + pickled(p_int(1001)) + pickled(p_dict({{"little_endian", "\x88"}})) +
                           pickled(id) + pickled("](" + p_text("7") + "e") +
                           le(static_cast<std::uint64_t>(count), 8) + bytes_text(tensor);
  std::vector<std::int64_t> strides(tensor.shape.size(), 1);
  for (std::size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * tensor.shape[d];
  return p_name("torch._utils", "_rebuild_tensor_v2") + "(" + p_name("torch.storage", "_load_from_bytes") +
         "(" + p_bytes(blob) + "tR" + p_int(0) + p_ints(tensor.shape) + p_ints(strides) + "\x89" +
         p_empty_dict + "tR";
}

/// One persistent object of stylegan2-ada-pytorch and what stands in it.
struct AdaObject {
  std::string class_name;
  Tensors tensors;
  std::map<std::string, AdaObject> modules;
  Attributes attributes;

  std::string pickle() const {
    std::vector<std::pair<std::string, std::string>> parameters, children;
    for (const auto& [name, tensor] : tensors) parameters.emplace_back(name, p_tensor_with_blob(tensor));
    for (const auto& [name, module] : modules) children.emplace_back(name, module.pickle());
    Attributes state = {{"training", "\x89"},
                        {"_parameters", p_dict(parameters)},
                        {"_buffers", p_empty_dict},
                        {"_modules", p_dict(children)}};
    state.insert(state.end(), attributes.begin(), attributes.end());
    return p_name("torch_utils.persistence", "_reconstruct_persistent_obj") + "(" +
           p_dict({{"type", p_text("class")},
                   {"version", p_int(6)},
                   {"module_src", p_text("import os; os.abort()")},
                   {"class_name", p_text(class_name)},
                   {"state", p_dict(state)}}) +
           "tR";
  }
};

inline FileTensor reshaped(FileTensor tensor, std::vector<std::int64_t> shape) {
  tensor.shape = std::move(shape);
  return tensor;
}

/// Settings that a test may turn.
struct AdaSettings {
  std::string architecture = "skip", activation = "lrelu";
  std::string conv_clamp = "N";  // pickled
  int c_dim = 0, img_channels = 3;
  double lr_multiplier = 0.01;
};

/// `g` as the object that stands under "G" or "G_ema".
inline AdaObject ada_generator(const Tensors& g, const AdaSettings& settings = {}) {
  const auto dense = [&](const std::string& name, double rate) {
    AdaObject layer{"FullyConnectedLayer", {}, {}, {}};
    layer.tensors["weight"] = g.at(name + "weight");
    layer.tensors["bias"] = g.at(name + "bias");
    layer.attributes = {{"activation", p_text(rate == 1 ? "linear" : settings.activation)},
                        {"bias_gain", p_real(rate)}};
    return layer;
  };
  AdaObject mapping{"MappingNetwork", {}, {}, {{"c_dim", p_int(settings.c_dim)}}};
  for (int i = 0; g.contains(text("style.", i + 1, ".weight")); ++i)
    mapping.modules[text("fc", i)] = dense(text("style.", i + 1, "."), settings.lr_multiplier);
  if (g.contains("latent_avg")) mapping.tensors["w_avg"] = g.at("latent_avg");

  const auto weight = [&](const std::string& name) {
    const FileTensor& w = g.at(name);
    return reshaped(w, {w.shape.begin() + 1, w.shape.end()});
  };
  int noises = 0;
  const auto styled = [&](const std::string& name) {
    AdaObject layer{"SynthesisLayer", {}, {}, {}};
    layer.tensors["weight"] = weight(name + "conv.weight");
    layer.tensors["bias"] = g.at(name + "activate.bias");
    layer.tensors["noise_strength"] = reshaped(g.at(name + "noise.weight"), {});
    const FileTensor& noise = g.at(text("noises.noise_", noises++));
    layer.tensors["noise_const"] = reshaped(noise, {noise.shape[2], noise.shape[3]});
    layer.modules["affine"] = dense(name + "conv.modulation.", 1);
    layer.attributes = {
        {"conv_clamp", settings.conv_clamp}, {"activation", p_text("lrelu")}, {"use_noise", "\x88"}};
    return layer;
  };
  const auto colour = [&](const std::string& name) {
    AdaObject layer{"ToRGBLayer", {}, {}, {{"conv_clamp", settings.conv_clamp}}};
    layer.tensors["weight"] = weight(name + "conv.weight");
    layer.tensors["bias"] = reshaped(g.at(name + "bias"), {3});
    layer.modules["affine"] = dense(name + "conv.modulation.", 1);
    return layer;
  };
  AdaObject synthesis{"SynthesisNetwork", {}, {}, {}};
  for (int level = 0; level == 0 || g.contains(text("to_rgbs.", level - 1, ".bias")); ++level) {
    AdaObject block{"SynthesisBlock", {}, {}, {{"architecture", p_text(settings.architecture)}}};
    if (level == 0) {
      const FileTensor& constant = g.at("input.input");
      block.tensors["const"] = reshaped(constant, {constant.shape[1], 4, 4});
      block.modules["conv1"] = styled("conv1.");
      block.modules["torgb"] = colour("to_rgb1.");
    } else {
      block.modules["conv0"] = styled(text("convs.", 2 * level - 2, "."));
      block.modules["conv1"] = styled(text("convs.", 2 * level - 1, "."));
      block.modules["torgb"] = colour(text("to_rgbs.", level - 1, "."));
    }
    synthesis.modules[text("b", 4 << level)] = block;
  }
  return {"Generator",
          {},
          {{"synthesis", synthesis}, {"mapping", mapping}},
          {{"c_dim", p_int(settings.c_dim)}, {"img_channels", p_int(settings.img_channels)}}};
}

/// The file: a dict of G and G_ema.
inline std::string ada_file(const AdaObject& g, const AdaObject& g_ema) {
  return pickled(p_dict({{"training_set_kwargs", p_dict({{"path", p_text("x")}})},
                         {"G", g.pickle()},
                         {"G_ema", g_ema.pickle()},
                         {"augment_pipe", "N"}}));
}

/// A numpy array as protocol 2 has it: its bytes as text in latin1.
inline std::string p_array(const FileTensor& tensor, bool fortran = false) {
  std::string utf8;
  for (const char byte : bytes_text(tensor)) {
    const auto c = static_cast<unsigned char>(byte);
    if (c >= 0x80) utf8 += static_cast<char>(0xc0 | c >> 6);
    utf8 += static_cast<char>(c < 0x80 ? c : 0x80 | (c & 0x3f));
  }
  const std::string dtype = p_name("numpy", "dtype") + "(" + p_text("f4") + "\x89\x88tR(K\3" + p_text("<") +
                            "NNNK\1K\1K" + std::string(1, '\0') + "tb";
  return p_name("numpy.core.multiarray", "_reconstruct") + "(" + p_name("numpy", "ndarray") + "(K" +
         std::string(1, '\0') + "t" + p_name("_codecs", "encode") + "(" + p_text("b") + p_text("latin1") +
         "tRtR(K\1" + p_ints(tensor.shape) + dtype + (fortran ? "\x88" : "\x89") +
         p_name("_codecs", "encode") + "(" + p_text(utf8) + p_text("latin1") + "tRtb";
}

/// dnnlib.tflib.network.Network
inline std::string p_tf_network(const std::string& name, const Attributes& arguments,
                                const Attributes& variables, const Attributes& components) {
  std::string list = "](";
  for (const auto& [own, value] : variables) list += "(" + p_text(own) + value + "t";
  return p_name("dnnlib.tflib.network", "Network") + ")\x81" +
         p_dict({{"version", p_int(4)},
                 {"name", p_text(name)},
                 {"static_kwargs", p_dict(arguments)},
                 {"components", p_dict(components)},
                 {"build_module_src", p_text("import os; os.abort()")},
                 {"variables", list + "e"}}) +
         "b";
}

/// [1, O, I, k, k] -> HWIO, turned by 180 degrees where `flip`.
inline FileTensor hwio(const FileTensor& weight, bool flip) {
  const std::vector<float> from = to_f32(weight);
  const std::int64_t out = weight.shape[1], in = weight.shape[2], k = weight.shape[3];
  std::vector<float> to(from.size());
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t i = 0; i < in; ++i)
      for (std::int64_t y = 0; y < k; ++y)
        for (std::int64_t x = 0; x < k; ++x) {
          const std::int64_t v = flip ? k - 1 - y : y, u = flip ? k - 1 - x : x;
          to[static_cast<std::size_t>(((v * k + u) * in + i) * out + o)] =
              from[static_cast<std::size_t>(((o * in + i) * k + y) * k + x)];
        }
  return make_file_tensor({k, k, in, out}, to);
}

inline FileTensor transposed(const FileTensor& weight) {
  const std::vector<float> from = to_f32(weight);
  const std::int64_t rows = weight.shape[0], columns = weight.shape[1];
  std::vector<float> to(from.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      to[static_cast<std::size_t>(c * rows + r)] = from[static_cast<std::size_t>(r * columns + c)];
  return make_file_tensor({columns, rows}, to);
}

/// `g` as Gs. mod_bias is written as ours - 1, exact for what has few bits.
inline std::string tf_generator(const Tensors& g, const Attributes& arguments = {{"label_size", p_int(0)}}) {
  Attributes synthesis, mapping;
  for (int i = 0; g.contains(text("style.", i + 1, ".weight")); ++i) {
    mapping.emplace_back(text("Dense", i, "/weight"),
                         p_array(transposed(g.at(text("style.", i + 1, ".weight")))));
    mapping.emplace_back(text("Dense", i, "/bias"), p_array(g.at(text("style.", i + 1, ".bias"))));
  }
  const auto conv = [&](const std::string& from, const std::string& to, bool flip) {
    synthesis.emplace_back(to + "weight", p_array(hwio(g.at(from + "conv.weight"), flip)));
    synthesis.emplace_back(to + "mod_weight", p_array(transposed(g.at(from + "conv.modulation.weight"))));
    std::vector<float> bias = to_f32(g.at(from + "conv.modulation.bias"));
    for (float& value : bias) value -= 1;
    synthesis.emplace_back(to + "mod_bias",
                           p_array(make_file_tensor({static_cast<std::int64_t>(bias.size())}, bias)));
  };
  const auto styled = [&](const std::string& from, const std::string& to, bool flip) {
    conv(from, to, flip);
    synthesis.emplace_back(to + "bias", p_array(g.at(from + "activate.bias")));
    synthesis.emplace_back(to + "noise_strength", p_array(reshaped(g.at(from + "noise.weight"), {})));
  };
  synthesis.emplace_back("4x4/Const/const", p_array(g.at("input.input")));
  for (int level = 0; level == 0 || g.contains(text("to_rgbs.", level - 1, ".bias")); ++level) {
    const std::string block = text(4 << level, "x", 4 << level, "/");
    const std::string rgb = level == 0 ? "to_rgb1." : text("to_rgbs.", level - 1, ".");
    if (level == 0) {
      styled("conv1.", block + "Conv/", false);
    } else {
      styled(text("convs.", 2 * level - 2, "."), block + "Conv0_up/", true);
      styled(text("convs.", 2 * level - 1, "."), block + "Conv1/", false);
    }
    conv(rgb, block + "ToRGB/", false);
    synthesis.emplace_back(block + "ToRGB/bias", p_array(reshaped(g.at(rgb + "bias"), {3})));
  }
  for (int i = 0; g.contains(text("noises.noise_", i)); ++i)
    synthesis.emplace_back(text("noise", i), p_array(g.at(text("noises.noise_", i))));
  const FileTensor lod = make_file_tensor({}, std::vector<float>{0});
  Attributes top = {{"lod", p_array(lod)}};
  if (g.contains("latent_avg")) top.emplace_back("dlatent_avg", p_array(g.at("latent_avg")));
  return p_tf_network("Gs", arguments, top,
                      {{"synthesis", p_tf_network("G_synthesis", arguments, synthesis, {})},
                       {"mapping", p_tf_network("G_mapping", arguments, mapping, {})}});
}

/// The file: a tuple of G, D and Gs.
inline std::string tf_file(const std::string& g, const std::string& gs) {
  return pickled("(" + g + p_tf_network("D", {}, {}, {}) + gs + "t");
}

}  // namespace om::test
