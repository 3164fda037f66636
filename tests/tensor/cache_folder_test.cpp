// What backends keep in files between two starts (tensor/cache_folder.h).
#include "tensor/cache_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace om {
namespace {

namespace fs = std::filesystem;

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(CacheFolder, GivesBackWhatWasKeptAndNothingElse) {
  const fs::path folder = fs::temp_directory_path() / ("onemodel_cache_" + std::to_string(getpid()));
  const std::string path = folder / "deep" / "file", name = "conv2d x [1, 2] | plain 4",
                    other = name + " 3=1";
  const std::string bytes("{\"a\": 1}\n\0end", 13);
  EXPECT_FALSE(read_cached(path, name));
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_TRUE(keep_cached(path, name, bytes));
  EXPECT_EQ(read_cached(path, name), bytes);
  EXPECT_FALSE(read_cached(path, other));
  EXPECT_TRUE(keep_cached(path, name, "again"));
  EXPECT_EQ(read_cached(path, name), "again");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "deep"), {}), 1) << "something temporary was left";
  EXPECT_TRUE(keep_cached(path, other, bytes));
  EXPECT_FALSE(read_cached(path, name)) << "another's bytes";
  EXPECT_FALSE(keep_cached(path + "/below", name, bytes)) << "a file is no folder";

  // Cut anywhere, or changed in any byte, it is not there.
  ASSERT_TRUE(keep_cached(path, name, bytes));
  const std::string whole = content(path);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    write(path, whole.substr(0, i));
    EXPECT_FALSE(read_cached(path, name)) << "cut at " << i;
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write(path, changed);
    EXPECT_FALSE(read_cached(path, name)) << "changed at " << i;
  }
  fs::remove_all(folder);
}

/// The published value of FNV-1a 64 for "foobar".
TEST(CacheFolder, HashesAsPublished) { EXPECT_EQ(cache_hash("foobar"), "85944171f73967e8"); }

}  // namespace
}  // namespace om
