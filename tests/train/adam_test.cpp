// Adam and the schedule against torch.optim.Adam, clip_grad_norm_ and CosineAnnealingLR (torch 2.15,
// float32): two groups, five steps, one parameter without a gradient in the first step and one with gradients
// in only two. The cpu has kernels for many arrays at once, the reference runs the composed form.
#include "train/adam.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tensor/registry.h"
#include "train/schedule.h"

namespace om {
namespace {

const char* place = "cpu";  // the backend of values()

Tensor values(const Shape& shape, int seed, double scale = 1) {
  std::vector<float> out;
  for (int i = 0; i < shape.elements(); ++i)
    out.push_back(static_cast<float>(((i * 37 + seed * 11) % 29 - 14) / 16.0 * scale));
  return Tensor::from_host(out, shape, backend(place));
}

struct Problem {
  std::vector<Entry> entries = {{"a", values({2, 3}, 1), {}, Role::parameter},
                                {"b", values({3}, 2), {}, Role::parameter},
                                {"c", values({4}, 3), {}, Role::parameter},
                                {"d", values({2}, 4), {}, Role::parameter}};
  Adam adam{{{"first", {entries[0], entries[1]}, 1e-2}, {"second", {entries[2], entries[3]}, 3e-3}},
            {.beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-1, .clip_norm = 1}};

  std::vector<Tensor> step(int s) {
    const CosineSchedule first{1e-2, 1e-4, 5}, second{3e-3, 1e-4, 5};
    adam.set_lr(0, first.at(s));
    adam.set_lr(1, second.at(s));
    return adam.step({values({2, 3}, 10 + s, 2), s == 0 ? Tensor() : values({3}, 20 + s, 0.5),
                      values({4}, 30 + s, 0.1), s == 1 || s == 3 ? values({2}, 40 + s, 0.1) : Tensor()});
  }
};

void expect_near(const Tensor& tensor, const std::vector<double>& expected) {
  const std::vector<float> got = tensor.to_host<float>();
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], 3e-7 + 3e-7 * std::abs(expected[i])) << i;
}

void expect_torchs_steps() {
  Problem problem;
  const std::vector<std::vector<double>> norms = {{2.744312286376953, 0.10212584584951401},
                                                  {2.4443013668060303, 0.12038350850343704},
                                                  {2.6190407276153564, 0.11456438899040222},
                                                  {2.8189163208007812, 0.10383279621601105},
                                                  {2.181912422180176, 0.10364452749490738}};
  for (int s = 0; s < 5; ++s) {
    const std::vector<Tensor> got = problem.step(s);
    for (std::size_t g = 0; g < 2; ++g)
      EXPECT_NEAR(got[g].item(), norms[static_cast<std::size_t>(s)][g],
                  1e-6 * norms[static_cast<std::size_t>(s)][g]);
  }
  expect_near(problem.entries[0].value,
              {-0.195182249, 0.324187458, 0.81707108, -0.49735269, -0.00921534561, 0.503681242});
  expect_near(problem.entries[1].value, {0.485416323, -0.794781446, -0.308136076});
  expect_near(problem.entries[2].value, {-0.6172387, -0.124282695, 0.368839979, 0.865539193});
  expect_near(problem.entries[3].value, {0.0603017285, 0.558783829});

  const std::vector<Adam::State> state = problem.adam.state();
  EXPECT_EQ(state[0].steps, 5);
  EXPECT_EQ(state[1].steps, 4);
  EXPECT_EQ(state[2].steps, 5);
  EXPECT_EQ(state[3].steps, 2);
  expect_near(state[1].first, {-0.00842715055, -0.134799764, 0.00900065526});
  expect_near(state[3].first, {-0.00794865377, 0.0670513436});
  expect_near(state[3].second, {9.89900514e-07, 1.96716883e-05});
}

TEST(Adam, StepsAsTorchDoes) { expect_torchs_steps(); }

TEST(Adam, StepsAsTorchDoesComposedToo) {
  place = "reference";
  expect_torchs_steps();
  place = "cpu";
}

