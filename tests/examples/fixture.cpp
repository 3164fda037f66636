#include "tests/examples/fixture.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include "io/image.h"
#include "io/model_file.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/io/scratch_folder.h"

namespace om::test {
namespace {

ScratchFolder* folder = nullptr;

std::unique_ptr<Decoder> random_generator(bool noise_and_average) {
  StyleGan2Config config;
  config.z_width = config.latent_width = 8;
  config.mapping_layers = 2;
  config.constant_channels = 6;
  config.channels = {6, 5, 4};
  config.stored_noise = config.latent_average = noise_and_average;
  RandomSource random(3, backend("cpu"));
  auto generator = std::make_unique<StyleGan2>(config, Placement{backend("cpu")});
  randomize(*generator, random, 0.5);
  for (const Tensor& map : generator->stored_noise()) map.assign(random.normal(map.shape()));
  if (noise_and_average) generator->latent_average().assign(random.normal({8}));
  return generator;
}

void save_models(const std::string& generator, const std::string& both, Projection projection) {
  Model model;
  model.decoder = random_generator(true);
  save_model(generator, model);
  const EncoderConfig config = EncoderConfig::for_decoder(*model.decoder, projection, 1);
  model.encoder = std::make_unique<Encoder>(config, Placement{backend("cpu")});
  RandomSource random(4, backend("cpu"));
  initialize(*model.encoder, random);
  save_model(both, model);
}

Image picture(int height, int width, int phase) {
  Image image(height, width);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c)
        image.at(y, x, c) =
            static_cast<std::uint8_t>(127 + 120 * std::sin(phase + 4.0 * y / height + (c + 2.0) * x / width));
  return image;
}

void write_text(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

void ProgramTest::SetUpTestSuite() {
  folder = new ScratchFolder;
  save_models(path("generator.safetensors"), path("model.safetensors"), Projection::wplus);
  save_models(path("generator.safetensors"), path("z-model.safetensors"), Projection::z);
  Model bare;
  bare.decoder = random_generator(false);
  save_model(path("bare.safetensors"), bare);

  for (const char* name : {"photos", "mixed", "broken", "empty"})
    std::filesystem::create_directory(path(name));
  write_png(path("photos/one.png"), picture(16, 16, 0));
  write_jpeg(path("photos/two.jpg"), picture(40, 25, 1), 95);
  write_png(path("photos/three.png"), picture(9, 33, 2));
  write_png(path("mixed/good.png"), picture(20, 20, 3));
  const std::string cut = content(path("mixed/good.png")).substr(0, 100);
  for (const char* name : {"mixed/broken.png", "broken/broken.png", "broken.png"})
    write_text(path(name), cut);
  write_text(path("text.txt"), "no checkpoint\n");
}

void ProgramTest::TearDownTestSuite() {
  delete folder;
  folder = nullptr;
}

std::string ProgramTest::path(const std::string& name) { return (*folder / name).string(); }

std::string ProgramTest::content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

std::map<std::string, std::string> ProgramTest::folder_content(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.is_regular_file()) files[entry.path().filename().string()] = content(entry.path().string());
  return files;
}

std::vector<float> ProgramTest::floats(const SafeTensors& file, const std::string& name) {
  const auto found = file.tensors.find(name);
  EXPECT_NE(found, file.tensors.end()) << name;
  return found == file.tensors.end() ? std::vector<float>() : to_f32(found->second);
}

void ProgramTest::save(const std::string& name, const std::map<std::string, FileTensor>& tensors) {
  write_safetensors(path(name), {tensors, {}});
}

FileTensor ProgramTest::waves(std::vector<std::int64_t> shape, double frequency) {
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(std::sin(frequency * (static_cast<double>(i) + 1)));
  return make_file_tensor(std::move(shape), values);
}

}  // namespace om::test
