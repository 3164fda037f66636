// One tensor that cannot be used does not cost its file: it is left, with its reason, and refused where a
// network needs it. Checksums are compared whatever part of an entry is read.
#include <gtest/gtest.h>

#include <deque>

#include "io/safetensors.h"
#include "io/state_dict.h"
#include "tests/io/checkpoint_bytes.h"

namespace om {
namespace {

using namespace std::string_literals;
using namespace om::test;
using Floats = std::vector<float>;

const std::string six = raw<float>({0, 1, 2, 3, 4, 5});

Checkpoint parse(const std::string& bytes) {
  static std::deque<std::string> kept;  // a checkpoint reads from its bytes later on
  return parse_checkpoint(bytes_of(kept.emplace_back(bytes)), "t");
}

std::string zip_with(const std::string& root, const std::string& data, ZipBuilder::Claim claim = {}) {
  ZipBuilder zip;
  zip.add("x/data.pkl", pickled(root));
  zip.add("x/data/0", data, claim);
  return zip.finish();
}

TEST(Leftovers, ChecksumsOfPartsAndTurnedViews) {
  const TensorSpec turned{.shape = {3, 2}, .strides = {1, 3}},
      part{.offset = 4, .shape = {2}, .strides = {1}};
  for (const TensorSpec& spec : {TensorSpec{}, turned, part}) {
    const std::string root = p_dict({{"w", p_tensor(spec)}, {"again", p_tensor(spec)}});
    const std::string good = zip_with(root, six);
    EXPECT_EQ(parse(good).load("w").data, parse(good).load("again").data);
    // the first element too, which the last of the three views does not hold
    for (const std::size_t at : {0, 11, 23}) {
      std::string bad = good;
      bad[good.find(six) + at] ^= 1;
      const Checkpoint c = parse(bad);
      for (int times = 0; times < 2; ++times) {  // a failed check is not remembered as a passed one
        const std::string what = input_error([&] { c.load("w"); });
        EXPECT_NE(what.find("CRC"), std::string::npos) << what;
      }
    }
  }
}

TEST(Leftovers, AChecksumOfZeroIsNotComputed) {
  const TensorSpec turned{.shape = {3, 2}, .strides = {1, 3}};
  for (const TensorSpec& spec : {TensorSpec{}, turned}) {
    const std::string root = p_dict({{"w", p_tensor(spec)}});
    const Floats expected = to_f32(parse(zip_with(root, six)).load("w"));
    ZipBuilder all;
    all.add("x/data.pkl", pickled(root), {.no_crc = true});
    all.add("x/byteorder", "little", {.no_crc = true});
    all.add("x/data/0", six, {.no_crc = true});
    EXPECT_EQ(to_f32(parse(all.finish()).load("w")), expected);
    EXPECT_EQ(to_f32(parse(zip_with(root, deflated(six), {8, six.size(), 0})).load("w")), expected);
  }
}

std::string with_metadata(const std::string& metadata, const TensorSpec& spec = {}) {
  std::string body = p_tensor(spec);
  body.insert(body.size() - 2, metadata);  // before the tuple's end and REDUCE
  return body;
}

TEST(Leftovers, TheNegativeBitNegates) {
  const std::string negative = "}" + p_text("neg") + "\x88s", clear = "}" + p_text("neg") + "\x89s";
  for (const auto& [metadata, sign] :
       {std::pair{negative, -1.0F}, std::pair{clear, 1.0F}, std::pair{"N"s, 1.0F}}) {
    const std::string root = p_dict({{"w", with_metadata(metadata, {.shape = {3, 2}, .strides = {1, 3}})}});
    for (const std::string& bytes : {pytorch_zip(root, {{"0", six}}), pytorch_old(root, {{"0", six}})})
      EXPECT_EQ(to_f32(parse(bytes).load("w")),
                (Floats{sign * 0, sign * 3, sign * 1, sign * 4, sign * 2, sign * 5}));
  }
  const std::string ints = raw<std::int16_t>({-3, 7, -32768});
  const TensorSpec shorts{.type = "ShortStorage", .count = 3, .shape = {3}, .strides = {1}};
  EXPECT_EQ(
      to_f32(parse(pytorch_zip(p_dict({{"w", with_metadata(negative, shorts)}}), {{"0", ints}})).load("w")),
      (Floats{3, -7, -32768}));
  const std::string conjugate = "}" + p_text("conj") + "\x88s";
  const Checkpoint c = parse(pytorch_zip(
      p_dict(
          {{"c", with_metadata(conjugate,
                               {.type = "ComplexFloatStorage", .count = 3, .shape = {3}, .strides = {1}})}}),
      {{"0", six}}));
  EXPECT_EQ(c.skipped, std::vector<std::string>{"c (tensor with the bit conj set)"});
}

TEST(Leftovers, TypesThatAreNotComputedWithAreKeptAsBytes) {
  // torch.uint16 of an untyped storage: _rebuild_tensor_v3(.., dtype)
  const std::string id = "(" + p_text("storage") + p_name("torch.storage", "UntypedStorage") + p_text("0") +
                         p_text("cpu") + p_int(24) + "tQ";
  const auto untyped = [&](const std::string& dtype, std::int64_t offset) {
    return p_name("torch._utils", "_rebuild_tensor_v3") + "(" + id + p_int(offset) + p_ints({4}) +
           p_ints({1}) + "\x89" + p_name("collections", "OrderedDict") + ")R" + p_name("torch", dtype) + "tR";
  };
  const Checkpoint c =
      parse(pytorch_zip(p_dict({{"u", untyped("uint16", 8)}, {"x", untyped("float4", 0)}}), {{"0", six}}));
  EXPECT_EQ(c.tensors.at("u").type, FileType::u16);
  EXPECT_EQ(c.load("u").data.size(), 8U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(c.load("u").data.data()), 8), six.substr(16));
  EXPECT_EQ(c.skipped, std::vector<std::string>{"x (tensor of the type float4)"});
  EXPECT_NE(input_error([&] {
              parse(pytorch_zip(p_dict({{"u", untyped("uint16", 9)}}), {{"0", six}}));
            }).find("outside its storage of 12"),
            std::string::npos);
  EXPECT_NE(input_error([&] { to_f32(c.load("u")); }).find("type u16"), std::string::npos);

