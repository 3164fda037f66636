#include "io/pytorch.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "io/state_dict.h"
#include "io/zip.h"
#include "tests/io/checkpoint_bytes.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

using namespace std::string_literals;
using namespace om::test;
using Floats = std::vector<float>;

const std::string six = raw<float>({0, 1, 2, 3, 4, 5});

Checkpoint parse(const std::string& bytes) { return parse_checkpoint(bytes_of(bytes), "t"); }

// A checkpoint {"w": body} in both formats, with one storage "0".
std::vector<std::string> both(const std::string& body, const std::string& data = six, std::size_t item = 4) {
  const std::string root = p_dict({{"w", body}});
  return {pytorch_zip(root, {{"0", data}}), pytorch_old(root, {{"0", data}}, item)};
}

void read_all(const std::string& bytes) {
  const Checkpoint checkpoint = parse(bytes);
  for (const auto& [name, tensor] : checkpoint.tensors) to_f32(tensor.load());
}

std::string error(const std::string& bytes) {
  return input_error([&] { read_all(bytes); });
}

void expect_error(const std::string& bytes, const std::string& reason) {
  const std::string what = error(bytes);
  EXPECT_TRUE(what.starts_with("t: ")) << what;
  EXPECT_EQ(what.find('\n'), what.npos) << what;
  EXPECT_NE(what.find(reason), what.npos) << "expected \"" << reason << "\", got " << what;
}

std::vector<std::string> names(const Checkpoint& c) {
  std::vector<std::string> result;
  for (const auto& [name, tensor] : c.tensors) result.push_back(name);
  return result;
}

TEST(PyTorch, ViewsBecomeContiguous) {
  const struct {
    TensorSpec spec;
    Floats expected;
  } cases[] = {
      {{}, {0, 1, 2, 3, 4, 5}},
      {{.shape = {3, 2}, .strides = {1, 3}}, {0, 3, 1, 4, 2, 5}},
      {{.offset = 1, .shape = {2, 2}, .strides = {3, 1}}, {1, 2, 4, 5}},
      {{.offset = 2, .shape = {}, .strides = {}}, {2}},
      {{.offset = 5, .shape = {2, 3}, .strides = {0, 0}}, {5, 5, 5, 5, 5, 5}},
      {{.offset = 3, .shape = {1, 3}, .strides = {100, 1}}, {3, 4, 5}},
      {{.offset = 6, .shape = {0, 3}, .strides = {3, 1}}, {}},
      {{.shape = {2, 2, 2}, .strides = {3, 0, 2}}, {0, 2, 0, 2, 3, 5, 3, 5}},
  };
  for (const auto& [spec, expected] : cases) {
    for (const std::string& bytes : both(p_tensor(spec))) {
      const FileTensor tensor = parse(bytes).load("w");
      EXPECT_EQ(tensor.shape, spec.shape);
      EXPECT_EQ(to_f32(tensor), expected);
    }
  }
}

TEST(PyTorch, EveryElementType) {
  const struct {
    const char* storage;
    FileType type;
    std::string data;
  } cases[] = {{"FloatStorage", FileType::f32, raw<float>({-1, 2})},
               {"DoubleStorage", FileType::f64, raw<double>({-1, 2})},
               {"HalfStorage", FileType::f16, "\x00\xbc\x00\x40"s},
               {"BFloat16Storage", FileType::bf16, "\x80\xbf\x00\x40"s},
               {"CharStorage", FileType::i8, "\xff\x02"},
               {"ShortStorage", FileType::i16, raw<std::int16_t>({-1, 2})},
               {"IntStorage", FileType::i32, raw<std::int32_t>({-1, 2})},
               {"LongStorage", FileType::i64, raw<std::int64_t>({-1, 2})}};
  for (const auto& [storage, type, data] : cases) {
    const TensorSpec spec{.type = storage, .count = 2, .shape = {2}, .strides = {1}};
    for (const std::string& bytes : both(p_tensor(spec), data, size_of(type))) {
      const FileTensor tensor = parse(bytes).load("w");
      EXPECT_EQ(tensor.type, type) << storage;
      EXPECT_EQ(to_f32(tensor), (Floats{-1, 2})) << storage;
    }
  }
  for (const char* storage : {"ByteStorage", "BoolStorage"}) {
    const TensorSpec spec{.type = storage, .count = 2, .shape = {2}, .strides = {1}};
    for (const std::string& bytes : both(p_tensor(spec), "\x01\x00"s, 1)) {
      EXPECT_EQ(to_f32(parse(bytes).load("w")), (Floats{1, 0})) << storage;
    }
  }
}

