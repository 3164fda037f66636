// The loader's promises: what stands at a position depends on seed, position and the folder alone.
#include "io/image_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>
#include <set>
#include <thread>

#include "io/resize.h"
#include "tensor/error.h"
#include "tests/harness/message.h"
#include "tests/io/scratch_folder.h"

namespace om::test {
namespace {

namespace fs = std::filesystem;

/// Files 00.png, 01.png, ... of one colour each, the number of the file; those in `broken` hold no image.
void fill(const ScratchFolder& folder, int count, const std::set<int>& broken = {}) {
  for (int i = 0; i < count; ++i) {
    const fs::path file = folder / (std::to_string(i / 10) + std::to_string(i % 10) + ".png");
    Image image(3, 5);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(i));
    write_png(file, image);
    if (broken.count(i) > 0) fs::resize_file(file, fs::file_size(file) / 2);
  }
}

LoaderOptions options(int batch, int threads = 2, uint64_t seed = 7) {
  LoaderOptions chosen;
  chosen.size = 4;
  chosen.batch = batch;
  chosen.threads = threads;
  chosen.seed = seed;
  return chosen;
}

/// The stream by its definition, for a folder of n files.
std::vector<size_t> expected_files(uint64_t seed, int64_t position, int count, size_t n,
                                   const std::set<int>& broken = {}) {
  std::vector<size_t> files;
  for (int64_t p = position; p < position + count; ++p) {
    const auto order = epoch_order(seed, static_cast<uint64_t>(p) / n, n);
    size_t slot = static_cast<size_t>(p) % n;
    while (broken.count(static_cast<int>(order[slot])) > 0) slot = (slot + 1) % n;
    files.push_back(order[slot]);
  }
  return files;
}

void expect_batch(const ImageBatch& batch, int64_t position, const std::vector<size_t>& files) {
  EXPECT_EQ(batch.position, position);
  EXPECT_EQ(batch.files, files);
  ASSERT_EQ(batch.pixels.size(), files.size() * 4 * 4 * 3);
  for (size_t i = 0; i < batch.pixels.size(); ++i) ASSERT_EQ(batch.pixels[i], files[i / (4 * 4 * 3)]);
}

TEST(EpochOrder, IsAPermutationAndTheSameEverywhere) {
  for (const size_t n : {0, 1, 2, 10, 1000}) {
    std::vector<uint32_t> order = epoch_order(3, 5, n);
    std::sort(order.begin(), order.end());
    std::vector<uint32_t> all(n);
    std::iota(all.begin(), all.end(), 0U);
    EXPECT_EQ(order, all);
  }
  EXPECT_EQ(epoch_order(1, 0, 8), (std::vector<uint32_t>{2, 4, 1, 7, 6, 0, 5, 3}));
  EXPECT_EQ(epoch_order(1, 1, 8), (std::vector<uint32_t>{0, 7, 4, 3, 1, 6, 5, 2}));
  EXPECT_NE(epoch_order(1, 0, 100), epoch_order(2, 0, 100));
  EXPECT_NE(epoch_order(1, 0, 100), epoch_order(1, 1, 100));
}

// Every file at every slot about equally often: 5 sigma of a binomial.
TEST(EpochOrder, IsUniform) {
  constexpr int n = 6;
  constexpr int epochs = 6000;
  int counts[n][n] = {};
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const auto order = epoch_order(11, static_cast<uint64_t>(epoch), n);
    for (int slot = 0; slot < n; ++slot) ++counts[slot][order[slot]];
  }
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, 1000, 5 * 29);
  }
}

TEST(ImageFolder, ListsImagesSortedByName) {
  const ScratchFolder folder;
  for (const char* name : {"b.PNG", "a.jpg", "c.Jpeg", "d.txt", "e.png.tmp", "B.jpeg", "f.webp"})
    std::ofstream(folder / name).flush();
  fs::create_directory(folder / "sub");
  fs::create_directory(folder / "folder.png");
  std::ofstream(folder / "sub" / "z.png").flush();
  const auto names = [](const ImageFolder& listed) {
    std::vector<std::string> result;
    for (const fs::path& file : listed.files())
      result.push_back(file.lexically_relative(listed.folder()).string());
    return result;
  };
  EXPECT_EQ(names(ImageFolder(folder.path())),
            (std::vector<std::string>{"B.jpeg", "a.jpg", "b.PNG", "c.Jpeg", "f.webp"}));
  EXPECT_EQ(names(ImageFolder(folder.path(), true)),
            (std::vector<std::string>{"B.jpeg", "a.jpg", "b.PNG", "c.Jpeg", "f.webp", "sub/z.png"}));
}

