// What a run shows of itself besides its loss: sheets of samples, figures over the validation folder, and the
// semantic leak. One picture at a time, so that a stop is seen soon.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "io/image_folder.h"
#include "train/evaluate.h"
#include "train/picture_flow.h"
#include "train/run_ranks.h"
#include "train/unreadable.h"

namespace om {

class RunPictures {
 public:
  using Log = std::function<void(const std::string&)>;
  /// What the model is shown of a picture and what it is to give, of the model's size.
  using MakePair = std::function<ImagePair(const Image&)>;

  /// `log` is rank 0's. Samples come from `val`, or from `images` where it is null. What is passed must
  /// outlive it.
  RunPictures(const Autoencoder& model, const ImageFolder& images, const ImageFolder* val, std::uint64_t seed,
              Backend& backend, const std::atomic<bool>* stop, Log log, MakePair make_pair, RunRanks& ranks,
              UnreadablePictures& unreadable);

  /// Inputs beside their reconstructions; nothing where no picture can be read.
  void write_samples(const std::string& file, NoiseMaps noise);

  /// Means over the validation folder as the members of a JSON object, and one line to the log. Nothing where
  /// a stop came first. InputError where none of its pictures can be read. Every rank measures its share of
  /// the pictures, and rank 0 has the means.
  std::optional<std::string> validate(std::int64_t iteration, NoiseMaps noise);
  std::optional<std::string> measure_leak();

 private:
  ImagePair pair_of(const Image& image) const;
  /// Takes pictures of the validation folder through `work`; false where a stop came first.
  template <class Picture>
  bool for_each(const std::vector<std::filesystem::path>& files, Inference::Work work,
                FlowSteps<Picture> steps);
  void expect_readable(std::size_t pictures) const;

  const Autoencoder& model_;
  const ImageFolder& images_;
  const ImageFolder* val_;
  std::uint64_t seed_;
  Backend& backend_;
  const std::atomic<bool>* stop_;
  Log log_;
  MakePair make_pair_;
  RunRanks& ranks_;
  bool validated_ = false;  // once
  UnreadablePictures& unreadable_;
};

}  // namespace om
