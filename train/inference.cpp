#include "train/inference.h"

#include <algorithm>
#include <cstring>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tensor/device_memory.h"

namespace om {
namespace {

constexpr std::int64_t kBatch = 32;

/// Of the largest map, a picture's share of what a forward pass holds. The full-size model of 256 pixels was
/// measured to take 6 on an H100; twice that again, since the first batch runs outside the recording's
/// memory.
constexpr std::int64_t kMapsHeld = 16;

std::int64_t largest_map_bytes(const std::vector<std::int64_t>& channels, std::int64_t first_side) {
  std::int64_t largest = 0, side = first_side;
  for (const std::int64_t count : channels) {
    largest = std::max(largest, side * side * count * 4);
    side *= 2;
  }
  return largest;
}

}  // namespace

std::int64_t largest_map_bytes(const Encoder& encoder) {
  std::vector<std::int64_t> channels = encoder.config().channels;
  std::reverse(channels.begin(), channels.end());
  return largest_map_bytes(channels, 4);
}

std::int64_t largest_map_bytes(const Autoencoder& model) {
  std::int64_t largest = largest_map_bytes(model.decoder().channels(), 4);
  for (const Autoencoder::Part& part : model.encoders())
    largest = std::max(largest, largest_map_bytes(*part.encoder));
  return largest;
}

std::int64_t default_batch(Backend& backend, std::int64_t largest_map_bytes) {
  if (backend.host_memory()) return 1;
  const auto* memory = backend.extension<DeviceMemory>();
  if (memory == nullptr) return kBatch;
  const auto room = static_cast<std::int64_t>(memory->total_memory() / 2);
  std::int64_t batch = kBatch;
  while (batch > 1 && batch * kMapsHeld * largest_map_bytes > room) batch /= 2;
  return batch;
}

std::span<const float> Inference::Batch::output(std::size_t k, std::size_t i) const {
  const std::span<const float> all = values_.at(k);
  const std::size_t each = all.size() / static_cast<std::size_t>(batch_);
  return all.subspan(i * each, each);
}

Inference::Inference(std::int64_t side, std::int64_t batch, Work work, Backend& backend)
    : side_(side),
      batch_(batch),
      work_(std::move(work)),
      backend_(backend),
      values_(backend),
      feed_(backend),
      replay_(backend, [this] { forward(); }) {
  if (batch < 1 || batch > kMaxBatch)
    fail<UsageError>("--batch must lie between 1 and ", kMaxBatch, ", got ", batch);
  pixels_ = Tensor::empty({batch, side, side, 3}, DType::u8, backend);
  host_.resize(pixels_.storage()->bytes());
  inputs_.pixels = pixels_;
}

void Inference::forward() {
  inputs_.images = values_(pixels_);
  outputs_ = work_.forward(inputs_);
}

/// Each picture's maps into its place; places beyond keep what they hold.
void Inference::draw(std::span<const std::uint64_t> numbers) {
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::vector<Tensor> maps = work_.draw(numbers[i]);
    if (inputs_.noise.empty())
      for (const Tensor& map : maps)
        inputs_.noise.push_back(Tensor::zeros({batch_, map.size(1), map.size(2), 1}, DType::f32, backend_));
    for (std::size_t k = 0; k < maps.size(); ++k) {
      const std::size_t bytes = static_cast<std::size_t>(maps[k].elements()) * sizeof(float);
      auto* place = static_cast<std::byte*>(inputs_.noise[k].out().data) + i * bytes;
      backend_.copy(place, maps[k].in().data, bytes);
    }
  }
}

std::shared_ptr<Inference::Batch> Inference::start(std::span<const Image* const> pictures,
                                                   std::span<const std::uint64_t> numbers) {
  if (pictures.empty() || static_cast<std::int64_t>(pictures.size()) > batch_)
    fail("inference: ", pictures.size(), " pictures in a batch of ", batch_);
  const NoGrad no_grad;
  auto batch = std::make_shared<Batch>();
  batch->batch_ = batch_;
  const std::size_t each = host_.size() / static_cast<std::size_t>(batch_);
  for (std::size_t i = 0; i < static_cast<std::size_t>(batch_); ++i) {
    const Image& picture = *pictures[std::min(i, pictures.size() - 1)];
    if (picture.pixels.size() != each)
      fail("inference: expects pictures of ", side_, " pixels, got ", picture.height, "x", picture.width);
    std::memcpy(host_.data() + i * each, picture.pixels.data(), each);
  }
  batch->begin_ = std::chrono::steady_clock::now();
  pixels_.assign(feed_(host_, pixels_.shape()));
  if (work_.draw) draw(numbers);
  if (!replay_.recorded()) {  // so that a recording does not keep the first batch's memory
    outputs_.clear();
    inputs_.images = {};
  }
  replay_();
  const auto read = [&](const Outputs& outputs) {
    for (const Tensor& output : outputs) {
      if (output.dtype() != DType::f32 || output.rank() < 1 || output.size(0) != batch_)
        fail("inference: expects outputs of f32 [", batch_, ", ..], got ", name_of(output.dtype()), " ",
             output.shape());
      batch->reads_.push_back(
          backend_.read_later(output.in().data, static_cast<std::size_t>(output.elements()) * sizeof(float)));
    }
  };
  read(outputs_);
  batch->forward_ = batch->reads_.size();
  if (backend_.host_memory() || outputs_.empty()) batch->computed_ = std::chrono::steady_clock::now();
  if (work_.measure) read(work_.measure(inputs_, outputs_));
  return batch;
}

void Inference::settle(Batch& batch) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
  for (std::size_t k = 0; k < batch.reads_.size(); ++k) {
    const std::span<const std::byte> bytes = batch.reads_[k]->wait();
    batch.values_.emplace_back(reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float));
    if (k + 1 == batch.forward_ && !batch.computed_) batch.computed_ = Clock::now();
  }
  // one queue: a batch's own time begins where the one before it ended
  seconds_ += seconds(*batch.computed_ - std::max(batch.begin_, end_));
  end_ = Clock::now();
}

std::function<std::vector<Tensor>(std::uint64_t)> drawn_maps(const Autoencoder& model, std::uint64_t seed,
                                                             MapsFor maps, Backend& backend) {
  return [&model, seed, maps, &backend](std::uint64_t number) {
    return random_maps(model.decoder(), seed, maps == MapsFor::each ? number : 0, backend);
  };
}

Inference::Work reconstruction(const Autoencoder& model, NoiseMaps noise, std::uint64_t seed, MapsFor maps,
                               Backend& backend) {
  Inference::Work work;
  const bool random =
      noise == NoiseMaps::random || (noise == NoiseMaps::predicted && !model.predicts_noise());
  work.forward = [&model, random, noise, &backend,
                  mode = std::make_shared<EvaluationMode>(model)](const Inference::Inputs& in) {
    Code code = model.encode(in.images);
    if (random) code.noise = in.noise;
    if (noise == NoiseMaps::zero) code.noise = model.decoder().zero_noise(backend);
    return Inference::Outputs{model.decode(code)};
  };
  if (random) work.draw = drawn_maps(model, seed, maps, backend);
  return work;
}

}  // namespace om
