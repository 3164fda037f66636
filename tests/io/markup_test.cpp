// Text among markup (io/markup.h).
#include "io/markup.h"

#include <gtest/gtest.h>

namespace om {
namespace {

TEST(Markup, LeavesNothingToBeRead) {
  EXPECT_EQ(in_markup("a <b title=\"x\"> & c's"), "a &lt;b title=&quot;x&quot;&gt; &amp; c's");
  EXPECT_EQ(in_markup("&amp;"), "&amp;amp;");
  EXPECT_EQ(in_markup(""), "");
}

}  // namespace
}  // namespace om
