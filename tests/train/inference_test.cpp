// Batches of one size, recorded once: what comes out for each picture, on a processor and on a device that
// queues, records and replays.
#include "train/inference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/model_file.h"
#include "tensor/device_memory.h"
#include "tensor/error.h"
#include "tensor/registry.h"
#include "tests/train/queued_backend.h"
#include "tests/train/tiny_run.h"
#include "train/picture_flow.h"
#include "train/precision_choice.h"

namespace om {
namespace {

using test::QueuedBackend;

constexpr std::int64_t kSide = 16;

Image picture(int phase) {
  Image image(kSide, kSide);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(127 + 120 * std::sin(phase + 0.01 * static_cast<double>(i)));
  return image;
}

class InferenceTest : public testing::Test {
 protected:
  InferenceTest() {
    tiny_.config.iterations = 2;
    file_ = tiny_.run("run").model;
    for (int i = 0; i < 7; ++i) pictures_.push_back(picture(i));
  }
  std::unique_ptr<Autoencoder> model(Backend& device) const { return load_autoencoder(file_, device); }

  /// What each of `pictures` becomes, in batches, by way of an Inference.
  static std::vector<std::vector<float>> run(Inference& inference, const std::vector<Image>& pictures) {
    std::vector<std::vector<float>> results;
    const auto size = static_cast<std::size_t>(inference.batch());
    for (std::size_t first = 0; first < pictures.size(); first += size) {
      std::vector<const Image*> batch;
      std::vector<std::uint64_t> numbers;
      for (std::size_t i = first; i < std::min(first + size, pictures.size()); ++i) {
        batch.push_back(&pictures[i]);
        numbers.push_back(i);
      }
      const auto done = inference.start(batch, numbers);
      inference.settle(*done);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const auto values = done->output(0, i);
        results.emplace_back(values.begin(), values.end());
      }
    }
    return results;
  }

