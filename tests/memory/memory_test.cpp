// Not enough memory, at every stage of the library: the caller gets one error, nothing else changes.
//
// Requests are refused one by one (tests/memory/failing_malloc.h): all of the first ones of a stage, and some
// of the later ones. The whole program is put through the same in tests/examples/memory_test.cpp.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "io/bytes.h"
#include "io/image.h"
#include "io/image_folder.h"
#include "io/model_file.h"
#include "io/safetensors.h"
#include "tensor/cpu/parallel.h"
#include "tensor/registry.h"
#include "tests/io/checkpoint_bytes.h"
#include "tests/memory/sweep.h"
#include "tests/train/tiny_run.h"
#include "train/evaluate.h"

namespace om {
namespace {

using test::difference;
using test::files_of;
using test::raw;
using test::sweep;
using test::TinyRun;

std::string as_text(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

/// Not by a stream, which keeps a lack of memory to itself and ends early.
std::string content(const std::string& path) {
  const auto source = open_source(path);
  std::string bytes(static_cast<std::size_t>(source->size()), '\0');
  source->read_at(0, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

Image gradient(int side) {
  Image image(side, side);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(i * i / 7);
  return image;
}

TEST(Memory, ImagesAreNotTakenForBrokenOnes) {
  const test::ScratchFolder folder;
  const Image image = gradient(40);
  write_png(folder / "a.png", image);
  write_jpeg(folder / "a.jpg", image, 90);
  for (const char* name : {"a.png", "a.jpg"}) {
    SCOPED_TRACE(name);
    sweep({.work = [&] { return as_text(read_image(folder / name).pixels); }});
  }
}

// Nor broken ones for a lack of memory, where malloc had to look in two places.
TEST(Memory, BrokenImagesStayBroken) {
  const Image image = gradient(40);
  for (const std::vector<std::uint8_t>& whole : {encode_png(image), encode_jpeg(image, 90)}) {
    std::string words = "none";
    failing_malloc_arm(1, kMetElsewhere, false);
    try {
      decode_image(std::span(whole).first(whole.size() / 2), "half");
    } catch (const Error& error) {
      words = error.what();
    }
    EXPECT_GT(failing_malloc_disarm(), 0);
    EXPECT_TRUE(words.starts_with("half: broken ")) << words;
  }
}

TEST(Memory, ImagesAreWrittenWholeOrNotAtAll) {
  const test::ScratchFolder folder;
  const Image image = gradient(40), before = gradient(9);
  for (const std::string name : {"a.png", "a.jpg"}) {
    SCOPED_TRACE(name);
    const auto write = [&](const Image& pixels) {
      name == "a.png" ? write_png(folder / name, pixels) : write_jpeg(folder / name, pixels, 90);
    };
    write(image);
    const std::string after = content(folder / name);
    write(before);
    const std::string old = content(folder / name);
    sweep({.prepare = [&] { write(before); },
           .work =
               [&] {
                 write(image);
                 return std::string();
               },
           .check =
               [&] {
                 const std::string now = content(folder / name);
                 EXPECT_TRUE(now == old || now == after);
                 EXPECT_EQ(files_of(folder.path()).size(), name == "a.png" ? 1U : 2U);
               }});
  }
}

/// The fixture's generator as torch.save would write it.
std::string pickled(const std::string& safetensors, bool zip) {
  std::vector<std::pair<std::string, std::string>> entries;
  test::Storages storages;
  for (const auto& [name, tensor] : read_safetensors(safetensors).tensors) {
    test::TensorSpec spec{
        .key = std::to_string(storages.size()), .shape = tensor.shape, .strides = tensor.shape};
    spec.count = 1;
    for (std::size_t d = tensor.shape.size(); d-- > 0;) {
      spec.strides[d] = spec.count;
      spec.count *= tensor.shape[d];
    }
    storages.emplace_back(spec.key, raw(to_f32(tensor)));
    entries.emplace_back(name, test::p_tensor(spec));
  }
  const std::string root = test::p_dict(entries);
  return zip ? test::pytorch_zip(root, storages) : test::pytorch_old(root, storages);
}

TEST(Memory, CheckpointsAreNotTakenForBrokenOnes) {
  const TinyRun tiny;
  const std::string ours = tiny.out("generator.safetensors");
  std::ofstream(tiny.out("zip.pt"), std::ios::binary) << pickled(ours, true);
  std::ofstream(tiny.out("old.pt"), std::ios::binary) << pickled(ours, false);
  for (const char* name : {"generator.safetensors", "zip.pt", "old.pt"}) {
    SCOPED_TRACE(name);
    sweep({.work =
               [&] {
                 const Model model = load_model(read_checkpoint(tiny.out(name)), backend("cpu"));
                 save_model(tiny.out("imported"), model);
                 return content(tiny.out("imported"));
               },
           .dense = 250,
           .sparse = 150});
  }
}

TEST(Memory, TheLoaderKeepsItsOrder) {
  const TinyRun tiny;
  const auto batches = [&](ImageLoader& loader, int count) {
    std::string files;
    for (int i = 0; i < count; ++i) {
      const ImageBatch batch = loader.next();
      files += as_text(batch.pixels);
    }
    return files;
  };
  const auto make = [&] {
    LoaderOptions options;
    options.size = 16;
    options.batch = 2;
    options.seed = 5;
    return std::make_unique<ImageLoader>(ImageFolder(tiny.config.images), options);
  };
  sweep({.work =
             [&] {
               auto loader = make();
               return batches(*loader, 6);
             },
         .dense = 300,
         .sparse = 100});

  // a loader that lacked memory goes on where it stood
  const std::string expected = batches(*make(), 4);
  std::unique_ptr<ImageLoader> loader;
  sweep({.prepare = [&] { loader = make(); },
         .work = [&] { return batches(*loader, 4); },
         .check =
             [&] {
               loader->seek(loader->position());  // batches decoded ahead may have failed too
               const auto done = static_cast<std::size_t>(loader->position()) / 2;
               const std::string rest = expected.substr(expected.size() / 4 * done);
               EXPECT_TRUE(batches(*loader, 4 - static_cast<int>(done)) == rest);
             },
         .dense = 200});
}

TEST(Memory, ReconstructingGivesEverythingBack) {
  TinyRun tiny;
  tiny.config.iterations = 0;
  const std::string file = tiny.run("run").model;
  const Image image = gradient(16);
  for (const int threads : {1, 2}) {
    SCOPED_TRACE(text(threads, " threads"));
    set_threads(threads);
    sweep({.work =
               [&] {
                 const auto model = load_autoencoder(file, backend("cpu"));
                 return as_text(to_image(reconstruct(*model, image, backend("cpu"))).pixels);
               },
           .dense = 50,
           .sparse = 150});
  }
  set_threads(0);
}

/// How many threads took part in a region of four tiles that wait for one another, some time at most.
int met_in_a_region() {
  std::atomic<int> begun = 0;
  parallel_for(4, 4, [&](std::int64_t) {
    ++begun;
    for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20); begun < 4;) {
      if (std::chrono::steady_clock::now() > end) break;
      std::this_thread::yield();
    }
  });
  return begun;
}

// A team is as large as it can be, and grows when it can again.
TEST(Memory, ThreadsThatCannotBeStarted) {
  limit_threads(0);
  const pid_t child = fork();  // a child has no team yet
  if (child == 0) {
    const int small = cpu::start_team(4);
    std::atomic<int> run = 0;
    parallel_for(4, 100, [&](std::int64_t, int member) { run += member == 0; });
    limit_threads(-1);
    const int whole = met_in_a_region();
    _exit(small == 1 && run == 100 && whole == 4 ? 0 : 1);
  }
  limit_threads(-1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

class TrainMemory : public testing::Test {
 protected:
  void SetUp() override {
    tiny.config.iterations = 3;
    tiny.config.checkpoint_every = 1;
    tiny.config.sample_every = 2;
    tiny.run("whole");
    whole = files_of(tiny.out("whole"));
  }

  /// A run that stopped for want of memory keeps every checkpoint that it had, and the resumed one ends in
  /// the same bytes.
  void expect_sound() {
    for (const auto& [name, bytes] : checkpoints_before) {
      const std::string now = content(tiny.out("run") + "/checkpoints/" + name);
      // one that a stop left before a validation that is due is written anew after it
      EXPECT_TRUE(now == bytes || now == whole.at("checkpoints/" + name)) << name;
    }
    tiny.run("run", true);
    EXPECT_EQ(difference(whole, files_of(tiny.out("run"))), "");
  }

  test::Sweep sweep_of(bool resume, const TrainOptions& options = {}) {
    test::Sweep sweep;
    sweep.prepare = [this, resume] {
      std::filesystem::remove_all(tiny.out("run"));
      checkpoints_before.clear();
      if (!resume) return;
      std::atomic<bool> stop = false;
      TrainOptions two;
      two.stop = &stop;
      two.after_step = [&](const StepReport& report) { stop = report.iteration == 2; };
      tiny.run("run", false, two);
      checkpoints_before = files_of(tiny.out("run") + "/checkpoints");
    };
    sweep.work = [this, resume, options] {
      tiny.run("run", resume, options);
      return std::string();
    };
    sweep.check = [this] { expect_sound(); };
    return sweep;
  }

  TinyRun tiny;
  std::map<std::string, std::string> whole, checkpoints_before;
};

TEST_F(TrainMemory, FromTheStart) {
  test::Sweep sweep = sweep_of(false);
  sweep.dense = 20;
  sweep.sparse = 30;
  test::sweep(sweep);
}

TEST_F(TrainMemory, OnTwoThreads) {
  set_threads(2);
  test::Sweep sweep = sweep_of(false, {.loader_threads = 3});
  sweep.dense = 0;
  sweep.sparse = 30;
  test::sweep(sweep);
  set_threads(0);
}

TEST_F(TrainMemory, OfTensorsAlone) {
  test::Sweep sweep = sweep_of(false);
  sweep.aligned = true;
  sweep.dense = 20;
  sweep.sparse = 20;
  test::sweep(sweep);
}

TEST_F(TrainMemory, WhileResuming) {
  test::Sweep sweep = sweep_of(true);
  sweep.dense = 30;
  sweep.sparse = 25;
  test::sweep(sweep);
}

// What follows a step: samples, validation, the checkpoint, and the removal of older ones.
TEST_F(TrainMemory, WhileACheckpointIsWritten) {
  TrainOptions options;
  options.after_step = [&](const StepReport& report) {
    if (report.iteration == 2) checkpoints_before = files_of(tiny.out("run") + "/checkpoints");
    if (report.iteration == 2) test::count_from_here();
  };
  test::Sweep sweep = sweep_of(false, options);
  sweep.later = true;
  sweep.dense = 40;
  sweep.sparse = 40;
  test::sweep(sweep);
}

}  // namespace
}  // namespace om
