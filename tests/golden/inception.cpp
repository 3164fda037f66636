// Golden case of the Inception network and the Fréchet distance: published shapes, weights made from their
// names, features and block means as pytorch-fid computes them; and the distance of two made sets.
#include "models/inception.h"

#include <cmath>
#include <cstring>
#include <iostream>
#include <regex>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tests/golden/golden_case.h"
#include "tests/golden/hash.h"
#include "train/fid.h"

namespace om::golden {
namespace {

/// The published state dict's shapes, module by module.
class PublishedShapes {
 public:
  PublishedShapes() {
    unit("Conv2d_1a_3x3", 3, 32, 3, 3);
    unit("Conv2d_2a_3x3", 32, 32, 3, 3);
    unit("Conv2d_2b_3x3", 32, 64, 3, 3);
    unit("Conv2d_3b_1x1", 64, 80, 1, 1);
    unit("Conv2d_4a_3x3", 80, 192, 3, 3);
    narrow("Mixed_5b.", 192, 32);
    narrow("Mixed_5c.", 256, 64);
    narrow("Mixed_5d.", 288, 64);
    unit("Mixed_6a.branch3x3", 288, 384, 3, 3);
    unit("Mixed_6a.branch3x3dbl_1", 288, 64, 1, 1);
    unit("Mixed_6a.branch3x3dbl_2", 64, 96, 3, 3);
    unit("Mixed_6a.branch3x3dbl_3", 96, 96, 3, 3);
    wide("Mixed_6b.", 128);
    wide("Mixed_6c.", 160);
    wide("Mixed_6d.", 160);
    wide("Mixed_6e.", 192);
    unit("Mixed_7a.branch3x3_1", 768, 192, 1, 1);
    unit("Mixed_7a.branch3x3_2", 192, 320, 3, 3);
    unit("Mixed_7a.branch7x7x3_1", 768, 192, 1, 1);
    unit("Mixed_7a.branch7x7x3_2", 192, 192, 1, 7);
    unit("Mixed_7a.branch7x7x3_3", 192, 192, 7, 1);
    unit("Mixed_7a.branch7x7x3_4", 192, 192, 3, 3);
    last("Mixed_7b.", 1280);
    last("Mixed_7c.", 2048);
  }
  FileShapes shapes;