  test::TinyRun tiny_;
  std::string file_;
  std::vector<Image> pictures_;
};

// One by one they are what reconstruct() gives, to the bit.
TEST_F(InferenceTest, ABatchOfOneIsReconstruct) {
  Backend& cpu = backend("cpu");
  const auto network = model(cpu);
  for (const auto& [noise, precision] :
       {std::pair(NoiseMaps::predicted, Precision::fp32), std::pair(NoiseMaps::predicted, Precision::bf16),
        std::pair(NoiseMaps::random, Precision::fp32), std::pair(NoiseMaps::zero, Precision::fp32)}) {
    const PrecisionScope scope(precision);
    Inference inference(kSide, 1, reconstruction(*network, noise, 9, MapsFor::each, cpu), cpu);
    const auto results = run(inference, pictures_);
    for (std::size_t i = 0; i < pictures_.size(); ++i)
      EXPECT_EQ(to_float_image(results[i], kSide).pixels,
                reconstruct(*network, pictures_[i], cpu, {noise, 9, i}).pixels)
          << i;
    EXPECT_GT(inference.seconds(), 0);
  }
  // and with the maps of picture 0 for all
  Inference same(kSide, 1, reconstruction(*network, NoiseMaps::random, 9, MapsFor::all, cpu), cpu);
  EXPECT_EQ(to_float_image(run(same, pictures_)[3], kSide).pixels,
            reconstruct(*network, pictures_[3], cpu, {NoiseMaps::random, 9, 0}).pixels);
}

// On a device that records: the first batch runs, the second is recorded, all later ones replay, and the bits
// are those of running each.
TEST_F(InferenceTest, ReplaysGiveTheBitsOfRunning) {
  for (const NoiseMaps noise : {NoiseMaps::predicted, NoiseMaps::random}) {
    QueuedBackend eager(false), recording(true);
    std::vector<std::vector<float>> results[2];
    for (QueuedBackend* device : {&eager, &recording}) {
      const auto network = model(*device);
      Inference inference(kSide, 2, reconstruction(*network, noise, 9, MapsFor::each, *device), *device);
      results[device == &recording] = run(inference, pictures_);
    }
    EXPECT_TRUE(results[0] == results[1]);
    EXPECT_EQ(recording.recordings, 1);
    EXPECT_EQ(recording.replays, 3);  // of four batches all but the first
    EXPECT_EQ(recording.early_reads, 0);
  }
}

// In a batch each picture has the maps of its number, as it has alone.
TEST_F(InferenceTest, EachPictureHasItsOwnMaps) {
  Backend& cpu = backend("cpu");
  const auto network = model(cpu);
  const auto results = [&](std::int64_t batch) {
    Inference inference(kSide, batch, reconstruction(*network, NoiseMaps::random, 9, MapsFor::each, cpu),
                        cpu);
    return run(inference, pictures_);
  };
  const auto alone = results(1), together = results(3);
  for (std::size_t i = 0; i < alone.size(); ++i)
    for (std::size_t k = 0; k < alone[i].size(); ++k)
      ASSERT_NEAR(together[i][k], alone[i][k], 1e-4) << "picture " << i;
}

/// The first batch as it is run, the second and third replayed where the device records: the same pictures,
/// the same bits.
void expect_repeats(const std::string& file, const std::vector<Image>& pictures, Backend& device) {
  const auto network = load_autoencoder(file, device);
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    if (precision_on(precision, device) != precision) continue;
    SCOPED_TRACE(text(device.name(), " in ", name_of(precision)));
    const PrecisionScope scope(precision);
    Inference inference(kSide, 2, reconstruction(*network, NoiseMaps::predicted, 0, MapsFor::all, device),
                        device);
    const std::vector<const Image*> batch = {&pictures[0], &pictures[1]},
                                    other = {&pictures[2], &pictures[0]};
    const std::vector<std::uint64_t> numbers = {0, 1};
    const auto values = [&](const std::vector<const Image*>& these) {
      const auto done = inference.start(these, numbers);
      inference.settle(*done);
      std::vector<std::vector<float>> all;
      for (std::size_t i = 0; i < 2; ++i)
        all.emplace_back(done->output(0, i).begin(), done->output(0, i).end());
      return all;
    };
    const auto first = values(batch);
    EXPECT_TRUE(values(batch) == first);
    EXPECT_TRUE(values(other)[1] == first[0]) << "another place";
    EXPECT_TRUE(values(batch) == first);
  }
}

TEST_F(InferenceTest, RepeatsToTheBitInEveryPrecision) {
  QueuedBackend queued(true);
  expect_repeats(file_, pictures_, queued);
  expect_repeats(file_, pictures_, backend("cpu"));
}

TEST_F(InferenceTest, RepeatsToTheBitOnACard) {
  Backend* card = nullptr;
  try {
    card = &backend("cuda");
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  expect_repeats(file_, pictures_, *card);
}

// A picture's numbers depend neither on its place nor on how many there are.
TEST_F(InferenceTest, PlaceAndNumberOfPicturesDoNotShow) {
  Backend& cpu = backend("cpu");
  const auto network = model(cpu);
  const auto results = [&](const std::vector<Image>& pictures) {
    Inference inference(kSide, 3, reconstruction(*network, NoiseMaps::predicted, 0, MapsFor::all, cpu), cpu);
    return run(inference, pictures);
  };
  const auto all = results(pictures_);
  std::vector<Image> turned(pictures_.rbegin(), pictures_.rend());
  const auto back = results(turned);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(all[i] == back[all.size() - 1 - i]) << i;
    EXPECT_TRUE(results({pictures_[i]})[0] == all[i]) << i << " alone";
  }
}

