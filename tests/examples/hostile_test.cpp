// Hostile files through the program itself: exit code 3, one line that names the file, nothing run, nothing
// written, and an address space far below what the files claim, so that an allocation out of proportion ends
// in "not enough memory" (exit code 1) and fails the test.
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <random>

#include "io/image.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "tests/io/checkpoint_bytes.h"

namespace om::test {
namespace {

using namespace std::string_literals;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

const std::string six = raw<float>({0, 1, 2, 3, 4, 5});

/// What zlib makes of `data`, without the wrapping that zip archives leave out.
std::string deflate_best(const std::string& data) {
  uLongf size = compressBound(data.size());
  std::string out(size, '\0');
  EXPECT_EQ(compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                      reinterpret_cast<const Bytef*>(data.data()), data.size(), 9),
            Z_OK);
  return out.substr(2, size - 6);
}

std::string packed(const std::string& data, std::uint64_t claimed, int method = 8) {
  ZipBuilder zip;
  zip.add("x/data.pkl", data, {method, claimed, 0});
  return zip.finish();
}

std::string as_text(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

class HostileTest : public ProgramTest {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers reserve terabytes of address space";
  }

  static constexpr int kMemoryKiB = 256 * 1024;  // of address space; the program alone takes some 40 MiB

  static ProgramRun limited(const Words& words) {
    return onemodel_in_shell(text("ulimit -v ", kMemoryKiB, "; exec \"$0\" \"$@\""), words);
  }

  static std::string save_bytes(const std::string& name, const std::string& bytes) {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

  /// Refused with one line, or, where `or_accepted`, taken.
  static void expect_refused(const Words& words, const std::string& file, bool or_accepted = false) {
    const ProgramRun run = limited(words);
    SCOPED_TRACE(words.front() + ": " + run.err);
    if (or_accepted && run.exit_code == 0) return;
    EXPECT_EQ(run.exit_code, 3);
    EXPECT_EQ(run.complaints().size(), 1U);
    EXPECT_TRUE(run.err.starts_with("onemodel: " + file + ": "));
    EXPECT_LT(run.err.size(), 2000U);
  }

  /// Every command that reads a checkpoint.
  static void expect_refused_checkpoint(const std::string& bytes, bool or_accepted = false) {
    const std::string file = save_bytes("hostile", bytes);
    expect_refused({"info", file}, file, or_accepted);
    expect_refused({"import", file, "-o", path("out.safetensors")}, file, or_accepted);
    EXPECT_TRUE(or_accepted || !fs::exists(path("out.safetensors")));
    fs::remove(path("out.safetensors"));
  }

  static void expect_refused_image(const std::string& bytes, bool or_accepted = false) {
    const std::string file = save_bytes("hostile", bytes);
    expect_refused({"reconstruct", "--model", path("model.safetensors"), file, "--out", path("out")}, file,
                   or_accepted);
    fs::remove_all(path("out"));
  }

  /// Cut at some thirty places, and with single bits turned over in as many.
  static void torment(const std::string& good, void (*expect)(const std::string&, bool)) {
    for (std::size_t i = 0; i < 12; ++i) {
      SCOPED_TRACE(text("cut ", i));
      expect(good.substr(0, good.size() * i / 12), false);
    }
    expect(good.substr(0, good.size() - 1), false);
    std::mt19937 random(1);
    for (int i = 0; i < 12; ++i) {
      // half of them in the first bytes, where lengths stand
      const std::size_t at = random() % (i % 2 == 0 ? std::min<std::size_t>(good.size(), 64) : good.size());
      SCOPED_TRACE(text("flipped at ", at));
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << i % 8));
      expect(bad, true);
    }
  }

  /// The fixture's generator as torch.save would write it: its pickle and its storages.
  static std::pair<std::string, Storages> pickled_generator() {
    std::vector<std::pair<std::string, std::string>> entries;
    Storages storages;
    for (const auto& [name, tensor] : read_safetensors(path("generator.safetensors")).tensors) {
      TensorSpec spec{.key = std::to_string(storages.size()), .shape = tensor.shape, .strides = tensor.shape};
      spec.count = 1;
      for (std::size_t d = tensor.shape.size(); d-- > 0;) {
        spec.strides[d] = spec.count;
        spec.count *= tensor.shape[d];
      }
      const std::vector<float> values = to_f32(tensor);
      storages.emplace_back(spec.key, raw(values));
      entries.emplace_back(name, p_tensor(spec));
    }
    return {p_dict(entries), storages};
  }
};

