// The loader's threads.
//
// A queue holds the batches decoded ahead, in stream order. Threads take single images from its oldest
// unfinished batch, decode without the lock into a place that no other thread touches, and count it done
// under the lock; next() waits for the batch in front. seek() forgets the queue; threads still decoding for
// it hold their batch alive and their work is dropped.
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "io/image_codec.h"
#include "io/image_folder.h"
#include "io/resize.h"
#include "tensor/error.h"

namespace om {
namespace {

using Order = std::shared_ptr<const std::vector<uint32_t>>;

/// What reading one file came to: its image (resized, where that is all that becomes of it), or why there is
/// none.
struct Outcome {
  Image image;
  std::string error;
  bool readable() const { return error.empty(); }
};
using SharedOutcome = std::shared_ptr<const Outcome>;

struct Failure {
  size_t file;
  std::string reason;
};

struct Item {
  Order order;
  size_t slot;
  std::vector<Failure> failures;  ///< files tried in vain before the one that was taken
};

struct PendingBatch {
  ImageBatch batch;
  std::vector<Item> items;
  size_t taken = 0;  ///< items that a thread has begun
  size_t done = 0;
  std::exception_ptr error;
};

}  // namespace

class ImageLoader::Work {
 public:
  Work(ImageFolder folder, LoaderOptions options)
      : folder_(std::move(folder)), options_(std::move(options)), cache_(folder_.size()) {
    if (options_.size < 1 || options_.size > 1 << 14 || options_.batch < 1 || options_.batch > 1 << 16 ||
        options_.threads < 1 || options_.ahead < 1 || options_.ranks < 1 || options_.rank < 0 ||
        options_.rank >= options_.ranks) {
      fail<UsageError>(
          "ImageLoader: size, batch, threads, ahead and ranks must be positive and rank below ranks, got ",
          options_.size, ", ", options_.batch, ", ", options_.threads, ", ", options_.ahead, ", ",
          options_.ranks, ", ", options_.rank);
    }
    threads_.reserve(static_cast<size_t>(options_.threads));
    try {
      for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { decode_until_stopped(); });
    } catch (const std::system_error& error) {
      stop();
      fail<OutOfMemory>("not enough memory or too many threads: cannot start thread ", threads_.size() + 1,
                        " of the ", options_.threads, " that decode images (", error.code().message(), ")");
    } catch (...) {
      stop();
      throw;
    }
  }

  ~Work() { stop(); }

  ImageBatch next() {
    std::unique_lock lock(mutex_);
    while (queue_.size() < static_cast<size_t>(options_.ahead)) enqueue();
    work_to_do_.notify_all();
    const std::shared_ptr<PendingBatch> front = queue_.front();
    batch_done_.wait(lock, [&] { return front->done == front->items.size(); });
    if (front->error) {
      const std::exception_ptr error = front->error;
      forget_queue();
      std::rethrow_exception(error);
    }
    for (Item& item : front->items) {
      for (Failure& failure : item.failures) {
        if (named_.insert(failure.file).second) warnings_.push_back(std::move(failure.reason));
      }
    }
    enqueue();  // before the position moves: it may lack memory
    position_ += stride();
    queue_.pop_front();
    work_to_do_.notify_all();
    return std::move(front->batch);
  }

  int64_t position() const {
    const std::scoped_lock lock(mutex_);
    return position_;
  }

  void seek(int64_t position) {
    if (position < 0) fail<UsageError>("ImageLoader: position must not be negative, got ", position);
    const std::scoped_lock lock(mutex_);
    position_ = position;
    forget_queue();
  }

