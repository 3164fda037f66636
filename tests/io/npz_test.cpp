// NumPy's .npz: read as numpy wrote it, written so that numpy reads it, refused in one line where it is
// broken.
#include "io/npz.h"

#include <gtest/gtest.h>

#include <cstring>

#include "io/state_dict.h"
#include "io/zip_writer.h"
#include "tensor/error.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

/// A .npy of version 1 with this header text, as numpy.lib.format lays it out.
std::vector<std::byte> npy(const std::string& dict, std::string_view data) {
  std::string head = "\x93NUMPY";
  head += {'\1', '\0', static_cast<char>(dict.size() + 1), '\0'};
  return bytes_of(head + dict + "\n" + std::string(data));
}

template <class T>
std::string raw(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

Checkpoint open(const std::vector<ZipMember>& members) {
  static std::vector<std::byte> archive;  // must outlive what is read of it
  archive = make_zip(members);
  return parse_checkpoint(archive, "a.npz");
}

TEST(Npz, WhatIsWrittenIsReadBack) {
  const test::ScratchFolder scratch;
  const std::string path = scratch / "codes.npz";
  const std::map<std::string, FileTensor> tensors = {
      {"noise.0", make_file_tensor({1, 1, 2, 2}, std::vector<float>{1, -2, 3.5F, 4})},
      {"scalar", make_file_tensor({}, std::vector<float>{7})},
      {"none", make_file_tensor({0, 3}, std::vector<float>{})},
      {"half", make_file_tensor({3}, std::vector<float>{1, 2, 3}, FileType::f16)}};
  write_npz(path, tensors);
  const Checkpoint read = read_checkpoint(path);
  EXPECT_EQ(read.format, "NumPy (npz)");
  ASSERT_EQ(read.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const FileTensor found = read.load(name);
    EXPECT_EQ(found.type, tensor.type) << name;
    EXPECT_EQ(found.shape, tensor.shape) << name;
    EXPECT_EQ(found.data, tensor.data) << name;
  }
}

TEST(Npz, EqualContentGivesEqualBytes) {
  const std::vector<ZipMember> members = {{"a.npy", bytes_of("1")}, {"b.npy", bytes_of("22")}};
  const std::vector<std::byte> archive = make_zip(members);
  EXPECT_EQ(archive, make_zip(members));
  // whenever it was made: time and day of the first entry are 0 and the format's first
  const std::vector<std::byte> moment(archive.begin() + 10, archive.begin() + 14);
  EXPECT_EQ(moment, bytes_of(std::string_view("\0\0\x21\0", 4)));
}

TEST(Npz, HeadersAsNumpyWritesThem) {
  const Checkpoint read = open({
      {"c.npy",
       npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", raw<float>({1, 2, 3, 4, 5, 6}))},
      {"f.npy",
       npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", raw<float>({1, 4, 2, 5, 3, 6}))},
      {"one.npy",
       npy("{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", raw<std::int64_t>({-1, 1}))},
      {"old.npy", npy("{'shape': (1L,), 'descr': '|u1', 'fortran_order': False}", "\x07")},
      {"big.npy", npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", raw<float>({1}))},
      {"objects.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "cos\nsystem")},
      {"fields.npy",
       npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", raw<float>({1}))},
  });
  EXPECT_EQ(to_f32(read.load("c")), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(to_f32(read.load("f")), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(to_f32(read.load("one")), (std::vector<float>{-1, 1}));
  EXPECT_EQ(to_f32(read.load("old")), (std::vector<float>{7}));
  EXPECT_EQ(read.tensors.size(), 4U);
  ASSERT_EQ(read.skipped.size(), 3U);
  EXPECT_EQ(read.skipped[0], "big (an array of type >f4)");
  EXPECT_EQ(read.skipped[1], "objects (an array of type |O)");
  EXPECT_EQ(read.skipped[2], "fields (an array of structures)");
}

TEST(Npz, BrokenArraysAreOneLine) {
  const auto refusal = [](const std::string& dict, std::string_view data) -> std::string {
    try {
      open({{"x.npy", npy(dict, data)}});
    } catch (const InputError& error) {
      return error.what();
    }
    return "read";
  };
  const std::string four = raw<float>({1});
  const std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_EQ(refusal(dict, four), "a.npz: entry x.npy: shape [2] does not fit its " +
                                     std::to_string(npy(dict, four).size()) + " bytes");
  EXPECT_EQ(refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", raw<float>({1, 2})),
            "a.npz: entry x.npy: shape [1] does not fit its " +
                std::to_string(npy(dict, raw<float>({1, 2})).size()) + " bytes");
  for (const char* broken :
       {"{'descr': '<f4', 'fortran_order': False, }", "{'descr': '<f4', 'descr': '<f4', 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "{'descr': '<f4', 'shape': (-1,)", "{", "",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999,), }"})
    EXPECT_EQ(refusal(broken, four), "a.npz: entry x.npy: broken header of a .npy array") << broken;
  const std::string huge =
      refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 999999999999), }", four);
  EXPECT_EQ(huge, "a.npz: entry x.npy: shape [999999999999, 999999999999] is too large");
}

TEST(Npz, CutAndFlippedAtEveryByte) {
  const std::vector<std::byte> whole = make_zip(std::vector<ZipMember>{
      {"x.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", raw<float>({1, 2}))}});
  const auto refused = [](const std::vector<std::byte>& bytes) {
    try {
      const Checkpoint read = parse_checkpoint(bytes, "a.npz");
      for (const auto& [name, tensor] : read.tensors)
        if (to_f32(tensor.load()) == std::vector<float>{1, 2}) return false;
      return read.tensors.empty();
    } catch (const InputError&) {
      return true;
    }
  };
  EXPECT_FALSE(refused(whole));
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_TRUE(refused({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)})) << length;
  // A flipped byte may go unnoticed where it means nothing, but never changes a number.
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::vector<std::byte> flipped = whole;
    flipped[i] ^= std::byte{0x40};
    try {
      const Checkpoint read = parse_checkpoint(flipped, "a.npz");
      for (const auto& [name, tensor] : read.tensors) {
        const std::vector<float> numbers = to_f32(tensor.load());
        EXPECT_EQ(numbers, (std::vector<float>{1, 2})) << "byte " << i;
      }
    } catch (const InputError&) {  // refused: good
    }
  }
}

}  // namespace
}  // namespace om