TEST_F(InferenceTest, WhatItCannotTakeIsAnError) {
  Backend& cpu = backend("cpu");
  const auto network = model(cpu);
  const auto make = [&](std::int64_t batch) {
    Inference(kSide, batch, reconstruction(*network, NoiseMaps::predicted, 0, MapsFor::all, cpu), cpu);
  };
  EXPECT_THROW(make(0), UsageError);
  EXPECT_THROW(make(kMaxBatch + 1), UsageError);
  Inference two(kSide, 2, reconstruction(*network, NoiseMaps::predicted, 0, MapsFor::all, cpu), cpu);
  const Image small(8, 8);
  const std::vector<std::uint64_t> numbers = {0, 1, 2};
  EXPECT_THROW(two.start(std::vector<const Image*>{&small}, numbers), Error);
  EXPECT_THROW(two.start({}, {}), Error);
  EXPECT_THROW(two.start(std::vector<const Image*>{&small, &small, &small}, numbers), Error);
  Inference::Work wrong;
  wrong.forward = [](const Inference::Inputs& in) {
    return Inference::Outputs{cast(in.images, DType::bf16)};
  };
  Inference other(kSide, 1, std::move(wrong), cpu);
  EXPECT_THROW(other.start(std::vector<const Image*>{&pictures_[0]}, numbers), Error);
}

// --- what batch there is without being told

class Card final : public QueuedBackend, public DeviceMemory {
 public:
  explicit Card(std::size_t total) : QueuedBackend(true), total_(total) {}
  std::size_t total_memory() const override { return total_; }

 private:
  std::size_t total_;
};

TEST(DefaultBatch, FollowsFromTheCardsWholeMemory) {
  constexpr std::size_t gib = std::size_t{1} << 30;
  constexpr std::int64_t full_size = 256 * 256 * 128 * 4;  // the paper's model at 256 pixels
  EXPECT_EQ(default_batch(backend("cpu"), full_size), 1);
  QueuedBackend unknown(true);
  EXPECT_EQ(default_batch(unknown, full_size), 32);
  const auto batch = [&](std::size_t total, std::int64_t map) {
    Card card(total);
    return default_batch(card, map);
  };
  EXPECT_EQ(batch(80 * gib, full_size), 32);
  EXPECT_EQ(batch(24 * gib, full_size), 16);
  EXPECT_EQ(batch(8 * gib, full_size), 8);
  EXPECT_EQ(batch(80 * gib, 16 * full_size), 4);
  EXPECT_EQ(batch(gib, 1024 * full_size), 1);
}

// --- the flow from files

struct Passed : FlowPicture {
  std::vector<float> output;
};

class FlowTest : public InferenceTest {
 protected:
  FlowTest() {
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
      files_.push_back(tiny_.folder() / ("flow" + std::to_string(i) + ".png"));
      write_png(files_.back(), pictures_[i]);
    }
  }
  /// All files through the model on `device`; the events in order.
  std::vector<Passed> pass(
      Backend& device, std::int64_t batch, int threads,
      const std::function<void(FlowSteps<Passed>&)>& change = [](FlowSteps<Passed>&) {}) {
    const auto network = model(device);
    Inference inference(kSide, batch, reconstruction(*network, NoiseMaps::predicted, 0, MapsFor::all, device),
                        device);
    std::vector<Passed> passed;
    FlowSteps<Passed> steps;
    steps.prepare = [](const Image& image) { return resized_pair(image, kSide); };
    steps.finish = [](Passed& picture, const FlowOutputs& outputs) {
      picture.output.assign(outputs[0].begin(), outputs[0].end());
    };
    steps.done = [&](Passed& picture) { passed.push_back(std::move(picture)); };
    change(steps);
    run_flow(files_, inference, steps, threads);
    return passed;
  }
  std::vector<std::filesystem::path> files_;
};

TEST_F(FlowTest, GivesInOrderWhatEachFileBecomes) {
  std::ofstream(files_[2]) << "no image";
  const auto network = model(backend("cpu"));
  for (const int threads : {0, 1, 4})
    for (const std::int64_t batch : {1, 2, 32}) {
      std::vector<std::size_t> read, accepted;
      std::string why;
      const auto passed = pass(backend("cpu"), batch, threads, [&](FlowSteps<Passed>& steps) {
        steps.read = [&](std::size_t file, const std::string* reason) {
          read.push_back(file);
          if (reason != nullptr) why += *reason;
        };
        steps.accept = [&](Passed& picture) { accepted.push_back(picture.file); };
      });
      SCOPED_TRACE(text(threads, " threads, batch ", batch));
      EXPECT_EQ(read, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6}));
      EXPECT_EQ(accepted, (std::vector<std::size_t>{0, 1, 3, 4, 5, 6}));
      EXPECT_EQ(why, files_[2].string() + ": is no PNG, JPEG or WebP image");
      ASSERT_EQ(passed.size(), 6U);
      for (std::size_t i = 0; i < passed.size(); ++i) {
        EXPECT_EQ(passed[i].number, i);
        EXPECT_EQ(passed[i].file, i < 2 ? i : i + 1);
        EXPECT_EQ(passed[i].pair.input, pictures_[passed[i].file]);
        if (batch == 1)
          EXPECT_EQ(to_float_image(passed[i].output, kSide).pixels,
                    reconstruct(*network, pictures_[passed[i].file], backend("cpu")).pixels);
      }
    }
}

