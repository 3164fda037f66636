// Writing over an input is refused under every spelling of its path.
#include "io/same_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tensor/error.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

TEST(SameFile, LinksAndOtherSpellingsIncluded) {
  const test::ScratchFolder folder;
  const std::string file = folder / "a.pt", other = folder / "b.pt";
  std::ofstream(file) << "a";
  std::ofstream(other) << "a";
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink(file, folder / "link");
  std::filesystem::create_symlink("a.pt", folder / "relative_link");
  std::filesystem::create_hard_link(file, folder / "hard");
  std::filesystem::create_directory_symlink(folder.path(), folder / "around");
  const std::string in = folder.path().string();
  for (const std::string& spelling :
       {file, in + "/./a.pt", in + "//a.pt", in + "/sub/../a.pt", in + "/link", in + "/relative_link",
        in + "/hard", in + "/around/a.pt", std::filesystem::relative(file).string()}) {
    EXPECT_TRUE(same_file(spelling, file)) << spelling;
    EXPECT_THROW(refuse_overwriting(spelling, {other, file}), UsageError) << spelling;
  }
  EXPECT_FALSE(same_file(file, other));
  refuse_overwriting(other, {file});
  refuse_overwriting(in + "/new.pt", {file, other});
}

TEST(SameFile, NamesThatLeadNowhereYet) {
  const test::ScratchFolder folder;
  const std::string in = folder.path().string();
  EXPECT_TRUE(same_file(in + "/new", in + "/./new"));
  EXPECT_FALSE(same_file(in + "/new", in + "/newer"));
  std::filesystem::create_symlink("new", folder / "link");  // broken: writing through it makes `new`
  EXPECT_TRUE(same_file(in + "/link", in + "/new"));
}

}  // namespace
}  // namespace om