TEST(ImageFolder, MissingEmptyOrNoFolder) {
  const ScratchFolder folder;
  const auto reason = [](const fs::path& path) {
    return message<InputError>([&] { ImageFolder listed(path); });
  };
  EXPECT_EQ(reason(folder / "missing"), (folder / "missing").string() + ": no such folder");
  EXPECT_EQ(reason(folder.path()), folder.path().string() + ": holds no readable image");
  std::ofstream(folder / "a.png").flush();
  EXPECT_EQ(reason(folder / "a.png"), (folder / "a.png").string() + ": is not a folder");
}

TEST(ImageLoader, FollowsTheOrderAcrossEpochsForAnyThreadCount) {
  const ScratchFolder folder;
  fill(folder, 7);
  for (const int threads : {1, 2, 8}) {
    for (const int ahead : {1, 5}) {
      for (const size_t cache : {size_t{0}, size_t{100}, size_t{1} << 20}) {
        LoaderOptions chosen = options(3, threads);
        chosen.ahead = ahead;
        chosen.cache_bytes = cache;
        ImageLoader loader(ImageFolder(folder.path()), chosen);
        for (int64_t b = 0; b < 12; ++b) {
          EXPECT_EQ(loader.position(), 3 * b);
          expect_batch(loader.next(), 3 * b, expected_files(7, 3 * b, 3, 7));
        }
      }
    }
  }
}

TEST(ImageLoader, BatchLargerThanTheFolder) {
  const ScratchFolder folder;
  fill(folder, 2);
  ImageLoader loader(ImageFolder(folder.path()), options(7));
  for (int64_t b = 0; b < 3; ++b) expect_batch(loader.next(), 7 * b, expected_files(7, 7 * b, 7, 2));
}

TEST(ImageLoader, SeekContinuesAnyRun) {
  const ScratchFolder folder;
  fill(folder, 7, {2});
  ImageLoader loader(ImageFolder(folder.path()), options(2));
  for (const int64_t position : std::vector<int64_t>{10, 0, 3, int64_t{1} << 40, 4}) {
    loader.seek(position);
    EXPECT_EQ(loader.position(), position);
    for (int64_t p = position; p < position + 6; p += 2) {
      expect_batch(loader.next(), p, expected_files(7, p, 2, 7, {2}));
    }
    EXPECT_EQ(loader.position(), position + 6);
  }
  EXPECT_THROW(loader.seek(-1), UsageError);
}

TEST(ImageLoader, UnreadableImagesAreReplacedByPositionAndNamedOnce) {
  const ScratchFolder folder;
  const std::set<int> broken = {1, 2, 5, 8};
  fill(folder, 10, broken);
  std::vector<std::string> first_warnings;
  for (const int threads : {1, 4}) {
    ImageLoader loader(ImageFolder(folder.path()), options(4, threads));
    std::vector<std::string> warnings;
    for (int64_t b = 0; b < 10; ++b) {
      expect_batch(loader.next(), 4 * b, expected_files(7, 4 * b, 4, 10, broken));
      for (std::string& line : loader.take_warnings()) warnings.push_back(std::move(line));
    }
    EXPECT_EQ(warnings.size(), broken.size());
    EXPECT_EQ(loader.unreadable(), broken.size());
    for (const int file : broken) {
      const std::string name = (folder / ("0" + std::to_string(file) + ".png")).string();
      EXPECT_EQ(std::count_if(warnings.begin(), warnings.end(),
                              [&](const auto& w) { return w.rfind(name + ": ", 0) == 0; }),
                1)
          << name;
    }
    if (threads == 1) first_warnings = warnings;
    EXPECT_EQ(warnings, first_warnings);
  }
}