// On a device a batch computes while the one before it is finished; nothing waits for the whole queue.
TEST_F(FlowTest, ADeviceIsNotWaitedForBatchByBatch) {
  QueuedBackend device(true);
  const auto passed = pass(device, 2, 3);
  EXPECT_EQ(passed.size(), 7U);
  EXPECT_EQ(device.early_reads, 0);
  EXPECT_GE(device.most_reads, 2U);
  // when the first batch is finished the second one computes
  std::size_t accepted = 0, at_first = 0;
  QueuedBackend again(true);
  pass(again, 2, 0, [&](FlowSteps<Passed>& steps) {
    steps.accept = [&](Passed&) { ++accepted; };
    steps.finish = [&](Passed& picture, const FlowOutputs&) {
      if (picture.file == 0) at_first = accepted;
    };
  });
  EXPECT_EQ(at_first, 4U);
  QueuedBackend eager(false);
  const auto same = pass(eager, 2, 0);
  for (std::size_t i = 0; i < passed.size(); ++i) EXPECT_TRUE(passed[i].output == same[i].output) << i;
}

// However many files there are, few are between being read and being done.
TEST_F(FlowTest, FewPicturesAreUnderWay) {
  const std::vector<std::filesystem::path> seven = files_;
  for (int i = 0; i < 5; ++i) files_.insert(files_.end(), seven.begin(), seven.end());
  std::atomic<int> under_way = 0, most = 0;
  const auto passed = pass(backend("cpu"), 2, 2, [&](FlowSteps<Passed>& steps) {
    steps.prepare = [&](const Image& image) {
      const int now = ++under_way;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      return resized_pair(image, kSide);
    };
    steps.done = [&, done = steps.done](Passed& picture) {
      done(picture);
      --under_way;
    };
  });
  EXPECT_EQ(passed.size(), files_.size());
  EXPECT_LE(most, 2 * 2 + 2 + 2 * 2 + 2);  // read ahead, a batch, finished behind
}

TEST_F(FlowTest, ErrorsOfAnyStepComeOut) {
  for (const int threads : {0, 3}) {
    const auto failing = [&](auto change) {
      return test::message<std::logic_error>([&] { pass(backend("cpu"), 2, threads, change); });
    };
    const auto at = [](const FlowPicture& picture, const char* step) {
      if (picture.file == 3) throw std::logic_error(step);
    };
    EXPECT_EQ(failing([&](FlowSteps<Passed>& steps) {
                steps.finish = [&](Passed& p, const FlowOutputs&) { at(p, "finish"); };
              }),
              "finish");
    EXPECT_EQ(failing([&](FlowSteps<Passed>& steps) { steps.accept = [&](Passed& p) { at(p, "accept"); }; }),
              "accept");
    EXPECT_EQ(failing([&](FlowSteps<Passed>& steps) { steps.done = [&](Passed& p) { at(p, "done"); }; }),
              "done");
    EXPECT_EQ(failing([&](FlowSteps<Passed>& steps) {
                steps.prepare = [](const Image&) -> ImagePair { throw std::logic_error("prepare"); };
              }),
              "prepare");
    int files = 0;
    EXPECT_EQ(failing([&](FlowSteps<Passed>& steps) {
                steps.check = [&] {
                  if (++files == 4) throw std::logic_error("check");
                };
              }),
              "check");
  }
}

}  // namespace
}  // namespace om