TEST(PyTorch, NestedDictsListsAndModules) {
  const std::string tensor = p_tensor();
  const std::string ordered = p_name("collections", "OrderedDict") + ")R(" + p_text("a.b") + tensor +
                              p_text("n") + "Nu}" + p_text("_metadata") + "}sb";
  const std::string python2 = p_name("collections", "OrderedDict") + "(](](" + p_text("k") + tensor +
                              "eetR";  // OrderedDict([["k", tensor]])
  const std::string module = p_name("torch.nn", "Linear") + ")\x81" +
                             p_dict({{"training", "\x88"},
                                     {"_parameters", p_dict({{"weight", tensor}, {"bias", "N"}})},
                                     {"_buffers", p_dict({{"seen", tensor}})},
                                     {"_modules", p_dict({})}}) +
                             "b";
  const std::string parameter = p_name("torch._utils", "_rebuild_parameter") + "(" + tensor + "\x88)tR";
  const std::string root =
      p_dict({{"g", ordered},
              {"list", "](" + tensor + "(" + tensor + "tK\5e"},
              {"module", module},
              {"old", python2},
              {"params", "](K\1K\2e"},
              {"p", parameter},
              {"lr", "G\x3f\xe0\0\0\0\0\0\0"s},
              {"args", p_name("argparse", "Namespace") + ")\x81}b"},
              {"evil", p_name("os", "system") + "(" + p_text("touch /tmp/owned\n") + "tR"}});
  for (const std::string& bytes : {pytorch_zip(root, {{"0", six}}), pytorch_old(root, {{"0", six}})}) {
    const Checkpoint c = parse(bytes);
    EXPECT_EQ(names(c), (std::vector<std::string>{"g.a.b", "list.0", "list.1.0", "module.seen",
                                                  "module.weight", "old.k", "p"}));
    EXPECT_EQ(c.skipped,
              (std::vector<std::string>{"g.n (None)", "list.2 (integer 5)", "params (list of 2 plain values)",
                                        "lr (number 0.5)", "args (object argparse.Namespace)",
                                        "evil (object os.system)"}));
    for (const auto& [name, stored] : c.tensors) EXPECT_EQ(to_f32(stored.load()), (Floats{0, 1, 2, 3, 4, 5}));
  }
  EXPECT_EQ(names(parse(pytorch_zip(tensor, {{"0", six}}))), std::vector<std::string>{"tensor"});
}

TEST(PyTorch, StoragesOfUnknownTypes) {
  const std::string body = p_tensor({.type = "NoStorage"});
  EXPECT_EQ(parse(both(body)[0]).skipped, std::vector<std::string>{"w (tensor in a NoStorage)"});
  expect_error(both(body)[1], "beyond a storage of the unknown type NoStorage");  // its length is not known
}

TEST(PyTorch, TensorsThatCannotBeRepresentedAreSkipped) {
  const TensorSpec quantised{.type = "QInt32Storage", .count = 3, .shape = {3}, .strides = {1}};
  const std::string sparse = p_name("torch._utils", "_rebuild_sparse_tensor") + "(NNtR";
  for (const std::string& bytes : both(p_tensor(quantised), six.substr(12), 4)) {
    EXPECT_EQ(parse(bytes).skipped, std::vector<std::string>{"w (tensor in a QInt32Storage)"});
  }
  EXPECT_EQ(parse(pytorch_zip(p_dict({{"w", sparse}}), {})).skipped,
            std::vector<std::string>{"w (tensor made by _rebuild_sparse_tensor)"});
}

