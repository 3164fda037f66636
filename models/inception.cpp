#include "models/inception.h"

#include "autograd/fused.h"
#include "autograd/ops.h"
#include "nn/folded_conv.h"
#include "nn/resample.h"

namespace om {
namespace {

constexpr const char* kModel = "Inception";
constexpr std::int64_t kSide = 299;

/// A convolution by its name; the kernel's size and the channels stand in the file.
struct UnitSpec {
  std::string name;
  std::int64_t stride = 1;
  bool padded = true;  ///< by half the kernel
};

enum class PoolKind : std::uint8_t { none, average, max, halving_max };

/// A pooling where there is one, units one after the other, then `ends` side by side.
struct Branch {
  PoolKind pool = PoolKind::none;
  std::vector<UnitSpec> units = {};
  std::vector<UnitSpec> ends = {};
};

/// A module whose branches' results are concatenated.
struct MixedSpec {
  std::string name;
  std::vector<Branch> branches;
};

/// At 35 x 35.
MixedSpec narrow_mixed(std::string name) {
  return {std::move(name),
          {{.units = {{"branch1x1"}}},
           {.units = {{"branch5x5_1"}, {"branch5x5_2"}}},
           {.units = {{"branch3x3dbl_1"}, {"branch3x3dbl_2"}, {"branch3x3dbl_3"}}},
           {.pool = PoolKind::average, .units = {{"branch_pool"}}}}};
}

/// At 17 x 17, 7x7 convolutions as 1x7 and 7x1.
MixedSpec wide_mixed(std::string name) {
  return {std::move(name),
          {{.units = {{"branch1x1"}}},
           {.units = {{"branch7x7_1"}, {"branch7x7_2"}, {"branch7x7_3"}}},
           {.units = {{"branch7x7dbl_1"},
                      {"branch7x7dbl_2"},
                      {"branch7x7dbl_3"},
                      {"branch7x7dbl_4"},
                      {"branch7x7dbl_5"}}},
           {.pool = PoolKind::average, .units = {{"branch_pool"}}}}};
}

/// At 8 x 8.
MixedSpec last_mixed(std::string name, PoolKind pool) {
  return {std::move(name),
          {{.units = {{"branch1x1"}}},
           {.units = {{"branch3x3_1"}}, .ends = {{"branch3x3_2a"}, {"branch3x3_2b"}}},
           {.units = {{"branch3x3dbl_1"}, {"branch3x3dbl_2"}},
            .ends = {{"branch3x3dbl_3a"}, {"branch3x3dbl_3b"}}},
           {.pool = pool, .units = {{"branch_pool"}}}}};
}

constexpr std::int64_t kHalve = 2;
constexpr bool kValid = false;
constexpr std::size_t kFirstPoolAfter = 2, kBlock2EndsAt = 7;  // Conv2d_2b_3x3, Mixed_6e

const std::vector<UnitSpec> kStem = {{"Conv2d_1a_3x3", kHalve, kValid},
                                     {"Conv2d_2a_3x3", 1, kValid},
                                     {"Conv2d_2b_3x3"},
                                     {"Conv2d_3b_1x1"},
                                     {"Conv2d_4a_3x3", 1, kValid}};

const std::vector<MixedSpec>& mixed_specs() {
  static const std::vector<MixedSpec> specs = {
      narrow_mixed("Mixed_5b"),
      narrow_mixed("Mixed_5c"),
      narrow_mixed("Mixed_5d"),
      {"Mixed_6a",
       {{.units = {{"branch3x3", kHalve, kValid}}},
        {.units = {{"branch3x3dbl_1"}, {"branch3x3dbl_2"}, {"branch3x3dbl_3", kHalve, kValid}}},
        {.pool = PoolKind::halving_max}}},
      wide_mixed("Mixed_6b"),
      wide_mixed("Mixed_6c"),
      wide_mixed("Mixed_6d"),
      wide_mixed("Mixed_6e"),
      {"Mixed_7a",
       {{.units = {{"branch3x3_1"}, {"branch3x3_2", kHalve, kValid}}},
        {.units =
             {{"branch7x7x3_1"}, {"branch7x7x3_2"}, {"branch7x7x3_3"}, {"branch7x7x3_4", kHalve, kValid}}},
        {.pool = PoolKind::halving_max}}},
      last_mixed("Mixed_7b", PoolKind::average),
      last_mixed("Mixed_7c", PoolKind::max)};
  return specs;
}

Tensor pooled(const Tensor& x, PoolKind kind) {
  switch (kind) {
    case PoolKind::none: return x;
    case PoolKind::average: return average_pool3(x);
    case PoolKind::max: return max_pool2d(x, {3, 1, 1, false});
    case PoolKind::halving_max: return max_pool2d(x, {3, 2, 0, false});
  }
  return x;
}

}  // namespace

/// Convolution without bias, batch norm with eps 1e-3, relu.
class Inception::Unit : public Module {
 public:
  Unit(const FileShapes& shapes, const std::string& prefix, const UnitSpec& spec, const Placement& place)
      : shape_(require_shape(shapes, kModel, prefix + spec.name + ".conv.weight", 4)),
        weight_(parameter("conv.weight", place.zeros(layouts::conv.from_file(shape_)), layouts::conv)),
        norm_(place, shape_[0], 1e-3) {
    child("bn", norm_);
    const Conv2d options{spec.stride, spec.stride, spec.padded ? shape_[2] / 2 : 0,
                         spec.padded ? shape_[3] / 2 : 0};
    conv_ = std::make_unique<FoldedConv>(weight_, Tensor(), options, norm_);
  }

