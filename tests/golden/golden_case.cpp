#include "tests/golden/golden_case.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "autograd/ops.h"
#include "tests/harness/comparison.h"

namespace om::golden {

Case::Case(std::filesystem::path file) : file_(std::move(file)), content_(read_safetensors(file_.string())) {}

const std::string& Case::metadata(const std::string& key) const {
  const auto found = content_.metadata.find(key);
  if (found == content_.metadata.end()) fail<InputError>(file_.string(), ": its metadata has no '", key, "'");
  return found->second;
}

std::string Case::metadata_or(const std::string& key, const std::string& fallback) const {
  const auto found = content_.metadata.find(key);
  return found == content_.metadata.end() ? fallback : found->second;
}

std::unique_ptr<Autoencoder> Case::autoencoder(Backend& backend) const {
  Model model = load_model(read_checkpoint(checkpoint()), backend,
                           metadata("kind") == "z" ? Projection::z : Projection::wplus);
  if (!model.encoder || !model.decoder) fail<InputError>(checkpoint(), ": expects encoder and generator");
  return std::make_unique<Autoencoder>(std::move(model.encoder), std::move(model.decoder),
                                       std::move(model.noise_encoder));
}

const FileTensor& Case::file_tensor(const std::string& name) const {
  const auto found = content_.tensors.find(name);
  if (found == content_.tensors.end()) fail<InputError>(file_.string(), ": no tensor ", name);
  return found->second;
}

Tensor Case::tensor(const std::string& name, Backend& backend) const {
  const FileTensor& file = file_tensor(name);
  return from_file(file, file.shape.size() == 4 ? layouts::image : layouts::plain, backend);
}

std::vector<Tensor> Case::list(const std::string& name, Backend& backend) const {
  std::vector<Tensor> tensors;
  for (int i = 0; has(text(name, ".", i)); ++i) tensors.push_back(tensor(text(name, ".", i), backend));
  return tensors;
}

std::vector<std::string> Case::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : content_.tensors) names.push_back(name);
  return names;
}

std::string case_folder() {
  const char* folder = std::getenv("ONEMODEL_GOLDEN");
  return folder != nullptr ? folder : ONEMODEL_GOLDEN_DEFAULT;
}

std::vector<std::filesystem::path> case_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(case_folder()))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<float> in_file_order(const Tensor& tensor) {
  return to_f32(to_file(tensor, tensor.rank() == 4 ? layouts::image : layouts::plain));
}

void expect_close(const std::string& what, const std::vector<float>& actual,
                  const std::vector<float>& reference, double tolerance) {
  const std::vector<double> a = harness::as_doubles(actual), b = harness::as_doubles(reference);
  std::cout << "  " << what << ": " << harness::relative_error(a, b) << " of the largest\n";
  EXPECT_EQ(harness::difference(a, b, {.tolerance = tolerance}), "") << what;
}

void expect_close(const Case& c, const std::string& name, const Tensor& actual, double tolerance) {
  expect_close(name, in_file_order(actual), to_f32(c.file_tensor(name)), tolerance);
}

}  // namespace om::golden
