// The paper's tables: networks against folders of images, by PSNR, SSIM and FID (tables 1 and 3-5), and for
// denoising by the strength of the noise (table 2).
//
// Each image is resized to the network's size, goes through it, and is measured against its input. FID
// compares the 8-bit pictures that come out with the inputs at that size, and in the authors' variant the
// images before they are clamped. Grey results are measured against grey inputs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/denoise.h"
#include "train/evaluate.h"
#include "train/feature_set.h"
#include "train/picture_flow.h"

namespace om {

struct EvalData {
  std::string name;
  std::vector<std::filesystem::path> files;
};

struct EvalTask {
  std::vector<double> sigmas = {};  ///< of the noise to remove; none: reconstruction
  DenoiseSettings noise = {};
  std::uint64_t seed = 0;
  std::optional<std::int64_t> batch = {};  ///< pictures computed together; unset: the backend's default
};

/// What is measured: any network from pictures to pictures of one size.
struct EvalNetwork {
  std::string name;
  std::int64_t side = 0;               ///< pixels
  std::int64_t largest_map_bytes = 0;  ///< of one picture in float32, for the default batch
  /// Its forward gives one output, the images [N, S, S, 3] about [-1, 1], not clamped.
  Inference::Work work = {};
};

/// An autoencoder's reconstructions, with the noise maps that it predicts. The model must outlive it.
EvalNetwork network_of(const std::string& name, const Autoencoder& model, std::uint64_t seed,
                       Backend& backend);

/// Numbers are empty where they were not measured or are undefined.
struct EvalRow {
  std::string model, data;
  std::optional<double> sigma;
  std::string noise_at;  ///< empty without noise
  std::int64_t images = 0;
  std::optional<double> psnr, ssim, ssim_wang, fid, fid_authors;
};

/// The noisy input's name among the models.
inline constexpr const char* kInputName = "input";

class Evaluation {
 public:
  /// Without a network FID is not measured.
  Evaluation(std::vector<EvalData> data, EvalTask task, const FidNetwork* network, FeatureCache cache,
             Backend& backend, ImageHooks hooks);

  /// Measures one network on all data. InputError where a folder holds no readable image.
  void run(const EvalNetwork& network);

  /// By data, then sigma, then model as they were run, the noisy input first.
  std::vector<EvalRow> rows() const;
  /// How many images a second the models reconstructed, by name.
  const std::vector<std::pair<std::string, double>>& speeds() const { return speeds_; }

 private:
  struct Set;
  struct Place {
    std::size_t data, sigma;
    bool is_model;  // after the inputs
    std::size_t number;
    auto operator<=>(const Place&) const = default;
  };

  Inference::Work measured(Inference::Work work, bool with_input) const;
  void run_on(std::size_t data, std::size_t sigma, std::int64_t side, Inference& inference, bool with_input);
  const FeatureStatistics& inputs_of(std::size_t data, std::int64_t side, FidVariant variant);
  EvalRow row_of(std::size_t data, std::size_t sigma, const std::string& name, std::int64_t side,
                 const Set& set);

  std::vector<EvalData> data_;
  EvalTask task_;
  const FidNetwork* network_;
  FeatureCache cache_;
  Backend& backend_;
  ImageHooks hooks_;
  std::map<Place, EvalRow> rows_;
  std::map<std::tuple<std::size_t, std::int64_t, FidVariant>, FeatureStatistics> inputs_;
  std::vector<std::pair<std::string, double>> speeds_;
  std::vector<std::string> models_;
  std::vector<std::int64_t> input_sides_;  // sizes whose noisy inputs are measured
  std::int64_t images_ = 0;                // of the model that runs
};

/// The rows as a table for people, with `notes` below, and for machines.
std::string text_table(const std::vector<EvalRow>& rows, bool with_network,
                       const std::vector<std::string>& notes);
std::string csv_table(const std::vector<EvalRow>& rows);
std::string json_table(const std::vector<EvalRow>& rows);

}  // namespace om