  std::int64_t outputs() const { return shape_[0]; }
  Tensor operator()(const Tensor& x) const { return (*conv_)(x, {.slope = 0}); }

 private:
  Shape shape_;  // in the file
  Tensor weight_;
  BatchNorm norm_;
  std::unique_ptr<FoldedConv> conv_;
};

class Inception::Mixed : public Module {
 public:
  Mixed(const FileShapes& shapes, const MixedSpec& spec, const Placement& place) : spec_(spec) {
    for (const Branch& branch : spec.branches)
      for (const auto* units : {&branch.units, &branch.ends})
        for (const UnitSpec& unit : *units) {
          units_.push_back(std::make_unique<Unit>(shapes, spec.name + ".", unit, place));
          child(unit.name, *units_.back());
        }
  }

  std::int64_t outputs() const {  // of a module without a pooled branch of its own
    std::int64_t total = 0;
    std::size_t next = 0;
    for (const Branch& branch : spec_.branches) {
      next += branch.units.size();
      if (branch.ends.empty()) total += units_[next - 1]->outputs();
      for (std::size_t i = 0; i < branch.ends.size(); ++i) total += units_[next++]->outputs();
    }
    return total;
  }

  Tensor operator()(const Tensor& x) const {
    std::vector<Tensor> parts;
    std::size_t next = 0;
    for (const Branch& branch : spec_.branches) {
      Tensor y = pooled(x, branch.pool);
      for (std::size_t i = 0; i < branch.units.size(); ++i) y = (*units_[next++])(y);
      if (branch.ends.empty()) parts.push_back(y);
      for (std::size_t i = 0; i < branch.ends.size(); ++i) parts.push_back((*units_[next++])(y));
    }
    return concat(parts, 3);
  }

 private:
  const MixedSpec& spec_;
  List<Unit> units_;
};

Inception::Inception(const FileShapes& shapes, const Placement& place) {
  if (shapes.contains("AuxLogits.conv0.conv.weight"))
    fail<InputError>(kModel,
                     ": the weights are torchvision's own (they hold AuxLogits), FID takes those of "
                     "pytorch-fid");
  for (const UnitSpec& spec : kStem) {
    stem_.push_back(std::make_unique<Unit>(shapes, "", spec, place));
    child(spec.name, *stem_.back());
  }
  for (const MixedSpec& spec : mixed_specs()) {
    mixed_.push_back(std::make_unique<Mixed>(shapes, spec, place));
    child(spec.name, *mixed_.back());
  }
}

Inception::~Inception() = default;

std::int64_t Inception::features() const { return mixed_.back()->outputs(); }

std::vector<Tensor> Inception::stages(const Tensor& image) const {
  if (image.rank() != 4 || image.size(3) != 3)
    fail(kModel, ": expects images [N, H, W, 3], got ", image.shape());
  std::vector<Tensor> stages;
  Tensor x = resize_linear(image, kSide, kSide) * 2 - 1;
  for (std::size_t i = 0; i < stem_.size(); ++i) {
    x = (*stem_[i])(x);
    if (i != kFirstPoolAfter && i + 1 != stem_.size()) continue;
    x = pooled(x, PoolKind::halving_max);
    stages.push_back(x);
  }
  for (std::size_t i = 0; i < mixed_.size(); ++i) {
    x = (*mixed_[i])(x);
    if (i == kBlock2EndsAt) stages.push_back(x);
  }
  const Tensor features = mean(x, {1, 2});
  stages.push_back(reshape(features, {features.size(0), features.size(3)}));
  return stages;
}

}  // namespace om
