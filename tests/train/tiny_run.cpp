#include "tests/train/tiny_run.h"

#include <fstream>
#include <sstream>

#include "autograd/ops.h"
#include "io/image.h"
#include "io/model_file.h"
#include "io/safetensors.h"
#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"

namespace om::test {
namespace {

void write_squares(const std::filesystem::path& folder, int first, int count) {
  std::filesystem::create_directories(folder);
  for (int n = first; n < first + count; ++n) {
    Image image(20, 24);
    for (int y = 0; y < image.height; ++y)
      for (int x = 0; x < image.width; ++x)
        for (int c = 0; c < 3; ++c)
          image.at(y, x, c) =
              static_cast<std::uint8_t>((n * 70 + c * (40 + n * 20) + (x > 11 ? 60 : 0) + 3 * y) % 256);
    write_png(folder / ("square" + std::to_string(n) + ".png"), image);
  }
}

}  // namespace

TinyRun::TinyRun() {
  set_threads(1);  // networks this small only wait for one another
  StyleGan2Config shape;
  shape.z_width = shape.latent_width = 12;
  shape.mapping_layers = 2;
  shape.constant_channels = 8;
  shape.channels = {8, 6, 4};
  Model generator;
  generator.decoder = std::make_unique<StyleGan2>(shape, Placement{backend("cpu")});
  RandomSource random(3, backend("cpu"));
  randomize(*generator.decoder, random, 0.5);
  save_model(folder_ / "generator.safetensors", generator);
  write_squares(folder_ / "images", 0, 5);
  std::ofstream(folder_ / "images" / "broken.png") << "no image";
  write_squares(folder_ / "val", 5, 2);

  config.generator = folder_ / "generator.safetensors";
  config.images = folder_ / "images";
  config.val = folder_ / "val";
  config.iterations = 6;
  config.batch = 2;
  config.lr = 1e-2;
  config.seed = 11;
  config.checkpoint_every = 2;
  config.sample_every = 3;
}

void TinyRun::add_lpips(std::int64_t channels) {
  RandomSource random(5, backend("cpu"));
  SafeTensors file;
  const auto add = [&](const std::string& name, const Shape& shape, double scale) {
    file.tensors[name] = to_file(random.normal(shape) * scale);
  };
  std::int64_t first = 3;
  for (const int layer : {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}) {
    add(text("features.", layer, ".weight"), {channels, first, 3, 3}, 0.3);
    add(text("features.", layer, ".bias"), {channels}, 0.1);
    first = channels;
  }
  for (int layer = 0; layer < 5; ++layer)
    add(text("lin", layer, ".model.1.weight"), {1, channels, 1, 1}, 0.1);
  config.lpips = config.lpips_heads = folder_ / "lpips.safetensors";
  write_safetensors(config.lpips, file);
}

void TinyRun::use_stylegan1() {
  StyleGan1Config shape;
  shape.z_width = shape.latent_width = 12;
  shape.mapping_layers = 2;
  shape.constant_channels = 8;
  shape.channels = {8, 6, 4};
  shape.fused = {false, false, true};
  Model generator;
  generator.decoder = std::make_unique<StyleGan1>(shape, Placement{backend("cpu")});
  RandomSource random(3, backend("cpu"));
  randomize(*generator.decoder, random, 0.5);
  config.generator = folder_ / "stylegan1.safetensors";
  save_model(config.generator, generator);
}

void TinyRun::set_strategy(const std::string& strategy) {
  config.strategy = strategy;
  config.iterations = 3;
  config.stage1_iterations = 3;
}

TrainResult TinyRun::run(const std::string& name, bool resume, TrainOptions options) {
  options.out = out(name);
  options.resume = resume;
  options.log = [this](const std::string& line) { log.push_back(line); };
  return train(config, options, device != nullptr ? *device : backend("cpu"));
}

std::map<std::string, std::string> files_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ostringstream content;
    content << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    files[std::filesystem::relative(entry.path(), folder).string()] = content.str();
  }
  return files;
}

std::string difference(const std::map<std::string, std::string>& a,
                       const std::map<std::string, std::string>& b) {
  std::string out;
  for (const auto& [name, content] : a) {
    const auto other = b.find(name);
    if (other == b.end()) {
      out += name + " only in the first; ";
    } else if (other->second != content) {
      out += name + " differs; ";
    }
  }
  for (const auto& [name, content] : b)
    if (!a.contains(name)) out += name + " only in the second; ";
  return out;
}

}  // namespace om::test