TEST(PyTorch, BrokenTensorsAreRefused) {
  const std::int64_t huge = std::int64_t{1} << 59, max = INT64_MAX;
  const struct {
    TensorSpec spec;
    std::string reason;
  } cases[] = {
      {{.offset = 1}, "outside its storage"},
      {{.offset = 6, .shape = {}, .strides = {}}, "outside its storage"},
      {{.offset = max}, "outside its storage"},
      {{.offset = -1}, "does not describe"},
      {{.shape = {7}, .strides = {1}}, "outside its storage"},
      {{.shape = {2, 2}, .strides = {max, max}}, "outside its storage"},
      {{.shape = {2, 3}, .strides = {-3, 1}}, "negative stride"},
      {{.shape = {-2, 3}}, "negative extent"},
      {{.shape = {2, 3}, .strides = {1}}, "does not describe"},
      {{.shape = {huge}, .strides = {0}}, "repeats too few"},
      {{.shape = {huge, huge, huge}, .strides = {0, 0, 0}}, "too large"},
      {{.shape = std::vector<std::int64_t>(65, 1), .strides = std::vector<std::int64_t>(65, 1)},
       "does not describe"},
      {{.key = "1"}, "storage"},
      {{.key = "../../etc/passwd"}, "storage"},
      {{.count = 5}, "storage"},
      {{.count = 7}, "storage"},
      {{.count = -1}, "does not describe"},
      {{.count = max}, "too large"},
      {{.count = max / 64}, "storage"},
  };
  for (const auto& [spec, reason] : cases) {
    for (const std::string& bytes : both(p_tensor(spec))) expect_error(bytes, reason);
  }
  const std::string rebuild = p_name("torch._utils", "_rebuild_tensor_v2"),
                    parameter = p_name("torch._utils", "_rebuild_parameter");
  for (const std::string& body :
       {rebuild + ")R", rebuild + "(NNNNtR", rebuild + "(NQK\0))tR"s, parameter + ")R", parameter + "(NtR",
        p_name("torch._tensor", "_rebuild_from_type_v2") + "(NNNNtR"}) {
    for (const std::string& bytes : both(body)) expect_error(bytes, "t: ");
  }
  std::string nested = p_tensor();
  for (int i = 0; i < 1000; ++i) nested = parameter + "(" + nested + "tR";
  expect_error(both(nested)[0], "too deeply");
  const std::string two_ways =
      p_dict({{"a", p_tensor()}, {"b", p_tensor({.count = 5, .shape = {1}, .strides = {1}})}});
  expect_error(pytorch_zip(two_ways, {{"0", six}}), "in two ways");
}

TEST(PyTorch, PartsOfStoragesBeforeZip) {
  const auto part = [](std::int64_t begin, std::int64_t count) {
    return "(" + p_text("part") + p_int(begin) + p_int(count) + "t";
  };
  const auto file = [](const std::string& view, std::int64_t offset) {
    return both(p_tensor({.offset = offset, .shape = {2}, .strides = {1}, .view = view}))[1];
  };
  EXPECT_EQ(to_f32(parse(file(part(2, 3), 1)).load("w")), (Floats{3, 4}));
  expect_error(file(part(2, 3), 2), "outside its storage of 3");
  expect_error(file(part(2, 5), 0), "outside");
  expect_error(file(part(INT64_MAX, 1), 0), "outside");
  expect_error(file(part(-1, 1), 0), "does not describe");
}

