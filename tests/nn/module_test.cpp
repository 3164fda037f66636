// The module tree: names, aliases, roles, file layouts; and initial values.
#include "nn/module.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nn/batch_norm.h"
#include "nn/conv.h"
#include "nn/initial.h"
#include "nn/modulated_conv.h"
#include "tensor/registry.h"

namespace om {
namespace {

class Pair : public Module {
 public:
  explicit Pair(const Placement& place) : conv(place, {3, 4, 3, 1, 1}, true), norm(place, 4) {
    child("first", conv);
    child("norm", norm);
    child("again", conv);
  }
  Conv conv;
  BatchNorm norm;
};

std::vector<std::string> names_of(const std::vector<Entry>& entries) {
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.push_back(entry.name);
  return names;
}

TEST(Module, NamesEntriesInRegistrationOrder) {
  const Pair pair({backend("cpu")});
  EXPECT_EQ(names_of(pair.entries()),
            (std::vector<std::string>{"first.weight", "first.bias", "norm.weight", "norm.bias",
                                      "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}));
  EXPECT_EQ(names_of(pair.parameters()),
            (std::vector<std::string>{"first.weight", "first.bias", "norm.weight", "norm.bias"}));
}

TEST(Module, AnAliasIsTheSameTensorUnderAnotherName) {
  const Pair pair({backend("cpu")});
  const std::vector<Entry> entries = pair.entries(true);
  ASSERT_EQ(entries.size(), 9U);
  EXPECT_EQ(entries[7].name, "again.weight");
  EXPECT_EQ(entries[7].value.storage(), entries[0].value.storage());
}

TEST(Module, TrainableMakesLeavesOfParametersOnly) {
  Pair pair({backend("cpu")});
  pair.set_trainable(true);
  for (const Entry& entry : pair.entries())
    EXPECT_EQ(entry.value.requires_grad(), entry.role == Role::parameter);
  pair.set_trainable(false);
  for (const Entry& entry : pair.entries()) EXPECT_FALSE(entry.value.requires_grad());
}

TEST(FileLayout, GoesToTheFileAndBack) {
  Backend& cpu = backend("cpu");
  RandomSource random(1, cpu);
  for (const FileLayout* layout :
       {&layouts::plain, &layouts::image, &layouts::conv, &layouts::transposed_conv, &layouts::modulated_conv,
        &layouts::modulated_up_conv}) {
    const Tensor ours = random.normal({2, 3, 4, 5});
    const Tensor file = layout->to_file(ours);
    EXPECT_EQ(file.shape(), layout->to_file(ours.shape()));
    EXPECT_EQ(layout->from_file(file.shape()), ours.shape());
    EXPECT_EQ(layout->from_file(file).to_host<float>(), ours.to_host<float>());
  }
}

TEST(FileLayout, TheRolesPutDimensionsWhereTheyBelong) {
  EXPECT_EQ(layouts::conv.to_file(Shape{8, 3, 5, 2}), (Shape{8, 2, 3, 5}));
  EXPECT_EQ(layouts::modulated_conv.to_file(Shape{8, 3, 5, 2}), (Shape{1, 8, 2, 3, 5}));
  EXPECT_EQ(layouts::modulated_up_conv.to_file(Shape{2, 3, 5, 8}), (Shape{1, 8, 2, 3, 5}));
  EXPECT_THROW(layouts::modulated_conv.from_file(Shape{2, 8, 2, 3, 5}), InputError);
  EXPECT_THROW(layouts::conv.from_file(Shape{8, 2}), InputError);
}

TEST(Placement, ABudgetEndsBeforeMemoryDoes) {
  std::int64_t budget = 100;
  const Placement place{backend("cpu"), DType::f32, &budget};
  place.zeros({10, 9});
  EXPECT_THROW(place.zeros({11}), InputError);
  EXPECT_THROW(place.zeros({std::int64_t{1} << 40, std::int64_t{1} << 40}), InputError);
}

TEST(Initial, FollowsTheFanInOfTheLayersWeight) {
  Backend& cpu = backend("cpu");
  const Pair pair({cpu});
  RandomSource random(3, cpu);
  initialize(pair, random);
  const float bound = 1 / std::sqrt(27.0F);
  for (const Tensor& value : {pair.entries()[0].value, pair.entries()[1].value}) {
    float largest = 0;
    for (const float v : value.to_host<float>()) {
      EXPECT_LE(std::abs(v), bound);
      largest = std::max(largest, std::abs(v));
    }
    EXPECT_GT(largest, bound / 4);
  }
  EXPECT_EQ(pair.entries()[2].value.to_host<float>(), std::vector<float>(4, 1.0F));
}

TEST(BatchNorm, CountsBatchesAndBlendsStatistics) {
  Backend& cpu = backend("cpu");
  BatchNorm norm({cpu}, 1);
  norm.set_training(true);
  norm(Tensor::from_host(std::vector<float>{1, 2, 3, 6}, {2, 1, 2, 1}, cpu));
  const std::vector<Entry> entries = norm.entries();
  EXPECT_FLOAT_EQ(static_cast<float>(entries[2].value.item()), 0.3F);  // 0.1 * mean 3
  EXPECT_NEAR(entries[3].value.item(), 0.9 + 0.1 * 14.0 / 3.0, 1e-6);  // unbiased variance 14 / 3
  EXPECT_EQ(entries[4].value.item(), 1);
}

// Means 3, 4 and 11, unbiased variances 14/3, 8 and 2; whatever stood there before.
TEST(BatchNorm, BlendsByTheMomentumInForceAndDoesNotCount) {
  Backend& cpu = backend("cpu");
  BatchNorm norm({cpu}, 1);
  norm.set_training(true);
  norm(Tensor::from_host(std::vector<float>{70, 90}, {2, 1, 1, 1}, cpu));
  const std::vector<Entry> entries = norm.entries();
  int seen = 0;
  for (const std::vector<float>& batch : {std::vector<float>{1, 2, 3, 6}, {2, 6, 2, 6}, {10, 12, 10, 12}}) {
    const NormMomentum mean(1.0 / ++seen);
    norm(Tensor::from_host(batch, {2, 1, 2, 1}, cpu));
  }
  EXPECT_NEAR(entries[2].value.item(), 6, 1e-6);
  EXPECT_NEAR(entries[3].value.item(), (14.0 / 3 + 16.0 / 3 + 4.0 / 3) / 3, 1e-6);
  EXPECT_EQ(entries[4].value.item(), 1);
  norm(Tensor::from_host(std::vector<float>{16, 16}, {2, 1, 1, 1}, cpu));
  EXPECT_NEAR(entries[2].value.item(), 0.9 * 6 + 0.1 * 16, 1e-5);  // its own again
  EXPECT_EQ(entries[4].value.item(), 2);
}

}  // namespace
}  // namespace om
