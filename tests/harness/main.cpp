// main() of the test programs that have no options of their own.
#include <gtest/gtest.h>

#include "tests/harness/run.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return om::harness::run_all_tests();
}
