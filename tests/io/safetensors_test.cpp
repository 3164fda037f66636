#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "io/atomic_file.h"
#include "tests/io/checkpoint_bytes.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

using namespace std::string_literals;
using test::bytes_of;
using test::ScratchFolder;

std::string file(const std::string& header, const std::string& data) {
  return test::le(header.size(), 8) + header + data;
}

SafeTensors parse(const std::string& bytes) { return parse_safetensors(bytes_of(bytes), "t"); }

std::string content_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

SafeTensors sample() {
  SafeTensors s;
  s.tensors["b"] = make_file_tensor({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  s.tensors["a"] = make_file_tensor({3}, std::vector<float>{0.5f, -1, 65504}, FileType::f16);
  s.tensors["c.\"\xc3\xa4\""] = make_file_tensor({}, std::vector<float>{2}, FileType::f64);
  s.tensors["empty"] = make_file_tensor({0, 4}, {});
  s.tensors["flag"] = FileTensor{FileType::boolean, {1}, {std::byte{1}}};
  s.metadata = {{"format", "pt"}, {"text", "line\nline"}};
  return s;
}

TEST(FileTensor, EveryHalfConvertsExactlyAndBack) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const float value = half_to_float(half);
    const int exponent = (h >> 10) & 31, mantissa = h & 1023;
    if (exponent == 31 && mantissa) {
      EXPECT_TRUE(std::isnan(value) && std::isnan(half_to_float(float_to_half(value)))) << h;
      continue;
    }
    const double expected = exponent == 31  ? std::numeric_limits<double>::infinity()
                            : exponent == 0 ? std::ldexp(mantissa, -24)
                                            : std::ldexp(1024 + mantissa, exponent - 25);
    ASSERT_EQ(value, h & 0x8000 ? -expected : expected) << h;
    ASSERT_EQ(float_to_half(value), half);
    ASSERT_EQ(std::signbit(value), (h & 0x8000) != 0);
  }
}

TEST(FileTensor, RoundsToNearestEven) {
  // Halfway between each half and the next goes to the even one, a hair off it to the nearer.
  for (std::uint16_t h = 0; h < 0x7bff; ++h) {
    const float low = half_to_float(h), high = half_to_float(static_cast<std::uint16_t>(h + 1));
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(float_to_half(middle), h % 2 ? h + 1 : h);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), h);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), h + 1);
  }
  EXPECT_EQ(float_to_half(65519.99f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(-1e30f), 0xfc00);
  EXPECT_EQ(float_to_half(1e-30f), 0);
  EXPECT_EQ(float_to_bfloat16(1.00390625f), 0x3f80);  // 1 + 2^-8, a tie
  EXPECT_EQ(float_to_bfloat16(1.01171875f), 0x3f82);  // 1 + 3 * 2^-8, a tie
  EXPECT_EQ(float_to_bfloat16(3.4e38f), 0x7f80);
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::nanf("")))));
}

TEST(FileTensor, ElementCountIsBounded) {
  const auto count = [](std::vector<std::int64_t> shape) { return element_count(shape); };
  EXPECT_EQ(count({}), 1);
  EXPECT_EQ(count({3, 0, 5}), 0);
  const std::int64_t huge = std::int64_t{1} << 31;
  EXPECT_THROW(count({huge, huge}), InputError);
  EXPECT_THROW(count({huge, huge, 0}), InputError);
  EXPECT_THROW(count({-1}), InputError);
}

TEST(SafeTensors, WrittenAndReadAgain) {
  const ScratchFolder folder;
  const std::string path = folder / "x.safetensors", again = folder / "y.safetensors";
  const SafeTensors s = sample();
  write_safetensors(path, s);
  const SafeTensors r = read_safetensors(path);
  EXPECT_EQ(r.metadata, s.metadata);
  ASSERT_EQ(r.tensors.size(), s.tensors.size());
  for (const auto& [name, tensor] : s.tensors) {
    EXPECT_EQ(r.tensors.at(name).type, tensor.type) << name;
    EXPECT_EQ(r.tensors.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(r.tensors.at(name).data, tensor.data) << name;
  }
  EXPECT_EQ(to_f32(r.tensors.at("a")), (std::vector<float>{0.5f, -1, 65504}));
  write_safetensors(again, r);
  EXPECT_EQ(content_of(path), content_of(again));
}

TEST(SafeTensors, BytesAreThoseOfThePythonPackage) {
  const ScratchFolder folder;
  const std::string path = folder / "x.safetensors";
  SafeTensors s;
  s.tensors["a"] = make_file_tensor({2}, std::vector<float>{1, 2}, FileType::f16);
  s.tensors["b"] = make_file_tensor({1, 1}, std::vector<float>{3});
  s.metadata["k"] = "v";
  write_safetensors(path, s);
  // safetensors.numpy.save({"a": float16 [1, 2], "b": float32 [[3]]}, {"k": "v"}), version 0.8
  const std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},)"
      R"("a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}})";
  std::string padded = header;
  padded.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(content_of(path), file(padded, "\0\0\x40\x40\0\x3c\0\x40"s));
}

