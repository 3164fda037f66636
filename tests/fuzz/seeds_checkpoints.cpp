// Pickles, archives, checkpoints and settings.
#include <fstream>
#include <iterator>

#include "io/safetensors.h"
#include "tests/fuzz/seeds.h"
#include "tests/io/checkpoint_bytes.h"
#include "tests/io/python_pickles.h"
#include "tests/io/scratch_folder.h"
#include "train/config.h"

namespace om::fuzz {
namespace {

using namespace std::string_literals;
using test::le;
using test::p_dict;
using test::p_int;
using test::p_name;
using test::p_tensor;
using test::p_text;
using test::pickled;
using test::ZipBuilder;

const std::string six = test::raw<float>({0, 1, 2, 3, 4, 5});

std::string unhex(std::string_view digits) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string out;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
    out += static_cast<char>(value(digits[i]) * 16 + value(digits[i + 1]));
  return out;
}

/// os.system("touch /tmp/onemodel-was-here"), which a reader must record and not run.
std::string command() { return p_name("os", "system") + "(" + p_text("touch /tmp/onemodel-was-here") + "tR"; }

/// Roots of torch.save, by name: what the two containers hold.
std::vector<Seed> roots() {
  const test::TensorSpec turned{.shape = {3, 2}, .strides = {1, 3}},
      row{.offset = 3, .shape = {3}, .strides = {1}};
  const std::string ordered = p_name("collections", "OrderedDict") + ")R(" + p_text("w") + p_tensor() + "u";
  const std::string parameter = p_name("torch._utils", "_rebuild_parameter") + "(" + p_tensor() + "\x88" +
                                p_name("collections", "OrderedDict") + ")RtR";
  const std::string module = p_name("torch.nn", "Linear") + ")\x81" +
                             p_dict({{"_parameters", p_dict({{"weight", parameter}, {"bias", "N"}})},
                                     {"_buffers", p_dict({{"mean", p_tensor(row)}})},
                                     {"_modules", p_dict({})}}) +
                             "b";
  return {
      {"tensor", p_tensor()},
      {"views", p_dict({{"w", p_tensor()}, {"t", p_tensor(turned)}, {"r", p_tensor(row)}})},
      {"nested",
       p_dict({{"g_ema", p_dict({{"style", "](" + p_tensor() + p_int(3) + "e"}})}, {"step", p_int(7)}})},
      {"ordered", ordered},
      {"module", p_dict({{"net", module}, {"v", p_dict({{"w", p_tensor()}})}})},
      {"shared", p_dict({{"a", p_tensor() + "q\1"}, {"b", "h\1"}})},
      {"command", p_dict({{"w", p_tensor()}, {"c", command()}})},
      {"cyclic", "}q\0(X\1\0\0\0ah\0u"s, false},
      {"deep", std::string(200, ']') + std::string(199, 'a'), false},
      {"repeated", p_dict({{"w", p_tensor({.shape = {1 << 20}, .strides = {0}})}}), false},
      {"far", p_dict({{"w", p_tensor({.offset = 1 << 30})}}), false},
      {"negative", p_dict({{"w", p_tensor({.shape = {-1, 3}})}}), false},
  };
}

/// A 64-bit end record that claims `entries`.
std::string zip64(const std::string& body, const std::string& directory, std::uint64_t entries) {
  const std::uint64_t at = body.size() + directory.size();
  return body + directory + "PK\6\6" + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 8) + le(entries, 8) +
         le(entries, 8) + le(directory.size(), 8) + le(body.size(), 8) + "PK\6\7" + le(0, 4) + le(at, 8) +
         le(1, 4) + "PK\5\6" + le(0, 4) + le(0xffff, 2) + le(0xffff, 2) + le(0xffffffff, 4) +
         le(0xffffffff, 4) + le(0, 2);
}

}  // namespace

