// A golden case: inputs and outputs of the reference implementation (the authors' and NVIDIA's PyTorch code,
// float32 on a CPU) in one safetensors file whose metadata names the kind of case and the checkpoint beside
// it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "io/model_file.h"
#include "io/safetensors.h"

namespace om::golden {

class Case {
 public:
  explicit Case(std::filesystem::path file);

  std::string name() const { return file_.stem().string(); }
  const std::string& kind() const { return metadata("case"); }
  /// Error where the case does not say.
  const std::string& metadata(const std::string& key) const;
  std::string metadata_or(const std::string& key, const std::string& fallback) const;
  bool has_metadata(const std::string& key) const { return content_.metadata.contains(key); }
  /// The file beside the case that its metadata names.
  std::string beside(const std::string& key) const { return (file_.parent_path() / metadata(key)).string(); }
  std::string checkpoint() const { return beside("checkpoint"); }
  /// The checkpoint's encoder (or two of them) and generator, into Z where the case's `kind` says so.
  std::unique_ptr<Autoencoder> autoencoder(Backend& backend) const;

  bool has(const std::string& name) const { return content_.tensors.contains(name); }
  const FileTensor& file_tensor(const std::string& name) const;
  /// In the library's order on `backend`: images and maps [N, C, H, W] become [N, H, W, C].
  Tensor tensor(const std::string& name, Backend& backend) const;
  /// NAME.0, NAME.1, .. as far as there are any.
  std::vector<Tensor> list(const std::string& name, Backend& backend) const;
  std::vector<std::string> names() const;

 private:
  std::filesystem::path file_;
  SafeTensors content_;
};

/// ONEMODEL_GOLDEN, else the project's tests/golden.
std::string case_folder();
/// Every case there, sorted by name.
std::vector<std::filesystem::path> case_files();

/// Values of a tensor in the file's order.
std::vector<float> in_file_order(const Tensor& tensor);

/// max |a - b| <= tolerance * max |b| and every number finite, with the figures in the message and on stdout.
void expect_close(const std::string& what, const std::vector<float>& actual,
                  const std::vector<float>& reference, double tolerance);
/// The same for a tensor of the case.
void expect_close(const Case& c, const std::string& name, const Tensor& actual, double tolerance);

void run_stylegan1(const Case& c, Backend& backend);
void run_stylegan2(const Case& c, Backend& backend);
/// NVIDIA's pickles: stylegan2-ada and stylegan2-tf.
void run_pickled_generator(const Case& c, Backend& backend);
void run_encoder(const Case& c, Backend& backend);
void run_training(const Case& c, Backend& backend);
void run_inception(const Case& c, Backend& backend);
void run_ops(const Case& c, Backend& backend);
void run_lpips(const Case& c, Backend& backend);

/// Of no case: recorded work against work that runs as it is.
void run_replayed_reconstruction(Backend& backend);
void run_replayed_training(Backend& backend);
/// A step's memory as a dry run says it, against the allocator's own count.
void run_predicted_memory(Backend& backend);

}  // namespace om::golden
