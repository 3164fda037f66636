#include "train/feature_set.h"

#include <cstdlib>
#include <cstring>

#include "io/bytes.h"
#include "io/inception_file.h"
#include "io/npz.h"
#include "io/resize.h"
#include "io/state_dict.h"
#include "train/checkpoint.h"
#include "train/checksum.h"
#include "train/denoise.h"
#include "train/picture_flow.h"

namespace om {
namespace {

std::string checksum_of(const FileTensor& tensor) {
  Checksum sum;
  sum.add(std::as_bytes(std::span(tensor.shape)));
  sum.add(tensor.data);
  return sum.text();
}

std::string key_of(const std::vector<std::filesystem::path>& files, const FeatureImages& images,
                   FidVariant variant, const FidNetwork& network) {
  Checksum sum;
  sum.add("inception features 1");
  sum.add(network.fingerprint);
  sum.add(text(name_of(variant), " ", images.side, images.grey ? " grey" : ""));
  for (const std::filesystem::path& file : files) {
    std::vector<std::byte> bytes;
    try {
      const auto source = open_source(file.string());
      bytes.resize(source->size());
      source->read_at(0, bytes);
    } catch (const InputError&) {  // said when its turn comes
    }
    sum.add(bytes);
  }
  return sum.text();
}

std::vector<double> doubles_of(const FileTensor& tensor) {
  std::vector<double> values(static_cast<std::size_t>(element_count(tensor.shape)));
  if (tensor.type == FileType::f64) {
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  } else {
    const std::vector<float> floats = to_f32(tensor);
    values.assign(floats.begin(), floats.end());
  }
  return values;
}

FileTensor file_of(const std::vector<double>& values, std::vector<std::int64_t> shape) {
  const auto bytes = std::as_bytes(std::span(values));
  return {FileType::f64, std::move(shape), {bytes.begin(), bytes.end()}};
}

/// Images of any size.
std::vector<float> features_one_by_one(const std::vector<std::filesystem::path>& files,
                                       const FeatureImages& images, FidVariant variant,
                                       const FidNetwork& network, Backend& backend, const ImageHooks& hooks) {
  std::vector<float> features;
  for (const std::filesystem::path& file : files) {
    hooks.check();
    try {
      const Image image = read_image(file.string());
      append_features(*network.inception, fid_input(images.grey ? to_grey(image) : image, variant, backend),
                      features);
    } catch (const InputError& error) {
      hooks.say(text("skipped ", error.what()));
    }
    hooks.image_done();
  }
  return features;
}

std::vector<float> features_in_batches(const std::vector<std::filesystem::path>& files,
                                       const FeatureImages& images, FidVariant variant,
                                       const FidNetwork& network, Backend& backend, const ImageHooks& hooks) {
  constexpr std::int64_t largest_map = 147 * 147 * 64 * 4;  // of Inception
  struct Measured : FlowPicture {
    std::vector<float> features;
  };
  Inference::Work work;  // of the network nothing is recorded: its resize brings weights from the host
  work.forward = [](const Inference::Inputs&) { return Inference::Outputs{}; };
  work.measure = [&](const Inference::Inputs& in, const Inference::Outputs&) {
    return Inference::Outputs{features_of(*network.inception, fid_input_of_pixels(in.pixels, variant))};
  };
  Inference inference(images.side, images.batch.value_or(default_batch(backend, largest_map)),
                      std::move(work), backend);
  std::vector<float> features;
  FlowSteps<Measured> steps;
  steps.check = hooks.check;
  steps.prepare = [&](const Image& image) {
    const auto side = static_cast<int>(images.side);
    return ImagePair{resize_bilinear(images.grey ? to_grey(image) : image, side, side), {}};
  };
  steps.read = [&](std::size_t, const std::string* why) {
    if (why == nullptr) return;
    hooks.say(text("skipped ", *why));
    hooks.image_done();
  };
  steps.finish = [](Measured& picture, const FlowOutputs& outputs) {
    picture.features.assign(outputs[0].begin(), outputs[0].end());
  };
  steps.done = [&](Measured& picture) {
    features.insert(features.end(), picture.features.begin(), picture.features.end());
    hooks.image_done();
  };
  run_flow(files, inference, steps, flow_threads(backend));
  return features;
}

}  // namespace

FidNetwork load_fid_network(const std::string& path, Backend& backend) {
  FidNetwork network{load_inception(path, backend), ""};
  network.fingerprint = fingerprint(*network.inception);
  return network;
}

std::filesystem::path FeatureCache::standard_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::filesystem::path(cache) / "onemodel" / "features";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::filesystem::path(home) / ".cache" / "onemodel" / "features";
  return {};
}

