// Small files that every test of the program works on: random 16-pixel models and a handful of images.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "io/safetensors.h"
#include "models/stylegan2.h"

namespace om::test {

class ProgramTest : public testing::Test {
 protected:
  static constexpr std::int64_t kSize = 16, kLatents = 6, kWidth = 8;

  static void SetUpTestSuite();
  static void TearDownTestSuite();

  /// A path in the suite's folder, which holds
  ///   generator.safetensors  with stored noise and a latent average
  ///   bare.safetensors       a generator without either
  ///   model.safetensors      an encoder and that first generator
  ///   z-model.safetensors    the same into z
  ///   photos/                one.png, two.jpg (other sizes), three.png
  ///   mixed/                 good.png, broken.png
  ///   broken.png, broken/broken.png, empty/, text.txt
  static std::string path(const std::string& name);

  /// The bytes of a file.
  static std::string content(const std::string& path);
  /// Files of a folder by name, with their bytes.
  static std::map<std::string, std::string> folder_content(const std::string& path);
  static std::vector<float> floats(const SafeTensors& file, const std::string& name);
  static void save(const std::string& name, const std::map<std::string, FileTensor>& tensors);
  /// count values of sin, of no meaning.
  static FileTensor waves(std::vector<std::int64_t> shape, double frequency);
};

}  // namespace om::test