/// Many sizes (several tiles, none), both dtypes, with and without clipping, decay and beta1.
TEST(Adam, FusedIsTheComposedForm) {
  const AdamOptions choices[] = {{},
                                 {.beta1 = 0, .eps = 1e-3, .weight_decay = 0, .clip_norm = 0},
                                 {.beta1 = 0.9, .weight_decay = 0.3, .clip_norm = 1e-3}};
  for (const DType dtype : {DType::f32, DType::f64})
    for (const AdamOptions& options : choices) {
      std::vector<std::vector<double>> found[2];
      for (int b = 0; b < 2; ++b) {
        Backend& on = backend(b == 0 ? "reference" : "cpu");
        const auto wave = [&](std::int64_t count, double phase) {
          std::vector<double> x(static_cast<std::size_t>(count));
          for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(phase + 0.7 * static_cast<double>(i));
          return cast(Tensor::from_host(x, {count}, on), dtype);
        };
        ParameterGroup first{"first", {}, 1e-2}, second{"second", {}, 1e-3};
        const std::int64_t counts[] = {0, 1, 16385, 40000, 7};
        std::vector<Tensor> parameters;
        for (std::size_t i = 0; i < 5; ++i) {
          parameters.push_back(wave(counts[i], static_cast<double>(i)));
          (i < 3 ? first : second).parameters.push_back({text("p", i), parameters[i], {}, Role::parameter});
        }
        Adam adam({first, second}, options);
        for (int s = 0; s < 3; ++s) {
          std::vector<Tensor> gradients;
          for (std::size_t i = 0; i < 5; ++i)
            gradients.push_back(i == 4 && s == 1 ? Tensor()
                                                 : wave(counts[i], 10.0 * s + static_cast<double>(i)));
          for (const Tensor& norm : adam.step(gradients)) found[b].push_back({norm.item()});
        }
        for (const Tensor& p : parameters) found[b].push_back(cast(p, DType::f64).to_host<double>());
      }
      const double tolerance = dtype == DType::f64 ? 1e-13 : 2e-6;
      ASSERT_EQ(found[0].size(), found[1].size());
      for (std::size_t i = 0; i < found[0].size(); ++i)
        for (std::size_t j = 0; j < found[0][i].size(); ++j)
          ASSERT_LE(std::abs(found[1][i][j] - found[0][i][j]), tolerance * (1 + std::abs(found[0][i][j])))
              << i << ", " << j;
    }
}

TEST(Adam, ANormThatIsNoNumberReachesTheParameters) {
  for (const char* name : {"cpu", "reference"}) {
    place = name;
    Problem problem;
    const Tensor nan = Tensor::full({2, 3}, std::nan(""), DType::f32, backend(name));
    problem.adam.step({nan, Tensor(), Tensor(), Tensor()});
    EXPECT_TRUE(std::isnan(problem.entries[0].value.to_host<float>()[0])) << name;
  }
  place = "cpu";
}

TEST(Adam, ContinuesFromItsStateToTheBit) {
  Problem whole, before, after;
  for (int s = 0; s < 5; ++s) whole.step(s);
  for (int s = 0; s < 2; ++s) before.step(s);
  after.adam.set_state(before.adam.state());
  for (std::size_t i = 0; i < 4; ++i) after.entries[i].value.assign(before.entries[i].value);
  for (int s = 2; s < 5; ++s) after.step(s);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(whole.entries[i].value.to_host<float>(), after.entries[i].value.to_host<float>());
    EXPECT_EQ(whole.adam.state()[i].steps, after.adam.state()[i].steps);
  }
}

TEST(Adam, LeavesAParameterWithoutAGradientAlone) {
  Problem problem;
  const std::vector<float> before = problem.entries[3].value.to_host<float>();
  problem.step(0);
  EXPECT_EQ(problem.entries[3].value.to_host<float>(), before);
  EXPECT_EQ(problem.adam.state()[3].steps, 0);
  EXPECT_FALSE(problem.adam.state()[3].first.defined());
}