std::vector<Seed> pickle_seeds() {
  std::vector<Seed> out;
  int protocol = 0;
  for (const char* digits : test::python_pickles) out.push_back({text("python", protocol++), unhex(digits)});
  for (const Seed& root : roots()) out.push_back({root.name, pickled(root.bytes)});
  out.push_back({"command_alone", pickled(command())});
  out.push_back({"build", pickled(p_name("builtins", "object") + ")\x81}" + p_text("k") + p_int(1) + "sb")});
  out.push_back({"instance", "(i__main__\nThing\n."});
  out.push_back({"memo", "\x80\x04\x95" + le(5, 8) + "]\x94(h\0e."s});
  out.push_back({"wide", pickled("(" + std::string(300, 'N') + "t")});
  out.push_back({"long_claim", pickled("\x8e" + le(std::uint64_t{1} << 40, 8)), false});
  out.push_back({"memo_claim", pickled("Nr" + le(0xffffffff, 4)), false});
  return out;
}

std::vector<Seed> zip_seeds() {
  std::vector<Seed> out;
  for (const Seed& root : roots())
    out.push_back({root.name, test::pytorch_zip(root.bytes, {{"0", six}}), root.accepted});
  const std::string root = pickled(p_dict({{"w", p_tensor()}}));
  const auto packed = [&](const std::string& data, ZipBuilder::Claim claim) {
    ZipBuilder zip;
    zip.add("x/data.pkl", root);
    zip.add("x/data/0", data, claim);
    return zip.finish();
  };
  const std::uint32_t sum = ZipBuilder::crc(six);
  out.push_back({"packed", packed(test::deflated(six), {8, six.size(), sum})});
  out.push_back({"bomb", packed(test::deflated(six), {8, 0xfffffff0, sum}), false});
  for (const int method : {12, 14, 93, 95})  // bzip2, lzma, zstd, xz
    out.push_back({text("method", method), packed(six, {method, six.size(), sum}), false});
  ZipBuilder traversal;
  traversal.add("../../etc/x/data.pkl", root);
  traversal.add("/etc/passwd", six);
  traversal.add("..\\data/0", six);
  out.push_back({"traversal", traversal.finish(), false});
  ZipBuilder doubled;
  doubled.add("x/data.pkl", root);
  doubled.add("x/data/0", std::string(5000, 'x'));
  doubled.repeat_last("x/data/1", "x/data/0");
  out.push_back({"overlap", doubled.finish(), false});
  out.push_back({"zip64_empty", zip64("PK\3\4", "", 1 << 28), false});
  ZipBuilder plain;
  plain.add("x/data.pkl", root);
  plain.add("x/data/0", six);
  const std::string whole = plain.finish();
  const std::size_t directory = whole.find("PK\1\2"), end = whole.find("PK\5\6");
  out.push_back({"zip64", zip64(whole.substr(0, directory), whole.substr(directory, end - directory), 2)});
  return out;
}

std::vector<Seed> old_pytorch_seeds() {
  std::vector<Seed> out;
  // protocols 0 and 1
  const std::string magic = "L119547037146038801333356L\n.", data = le(6, 8) + six;
  out.push_back(
      {"text",
       magic +
           "I1001\n.(dp0\nVlittle_endian\np2\nI01\ns.(dp0\nVw\np1\nctorch._utils\n_rebuild_tensor_v2\np2\n"
           "(P('storage', <class 'torch.FloatStorage'>, '94', 'cpu', 6, None)\nI0\n(I3\nI2\ntp3\n(I1\nI3\n"
           "tp4\nI00\nccollections\nOrderedDict\np5\n(tRp6\ntp7\nRp8\ns.(lp0\nV94\np1\na." +
           data});
  out.push_back({"binary_text", magic + "M\xe9\x03.}q\0(X\x0d\0\0\0little_endianq\1I01\nu.}q\0"s +
                                    p_text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" +
                                    p_text("storage") + "ctorch\nFloatStorage\n" + p_text("94") +
                                    p_text("cpu") +
                                    "K\6NtQK\0(K\3K\2t(K\1K\3tI00\nccollections\nOrderedDict\n)RtRs."s +
                                    "]q\0"s + p_text("94") + "a." + data});
  for (const Seed& root : roots())
    out.push_back({root.name, test::pytorch_old(root.bytes, {{"0", six}}), root.accepted});
  const test::TensorSpec half{.type = "HalfStorage", .count = 12, .shape = {12}, .strides = {1}};
  out.push_back({"half", test::pytorch_old(p_dict({{"h", p_tensor(half)}}), {{"0", six}}, 2)});
  const test::TensorSpec part{
      .shape = {2}, .strides = {1}, .view = "(" + p_text("v") + p_int(2) + p_int(2) + "t"};
  out.push_back({"part", test::pytorch_old(p_dict({{"w", p_tensor(part)}}), {{"0", six}})});
  out.push_back({"claim",
                 test::pytorch_old(p_dict({{"w", p_tensor({.count = std::int64_t{1} << 50})}}), {{"0", six}}),
                 false});
  return out;
}

