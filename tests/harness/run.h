// How every test program runs its tests.
#pragma once

namespace om::harness {

/// RUN_ALL_TESTS, after InitGoogleTest and with all tests registered, and stricter: a test that passes
/// without an assertion fails (tests/harness/assertions.h), and so does a program without a test to run.
///
/// scripts/test -R PATTERN sets ONEMODEL_TESTS to its pattern and ctest ONEMODEL_TEST_ENTRY to the entry's
/// name. Unless that name matches, only tests whose SUITE.NAME does run; then there may be none.
int run_all_tests();

}  // namespace om::harness
