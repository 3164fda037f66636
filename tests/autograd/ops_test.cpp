// What ops refuse, and how they say it; and the table of cases itself, which must cover every op.
#include "autograd/ops.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/random.h"
#include "tensor/registry.h"
#include "tests/cases/case.h"
#include "tests/harness/message.h"

namespace om {
namespace {

using test::message;

Tensor zeros(const Shape& shape, DType dtype = DType::f32) {
  return Tensor::zeros(shape, dtype, backend("cpu"));
}

TEST(Ops, ErrorsNameTheOpAndTheShapes) {
  EXPECT_EQ(message([] {
              conv2d(zeros({8, 16, 16, 64}), zeros({128, 3, 3, 32}));
            }),
            "conv2d: weight expects I = 64, got 32 (x [8, 16, 16, 64], w [128, 3, 3, 32])");
  EXPECT_EQ(message([] {
              add(zeros({2, 3}), zeros({2, 4}));
            }),
            "add: shapes [2, 3] and [2, 4] do not broadcast");
}

TEST(Ops, RefuseWhatDoesNotFit) {
  const std::pair<const char*, std::function<void()>> refused[] = {
      {"matmul",
       [] {
         matmul(zeros({2, 3}), zeros({2, 3}));
       }},
      {"matmul",
       [] {
         matmul(zeros({3}), zeros({3, 2}));
       }},
      {"matmul",
       [] {
         matmul(zeros({2, 2, 3}), zeros({3, 3, 2}));
       }},
      {"conv2d",
       [] {
         conv2d(zeros({1, 4, 4}), zeros({1, 1, 1, 4}));
       }},
      {"conv2d",
       [] {
         conv2d(zeros({1, 4, 4, 1}), zeros({1, 1, 1, 1}), {.stride_h = 0});
       }},
      {"conv2d",
       [] {
         conv2d(zeros({1, 4, 4, 1}), zeros({1, 1, 1, 1}), {.pad_w = -1});
       }},
      {"conv2d_input_grad",
       [] {
         conv2d_input_grad(zeros({1, 4, 4, 2}), zeros({2, 3, 3, 1}), 9, 8, Conv2d::same(2, 1));
       }},
      {"conv2d_input_grad",
       [] {
         conv2d_input_grad(zeros({1, 4, 4, 2}), zeros({3, 3, 3, 1}), 6, 6);
       }},
      {"conv2d_weight_grad",
       [] {
         conv2d_weight_grad(zeros({1, 4, 4, 2}), zeros({1, 4, 4, 3}), 3, 3);
       }},
      {"conv2d_weight_grad",
       [] {
         conv2d_weight_grad(zeros({2, 4, 4, 2}), zeros({1, 4, 4, 3}), 1, 1);
       }},
      {"upfirdn2d",
       [] {
         upfirdn2d(zeros({1, 4, 4, 2}), zeros({4, 4}), {.up_h = 0});
       }},
      {"upfirdn2d",
       [] {
         upfirdn2d(zeros({1, 4, 4, 2}), zeros({4}), {});
       }},
      {"max_pool2d",
       [] {
         max_pool2d(zeros({1, 4, 4, 2}), {2, 2, 2});
       }},
      {"max_pool2d",
       [] {
         max_pool2d(zeros({1, 4, 4, 2}, DType::i32), {});
       }},
      {"gather",
       [] {
         gather(zeros({2, 3}), zeros({2, 3}));
       }},
      {"gather",
       [] {
         gather(zeros({2, 3}), zeros({3, 3}, DType::i32));
       }},
      {"scatter_add",
       [] {
         scatter_add(zeros({2, 3}), zeros({2, 4}, DType::i32), 5);
       }},
      {"reshape",
       [] {
         reshape(zeros({2, 3}), {7});
       }},
      {"permute",
       [] {
         permute(zeros({2, 3}), {0, 0});
       }},
      {"permute",
       [] {
         permute(zeros({2, 3}), {0});
       }},
      {"slice",
       [] {
         slice(zeros({2, 3}), 1, 2, 2);
       }},
      {"slice",
       [] {
         slice(zeros({2, 3}), 2, 0, 1);
       }},
      {"slice",
       [] {
         slice(zeros({2, 3}), 0, -1, 1);
       }},
      {"pad",
       [] {
         pad(zeros({2, 3}), 0, -1, 0);
       }},
      {"concat", [] { concat({}, 0); }},
      {"concat",
       [] {
         concat({zeros({2, 3}), zeros({3, 2})}, 0);
       }},
      {"concat",
       [] {
         concat({zeros({2}), zeros({2}, DType::f64)}, 0);
       }},
      {"flip",
       [] {
         flip(zeros({2, 3}), {1, -1});
       }},
      {"broadcast",
       [] {
         broadcast(zeros({2, 3}), {2, 1});
       }},
      {"broadcast",
       [] {
         broadcast(zeros({2, 3}), {3});
       }},
      {"sum",
       [] {
         sum(zeros({2, 3}), {2});
       }},
      {"sum",
       [] {
         sum(zeros({2, 3}, DType::i32));
       }},
      {"sum_to",
       [] {
         sum_to(zeros({2, 3}), {2});
       }},
      {"sum_to",
       [] {
         sum_to(zeros({3}), {1, 3});
       }},
      {"where", [] { where(zeros({2}), zeros({2}), zeros({2})); }},
      {"clamp", [] { clamp(zeros({2}), 1, 0); }},
      {"leaky_relu", [] { leaky_relu(zeros({2}), -0.1); }},
      {"exp", [] { exp(zeros({2}, DType::i32)); }},
      {"add", [] { add(zeros({2}), Tensor::zeros({2}, DType::f32, backend("reference"))); }},
  };
  for (const auto& [op, call] : refused) {
    const std::string words = message(call);
    EXPECT_EQ(words.substr(0, words.find(':')), op) << words;
  }
}

TEST(Ops, SizesBeyond64BitsAreErrors) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  const std::pair<const char*, std::function<void()>> refused[] = {
      {"shape",
       [] {
         zeros({std::int64_t{1} << 32, std::int64_t{1} << 32});
       }},
      {"shape",
       [] {
         zeros({0, std::int64_t{1} << 32, std::int64_t{1} << 32});
       }},
      {"tensor", [] { zeros({kHuge}); }},
      {"shape",
       [] {
         reshape(zeros({4}), {std::int64_t{1} << 33, std::int64_t{1} << 31, 1});
       }},
      {"shape",
       [] {
         broadcast(zeros({1, 1}), {kHuge, 4});
       }},
      {"pad", [] { pad(zeros({2}), 0, kHuge, kHuge); }},
      {"slice", [] { slice(zeros({2}), 0, 1, INT64_MAX); }},
      {"concat",
       [] {
         concat({zeros({kHuge, 0}), zeros({kHuge, 0})}, 0);
       }},
      {"conv2d",
       [] {
         conv2d(zeros({1, 4, 4, 1}), zeros({1, 1, 1, 1}), Conv2d::same(1, kHuge));
       }},
      {"conv2d_input_grad",
       [] {
         conv2d_input_grad(zeros({1, 4, 4, 1}), zeros({1, 1, 1, 1}), 4, 4, Conv2d::same(1, kHuge));
       }},
      {"conv2d_weight_grad",
       [] {
         conv2d_weight_grad(zeros({1, 4, 4, 1}), zeros({1, 4, 4, 1}), 1, 1, Conv2d::same(1, kHuge));
       }},
      {"upfirdn2d",
       [] {
         upfirdn2d(zeros({1, 4, 4, 1}), zeros({1, 1}), {.up_h = kHuge});
       }},
      {"upfirdn2d",
       [] {
         upfirdn2d(zeros({1, 4, 4, 1}), zeros({1, 1}), {.pad_top = kHuge, .pad_bottom = kHuge});
       }},
      {"upfirdn2d",
       [] {
         upfirdn2d(zeros({1, 4, 4, 1}), zeros({1, 1}), {.pad_left = INT64_MAX});
       }},
      {"max_pool2d",
       [] {
         max_pool2d(zeros({0, 4, std::int64_t{1} << 20, 1 << 10}), {});
       }},
      {"max_pool2d",
       [] {
         max_pool2d(zeros({1, 4, 4, 1}), {.kernel = 2, .stride = 1, .pad = kHuge});
       }},
  };
  int i = 0;
  for (const auto& [op, call] : refused) {
    const std::string words = message(call);
    EXPECT_EQ(words.substr(0, words.find(':')), op) << "call " << i << ": " << words;
    EXPECT_EQ(words.find('\n'), std::string::npos);
    ++i;
  }
  EXPECT_EQ(zeros({0, kHuge}).elements(), 0);
  EXPECT_EQ(
      max_pool2d(zeros({1, 4, 4, 1}), {.kernel = kHuge >> 8, .stride = INT64_MAX, .ceil_mode = true}).shape(),
      (Shape{1, 1, 1, 1}));
}

TEST(Ops, UndefinedTensorsAreErrors) {
  EXPECT_EQ(message([] { add(Tensor(), zeros({1})); }), "tensor: used before it was given a value");
}

TEST(Ops, FilterMustNotRequireAGradient) {
  const Tensor filter = require_grad(zeros({2, 2}));
  EXPECT_EQ(message([&] {
              upfirdn2d(zeros({1, 4, 4, 1}), filter, {});
            }),
            "upfirdn2d: the filter is a constant; it must not require a gradient");
}

TEST(Random, DrawsRepeatAndDiffer) {
  RandomSource one(7, backend("cpu")), other(7, backend("reference"));
  const auto first = one.normal({5}).to_host<float>();
  const auto second = one.uniform({5}).to_host<float>();
  other.normal({5});
  EXPECT_EQ(other.uniform({5}).to_host<float>(), second);
  EXPECT_NE(first, one.normal({5}).to_host<float>());
  const philox::State state = one.state();
  const auto third = one.normal({3}, DType::f64).to_host<double>();
  one.set_state(state);
  EXPECT_EQ(one.normal({3}, DType::f64).to_host<double>(), third);
}

TEST(Table, CoversEveryOp) {
  std::map<std::string, int> count;
  for (const cases::Case& c : cases::all())
    if (c.drivers != cases::kBenchmark) ++count[c.op()];
  const std::regex declaration("^[A-Z][A-Za-z]* ([a-z_0-9]+)\\(.*");
  int ops = 0;
  for (const char* name : {"ops.h", "fused.h"}) {
    std::ifstream header(std::string(ONEMODEL_SOURCE_DIR) + "/autograd/" + name);
    ASSERT_TRUE(header) << name;
    for (std::string line; std::getline(header, line);) {
      std::smatch match;
      if (!std::regex_match(line, match, declaration)) continue;
      ++ops;
      EXPECT_GE(count[match[1]], 2) << match[1] << " needs at least two cases in tests/cases";
    }
  }
  EXPECT_GT(ops, 45);
}

// By hand, on one pixel: 2 x 3 = 6 from the convolution, u = 0.5 6 + 2 4 - 20 + residual, f(u) = 0.25 u below
// 0.
TEST(Ops, ConvolutionWithWhatStandsBehindIt) {
  Backend& cpu = backend("cpu");
  const auto one = [&](double value, const Shape& shape) {
    return Tensor::full(shape, value, DType::f64, cpu);
  };
  const Shape pixel{1, 1, 1, 1};
  const Tensor x = one(3, pixel), w = one(2, pixel);
  for (const auto& [residual, expected] : {std::pair(1.0, 0.25 * -8 * 3 * 5), std::pair(10.0, 1.0 * 3 * 5)}) {
    const Tensor y = conv2d_activation(x, w, {},
                                       {.scale = one(0.5, {1}),
                                        .bias = one(-20, {1}),
                                        .noise = one(4, pixel),
                                        .strength = one(2, {1}),
                                        .residual = one(residual, pixel),
                                        .slope = 0.25,
                                        .gain = 3,
                                        .factor = one(5, {1})});
    EXPECT_EQ(y.to_host<double>(), std::vector<double>{expected}) << residual;
  }
}

}  // namespace
}  // namespace om