std::vector<Seed> safetensors_seeds() {
  const test::ScratchFolder folder;
  const auto written = [&](const SafeTensors& content) {
    const std::string path = (folder / "x.safetensors").string();
    write_safetensors(path, content);
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::vector<float> values = {0, -1, 0.5F, 3e38F};
  SafeTensors every;
  for (const FileType type : {FileType::f16, FileType::bf16, FileType::f32, FileType::f64})
    every.tensors["nets.0." + std::string(name_of(type))] = make_file_tensor({2, 2}, values, type);
  for (const FileType type :
       {FileType::i8, FileType::u8, FileType::i16, FileType::i32, FileType::i64, FileType::boolean})
    every.tensors[std::string(name_of(type))] = {type, {1}, std::vector<std::byte>(size_of(type))};
  every.tensors["empty"] = {FileType::f32, {0, 3}, {}};
  every.tensors["scalar"] = {FileType::f32, {}, std::vector<std::byte>(4)};
  every.metadata = {{"format", "pt"}, {"onemodel", "1"}, {"text", "a\"\\\n\u00e4"}};
  const auto by_hand = [](const std::string& header, const std::string& data) {
    return le(header.size(), 8) + header + data;
  };
  const std::string f32 = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  std::vector<Seed> out = {{"empty", written({})}, {"every_type", written(every)}};
  out.push_back({"one", by_hand(f32 + "}", "abcd")});
  out.push_back(
      {"overlap", by_hand(f32 + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd"), false});
  out.push_back({"overflow",
                 by_hand(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", ""),
                 false});
  out.push_back(
      {"deep", by_hand(R"({"a":)" + std::string(300, '[') + std::string(300, ']') + "}", ""), false});
  out.push_back({"claim", le(90'000'000, 8) + "{", false});
  return out;
}

std::vector<Seed> config_seeds() {
  TrainConfig config;
  const std::string defaults = to_json(config, true);
  config.lr_noise_heads = 1e-3;
  config.generator = "a b/\u00e4.pt";
  return {{"defaults", defaults},
          {"changed", to_json(config, false)},
          {"empty", "{}"},
          {"bytes", R"({"images": "bytes:/caf%E9", "val": "bytes:"})"},
          {"lists", R"({"sigmas": [5, 1e1, 12.5], "grey": true, "recursive": false})"},
          {"bytes_cut", R"({"images": "bytes:/caf%E"})", false},
          {"few", R"({"batch": 8, "lr": 1e-3, "latent": "z", "iterations": 2e3})"},
          {"unknown", R"({"bacth": 8})", false},
          {"nested", "{\"batch\":" + std::string(300, '[') + std::string(300, ']') + "}", false},
          {"twice", R"({"batch": 8, "batch": 9})", false},
          {"huge", R"({"seed": 123456789012345678901234567890})", false}};
}

}  // namespace om::fuzz