std::optional<std::vector<float>> FeatureCache::find(const std::string& key, std::int64_t width) const {
  const std::filesystem::path file = folder_ / (key + ".safetensors");
  std::error_code error;
  if (folder_.empty() || !std::filesystem::is_regular_file(file, error)) return std::nullopt;
  try {
    const SafeTensors content = read_safetensors(file.string());
    const FileTensor& tensor = content.tensors.at("features");
    if (tensor.type != FileType::f32 || tensor.shape.size() != 2 || tensor.shape[1] != width ||
        content.metadata.at("checksum") != checksum_of(tensor))
      return std::nullopt;
    return to_f32(tensor);
  } catch (const InputError&) {
  } catch (const std::out_of_range&) {
  }
  return std::nullopt;
}

void FeatureCache::keep(const std::string& key, const std::vector<float>& features,
                        std::int64_t width) const {
  if (folder_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  FileTensor tensor = make_file_tensor({static_cast<std::int64_t>(features.size()) / width, width}, features);
  const std::string checksum = checksum_of(tensor);
  try {
    write_safetensors((folder_ / (key + ".safetensors")).string(),
                      {{{"features", std::move(tensor)}}, {{"checksum", checksum}}});
  } catch (const Error&) {
  }
}

std::vector<float> folder_features(const std::vector<std::filesystem::path>& files,
                                   const FeatureImages& images, FidVariant variant, const FidNetwork& network,
                                   const FeatureCache& cache, Backend& backend, const ImageHooks& hooks) {
  const std::int64_t width = network.inception->features();
  const std::string key = key_of(files, images, variant, network);
  if (auto kept = cache.find(key, width)) return std::move(*kept);
  std::vector<float> features = images.side == 0
                                    ? features_one_by_one(files, images, variant, network, backend, hooks)
                                    : features_in_batches(files, images, variant, network, backend, hooks);
  if (features.empty() && !files.empty())
    fail<InputError>(files.front().parent_path().string(), ": holds no readable image");
  cache.keep(key, features, width);
  return features;
}

FeatureStatistics read_statistics(const std::string& path) {
  const Checkpoint file = read_checkpoint(path);
  const FileTensor mu = file.load("mu"), sigma = file.load("sigma");
  const auto width = mu.shape.size() == 1 ? mu.shape[0] : 0;
  if (width == 0 || sigma.shape != std::vector<std::int64_t>{width, width})
    fail<InputError>(path, ": expects mu [D] and sigma [D, D], got ", shape_text(mu.shape), " and ",
                     shape_text(sigma.shape));
  Matrix covariance(width, width);
  covariance.values = doubles_of(sigma);
  try {
    return FeatureStatistics::of_moments(doubles_of(mu), covariance);
  } catch (const InputError& error) {
    fail<InputError>(path, ": ", error.what());
  }
}

void write_statistics(const std::string& path, const FeatureStatistics& statistics) {
  const std::int64_t width = statistics.width();
  write_npz(path, {{"mu", file_of(statistics.mean(), {width})},
                   {"sigma", file_of(statistics.covariance().values, {width, width})}});
}

}  // namespace om