TEST(SafeTensors, BrokenOnesAreRefused) {
  const std::string four(4, '\0');
  const auto one = [](const std::string& fields) { return "{\"a\":{" + fields + "}}"; };
  const struct {
    std::string bytes, reason;
  } cases[] = {
      {"", "not a safetensors"},
      {test::le(UINT64_MAX, 8) + "{}", "not a safetensors"},
      {test::le(3, 8) + "{}", "not a safetensors"},
      {file("[]", ""), "not a safetensors"},
      {file("{ ", "} "), "not valid JSON"},
      {file("{} {}", ""), "not valid JSON"},
      {file("{\"a\":" + std::string(100'000, '['), ""), "an array"},
      {file("{\"a\":" + std::string(100'000, '{'), ""), "not valid JSON"},
      {file("{\"a\":1}", ""), "a number"},
      {file("{\"\xff\":1}", ""), "not valid JSON"},
      {file(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1)"), four), "unknown field x"},
      {file(one(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"), four), "dtype twice"},
      {file(one(R"("dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4])"), four), "shape twice"},
      {file(one(R"("dtype":"C64","shape":[1],"data_offsets":[0,4])"), four), "4 bytes for shape [1] of c64"},
      {file(one(R"("dtype":3,"shape":[1],"data_offsets":[0,4])"), four), "a number"},
      {file(one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), four), "negative"},
      {file(one(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), four), "no integer"},
      {file(one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), four), "an array"},
      {file(one(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])"), four), "no integer"},
      {file(one(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4])"), four), "past 2^63"},
      {file(one(R"("dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4])"), four),
       "too large"},
      {file(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), four), "4 bytes for shape [2]"},
      {file(one(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), four), "not two"},
      {file(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])"), four), "too many"},
      {file(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), four), "outside"},
      {file(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), four), "outside"},
      {file(one(R"("dtype":"F32","shape":[1])"), four), "lacks"},
      {file(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), four + "x"), "1 bytes after"},
      {file(one(R"("dtype":"U8","shape":[2],"data_offsets":[2,4])"), four), "leave a gap"},
      {file(
           R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}})",
           four),
       "overlap"},
      {file(
           R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
           ""),
       "occurs twice"},
      {file(R"({"__metadata__":{"k":1}})", ""), "a number"},
      {file(R"({"__metadata__":{"k":{}}})", ""), "an object"},
      {file(R"({"__metadata__":{"k":"a","k":"b"}})", ""), "twice"},
      {file(R"({"__metadata__":{},"__metadata__":{}})", ""), "twice"},
  };
  for (const auto& [bytes, reason] : cases) {
    const std::string what = test::input_error([&] { parse(bytes); });
    EXPECT_TRUE(what.starts_with("t: ")) << what;
    EXPECT_NE(what.find(reason), std::string::npos) << printable(bytes) << " gave " << what;
    EXPECT_LT(what.size(), 400u);
  }
  EXPECT_TRUE(parse(file("{}   ", "")).tensors.empty());
}

TEST(SafeTensors, TruncatedAndFlipped) {
  const ScratchFolder folder;
  const std::string path = folder / "x.safetensors";
  write_safetensors(path, sample());
  test::torment(content_of(path), [](const std::string& bytes) { parse(bytes); });
}

TEST(SafeTensors, WhatDoesNotFitIsNotWritten) {
  const ScratchFolder folder;
  const std::string path = folder / "x.safetensors";
  SafeTensors s = sample();
  s.tensors["b"].shape = {7};
  EXPECT_THROW(write_safetensors(path, s), Error);
  s = sample();
  s.metadata["k"] = "\xff";
  EXPECT_THROW(write_safetensors(path, s), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(AtomicFile, ReplacesOrLeavesTheTarget) {
  const ScratchFolder folder;
  const std::string path = folder / "x";
  write_file(path, bytes_of("old"));
  {
    AtomicFile unfinished(path);
    unfinished.write("new");
    EXPECT_THROW(AtomicFile second(path), Error);  // being written
  }
  EXPECT_EQ(content_of(path), "old");
  write_file(path, bytes_of("new"));
  EXPECT_EQ(content_of(path), "new");
  std::filesystem::create_symlink(path, folder / "link");
  write_file(folder / "link", bytes_of("through the link"));
  EXPECT_EQ(content_of(path), "through the link");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(AtomicFile, SaysWhyItCannotWrite) {
  const ScratchFolder folder;
  const auto message = [](const std::string& path) {
    try {
      write_file(path, {});
    } catch (const InputError&) {
      return "wrong type"s;
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return "nothing"s;
  };
  EXPECT_EQ(message(folder / "no/x"),
            (folder / "no/x").string() + ": cannot write: No such file or directory");
  EXPECT_EQ(message(folder.path()), folder.path().string() + ": cannot write: Is a directory");
  EXPECT_EQ(message("/dev/null"), "/dev/null: cannot write: not a regular file");
  EXPECT_EQ(message(""), ": cannot write: Is a directory");
}

// A name of 251 to 255 bytes leaves no room for another that is longer.
TEST(AtomicFile, LongNamesHaveTemporariesNoLonger) {
  const ScratchFolder folder;
  std::string umlauts;  // two bytes a letter
  for (int i = 0; i < 127; ++i) umlauts += "\xc3\xa4";
  for (const std::string& name : {std::string(100, 'n'), std::string(101, 'n'), std::string(251, 'n'),
                                  std::string(255, 'n'), umlauts, umlauts + "x", "x" + umlauts}) {
    SCOPED_TRACE(name.size());
    const std::string temporary = temporary_name(name);
    EXPECT_LE(temporary.size(), std::max<std::size_t>(name.size(), 105));
    EXPECT_TRUE(is_utf8_text(temporary));
    EXPECT_TRUE(temporary.starts_with('.') && temporary.ends_with(".tmp"));
    write_file(folder / name, bytes_of("whole"));
    EXPECT_EQ(content_of(folder / name), "whole");
  }
  EXPECT_NE(temporary_name(std::string(254, 'n') + "a"), temporary_name(std::string(254, 'n') + "b"));
  EXPECT_EQ(temporary_name("x"), ".x.tmp");
}

TEST(AtomicFile, TextsAreCutBetweenCharacters) {
  EXPECT_EQ(cut_text("abc", 5), "abc");
  EXPECT_EQ(cut_text("abc", 2), "ab");
  EXPECT_EQ(cut_text("a\xc3\xa4", 2), "a");
  EXPECT_EQ(cut_text("a\xc3\xa4z", 3), "a\xc3\xa4");
  EXPECT_EQ(cut_text("\xf0\x9f\x98\xba", 3), "");
  EXPECT_EQ(cut_text(std::string(9, '\x80'), 5), std::string(5, '\x80'));  // no UTF-8 at all
}

// Each step of a writer in turn fails, or ends the process by SIGKILL: the target keeps its old bytes or has
// all the new.
class AtomicFileFault : public testing::TestWithParam<FileFault> {
 protected:
  ~AtomicFileFault() override { atomic_file_fault = nullptr; }
};
FileFault at_step;

TEST_P(AtomicFileFault, LeavesOldOrNew) {
  const ScratchFolder folder;
  const std::string path = folder / "x", old(3 << 20, 'o'), fresh(3 << 20, 'n');
  const std::string expected = GetParam() == FileFault::done ? fresh : old;
  at_step = GetParam();
  write_file(path, bytes_of(old));
  atomic_file_fault = [](FileFault step, const std::string&, std::uint64_t written) {
    if (step == at_step && (step != FileFault::write || written > 0)) fail("injected");
  };
  EXPECT_THROW(write_file(path, bytes_of(fresh)), Error);
  EXPECT_EQ(content_of(path), expected);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);

  atomic_file_fault = nullptr;
  write_file(path, bytes_of(old));
  atomic_file_fault = [](FileFault step, const std::string&, std::uint64_t written) {
    if (step == at_step && (step != FileFault::write || written > 0)) raise(SIGKILL);
  };
  const pid_t child = fork();
  if (child == 0) {
    write_file(path, bytes_of(fresh));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(content_of(path), expected);
  atomic_file_fault = nullptr;
  write_file(path, bytes_of("next"));  // in spite of the temporary that the dead left
  EXPECT_EQ(content_of(path), "next");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

INSTANTIATE_TEST_SUITE_P(Steps, AtomicFileFault,
                         testing::Values(FileFault::open, FileFault::write, FileFault::sync,
                                         FileFault::rename, FileFault::done));

}  // namespace
}  // namespace om