 private:
  void unit(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t h, std::int64_t w) {
    shapes[name + ".conv.weight"] = {out, in, h, w};
    for (const char* part : {"weight", "bias", "running_mean", "running_var"})
      shapes[name + ".bn." + part] = {out};
  }
  void narrow(const std::string& m, std::int64_t in, std::int64_t pool) {
    unit(m + "branch1x1", in, 64, 1, 1);
    unit(m + "branch5x5_1", in, 48, 1, 1);
    unit(m + "branch5x5_2", 48, 64, 5, 5);
    unit(m + "branch3x3dbl_1", in, 64, 1, 1);
    unit(m + "branch3x3dbl_2", 64, 96, 3, 3);
    unit(m + "branch3x3dbl_3", 96, 96, 3, 3);
    unit(m + "branch_pool", in, pool, 1, 1);
  }
  void wide(const std::string& m, std::int64_t c) {
    unit(m + "branch1x1", 768, 192, 1, 1);
    unit(m + "branch7x7_1", 768, c, 1, 1);
    unit(m + "branch7x7_2", c, c, 1, 7);
    unit(m + "branch7x7_3", c, 192, 7, 1);
    unit(m + "branch7x7dbl_1", 768, c, 1, 1);
    unit(m + "branch7x7dbl_2", c, c, 7, 1);
    unit(m + "branch7x7dbl_3", c, c, 1, 7);
    unit(m + "branch7x7dbl_4", c, c, 7, 1);
    unit(m + "branch7x7dbl_5", c, 192, 1, 7);
    unit(m + "branch_pool", 768, 192, 1, 1);
  }
  void last(const std::string& m, std::int64_t in) {
    unit(m + "branch1x1", in, 320, 1, 1);
    unit(m + "branch3x3_1", in, 384, 1, 1);
    unit(m + "branch3x3_2a", 384, 384, 1, 3);
    unit(m + "branch3x3_2b", 384, 384, 3, 1);
    unit(m + "branch3x3dbl_1", in, 448, 1, 1);
    unit(m + "branch3x3dbl_2", 448, 384, 3, 3);
    unit(m + "branch3x3dbl_3a", 384, 384, 1, 3);
    unit(m + "branch3x3dbl_3b", 384, 384, 3, 1);
    unit(m + "branch_pool", in, 192, 1, 1);
  }
};

void fill_from_names(const Inception& inception, const FileShapes& shapes, Backend& backend) {
  for (const Entry& entry : inception.entries()) {
    if (entry.name.ends_with("num_batches_tracked")) continue;
    const Shape& shape = shapes.at(entry.name);
    std::vector<float> values = hash_weight(entry.name, shape);
    if (entry.name.ends_with(".bn.weight") || entry.name.ends_with(".bn.running_var"))
      for (float& value : values) value += 1;
    entry.value.assign(entry.layout.from_file(Tensor::from_host(values, shape, backend)));
  }
}

/// The one number of a tensor, in double where the file has it so.
double scalar(const FileTensor& tensor) {
  if (tensor.type != FileType::f64) return static_cast<double>(to_f32(tensor).at(0));
  double value = 0;
  std::memcpy(&value, tensor.data.data(), sizeof value);
  return value;
}

/// The sets that the metadata describes, formed in float32.
std::vector<FeatureStatistics> described_sets(const std::string& description) {
  static const std::regex pattern(
      R"(.*A = hash uniform '(.+)' \[(\d+), (\d+)\]; of B = float32\(([0-9.]+) \* hash uniform '(.+)' )"
      R"(\[(\d+), (\d+)\] \+ ([0-9.]+) \* hash uniform '(.+)' \[(\d+)\]\).*)");
  std::smatch found;
  if (!std::regex_match(description, found, pattern))
    fail<InputError>("golden: cannot read the sets '", description, "'");
  const std::int64_t width = std::stoll(found[3]);
  const std::vector<float> a = hash_uniform(found[1], std::stoll(found[2]) * width);
  std::vector<float> b = hash_uniform(found[5], std::stoll(found[6]) * width);
  const std::vector<float> shift = hash_uniform(found[9], width);
  const float factor = std::stof(found[4]), part = std::stof(found[8]);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = factor * b[i] + part * shift[i % shift.size()];
  return {FeatureStatistics::of_features(a, width), FeatureStatistics::of_features(b, width)};
}

}  // namespace

void run_inception(const Case& c, Backend& backend) {
  const FileShapes shapes = PublishedShapes().shapes;
  const Inception inception(shapes, {backend});
  EXPECT_EQ(inception.features(), 2048);
  fill_from_names(inception, shapes, backend);

  static const std::regex quoted(".*'(.+)'.*"), sizes(R"(\[(\d+), (\d+), (\d+), (\d+)\])");
  std::smatch name, size;
  const std::string &images = c.metadata("images"), &extents = c.metadata("shape");
  ASSERT_TRUE(std::regex_match(images, name, quoted)) << images;
  ASSERT_TRUE(std::regex_match(extents, size, sizes)) << extents;
  const Shape shape{std::stoll(size[1]), std::stoll(size[2]), std::stoll(size[3]), std::stoll(size[4])};
  const NoGrad no_grad;
  const Tensor image =
      layouts::image.from_file(Tensor::from_host(hash_uniform(name[1], shape.elements()), shape, backend));
  const std::vector<Tensor> stages = inception.stages((image + 1) / 2);
  ASSERT_EQ(stages.size(), 4U);
  for (std::size_t i = 0; i < 3; ++i) {
    const Tensor means = mean(stages[i], {1, 2});
    expect_close(c, text("block", i, "_mean"), reshape(means, {means.size(0), means.size(3)}), 1e-4);
  }
  expect_close(c, "features", stages.back(), 1e-4);

  const std::vector<FeatureStatistics> sets = described_sets(c.metadata("sets"));
  const double distance = frechet_distance(sets[0], sets[1]);
  const double reference = scalar(c.file_tensor("frechet_distance"));
  std::cout << "  frechet_distance: " << distance / reference - 1 << " relative\n";
  EXPECT_LE(std::abs(distance / reference - 1), 1e-6);
}

}  // namespace om::golden
