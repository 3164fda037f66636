// A folder of images, and the loader that turns it into an endless, repeatable stream of training batches.
//
// The stream. Epoch e visits the files in the order epoch_order(seed, e, n); position p of the stream is slot
// p mod n of epoch p / n. A batch holds the next `batch` positions, across the end of an epoch where it falls
// inside. A slot whose image cannot be read takes the next one in that epoch's order (past the end, from its
// start) that can. So what stands at a position follows from seed, position and the folder's content, never
// from threads or timing, and a run goes on exactly where a checkpoint's position says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/image.h"

namespace om {

/// The image files of a folder (.png, .jpg, .jpeg, .webp in any case), sorted by name, byte by byte. Their
/// content is not looked at.
class ImageFolder {
 public:
  /// `recursive`: with those of its subfolders, links to folders aside. InputError where the folder is
  /// missing, no folder, not readable, or holds no such file (and whether its subfolders do).
  explicit ImageFolder(std::filesystem::path folder, bool recursive = false);

  size_t size() const { return files_.size(); }
  /// Path as given plus name.
  const std::filesystem::path& file(size_t index) const { return files_[index]; }
  const std::vector<std::filesystem::path>& files() const { return files_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> files_;
};

/// A permutation of 0..n-1, the same on every machine: Fisher-Yates on a counter-based generator
/// (splitmix64).
std::vector<uint32_t> epoch_order(uint64_t seed, uint64_t epoch, size_t n);

/// What a network is shown and what it is to give, of one size.
struct ImagePair {
  Image input, target;
};

struct LoaderOptions {
  int size = 256;     ///< images are resized to size x size, disregarding their aspect ratio
  int batch = 4;      ///< images in a batch
  uint64_t seed = 0;  ///< of the order
  int threads = 2;    ///< that decode, at least 1
  int ahead = 4;      ///< batches decoded before they are asked for, at least 1
  size_t cache_bytes = size_t{256} << 20;  ///< resized images kept in memory, so later epochs decode nothing
  int rank = 0;  ///< of several processes sharing one stream, batch by batch in turn
  int ranks = 1;
  /// Makes a pair, both size x size, of a file's image and its position in the stream; called in the decoding
  /// threads, so it must not depend on anything else. Unset: the image, resized, is both. What is kept in
  /// memory then are the decoded images.
  std::function<ImagePair(const Image& image, int64_t position)> make_pair = {};
};

/// Images of consecutive positions.
struct ImageBatch {
  int64_t position = 0;         ///< of the first image
  std::vector<size_t> files;    ///< indices into the folder, replacements already made
  std::vector<uint8_t> pixels;  ///< [batch, size, size, 3]
  std::vector<uint8_t> inputs;  ///< the same for what the network is shown; empty without make_pair
};

/// Decodes ahead in its own threads. One thread at a time may call it.
class ImageLoader {
 public:
  /// UsageError where an option makes no sense, OutOfMemory where a thread cannot be started.
  ImageLoader(ImageFolder folder, LoaderOptions options);
  /// Stops at any moment: images being decoded are finished, the rest is dropped.
  ~ImageLoader();
  ImageLoader(const ImageLoader&) = delete;
  ImageLoader& operator=(const ImageLoader&) = delete;

  /// The batch at position(), which then moves on by batch x ranks. InputError where no image of the folder
  /// can be read; any other error of a decoding thread comes out here too. After an error the position stands
  /// still.
  ImageBatch next();

  /// Images consumed from the stream by all ranks: what a checkpoint stores. What was decoded ahead does not
  /// count.
  int64_t position() const;

  /// Continues from a stored position. UsageError if negative.
  void seek(int64_t position);

  /// One line for each file found unreadable in consumed batches since the last call, in stream order; each
  /// file is named once in a loader's life.
  std::vector<std::string> take_warnings();

  /// Files found unreadable so far, each counted once.
  size_t unreadable() const;

  const ImageFolder& folder() const;
  const LoaderOptions& options() const;

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

}  // namespace om