TEST(PyTorch, BrokenContainersAreRefused) {
  const std::string root = p_dict({{"w", p_tensor()}});
  const std::string ok = pytorch_zip(root, {{"0", six}}), old = pytorch_old(root, {{"0", six}});
  expect_error("", "is empty");
  expect_error("hello, world, this is a text", "not a checkpoint");
  EXPECT_EQ(parse("\x80\x04N.").skipped,
            std::vector<std::string>{" (None)"});  // another pickle, of no tensors
  expect_error("PK\3\4 and then nothing", "broken zip archive");
  expect_error(ok.substr(0, ok.size() - 30), "broken zip archive");
  expect_error(pytorch_zip(root, {}), "lacks its storage data/0");
  expect_error(pytorch_zip(root, {{"0", six}}, "big"), "little-endian");
  expect_error(pytorch_zip("", {}), "empty stack");
  expect_error(pytorch_old(root, {}), "lacks its storage");
  expect_error(pytorch_old(root, {{"0", six}, {"0", six}}), "twice");
  expect_error(pytorch_old(root, {{"9", six}}), "unknown storage");
  expect_error(old.substr(0, old.size() - 1), "ends too early");
  expect_error(old_magic + pickled(p_int(1002)), "1001");
  expect_error(old_magic + pickled(p_int(1001)) + pickled(p_dict({{"little_endian", "\x89"}})),
               "little-endian");

  std::string damaged = ok;
  damaged[ok.find(six)] ^= 1;
  expect_error(damaged, "CRC");

  ZipBuilder other;
  other.add("readme.txt", "hello");
  expect_error(other.finish(), "no data.pkl");
  ZipBuilder script;
  script.add("x/data.pkl", pickled(root));
  script.add("x/constants.pkl", pickled(")"));
  expect_error(script.finish(), "TorchScript");
  ZipBuilder two;
  two.add("x/data.pkl", pickled(root));
  two.add("y/data.pkl", pickled(root));
  expect_error(two.finish(), "more than one");
}

std::string packed(const std::string& data, ZipBuilder::Claim claim) {
  ZipBuilder zip;
  zip.add("x/data.pkl", pickled(p_dict({{"w", p_tensor()}})));
  zip.add("x/data/0", data, claim);
  return zip.finish();
}

TEST(PyTorch, CompressedEntriesAreReadWithinLimits) {
  const std::uint32_t crc = ZipBuilder::crc(six);
  EXPECT_EQ(to_f32(parse(packed(deflated(six), {8, six.size(), crc})).load("w")), (Floats{0, 1, 2, 3, 4, 5}));
  expect_error(packed(deflated(six), {8, six.size(), crc + 1}), "CRC");
  expect_error(packed(deflated(six + six), {8, six.size(), crc}), "x/data/0");
  expect_error(packed(deflated(six.substr(4)), {8, six.size(), crc}), "x/data/0");
  expect_error(packed("garbage", {8, six.size(), crc}), "x/data/0");
  expect_error(packed(deflated(six), {8, 1'000'000, crc}), "more than 100 times");
  expect_error(packed(deflated(six), {8, 0xfffffffe, crc}), "more than 100 times");
  expect_error(packed(six, {0, 1000, crc}), "two different sizes");
  expect_error(packed(six, {77, six.size(), crc}), "t: ");
}

TEST(PyTorch, EntriesThatShareBytesAreRefused) {
  ZipBuilder zip;
  zip.add("x/data.pkl", pickled(p_dict({{"w", p_tensor()}})));
  zip.add("x/data/0", std::string(5000, 'x'));
  zip.repeat_last("x/data/1", "x/data/0");
  expect_error(zip.finish(), "overlaps");
}

