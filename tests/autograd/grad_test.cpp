// grad() itself: what it refuses, what it releases, how gradients of several paths and dtypes meet.
#include "autograd/grad.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "autograd/fused.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/record.h"
#include "tensor/registry.h"

namespace om {
namespace {

Tensor leaf(const std::vector<double>& numbers, const Shape& shape) {
  return require_grad(Tensor::from_host(numbers, shape, backend("cpu")));
}
Tensor leaf(const std::vector<double>& numbers) {
  return leaf(numbers, {static_cast<std::int64_t>(numbers.size())});
}
std::vector<double> host(const Tensor& x) { return x.to_host<double>(); }

/// EXPECTs that body throws an Error whose message holds every part.
template <class Body>
void expect_error(Body&& body, std::initializer_list<const char*> parts) {
  try {
    body();
    ADD_FAILURE() << "expected an error";
  } catch (const Error& error) {
    for (const char* part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << " lacks " << part;
  }
}

TEST(Grad, AddsUpOverPaths) {
  const Tensor x = leaf({2, 3});
  const Tensor y = x * x + 4.0 * x;  // reached three times
  EXPECT_EQ(host(grad({sum(y)}, {x})[0]), (std::vector<double>{8, 10}));
}

TEST(Grad, SumsSeveralOutputs) {
  const Tensor x = leaf({2, 3});
  EXPECT_EQ(host(grad({sum(x * 2.0), sum(square(x))}, {x})[0]), (std::vector<double>{6, 8}));
}

TEST(Grad, WeightsOutputs) {
  const Tensor x = leaf({2, 3});
  const Tensor r = Tensor::from_host(std::vector<double>{10, 100}, {2}, backend("cpu"));
  EXPECT_EQ(host(grad({square(x)}, {x}, {.output_gradients = {r}})[0]), (std::vector<double>{40, 600}));
}

TEST(Grad, OfAnIntermediate) {
  const Tensor x = leaf({2, 3});
  const Tensor h = square(x);
  const auto gradients = grad({sum(h * h)}, {h, x});
  EXPECT_EQ(host(gradients[0]), (std::vector<double>{8, 18}));
  EXPECT_EQ(host(gradients[1]), (std::vector<double>{32, 108}));
}

TEST(Grad, OfAnOutputItself) {
  const Tensor x = leaf({2});
  const Tensor y = square(x);
  const auto gradients = grad({y}, {y, x});
  EXPECT_EQ(host(gradients[0]), std::vector<double>{1});
  EXPECT_EQ(host(gradients[1]), std::vector<double>{4});
}

TEST(Grad, OfAnOutputGivenTwice) {
  const Tensor x = leaf({3});
  const Tensor y = square(x);
  EXPECT_EQ(host(grad({y, y}, {x})[0]), std::vector<double>{12});
}

TEST(Grad, ThroughSharedAndLongChains) {
  Tensor y = leaf({1});
  const Tensor x = y;
  for (int i = 0; i < 60; ++i) y = y + y;  // 2^60 paths
  EXPECT_EQ(host(grad({y}, {x})[0])[0], std::pow(2.0, 60));
  Tensor chain = x;
  for (int i = 0; i < 200000; ++i) chain = chain + 1.0;  // must neither recurse here nor when it is freed
  EXPECT_EQ(host(grad({chain}, {x}, {.keep_graph = true})[0])[0], 1);
}

TEST(Grad, TellsOfFinalGradientsInTheirOrder) {
  const Tensor a = leaf({2}), b = leaf({3}), c = leaf({5}), unused = leaf({7});
  const Tensor early = a * a, first = early * b, second = a * c;
  const Tensor late = first + second;  // c's is final first, then b's, a's last
  std::vector<std::size_t> told;
  std::vector<double> values;
  GradOptions options{.allow_unused = true};
  options.when_final = [&](std::size_t input, Tensor& gradient) {
    told.push_back(input);
    values.push_back(host(gradient)[0]);
  };
  std::set<std::size_t> known;
  options.when_known = [&](const std::vector<std::size_t>& inputs) {
    EXPECT_TRUE(told.empty());
    known.insert(inputs.begin(), inputs.end());
    EXPECT_EQ(known.size(), inputs.size());
  };
  const std::vector<Tensor> g = grad({sum(late)}, {unused, a, b, c, a}, options);
  EXPECT_EQ(known, (std::set<std::size_t>{1, 2, 3}));
  EXPECT_EQ(told, (std::vector<std::size_t>{3, 2, 1}));
  EXPECT_EQ(values, (std::vector<double>{2, 4, 17}));
  EXPECT_FALSE(g[0].defined());
  EXPECT_EQ(host(g[4]), (std::vector<double>{17}));
}

TEST(Grad, FinalGradientsMayBeReplaced) {
  const Tensor x = leaf({2, 3}), y = leaf({5, 7});
  GradOptions options;
  options.when_final = [&](std::size_t input, Tensor& gradient) {
    if (input == 1) gradient = gradient * 10.0;
  };
  const std::vector<Tensor> g = grad({sum(x * y)}, {x, y}, options);
  EXPECT_EQ(host(g[0]), (std::vector<double>{5, 7}));
  EXPECT_EQ(host(g[1]), (std::vector<double>{20, 30}));
}

// A sum hands the same gradient to both of its sides; to write one's in place would change the other's.
TEST(Grad, TellsWhetherAFinalGradientIsShared) {
  const Tensor x = leaf({2, 3}), y = leaf({5, 7}), z = leaf({1, 4});
  std::map<std::size_t, bool> sole;
  GradOptions options;
  options.when_final = [&](std::size_t input, Tensor& gradient) {
    sole[input] = gradient.sole_owner();
    const Tensor own = sole[input] ? gradient : gradient.clone();
    own.fill(100);
    gradient = own;
  };
  // y's gradient is final while the same array still is that of x * x; z's is its own
  const std::vector<Tensor> g = grad({sum((x * x + y) * z)}, {x, y, z}, options);
  EXPECT_FALSE(sole.at(1));
  EXPECT_TRUE(sole.at(2));
  for (const Tensor& each : g) EXPECT_EQ(host(each), (std::vector<double>{100, 100}));
  options.when_final = [&](std::size_t input, Tensor& gradient) {
    if (input == 1) (gradient.sole_owner() ? gradient : gradient = gradient.clone()).fill(100);
  };
  EXPECT_EQ(host(grad({sum((x * x + y) * z)}, {x, y, z}, options)[0]), (std::vector<double>{4, 24}));
}

TEST(Grad, TellsOfAnOutputThatIsAnInput) {
  const Tensor x = leaf({3});
  std::vector<std::size_t> told;
  GradOptions options;
  options.when_final = [&](std::size_t input, Tensor&) { told.push_back(input); };
  std::vector<std::size_t> known;
  options.when_known = [&](const std::vector<std::size_t>& inputs) { known = inputs; };
  grad({sum(x)}, {x}, options);
  EXPECT_EQ(told, (std::vector<std::size_t>{0}));
  const Tensor y = square(x);
  told.clear();
  grad({y}, {y, x}, options);
  EXPECT_EQ(told, (std::vector<std::size_t>{1, 0}));
}

TEST(Grad, FinalGradientsAreNotRecorded) {
  const Tensor x = leaf({3});
  GradOptions options{.create_graph = true};
  options.when_final = [](std::size_t, Tensor&) {};
  expect_error([&] { grad({sum(square(x))}, {x}, options); }, {"when_final", "create_graph"});
}

TEST(Grad, NeedsAScalarOrOutputGradients) {
  const Tensor x = leaf({2, 3});
  expect_error([&] { grad({square(x)}, {x}); }, {"[2]", "single element"});
}

TEST(Grad, ChecksOutputGradients) {
  const Tensor x = leaf({2, 3});
  const auto with = [&](const Tensor& r) { grad({square(x)}, {x}, {.output_gradients = {r}}); };
  expect_error([&] { with(Tensor::zeros({3}, DType::f64, backend("cpu"))); }, {"[3]", "[2]"});
  expect_error([&] { with(Tensor::zeros({2}, DType::f32, backend("cpu"))); }, {"f32", "f64"});
  expect_error(
      [&] {
        grad({sum(x), sum(x)}, {x}, {.output_gradients = {Tensor()}});
      },
      {"2 output gradients"});
}

TEST(Grad, RefusesAnInputWithoutGradient) {
  const Tensor x = leaf({2}), c = Tensor::full({1}, 3, DType::f64, backend("cpu"));
  expect_error([&] { grad({x * c}, {c}); }, {"input 0", "does not require a gradient"});
}

TEST(Grad, UnusedInputs) {
  const Tensor x = leaf({2}), unused = leaf({5});
  expect_error([&] { grad({square(x)}, {x, unused}); }, {"do not depend on input 1"});
  const auto gradients = grad({square(x)}, {x, unused}, {.allow_unused = true});
  EXPECT_TRUE(gradients[0].defined());
  EXPECT_FALSE(gradients[1].defined());
}

TEST(Grad, RequiresAFloatingLeaf) {
  expect_error([] { require_grad(Tensor::zeros({2}, DType::i32, backend("cpu"))); }, {"i32"});
}

TEST(Grad, ReleasesTheGraph) {
  const Tensor x = leaf({2});
  const Tensor y = square(x) * 3.0;
  grad({y}, {x});
  expect_error([&] { grad({y}, {x}); }, {"affine", "released", "keep_graph"});
}

TEST(Grad, ReleaseFreesWhatWasKept) {
  const Tensor x = leaf({2});
  std::weak_ptr<Storage> kept;
  Tensor y;
  {
    const Tensor h = exp(x);
    kept = h.storage();
    y = square(h);
  }
  EXPECT_FALSE(kept.expired());
  grad({y}, {x});
  EXPECT_TRUE(kept.expired());
}

TEST(Grad, NothingKeepsATensorWithoutItsGraph) {
  // A kept output is stored without its node; a cycle here would leak every activation.
  std::weak_ptr<Node> node;
  {
    const Tensor y = exp(leaf({2}));
    node = y.node();
  }
  EXPECT_TRUE(node.expired());
}

TEST(Grad, KeepsTheGraphOnRequest) {
  const Tensor x = leaf({2});
  const Tensor y = square(x);
  EXPECT_EQ(host(grad({y}, {x}, {.keep_graph = true})[0]), std::vector<double>{4});
  EXPECT_EQ(host(grad({y}, {x})[0]), std::vector<double>{4});
  const Tensor z = square(x);
  EXPECT_EQ(host(grad({z}, {x}, {.create_graph = true})[0]), std::vector<double>{4});
  EXPECT_EQ(host(grad({z}, {x})[0]), std::vector<double>{4});
}

TEST(Grad, GradientsRecordOnlyOnRequest) {
  const Tensor x = leaf({2});
  const Tensor y = square(x) * x;
  EXPECT_FALSE(grad({y}, {x}, {.keep_graph = true})[0].requires_grad());
  const Tensor first = grad({y}, {x}, {.create_graph = true})[0];
  ASSERT_TRUE(first.requires_grad());
  const Tensor second = grad({first}, {x}, {.create_graph = true})[0];
  EXPECT_DOUBLE_EQ(host(second)[0], 12);  // (x^3)'' = 6 x
  EXPECT_DOUBLE_EQ(host(grad({second}, {x})[0])[0], 6);
}

TEST(Grad, SecondDerivativeReachesTheOutputGradient) {
  const Tensor x = leaf({2, 3}), r = leaf({1, 5});
  const Tensor g = grad({square(x)}, {x}, {.output_gradients = {r}, .create_graph = true})[0];
  EXPECT_EQ(host(grad({sum(g)}, {r})[0]), (std::vector<double>{4, 6}));
}

TEST(Grad, NoGradScope) {
  const Tensor x = leaf({2});
  {
    const NoGrad off;
    EXPECT_FALSE(square(x).requires_grad());
    { const NoGrad nested; }
    EXPECT_FALSE(square(x).requires_grad());
  }
  EXPECT_TRUE(square(x).requires_grad());
}

TEST(Grad, RecordsAgainAfterAnErrorInARule) {
  const Tensor x = leaf({2});
  const Tensor y = square(x);
  x.fill(7);
  EXPECT_THROW(grad({y}, {x}), Error);
  EXPECT_TRUE(square(x).requires_grad());
}

TEST(Grad, AskingForGradientsInsideNoGradWorks) {
  const Tensor x = leaf({2});
  const Tensor y = square(x);
  const NoGrad off;
  EXPECT_EQ(host(grad({y}, {x})[0]), std::vector<double>{4});
}

TEST(Grad, DetachedTensorsStopGradients) {
  const Tensor x = leaf({2});
  EXPECT_EQ(host(grad({square(x).detach() * x}, {x})[0]), std::vector<double>{4});
}

TEST(Grad, OverwrittenKeptTensors) {
  const Tensor x = leaf({2});
  const Tensor y = square(x);
  x.fill(5);
  expect_error([&] { grad({y}, {x}); }, {"square", "kept input", "overwritten"});
  const Tensor e = exp(x);
  e.fill(1);
  expect_error([&] { grad({e}, {x}); }, {"exp", "kept output", "overwritten"});
  const Tensor a = x + x;  // add keeps nothing
  x.fill(1);
  EXPECT_EQ(host(grad({a}, {x})[0]), std::vector<double>{2});
}

TEST(Grad, OverwrittenConstantsOfRules) {
  const Tensor x = leaf({1, 2, 3, 4}, {1, 4});
  const auto constant = [](DType dtype) { return Tensor::full({1, 4}, 1, dtype, backend("cpu")); };
  const Tensor mask = constant(DType::u8), index = constant(DType::i32), slope = constant(DType::f64);
  const Tensor filter = constant(DType::f64);
  const Tensor chosen = where(mask, x, x * 2.0), picked = gather(x, index), put = scatter_add(x, index, 4),
               leaky = leaky_relu_grad(x, slope, 0.2),
               filtered = upfirdn2d(reshape(x, {1, 2, 2, 1}), filter, {.pad_left = 3, .pad_right = 3});
  for (const Tensor& constant : {mask, index, slope, filter}) constant.fill(0);
  for (const Tensor& y : {chosen, picked, put, leaky, filtered})
    expect_error([&] { grad({sum(y)}, {x}, {.keep_graph = true}); }, {"overwritten"});
}

TEST(Grad, OverwrittenStatisticsOfBatchNorm) {
  const Tensor x = leaf({1, 2, 3, 7}, {1, 2, 2, 1}), one = leaf({1}), zero = leaf({0});
  for (const char* which : {"mean", "variance"}) {
    const BatchNormResult result = batch_norm(x, one, zero, {});
    const auto slope = [&] { return host(grad({sum(result.y * x)}, {x}, {.keep_graph = true})[0]); };
    const std::vector<double> before = slope();
    (which[0] == 'm' ? result.mean : result.variance).fill(100);
    try {
      EXPECT_EQ(slope(), before) << which;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("overwritten"), std::string::npos) << error.what();
    }
  }
}

TEST(Grad, IsNotForRules) {
  const Tensor x = leaf({2});
  const Tensor y = record("greedy", x.clone(), {x}, keep_input(0), [](const Saved& s, const Tensor& g) {
    return Gradients{grad({square(s.input(0))}, {s.input(0)}, {.output_gradients = {g}})[0]};
  });
  expect_error([&] { grad({y}, {x}); }, {"grad", "rule of greedy"});
  EXPECT_EQ(host(grad({square(x)}, {x})[0]), std::vector<double>{4});  // the next call is free again
}

TEST(Grad, AbsentOperandsKeepTheirPlace) {
  const Tensor x = leaf({2});
  const Tensor y = record("second", x.clone(), {Tensor(), x}, keep_input(0) | keep_input(1),
                          [](const Saved& s, const Tensor& g) {
                            EXPECT_FALSE(s.needs(0));
                            EXPECT_FALSE(s.has(0));
                            EXPECT_TRUE(s.has(1));
                            return Gradients{Tensor(), g * s.input(1)};
                          });
  EXPECT_EQ(host(grad({y}, {x})[0]), std::vector<double>{2});
}

TEST(Grad, PowersAreFlatWhereTheyAreNumbers) {
  const Tensor x = leaf({0, 2});
  const double derivatives[][4] = {{0, 0, 0, 0}, {1, 0, 0, 0}, {0, 2, 0, 0}, {0, 0, 6, 0}};  // at 0
  for (int exponent = 0; exponent < 4; ++exponent) {
    Tensor y = power(x, exponent);
    for (int order = 0; order < 4; ++order) {
      y = grad({sum(y)}, {x}, {.create_graph = true})[0];
      EXPECT_EQ(host(y)[0], derivatives[exponent][order]) << "x^" << exponent << ", derivative " << order + 1;
      EXPECT_TRUE(std::isfinite(host(y)[1]));
      if (!y.requires_grad()) break;
    }
  }
}

TEST(Grad, ReshapeSharesTheVersion) {
  const Tensor x = leaf({1, 2});
  const Tensor y = square(x);
  reshape(x, {2, 1}).fill(3);
  expect_error([&] { grad({sum(y)}, {x}); }, {"overwritten"});
}

TEST(Grad, KeepsNoMoreThanTheGradientsNeed) {
  // A frozen weight's convolution must not keep its input.
  Backend& cpu = backend("cpu");
  const Tensor w = Tensor::full({2, 1, 1, 2}, 0.5, DType::f64, cpu);
  std::weak_ptr<Storage> input;
  Tensor y;
  {
    const Tensor x = affine(leaf({1, 2}, {1, 1, 1, 2}), 2, 0);
    input = x.storage();
    y = conv2d(x, w);
  }
  EXPECT_TRUE(input.expired());
  EXPECT_TRUE(y.requires_grad());
}

TEST(Grad, GradientsHaveTheirInputsDType) {
  Backend& cpu = backend("cpu");
  const Tensor narrow = require_grad(Tensor::full({3}, 2, DType::bf16, cpu));
  const Tensor single = require_grad(Tensor::full({3}, 3, DType::f32, cpu));
  const Tensor wide = require_grad(Tensor::full({3}, 4, DType::f64, cpu));
  EXPECT_EQ((narrow * narrow).dtype(), DType::bf16);
  EXPECT_EQ((narrow * single).dtype(), DType::f32);
  const Tensor y = narrow * single * wide;
  EXPECT_EQ(y.dtype(), DType::f64);
  const auto gradients = grad({sum(y)}, {narrow, single, wide});
  EXPECT_EQ(gradients[0].dtype(), DType::bf16);
  EXPECT_EQ(gradients[1].dtype(), DType::f32);
  EXPECT_EQ(gradients[2].dtype(), DType::f64);
  EXPECT_EQ(static_cast<float>(gradients[0].to_host<BFloat16>()[0]), 12);
  EXPECT_EQ(gradients[1].to_host<float>()[0], 8);
  EXPECT_EQ(host(gradients[2])[0], 6);
}

TEST(Grad, SumsOfBf16AreFloat) {
  const Tensor x = require_grad(Tensor::full({1000}, 1.0078125, DType::bf16, backend("cpu")));
  const Tensor total = sum(x);
  EXPECT_EQ(total.dtype(), DType::f32);
  EXPECT_FLOAT_EQ(static_cast<float>(total.item()), 1007.8125F);
  EXPECT_EQ(grad({total}, {x})[0].dtype(), DType::bf16);
}

}  // namespace
}  // namespace om