// The prefetcher has met the broken file long before; the consumer hears of it with the batch that needed it.
TEST(ImageLoader, WarningsComeWithTheBatchThatMetThem) {
  const ScratchFolder folder;
  fill(folder, 6);
  const auto order = epoch_order(7, 0, 6);
  fill(folder, 6, {static_cast<int>(order[3])});
  LoaderOptions chosen = options(1);
  chosen.ahead = 6;
  ImageLoader loader(ImageFolder(folder.path()), chosen);
  for (int b = 0; b < 3; ++b) {
    loader.next();
    EXPECT_TRUE(loader.take_warnings().empty());
    EXPECT_EQ(loader.unreadable(), 0U);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  loader.next();
  EXPECT_EQ(loader.take_warnings().size(), 1U);
  EXPECT_TRUE(loader.take_warnings().empty());
  EXPECT_EQ(loader.unreadable(), 1U);
}

TEST(ImageLoader, AllUnreadableIsAnErrorEachTime) {
  const ScratchFolder folder;
  fill(folder, 3, {0, 1, 2});
  ImageLoader loader(ImageFolder(folder.path()), options(2));
  for (int i = 0; i < 3; ++i) {
    try {
      loader.next();
      FAIL() << "a batch of nothing";
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).rfind(folder.path().string() + ": holds no readable image", 0), 0U);
    }
    EXPECT_EQ(loader.position(), 0);
  }
}

TEST(ImageLoader, FilesThatVanishAreReplaced) {
  const ScratchFolder folder;
  fill(folder, 4);
  const ImageFolder listed(folder.path());
  fs::remove(folder / "01.png");
  ImageLoader loader(listed, options(4));
  expect_batch(loader.next(), 0, expected_files(7, 0, 4, 4, {1}));
  EXPECT_EQ(loader.take_warnings().size(), 1U);
}

TEST(ImageLoader, CachedImagesOutliveTheirFiles) {
  const ScratchFolder folder;
  fill(folder, 4);
  ImageLoader loader(ImageFolder(folder.path()), options(4));
  loader.next();
  for (const char* name : {"00.png", "01.png", "02.png", "03.png"}) fs::remove(folder / name);
  for (int64_t b = 1; b < 12; ++b) expect_batch(loader.next(), 4 * b, expected_files(7, 4 * b, 4, 4));
  EXPECT_EQ(loader.unreadable(), 0U);
}

TEST(ImageLoader, RanksShareOneStream) {
  const ScratchFolder folder;
  fill(folder, 9);
  std::vector<std::unique_ptr<ImageLoader>> loaders;
  for (int rank = 0; rank < 3; ++rank) {
    LoaderOptions chosen = options(2);
    chosen.ranks = 3;
    chosen.rank = rank;
    loaders.push_back(std::make_unique<ImageLoader>(ImageFolder(folder.path()), chosen));
  }
  for (int64_t step = 0; step < 5; ++step) {
    for (int rank = 0; rank < 3; ++rank) {
      const int64_t position = 6 * step + 2 * rank;
      expect_batch(loaders[rank]->next(), position, expected_files(7, position, 2, 9));
      EXPECT_EQ(loaders[rank]->position(), 6 * (step + 1));
    }
  }
}

TEST(ImageLoader, EndsCleanlyAtAnyMoment) {
  const ScratchFolder folder;
  fill(folder, 8, {3});
  for (int i = 0; i < 60; ++i) {
    LoaderOptions chosen = options(3, 1 + i % 4);
    chosen.cache_bytes = 0;
    ImageLoader loader(ImageFolder(folder.path()), chosen);
    for (int b = 0; b < i % 3; ++b) EXPECT_FALSE(loader.next().pixels.empty());
    if (i % 5 == 0) loader.seek(i);
    std::this_thread::sleep_for(std::chrono::microseconds(i * 13));
  }
}

TEST(ImageLoader, ImagesAreResizedWithoutRegardToAspect) {
  const ScratchFolder folder;
  Image image(10, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 31);
  write_png(folder / "a.png", image);
  ImageLoader loader(ImageFolder(folder.path()), options(1));
  EXPECT_EQ(loader.next().pixels, resize_bilinear(image, 4, 4).pixels);
}

TEST(ImageLoader, SenselessOptionsAreRefused) {
  const ScratchFolder folder;
  fill(folder, 1);
  const auto refused = [&](const LoaderOptions& chosen) {
    EXPECT_THROW(ImageLoader(ImageFolder(folder.path()), chosen), UsageError);
  };
  LoaderOptions chosen = options(1);
  refused(options(0));
  refused(options(1, 0));
  chosen.size = 0;
  refused(chosen);
  chosen = options(1);
  chosen.rank = 1;
  refused(chosen);
}

}  // namespace
}  // namespace om::test