TEST(PyTorch, RepetitionIsBounded) {
  // 30 levels of a list that holds the one before twice: 2^30 tensors, if all were listed.
  std::string doubled = p_tensor() + "r" + le(0, 4);
  for (int i = 1; i <= 30; ++i) doubled += "0](j" + le(i - 1, 4) + "j" + le(i - 1, 4) + "er" + le(i, 4);
  for (const std::string& bytes : both(doubled)) expect_error(bytes, "too often");
  // A dict that holds itself, once and twice.
  expect_error(pytorch_zip("}q\0"s + p_text("a") + "h\0s"s, {}), "too deeply");
  expect_error(pytorch_zip("}q\0("s + p_text("a") + "h\0"s + p_text("b") + "h\0u"s, {}), "t: ");
  // A long key at each of many levels.
  std::string deep = "N";
  for (int i = 0; i < 60; ++i) deep = "}" + p_text(std::string(200, 'k')) + deep + "s";
  expect_error(pytorch_zip(deep, {}), "4096 characters");
  // Many views of one storage, each allowed by itself.
  std::vector<std::pair<std::string, std::string>> views;
  const TensorSpec wide{.shape = {100'000}, .strides = {0}};
  for (int i = 0; i < 10; ++i) views.emplace_back(std::to_string(i), p_tensor(wide));
  expect_error(pytorch_zip(p_dict(views), {{"0", six}}), "too often");
}

TEST(PyTorch, SkippedEntriesAreBoundedAndPrintable) {
  std::vector<std::pair<std::string, std::string>> many{{"\x1b[31m\n\xff", p_tensor()}};
  for (int i = 0; i < 2000; ++i) many.emplace_back("k" + std::to_string(i), p_text(std::string(500, '\n')));
  const Checkpoint c = parse(pytorch_zip(p_dict(many), {{"0", six}}));
  ASSERT_EQ(c.skipped.size(), 1001u);
  EXPECT_EQ(c.skipped[0], "\\x1b[31m\\x0a\\xff (tensor whose name is not text)");
  EXPECT_LT(c.skipped[1].size(), 300u);
  EXPECT_EQ(c.skipped.back(), "... and 1001 more");
}

TEST(PyTorch, TruncatedAndFlipped) {
  const std::string root = p_dict({{"w", p_tensor()}, {"v", p_tensor({.shape = {3, 2}, .strides = {1, 3}})}});
  torment(pytorch_zip(root, {{"0", six}}), read_all);
  torment(pytorch_old(root, {{"0", six}}), read_all);
  torment(packed(deflated(six), {8, six.size(), ZipBuilder::crc(six)}), read_all);
}

TEST(PyTorch, HostileFilesTakeLittleMemory) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer keeps freed memory";
#endif
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;  // MiB
  };
  const auto many_entries = [] {  // a 64-bit end record that claims 2^28 entries
    const std::string record = "PK\6\6" + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 4) + le(0, 4) +
                               le(1 << 28, 8) + le(1 << 28, 8) + le(0, 8) + le(4, 8);
    return "PK\3\4" + record + "PK\6\7" + le(0, 4) + le(4, 8) + le(1, 4) + "PK\5\6" + le(0, 4) +
           le(0xffff, 2) + le(0xffff, 2) + le(0xffffffff, 4) + le(0xffffffff, 4) + le(0, 2);
  };
  const std::string files[] = {
      many_entries(),
      packed(deflated(six), {8, 0xfffffff0, 0}),
      both(p_tensor({.shape = {std::int64_t{1} << 40}, .strides = {0}}))[0],
      old_magic + pickled("\x8e" + le(std::uint64_t{1} << 40, 8)),
      old_magic + pickled("X" + le(0x7fffffff, 4)),
      old_magic + pickled("r" + le(0xffffffff, 4)),
      old_magic + pickled(std::string(100'000, ']')),
      pytorch_old(p_dict({{"w", p_tensor({.count = std::int64_t{1} << 50})}}), {{"0", six}}),
      le(90'000'000, 8) + "{",
  };
  const long before = peak();
  for (const std::string& bytes : files) error(bytes);
  EXPECT_LT(peak() - before, 48);
}

TEST(Checkpoint, FilesThatAreNone) {
  const ScratchFolder folder;
  const auto message = [](const std::string& path) { return input_error([&] { read_checkpoint(path); }); };
  EXPECT_EQ(message(folder / "none"),
            (folder / "none").string() + ": cannot open: No such file or directory");
  EXPECT_EQ(message(folder.path()), folder.path().string() + ": is a folder, not a file");
  EXPECT_EQ(message("/dev/zero"), "/dev/zero: is not a regular file");
  const std::string path = folder / "x.pt";
  std::ofstream(path, std::ios::binary) << both(p_tensor())[0];
  const Checkpoint c = read_checkpoint(path);
  EXPECT_EQ(c.format, "PyTorch (zip)");
  EXPECT_EQ(input_error([&] { c.load("v"); }), path + ": has no tensor named v");
  std::filesystem::resize_file(path, 10);
  EXPECT_TRUE(input_error([&] { c.load("w"); }).starts_with(path + ": "));
}

}  // namespace
}  // namespace om
