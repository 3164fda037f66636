// Reading from and writing to real files and folders, and what goes wrong there.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "io/image.h"
#include "tensor/error.h"
#include "tests/harness/message.h"
#include "tests/io/image_bytes.h"
#include "tests/io/scratch_folder.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;

TEST(ImageFile, TheContentDecidesNotTheName) {
  const ScratchFolder folder;
  const Image image = smooth_image(20, 30);
  write_png(folder / "really.jpg", image);
  EXPECT_EQ(read_image(folder / "really.jpg"), image);
  write_jpeg(folder / "really.png", image, 90);
  EXPECT_EQ(read_image(folder / "really.png").width, 30);
}

TEST(ImageFile, ReadingNamesFileAndReason) {
  const ScratchFolder folder;
  const auto reason = [&](const char* name) {
    const std::string line = message<InputError>([&] { read_image(folder / name); });
    EXPECT_EQ(line.rfind((folder / name).string() + ": ", 0), 0U) << line;
    return line;
  };
  EXPECT_NE(reason("missing.png").find("o such file"), std::string::npos);
  fs::create_directory(folder / "sub.png");
  EXPECT_NE(reason("sub.png").find("is a folder"), std::string::npos);
  std::ofstream(folder / "empty.png").flush();
  EXPECT_NE(reason("empty.png").find("is empty"), std::string::npos);
  std::ofstream(folder / "text.png") << "not an image";
  EXPECT_NE(reason("text.png").find("is no PNG, JPEG or WebP"), std::string::npos);
  ASSERT_EQ(mkfifo((folder / "pipe.png").c_str(), 0600), 0);
  EXPECT_NE(reason("pipe.png").find("not a regular file"), std::string::npos);
  std::ofstream(folder / "huge.png").flush();
  fs::resize_file(folder / "huge.png", kMaxImageFileBytes + 1);  // a hole: takes no space
  EXPECT_NE(reason("huge.png").find("over the limit"), std::string::npos);
}

TEST(ImageFile, WritingReplacesAndLeavesNothingBeside) {
  const ScratchFolder folder;
  const Image first = smooth_image(20, 30);
  const Image second = smooth_image(11, 12);
  write_png(folder / "a.png", first);
  write_png(folder / "a.png", second);
  EXPECT_EQ(read_image(folder / "a.png"), second);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(ImageFile, UnwritableIsAnErrorButNotBadInput) {
  const ScratchFolder folder;
  const fs::path file = folder / "no/such/folder/a.png";
  EXPECT_THROW(write_png(file, Image(2, 2)), Error);
  EXPECT_TRUE(message<InputError>([&] { write_png(file, Image(2, 2)); }).starts_with("another error: "));
  fs::create_directory(folder / "taken.png");
  EXPECT_THROW(write_png(folder / "taken.png", Image(2, 2)), Error);
}

// A file size limit stands in for a full disk: the write fails half way.
TEST(ImageFile, FailedWriteKeepsTheOldFile) {
  const ScratchFolder folder;
  const Image old = smooth_image(8, 8);
  write_png(folder / "a.png", old);
  Image noise(200, 200);
  uint32_t state = 1;
  for (uint8_t& value : noise.pixels)
    value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);

  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight = {4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string line = message<Error>([&] { write_png(folder / "a.png", noise); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);

  EXPECT_EQ(line.rfind((folder / "a.png").string() + ": cannot write", 0), 0U) << line;
  EXPECT_EQ(read_image(folder / "a.png"), old);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace om::test