TEST_F(HostileTest, CutAndFlippedCheckpoints) {
  const auto [root, storages] = pickled_generator();
  const std::string forms[] = {content(path("generator.safetensors")), pytorch_zip(root, storages),
                               pytorch_old(root, storages)};
  for (const std::string& good : forms) {
    const std::string file = save_bytes("good", good);
    const ProgramRun run = limited({"info", file});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_NE(run.out.find("StyleGAN 2 generator"), std::string::npos) << run.out;
    torment(good, expect_refused_checkpoint);
  }
}

TEST_F(HostileTest, CutAndFlippedImages) {
  for (const char* name : {"photos/one.png", "photos/two.jpg"})
    torment(content(path(name)), expect_refused_image);
}

TEST_F(HostileTest, CodeIsNotRun) {
  const std::string mark = path("was-run");
  const auto call = [&](const std::string& module, const std::string& name, const std::string& argument) {
    return p_name(module, name) + "(" + p_text(argument) + "tR";
  };
  const std::string system = call("os", "system", "touch " + mark);
  const std::string python = call("builtins", "exec", "open('" + mark + "', 'w')");
  const std::string state =
      p_name("subprocess", "Popen") + ")\x81" + p_dict({{"args", p_text("touch " + mark)}}) + "b";
  for (const std::string& attack :
       {system, python, state, "](" + system + python + "e", p_dict({{"w", p_tensor()}, {system, "N"}})}) {
    // Nothing a network is made of: info may list what the file holds, import must refuse it.
    for (const std::string& bytes : {pytorch_zip(attack, {}), pytorch_old(attack, {}), pickled(attack)}) {
      const std::string file = save_bytes("hostile", bytes);
      expect_refused({"info", file}, file, true);
      expect_refused({"import", file, "-o", path("out.safetensors")}, file);
      expect_refused({"generate", "--generator", file, "--out", path("out")}, file);
    }
  }
  // Beside a real generator it is a value that is not taken.
  const auto [root, storages] = pickled_generator();
  const std::string file =
      save_bytes("hostile", pytorch_zip(p_dict({{"g_ema", root}, {"hook", system}}), storages));
  const ProgramRun run = limited({"import", file, "-o", path("out.safetensors")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("hook (object os.system)"), std::string::npos) << run.out;
  fs::remove(path("out.safetensors"));
  EXPECT_FALSE(fs::exists(mark));
}

TEST_F(HostileTest, CyclicDeepAndRepeatedPickles) {
  std::string doubled = p_tensor() + "r" + le(0, 4);
  for (int i = 1; i <= 30; ++i) doubled += "0](j" + le(i - 1, 4) + "j" + le(i - 1, 4) + "er" + le(i, 4);
  const std::string attacks[] = {
      "}q\0("s + p_text("a") + "h\0"s + p_text("b") + "h\0u"s,       // holds itself, twice
      std::string(200'000, ']') + std::string(199'999, 'a'),         // lists in lists
      doubled,                                                       // 2^30 tensors by sharing
      p_tensor({.shape = {std::int64_t{1} << 40}, .strides = {0}}),  // 4 TiB from one number
      p_dict({{"w", p_tensor({.count = std::int64_t{1} << 50})}}),   // a storage that is not there
      p_dict({{"w", p_tensor({.shape = {std::int64_t{1} << 32, std::int64_t{1} << 32}})}}),
      "\x8e" + le(std::uint64_t{1} << 40, 8),
      "X" + le(0xffffffff, 4),
      "r" + le(0xffffffff, 4),
  };
  for (const std::string& attack : attacks) {
    expect_refused_checkpoint(pytorch_zip(attack, {{"0", six}}));
    expect_refused_checkpoint(pytorch_old(attack, {{"0", six}}));
  }
}

