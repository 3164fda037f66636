// Texts of others on a terminal, and the libraries beneath.
#include "io/shown.h"

#include <gtest/gtest.h>

#include "io/libraries.h"

namespace om::test {
namespace {

TEST(Shown, KeepsWhatIsReadable) {
  for (const char* text :
       {"", "plain name.png", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\xba", "back\\slash", "\xc2\xa0"})
    EXPECT_EQ(shown(text), text);
}

TEST(Shown, EscapesWhatMovesATerminal) {
  EXPECT_EQ(shown("\x1b[31mred\x1b[0m"), "\\x1b[31mred\\x1b[0m");
  EXPECT_EQ(shown("a\nb\r\t\x7f"), "a\\x0ab\\x0d\\x09\\x7f");
  EXPECT_EQ(shown(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(shown("\xc2\x9b"
                  "31m"),
            "\\xc2\\x9b31m");  // CSI in one character
  EXPECT_EQ(shown("\xe2\x80\xae"
                  "gnp.exe"),
            "\\xe2\\x80\\xaegnp.exe");                  // right to left from here
  EXPECT_EQ(shown("\xe2\x80\xa8"), "\\xe2\\x80\\xa8");  // a line's end
}

TEST(Shown, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(shown("caf\xe9"), "caf\\xe9");
  EXPECT_EQ(shown("\xc0\xaf"), "\\xc0\\xaf");           // longer than need be
  EXPECT_EQ(shown("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // half of a pair
  EXPECT_EQ(shown("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
  EXPECT_EQ(shown("\xe2\x82"), "\\xe2\\x82");  // cut
  EXPECT_EQ(showable("\xe2\x82\xac."), 3U);
}

TEST(Libraries, HaveVersions) {
  const auto versions = library_versions();
  EXPECT_GE(versions.size(), 6U);
  for (const auto& [name, version] : versions)
    EXPECT_NE(version.find_first_of("0123456789"), std::string::npos) << name;
}

}  // namespace
}  // namespace om::test
