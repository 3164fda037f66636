// Pictures from files through a network and on to what becomes of the results, everything at once: threads
// read and resize ahead, the device computes a batch (train/inference.h), threads score and write behind.
//
//   files -> read, prepare (threads) -> accept (caller) -> batches -> finish (threads) -> done (caller)
//
// What the caller's thread does happens in the order of the files, so lines, names and rows come out as if
// one picture followed the other. Bounded: only a few batches are anywhere between reading and done,
// however many files there are. An error of any step ends the flow and comes out of it when the picture's
// turn is there.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/image_folder.h"
#include "io/workers.h"
#include "train/inference.h"

namespace om {

/// What is known of a picture on its way; a command derives what it adds.
struct FlowPicture {
  std::size_t file = 0;      ///< its place among the files
  std::uint64_t number = 0;  ///< its place among the readable ones
  ImagePair pair = {};       ///< what the network is shown, and what it is to give
};

/// What the network gave for one picture: output k, as Inference::Batch has it.
class FlowOutputs {
 public:
  FlowOutputs(const Inference::Batch& batch, std::size_t picture) : batch_(batch), picture_(picture) {}
  std::span<const float> operator[](std::size_t k) const { return batch_.output(k, picture_); }

 private:
  const Inference::Batch& batch_;
  std::size_t picture_;
};

template <class Picture>
struct FlowSteps {
  /// In threads. Of the model's size both.
  std::function<ImagePair(const Image& image)> prepare;
  /// Each file in turn: why it could not be read, null where it could. Before anything else of it.
  std::function<void(std::size_t file, const std::string* why)> read = [](std::size_t, const std::string*) {};
  std::function<void(Picture&)> accept = [](Picture&) {};
  /// In threads.
  std::function<void(Picture&, const FlowOutputs&)> finish;
  std::function<void(Picture&)> done = [](Picture&) {};
  std::function<void()> check = [] {};  ///< between files; may throw, to stop
};

/// Threads for run_flow(): all that the program may have beside a device; one where the processors compute
/// the network themselves, or none if they are to be one.
int flow_threads(const Backend& backend);

/// Both of a pair are the image at side x side.
ImagePair resized_pair(const Image& image, std::int64_t side);

template <class Picture>
class Flow {
 public:
  Flow(const std::vector<std::filesystem::path>& files, Inference& inference, const FlowSteps<Picture>& steps,
       int threads)
      : files_(files), inference_(inference), steps_(steps), workers_(threads) {}

  void operator()() {
    // Without threads one picture after the other, as the calls below ask for it.
    const std::size_t ahead =
        workers_.threads() == 0 ? 1 : batch_size() * 2 + static_cast<std::size_t>(workers_.threads());
    for (std::size_t file = 0; file < files_.size(); ++file) {
      steps_.check();
      for (; asked_ < files_.size() && reading_.size() < ahead; ++asked_) ask(asked_);
      take(file, reading_.front().get());
      reading_.pop_front();
      if (gathered_.size() == batch_size()) compute();
    }
    if (!gathered_.empty()) compute();
    settle_until(0);
    finish_until(0);
  }

 private:
  struct Reading {
    ImagePair pair;
    std::optional<std::string> error;
  };
  struct Computing {
    std::shared_ptr<Inference::Batch> batch;
    std::vector<Picture> pictures;
  };
  struct Finishing {
    std::shared_ptr<Inference::Batch> batch;  // here, so that it ends in the caller's thread
    Pending<Picture> picture;
  };

  std::size_t batch_size() const { return static_cast<std::size_t>(inference_.batch()); }

  void ask(std::size_t file) {
    reading_.push_back(workers_.start([this, file] {
      Reading read;
      try {
        read.pair = steps_.prepare(read_image(files_[file]));
      } catch (const InputError& error) {
        read.error = error.what();
      }
      return read;
    }));
  }

  void take(std::size_t file, Reading read) {
    steps_.read(file, read.error ? &*read.error : nullptr);
    if (read.error) return;
    Picture picture;
    picture.file = file;
    picture.number = number_++;
    picture.pair = std::move(read.pair);
    steps_.accept(picture);
    gathered_.push_back(std::move(picture));
  }

  void compute() {
    std::vector<const Image*> images;
    std::vector<std::uint64_t> numbers;
    for (const Picture& picture : gathered_) {
      images.push_back(&picture.pair.input);
      numbers.push_back(picture.number);
    }
    computing_.push_back({inference_.start(images, numbers), std::exchange(gathered_, {})});
    settle_until(inference_.under_way());
  }

  /// Waits for batches until so many are left, and has their pictures finished.
  void settle_until(std::size_t left) {
    for (; computing_.size() > left; computing_.pop_front()) {
      Computing& done = computing_.front();
      inference_.settle(*done.batch);
      for (std::size_t i = 0; i < done.pictures.size(); ++i)
        finishing_.push_back({done.batch, finish(*done.batch, i, std::move(done.pictures[i]))});
      finish_until(workers_.threads() == 0 ? 0 : batch_size() * 2);
    }
  }

  Pending<Picture> finish(const Inference::Batch& batch, std::size_t i, Picture picture) {
    return workers_.start([this, &batch, i, picture = std::move(picture)]() mutable {
      steps_.finish(picture, FlowOutputs(batch, i));
      return std::move(picture);
    });
  }

  void finish_until(std::size_t left) {
    for (; finishing_.size() > left; finishing_.pop_front()) {
      Picture picture = finishing_.front().picture.get();
      steps_.done(picture);
    }
  }

  const std::vector<std::filesystem::path>& files_;
  Inference& inference_;
  const FlowSteps<Picture>& steps_;
  std::size_t asked_ = 0;  // files that were asked for
  std::uint64_t number_ = 0;
  std::vector<Picture> gathered_;  // of the next batch
  std::deque<Pending<Reading>> reading_;
  std::deque<Computing> computing_;
  std::deque<Finishing> finishing_;
  Workers workers_;  // last, so that it ends before what it works on
};

/// Takes every file through `inference`.
template <class Picture>
void run_flow(const std::vector<std::filesystem::path>& files, Inference& inference,
              const FlowSteps<Picture>& steps, int threads) {
  Flow<Picture>(files, inference, steps, threads)();
}

}  // namespace om