TEST_F(HostileTest, BombsOverlapsAndPathsInArchives) {
  const std::string root = pickled(p_dict({{"w", p_tensor()}}));
  const std::string zeros(8'000'000, '\0'), tight = deflate_best(zeros);
  ASSERT_LT(tight.size(), 10'000U);
  expect_refused_checkpoint(packed(tight, zeros.size()));    // 1000:1, and it says so
  expect_refused_checkpoint(packed(tight, 10'000));          // the same, and it hides it
  expect_refused_checkpoint(packed("garbage", 0xfffffff0));  // 4 GiB claimed
  for (const int method : {9, 12, 14, 93, 95, 98})           // packed in ways torch.save never uses
    expect_refused_checkpoint(
        packed("\x09\x14\x05\x00\x5d\xff\xff\xff\xff"s + std::string(40, 'x'), 64, method));
  ZipBuilder doubled;
  doubled.add("x/data.pkl", root);
  doubled.add("x/data/0", std::string(5000, 'x'));
  doubled.repeat_last("x/data/1", "x/data/0");
  expect_refused_checkpoint(doubled.finish());
  ZipBuilder outside;
  outside.add("../../x/data.pkl", root);
  outside.add("/tmp/onemodel-was-here", six);
  outside.add("..\\..\\x\\data\\0", six);
  expect_refused_checkpoint(outside.finish());
  const auto before = folder_content(path("."));
  expect_refused_checkpoint(pytorch_zip(p_dict({{"w", p_tensor({.key = "../../../etc/passwd"})}}), {}));
  ZipBuilder dots;  // a name torch.save could write; only looked up in the archive
  dots.add("../data.pkl", root);
  dots.add("../data/0", six);
  expect_refused_checkpoint(dots.finish(), true);
  EXPECT_EQ(folder_content(path(".")).size(), before.size());
  EXPECT_FALSE(fs::exists("/tmp/onemodel-was-here"));
}

TEST_F(HostileTest, ClaimsOfSafetensors) {
  const auto file = [](const std::string& header, const std::string& data = "") {
    return le(header.size(), 8) + header + data;
  };
  const auto tensor = [](const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]}}";
  };
  expect_refused_checkpoint(le(UINT64_MAX, 8) + "{");
  expect_refused_checkpoint(le(90'000'000, 8) + "{");
  expect_refused_checkpoint(file(R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}"));
  expect_refused_checkpoint(file(tensor("4294967296,4294967296", "0,0")));
  expect_refused_checkpoint(file(tensor("1000000000000", "0,4000000000000"), "abcd"));
  expect_refused_checkpoint(file(tensor("-1", "0,4"), "abcd"));
  expect_refused_checkpoint(file(tensor("1", "4,0"), "abcd"));
}

TEST_F(HostileTest, ClaimsOfImages) {
  Image image(8, 8);
  std::string png = as_text(encode_png(image)), jpeg = as_text(encode_jpeg(image, 90));
  const auto claim = [&](std::uint32_t side) {
    std::string bytes = png;
    for (const int at : {16, 20})
      for (int i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(side >> (24 - 8 * i));
    const std::uint32_t sum = ZipBuilder::crc(std::string_view(bytes).substr(12, 17));
    for (int i = 0; i < 4; ++i) bytes[29 + i] = static_cast<char>(sum >> (24 - 8 * i));
    return bytes;
  };
  for (const std::uint32_t side : {0U, 2000U, 9999U, 100'000U, 0x7fffffffU})
    expect_refused_image(claim(side));
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  for (const std::string& size : {"\x00\x00\x00\x00"s, "\x20\x00\x20\x00"s, "\xff\xff\xff\xff"s})
    expect_refused_image(std::string(jpeg).replace(frame + 5, 4, size));
}

TEST_F(HostileTest, OversizedFilesAndThoseThatAreNone) {
  const std::string file = save_bytes("hostile", content(path("photos/one.png")));
  fs::resize_file(file, std::uintmax_t{8} << 30);  // sparse
  expect_refused({"reconstruct", "--model", path("model.safetensors"), file, "--out", path("out")}, file);
  for (const std::string& head :
       {content(path("generator.safetensors")), old_magic + "N.", "PK\3\4"s, "{"s}) {
    save_bytes("hostile", head);
    fs::resize_file(file, std::uintmax_t{8} << 30);
    expect_refused({"info", file}, file);
    expect_refused({"import", file, "-o", path("out.safetensors")}, file);
    expect_refused({"train", "--config", file, "--out", path("run")}, file);
  }
  fs::remove(file);
  for (const char* device : {"/dev/zero", "/dev/null", "/proc/self/environ"}) {
    expect_refused({"info", device}, device);
    expect_refused({"reconstruct", "--model", path("model.safetensors"), device, "--out", path("out")},
                   device);
  }
}

TEST_F(HostileTest, Settings) {
  for (const std::string& json :
       {"{\"batch\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", "{\"bacth\": 4}"s,
        "{\"lr\": 1e999}"s, "{\"batch\": 4, \"batch\": 5}"s, "{\"seed\": 1e400"s, "[]"s, ""s,
        "{\"\xff\": 1}"s, "{\"iterations\": -1}"s, "{\"a\\u0000b\\n\": 1}"s,
        "{\"latent\": " + std::string(900'000, ' ') + "}"}) {
    const std::string file = save_bytes("hostile", json);
    expect_refused({"train", "--config", file, "--generator", path("generator.safetensors"), "--images",
                    path("photos"), "--out", path("run")},
                   file);
    EXPECT_FALSE(fs::exists(path("run")));
  }
}

}  // namespace
}  // namespace om::test
