// The precision of a run: what a backend lacks, what the run keeps, and that training and validation compute
// in it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "tensor/error.h"
#include "tensor/idle.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/precision_choice.h"

namespace om::test {
namespace {

/// A device that has what it is told to have and computes nothing.
class PoorBackend : public IdleBackend {
 public:
  PoorBackend(bool bf16, bool tf32) : IdleBackend(backend("reference")), bf16_(bf16), tf32_(tf32) {}
  ~PoorBackend() override { memory().close(); }
  std::string_view name() const override { return "poor"; }
  std::string description() const override { return "a card of 2018"; }
  bool supports(DType dtype) const override { return dtype != DType::bf16 || bf16_; }
  bool supports(Math math) const override { return math != Math::tf32 || tf32_; }
  void* allocate(std::size_t) override { fail<OutOfMemory>("poor: no memory"); }
  void release(void*) override {}
  void copy_from_host(void*, const void*, std::size_t) override {}
  void copy_to_host(void*, const void*, std::size_t) override {}
  void copy(void*, const void*, std::size_t) override {}
  void synchronize() override {}

 private:
  bool bf16_, tf32_;
};

TEST(PrecisionChoice, IsWhatTheDeviceHas) {
  const PoorBackend poor(false, false), new_card(true, true), bf16_alone(true, false);
  EXPECT_EQ(default_precision(new_card), Precision::tf32);
  EXPECT_EQ(default_precision(poor), Precision::fp32);
  EXPECT_EQ(default_precision(bf16_alone), Precision::fp32);
  for (const Precision wanted : {Precision::fp32, Precision::tf32, Precision::bf16})
    EXPECT_EQ(precision_on(wanted, new_card), wanted);
  EXPECT_EQ(precision_on(Precision::tf32, poor), Precision::fp32);
  EXPECT_EQ(precision_on(Precision::bf16, bf16_alone), Precision::bf16);
  EXPECT_EQ(message<UsageError>([&] { precision_on(Precision::bf16, poor); }),
            "precision bf16: this device does not have it (a card of 2018)");
}

TEST(PrecisionChoice, IsSaid) {
  const PoorBackend poor(false, false), new_card(true, true);
  EXPECT_EQ(precision_header(Precision::tf32, new_card), "poor: a card of 2018; precision tf32");
  EXPECT_EQ(precision_header(Precision::tf32, poor),
            "poor: a card of 2018; precision fp32, since it has no tf32");
  for (const Precision each : {Precision::fp32, Precision::tf32, Precision::bf16})
    EXPECT_EQ(precision_named(std::string(name_of(each))), each);
  EXPECT_EQ(message<UsageError>([] { precision_named("fp16"); }),
            "'precision' must be fp32, tf32 or bf16, got 'fp16'");
}

class PrecisionOfARun : public testing::Test {
 protected:
  std::string metrics(const std::string& name) { return files_of(tiny_.out(name)).at("metrics.jsonl"); }
  static double figure(const std::string& text, const std::string& key, std::size_t from = 0) {
    const std::size_t at = text.find(key, from);
    return at == std::string::npos ? NAN : std::stod(text.substr(at + key.size()));
  }
  TinyRun tiny_;
};

// Other numbers than fp32's, but near them: rounding to 8 bits of mantissa moves a loss by about a percent.
TEST_F(PrecisionOfARun, TrainsAndValidatesInIt) {
  tiny_.add_lpips();
  tiny_.run("fp32");
  tiny_.config.precision = "bf16";
  tiny_.log.clear();
  tiny_.run("bf16");
  EXPECT_EQ(std::count_if(tiny_.log.begin(), tiny_.log.end(),
                          [](const std::string& line) { return line.ends_with("; precision bf16"); }),
            1);
  EXPECT_EQ(precision(), Precision::fp32) << "the caller's scope is as it was";
  const std::string exact = metrics("fp32"), rounded = metrics("bf16");
  for (const std::string key : {"\"loss\": ", "\"lpips\": ", "\"psnr\": "}) {
    const double expected = figure(exact, key), got = figure(rounded, key);
    EXPECT_NE(got, expected) << key;
    EXPECT_NEAR(got, expected, 0.05 * std::abs(expected)) << key;
  }
  const std::string last = "\"iteration\": 6, \"validation\"";
  EXPECT_NE(figure(rounded, "\"psnr\": ", rounded.find(last)), figure(exact, "\"psnr\": ", exact.find(last)));
}

TEST_F(PrecisionOfARun, IsKept) {
  tiny_.config.precision = "bf16";
  tiny_.run("whole");
  const auto whole = files_of(tiny_.out("whole"));
  EXPECT_TRUE(contains(whole.at("config.json"), "\"precision\": \"bf16\""));
  StopAfter stop(3);
  ASSERT_TRUE(tiny_.run("run", false, stop.options).interrupted);
  tiny_.config.precision = "fp32";  // of a caller who names none
  EXPECT_EQ(message<UsageError>([&] { tiny_.run("run", true, {.given = {"precision"}}); }),
            "'precision' is fp32, but the run to resume has bf16; a resumed run keeps its settings");
  EXPECT_FALSE(tiny_.run("run", true).interrupted);
  EXPECT_EQ(difference(whole, files_of(tiny_.out("run"))), "");
}

// Runs of the time before the key computed in fp32.
TEST_F(PrecisionOfARun, IsFp32WhereTheSettingsLackIt) {
  tiny_.run("whole");
  StopAfter stop(3);
  ASSERT_TRUE(tiny_.run("run", false, stop.options).interrupted);
  const std::string file = tiny_.out("run") + "/config.json";
  std::string settings = files_of(tiny_.out("run")).at("config.json");
  const std::string line = "  \"precision\": \"fp32\",\n";
  const std::size_t at = settings.find(line);
  ASSERT_NE(at, std::string::npos) << settings;
  std::ofstream(file) << settings.erase(at, line.size());
  tiny_.config.precision = "bf16";
  EXPECT_EQ(message<UsageError>([&] { tiny_.run("run", true, {.given = {"precision"}}); }),
            "'precision' is bf16, but the run to resume has fp32; a resumed run keeps its settings");
  EXPECT_FALSE(tiny_.run("run", true).interrupted);
  auto whole = files_of(tiny_.out("whole")), run = files_of(tiny_.out("run"));
  for (auto* files : {&whole, &run}) files->erase("config.json");
  EXPECT_EQ(difference(whole, run), "");
}

// A run of a card with tf32 goes on elsewhere in fp32, says so, and stays a run in tf32.
TEST_F(PrecisionOfARun, Tf32GoesOnWithoutIt) {
  tiny_.config.precision = "tf32";
  StopAfter stop(3);
  ASSERT_TRUE(tiny_.run("run", false, stop.options).interrupted);
  tiny_.log.clear();
  EXPECT_FALSE(tiny_.run("run", true).interrupted);
  EXPECT_EQ(std::count_if(tiny_.log.begin(), tiny_.log.end(),
                          [](const std::string& line) {
                            return line.ends_with("; precision fp32, since it has no tf32");
                          }),
            1);
  EXPECT_TRUE(contains(files_of(tiny_.out("run")).at("config.json"), "\"precision\": \"tf32\""));
}

}  // namespace
}  // namespace om::test
