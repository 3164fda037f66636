// Every seed and every input that once was a finding, through its reader: no crash, one line, bounded memory
// (under AddressSanitizer), and nothing run.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/fuzz/memory_meter.h"
#include "tests/fuzz/readers.h"
#include "tests/fuzz/seeds.h"
#include "tests/io/checkpoint_bytes.h"

namespace om::fuzz {
namespace {

namespace fs = std::filesystem;

const fs::path regressions = fs::path(ONEMODEL_SOURCE_DIR) / "tests/io/regressions";
constexpr const char* kMark = "/tmp/onemodel-was-here";  // what the seeds' commands would leave

Outcome replay(const Reader& reader, const std::string& bytes) {
  Outcome outcome;
  EXPECT_NO_THROW(outcome = attempt(reader, test::bytes_of(bytes)));
  EXPECT_EQ(outcome.finding, "");
  return outcome;
}

class Replay : public testing::TestWithParam<Reader> {
 protected:
  static Outcome replay(const std::string& bytes) { return fuzz::replay(GetParam(), bytes); }
};

TEST_P(Replay, SeedsAreAcceptedOrRefusedAsTheyShould) {
  fs::remove(kMark);
  for (const Seed& seed : seeds(GetParam().name)) {
    SCOPED_TRACE(seed.name);
    EXPECT_EQ(replay(seed.bytes).accepted, seed.accepted);
  }
  EXPECT_FALSE(fs::exists(kMark)) << "a pickle was executed";
}

TEST_P(Replay, SeedsAreTheSameEachTime) {
  const auto once = seeds(GetParam().name), again = seeds(GetParam().name);
  EXPECT_TRUE(
      std::equal(once.begin(), once.end(), again.begin(), again.end(),
                 [](const Seed& a, const Seed& b) { return a.name == b.name && a.bytes == b.bytes; }));
}

INSTANTIATE_TEST_SUITE_P(Readers, Replay, testing::ValuesIn(readers().begin(), readers().end()),
                         [](const auto& info) { return std::string(info.param.name); });

/// Each folder is named after the reader in which its files were findings.
TEST(Regressions, StayMended) {
  int files = 0;
  for (const auto& folder : fs::directory_iterator(regressions)) {
    if (!folder.is_directory()) continue;
    const Reader& of = reader(folder.path().filename().string());
    for (const auto& file : fs::directory_iterator(folder)) {
      SCOPED_TRACE(file.path().string());
      std::ifstream in(file.path(), std::ios::binary);
      replay(of, std::string(std::istreambuf_iterator<char>(in), {}));
      ++files;
    }
  }
  EXPECT_GT(files, 5);
}

TEST(MemoryMeter, SeesTheMostHeldAtOnce) {
  if (!MemoryMeter::works()) GTEST_SKIP() << "no AddressSanitizer in this build";
  const MemoryMeter meter;
  for (int i = 0; i < 3; ++i) std::vector<char>(1'000'000, 'x').shrink_to_fit();
  EXPECT_GE(meter.peak(), 1'000'000U);
  EXPECT_LT(meter.peak(), 1'100'000U);
}

}  // namespace
}  // namespace om::fuzz