  const auto file = [](const std::string& dtype, int bytes) {
    const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":")" +
                               dtype + R"(","shape":[2],"data_offsets":[4,)" + std::to_string(4 + bytes) +
                               "]}}";
    return le(header.size(), 8) + header + std::string(static_cast<std::size_t>(4 + bytes), '\1');
  };
  for (const auto& [dtype, bytes] :
       {std::pair{"U16", 4}, {"U32", 8}, {"U64", 16}, {"F8_E4M3", 2}, {"C64", 16}}) {
    const Checkpoint kept = parse(file(dtype, bytes));
    EXPECT_EQ(kept.tensors.size(), 2U) << dtype;
    EXPECT_EQ(kept.load("x").data.size(), static_cast<std::size_t>(bytes)) << dtype;
  }
  const Checkpoint left = parse(file("F4", 1));
  EXPECT_EQ(left.tensors.size(), 1U);
  EXPECT_EQ(left.skipped, std::vector<std::string>{"x (tensor of the unknown type F4)"});
}

TEST(Leftovers, NamesThatClash) {
  const std::string inner = p_dict({{"b", p_tensor()}});
  const Checkpoint c =
      parse(pytorch_zip(p_dict({{"a.b", p_tensor()}, {"a", inner}, {"w", p_tensor()}}), {{"0", six}}));
  EXPECT_EQ(to_f32(c.load("w")), (Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(input_error([&] { c.load("a.b"); }), "t: a.b: two tensors of the file have this name");
  EXPECT_EQ(c.skipped, std::vector<std::string>{"a.b (second tensor of this name)"});
  // A key that is set twice is Python's dict set anew.
  const TensorSpec one{.offset = 5, .shape = {1}, .strides = {1}};
  EXPECT_EQ(
      to_f32(parse(pytorch_zip(p_dict({{"a", p_tensor()}, {"a", p_tensor(one)}}), {{"0", six}})).load("a")),
      Floats{5});
}

TEST(Leftovers, AnEntryThatUnpacksTooFarOrIsPackedOtherwise) {
  // The claim alone decides, before a byte is unpacked.
  const TensorSpec large{.key = "1", .count = 1'000'000, .shape = {1'000'000}, .strides = {1}};
  const std::string root = p_dict({{"w", p_tensor()}, {"zeros", p_tensor(large)}});
  for (const ZipBuilder::Claim& claim :
       {ZipBuilder::Claim{8, 4'000'000, 1}, ZipBuilder::Claim{12, 4'000'000, 1}}) {
    ZipBuilder zip;
    zip.add("x/data.pkl", pickled(root));
    zip.add("x/data/0", six);
    zip.add("x/data/1", deflated("few"), claim);
    const Checkpoint c = parse(zip.finish());
    EXPECT_EQ(to_f32(c.load("w")), (Floats{0, 1, 2, 3, 4, 5}));
    const std::string what = input_error([&] { c.load("zeros"); });
    EXPECT_TRUE(what.starts_with("t: zeros: entry x/data/1: ")) << what;
  }
}

TEST(Leftovers, OldFilesOfTheTextProtocols) {
  // What torch.save(.., pickle_protocol=0 or 1, _use_new_zipfile_serialization=False) writes.
  const std::string magic = "L119547037146038801333356L\n.";
  const std::string data = le(6, 8) + six;
  const std::string zero =
      magic + "I1001\n." + "(dp0\nVprotocol_version\np1\nI1001\nsVlittle_endian\np2\nI01\ns." +
      "(dp0\nVw\np1\nctorch._utils\n_rebuild_tensor_v2\np2\n(P('storage', <class 'torch.FloatStorage'>, "
      "'94', 'cpu', 6, "
      "None)\nI0\n(I3\nI2\ntp3\n(I1\nI3\ntp4\nI00\nccollections\nOrderedDict\np5\n(tRp6\ntp7\nRp8\ns." +
      "(lp0\nV94\np1\na." + data;
  const std::string one = magic + "M\xe9\x03." + "}q\0(X\x0d\0\0\0little_endianq\1I01\nu."s + "}q\0"s +
                          p_text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" + p_text("storage") +
                          "ctorch\nFloatStorage\n" + p_text("94") + p_text("cpu") +
                          "K\6NtQK\0(K\3K\2t(K\1K\3tI00\n"s + "ccollections\nOrderedDict\n)RtRs." + "]q\0"s +
                          p_text("94") + "a." + data;
  for (const std::string& bytes : {zero, one}) {
    const Checkpoint c = parse(bytes);
    EXPECT_EQ(c.format, "PyTorch (before 1.6)");
    EXPECT_EQ(to_f32(c.load("w")), (Floats{0, 3, 1, 4, 2, 5}));
    torment(bytes, [](const std::string& bad) {
      const Checkpoint read = parse(bad);
      for (const auto& [name, tensor] : read.tensors) tensor.load();
    });
  }
  std::string other = zero;
  other.replace(other.find("'94'"), 4, "'95'");
  EXPECT_NE(input_error([&] { parse(other); }).find("unknown storage 94"), std::string::npos);
  other = zero;
  other.replace(other.find("<class"), 6, "<klass");
  EXPECT_NE(input_error([&] { parse(other); }).find("does not describe"), std::string::npos);
}

}  // namespace
}  // namespace om