// Large parameters are updated in blocks; every element must see the same arithmetic.
TEST(Adam, UpdatesLargeParametersWhole) {
  const std::int64_t count = 200'003;
  const Tensor p = Tensor::full({count}, 0.5, DType::f32, backend("cpu"));
  Adam adam({{"all", {{"p", p, {}, Role::parameter}}, 1e-2}}, {});
  adam.step({Tensor::full({count}, 0.25, DType::f32, backend("cpu"))});
  const std::vector<float> got = p.to_host<float>();
  EXPECT_NEAR(got[0], 0.49, 1e-6);
  for (const float x : got) ASSERT_EQ(x, got[0]);
}

// Near its constants: a norm and a limit of the size of the 1e-6 beside it, and second moments whose roots
// are of the size of eps. In closed form, in double: after one step m = (1 - b1) g, v = (1 - b2) g^2, so both
// corrections cancel and p -= rate g / (|g| + eps).
TEST(Adam, KeepsItsConstants) {
  for (const char* name : {"cpu", "reference"}) {
    SCOPED_TRACE(name);
    const double g = 2e-6, clip = 1e-6, eps = 1e-8, rate = 1e-2;
    const Tensor p = Tensor::full({1}, 0.5, DType::f64, backend(name));
    Adam adam({{"all", {{"p", p, {}, Role::parameter}}, rate}},
              {.beta1 = 0.5, .beta2 = 0.999, .eps = eps, .weight_decay = 0, .clip_norm = clip});
    adam.step({Tensor::full({1}, g, DType::f64, backend(name))});
    const double clipped = g * clip / (g + 1e-6);
    EXPECT_NEAR(p.to_host<double>()[0], 0.5 - rate * clipped / (clipped + eps), 1e-12);

    const Tensor q = Tensor::full({1}, 0.5, DType::f64, backend(name));
    Adam small({{"all", {{"q", q, {}, Role::parameter}}, rate}},
               {.beta1 = 0.5, .beta2 = 0.999, .eps = eps, .weight_decay = 0, .clip_norm = 0});
    small.step({Tensor::full({1}, 3e-8, DType::f64, backend(name))});
    EXPECT_NEAR(q.to_host<double>()[0], 0.5 - rate * 3 / 4, 1e-12);

    // below the limit nothing is clipped, at all
    const Tensor r = Tensor::full({1}, 0.5, DType::f64, backend(name));
    Adam large({{"all", {{"r", r, {}, Role::parameter}}, rate}},
               {.beta1 = 0.5, .beta2 = 0.999, .eps = 1, .weight_decay = 0, .clip_norm = 1});
    large.step({Tensor::full({1}, 0.999, DType::f64, backend(name))});
    EXPECT_NEAR(r.to_host<double>()[0], 0.5 - rate * 0.999 / 1.999, 1e-12);
  }
}

TEST(Adam, RefusesWhatDoesNotFit) {
  Problem problem;
  EXPECT_THROW(problem.adam.step({values({2, 3}, 1)}), Error);
  EXPECT_THROW(problem.adam.step({values({3, 2}, 1), {}, {}, {}}), Error);
  EXPECT_THROW(Adam({}, {}), UsageError);
}

TEST(Schedule, IsTorchsCosine) {
  const CosineSchedule schedule{1e-2, 1e-4, 5};
  const std::vector<double> expected = {0.01, 0.00905463412215599, 0.006579634122155991,
                                        0.0035203658778440107, 0.0010453658778440107};
  for (std::size_t t = 0; t < expected.size(); ++t)
    EXPECT_NEAR(schedule.at(static_cast<std::int64_t>(t)), expected[t], 1e-16);
  EXPECT_DOUBLE_EQ(schedule.at(5), 1e-4);
  // the lowest rate against one that is hardly larger
  const CosineSchedule flat{3e-8, 1e-8, 4};
  EXPECT_NEAR(flat.at(2), 2e-8, 1e-20);
  EXPECT_NEAR(flat.at(4), 1e-8, 1e-20);
  EXPECT_DOUBLE_EQ(schedule.at(6), 1e-4);
}

}  // namespace
}  // namespace om
