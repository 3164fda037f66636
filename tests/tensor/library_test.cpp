// Libraries that are opened when needed, and files of a cache.
#include "tensor/library.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tensor/cache_folder.h"
#include "tensor/error.h"
#include "tests/harness/message.h"

namespace om {
namespace {

TEST(Library, MissingOnesAreNamedWithWhereTheyWereLookedFor) {
  const std::string words = test::message([] {
    Library({.backend = "abacus",
             .file = "libabacus.so.7",
             .purpose = "sums need beads",
             .packages = "abacus-dev",
             .folders = {"/no/such/folder"}});
  });
  EXPECT_TRUE(
      words.starts_with("abacus: sums need beads: no libabacus.so.7 in the loader's path "
                        "(LD_LIBRARY_PATH), /no/such/folder (packages that hold it: abacus-dev); "))
      << words;
  EXPECT_EQ(words.find('\n'), std::string::npos);
}

TEST(Library, FunctionsAreFoundOrNamed) {
  const Library library({.backend = "abacus", .file = "libm.so.6", .purpose = "roots", .packages = "libc6"});
  double (*root)(double) = library.find("sqrt");
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root(9.0), 3.0);
  EXPECT_EQ(test::message([&] { library.find("no_such_root"); }),
            "abacus: libm.so.6 has no function no_such_root: it is too old");
}

TEST(CacheFolder, FilesAreReplacedWhole) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "onemodel-cache-test";
  std::filesystem::remove_all(folder);
  const std::string file = folder / "deep" / "kept.bin";
  const auto content = [&] {
    std::ifstream in(file, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  };
  EXPECT_TRUE(replace_cached(file, std::string("one\0two", 7)));
  EXPECT_EQ(content(), std::string("one\0two", 7));
  EXPECT_TRUE(replace_cached(file, std::string("three")));
  EXPECT_EQ(content(), "three");
  EXPECT_FALSE(replace_cached(file + "/below-a-file", std::string("four")));
  EXPECT_EQ(content(), "three");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "deep"), {}), 1) << "nothing is left";
  std::filesystem::remove_all(folder);
}

TEST(CacheFolder, FollowsTheEnvironment) {
  const char* before = std::getenv("XDG_CACHE_HOME");
  const std::string kept = before != nullptr ? before : "";
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(cache_folder(), "/somewhere/onemodel");
  setenv("XDG_CACHE_HOME", "relative", 1);  // the standard has such a value ignored
  EXPECT_EQ(cache_folder().find("relative"), std::string::npos);
  if (before != nullptr)
    setenv("XDG_CACHE_HOME", kept.c_str(), 1);
  else
    unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace om