  std::vector<std::string> take_warnings() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(warnings_, {});
  }

  size_t unreadable() const {
    const std::scoped_lock lock(mutex_);
    return named_.size();
  }

  const ImageFolder& folder() const { return folder_; }
  const LoaderOptions& options() const { return options_; }

 private:
  size_t image_bytes() const {
    return static_cast<size_t>(options_.size) * static_cast<size_t>(options_.size) * 3;
  }
  int64_t stride() const { return static_cast<int64_t>(options_.batch) * options_.ranks; }

  void stop() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    work_to_do_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void forget_queue() {
    queue_.clear();
    next_to_enqueue_ = position_;
  }

  /// The order of an epoch; the last one is kept, since positions come in sequence.
  Order order_of(uint64_t epoch) {
    if (!order_ || order_epoch_ != epoch) {
      order_ =
          std::make_shared<const std::vector<uint32_t>>(epoch_order(options_.seed, epoch, folder_.size()));
      order_epoch_ = epoch;
    }
    return order_;
  }

  void enqueue() {
    auto pending = std::make_shared<PendingBatch>();
    const auto count = static_cast<size_t>(options_.batch);
    pending->batch.position = next_to_enqueue_ + static_cast<int64_t>(options_.rank) * options_.batch;
    pending->batch.files.resize(count);
    pending->batch.pixels.resize(count * image_bytes());
    if (options_.make_pair) pending->batch.inputs.resize(count * image_bytes());
    for (size_t i = 0; i < count; ++i) {
      const uint64_t position = static_cast<uint64_t>(pending->batch.position) + i;
      pending->items.push_back({order_of(position / folder_.size()), position % folder_.size(), {}});
    }
    queue_.push_back(std::move(pending));
    next_to_enqueue_ += stride();
  }

  std::shared_ptr<PendingBatch> oldest_with_work() const {
    for (const auto& pending : queue_) {
      if (pending->taken < pending->items.size()) return pending;
    }
    return nullptr;
  }

  void decode_until_stopped() {
    std::unique_lock lock(mutex_);
    while (true) {
      std::shared_ptr<PendingBatch> pending;
      work_to_do_.wait(lock, [&] { return stopping_ || (pending = oldest_with_work()) != nullptr; });
      if (stopping_) return;
      const size_t index = pending->taken++;
      lock.unlock();
      std::exception_ptr error;
      try {
        fill(*pending, index);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !pending->error) pending->error = error;
      if (++pending->done == pending->items.size()) batch_done_.notify_all();
    }
  }

  /// Tries the files from the item's slot on until one can be read, and puts it into its place in the batch.
  void fill(PendingBatch& pending, size_t index) {
    Item& item = pending.items[index];
    const std::vector<uint32_t>& order = *item.order;
    for (size_t tried = 0; tried < order.size(); ++tried) {
      const size_t file = order[(item.slot + tried) % order.size()];
      const SharedOutcome outcome = load(file);
      if (outcome->readable()) {
        pending.batch.files[index] = file;
        if (!options_.make_pair) {
          put(outcome->image, pending.batch.pixels, index);
          return;
        }
        const ImagePair pair =
            options_.make_pair(outcome->image, pending.batch.position + static_cast<int64_t>(index));
        put(pair.target, pending.batch.pixels, index);
        put(pair.input, pending.batch.inputs, index);
        return;
      }
      item.failures.push_back({file, outcome->error});
    }
    fail<InputError>(one_line(folder_.folder()),
                     ": holds no readable image (the first tried: ", item.failures.front().reason, ")");
  }

  void put(const Image& image, std::vector<uint8_t>& pixels, size_t index) const {
    if (image.pixels.size() != image_bytes())
      fail("ImageLoader: expected images of ", options_.size, " pixels a side, got ", image.height, "x",
           image.width);
    std::memcpy(pixels.data() + index * image_bytes(), image.pixels.data(), image_bytes());
  }

  SharedOutcome load(size_t file) {
    {
      const std::scoped_lock lock(mutex_);
      if (cache_[file]) return cache_[file];
    }
    Outcome read;
    try {
      read.image = read_image(folder_.file(file));
      if (!options_.make_pair) read.image = resize_bilinear(read.image, options_.size, options_.size);
    } catch (const InputError& error) {
      read.error = error.what();
    }
    auto outcome = std::make_shared<const Outcome>(std::move(read));
    const size_t bytes = outcome->image.pixels.size();
    const std::scoped_lock lock(mutex_);
    if (!cache_[file] && cached_bytes_ + bytes <= options_.cache_bytes) {
      cache_[file] = outcome;
      cached_bytes_ += bytes;
    }
    return outcome;
  }

  const ImageFolder folder_;
  const LoaderOptions options_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable work_to_do_;
  std::condition_variable batch_done_;
  bool stopping_ = false;
  int64_t position_ = 0;
  int64_t next_to_enqueue_ = 0;
  std::deque<std::shared_ptr<PendingBatch>> queue_;
  Order order_;
  uint64_t order_epoch_ = 0;
  std::vector<SharedOutcome> cache_;
  size_t cached_bytes_ = 0;
  std::set<size_t> named_;
  std::vector<std::string> warnings_;
  std::vector<std::thread> threads_;
};

ImageLoader::ImageLoader(ImageFolder folder, LoaderOptions options)
    : work_(std::make_unique<Work>(std::move(folder), std::move(options))) {}
ImageLoader::~ImageLoader() = default;

ImageBatch ImageLoader::next() { return work_->next(); }
int64_t ImageLoader::position() const { return work_->position(); }
void ImageLoader::seek(int64_t position) { work_->seek(position); }
std::vector<std::string> ImageLoader::take_warnings() { return work_->take_warnings(); }
size_t ImageLoader::unreadable() const { return work_->unreadable(); }
const ImageFolder& ImageLoader::folder() const { return work_->folder(); }
const LoaderOptions& ImageLoader::options() const { return work_->options(); }

}  // namespace om
