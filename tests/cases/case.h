// The one table of cases that conformance, gradient check and benchmark read. A case is a function of
// tensors, the inputs to try it on, and what may be claimed of it; each family of ops fills one file of this
// folder.
//
// A case's name is OP/VARIANT ("conv2d/stride2_pad1"). Cases of a primitive op call that op alone, so that a
// broken derivative rule fails the op's own cases; what is composed of several goes under "composed/". Cases
// of "kernel/" (tests/cases/kernels.h) call the backend's kernels directly.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "tests/harness/comparison.h"

namespace om::cases {

/// How an input's numbers are drawn. Every draw is a pure function of the case's name, the input's position
/// and a seed.
struct Input {
  enum class Kind : std::uint8_t {
    normal,    ///< standard normal
    uniform,   ///< in [low, high)
    distinct,  ///< evenly spaced over [low, high], shuffled: no ties
    grid,      ///< multiples of 1/16 in [low, high): exact in every floating dtype
    values,    ///< as listed
    integer,   ///< integers in [low, high)
    index,     ///< i32, integers in [low, high)
    mask,      ///< u8, 0 or 1
  };
  Kind kind = Kind::normal;
  Shape shape = {};
  double low = 0, high = 1;
  std::vector<double> values = {};
  std::vector<double> kinks = {};  ///< normal and uniform numbers within 0.05 of one are drawn again
  bool differentiable = true;
  bool full = false;                ///< f32 where the case runs in bf16
  std::optional<DType> dtype = {};  ///< its own, whatever dtype the case runs in
  bool exact = false;               ///< rounded to bf16: the same numbers in every floating dtype
};

Input normal(const Shape& shape);
Input normal_away_from(std::vector<double> kinks, const Shape& shape);
Input uniform(const Shape& shape, double low, double high);
/// With an `offset` of 0.5, no value equals one of distinct(shape) either.
Input distinct(const Shape& shape, double offset = 0);
Input grid(const Shape& shape);
Input values(const Shape& shape, std::vector<double> numbers);
Input index(const Shape& shape, std::int64_t size);
Input mask(const Shape& shape);
Input integers(const Shape& shape, double low, double high);
/// The same numbers, but no gradient is asked for.
Input fixed(Input input);
/// The same, but in f32 beside bf16: a coefficient, a statistic, a latent.
Input full(Input input);
/// The same numbers in a dtype of their own.
Input of_dtype(DType dtype, Input input);
/// The same in every floating dtype.
Input exact(Input input);

using Inputs = std::vector<Tensor>;
using Function = std::function<Tensor(const Inputs&)>;

/// Which drivers read a case.
enum Drivers : std::uint8_t { kConformance = 1, kGradcheck = 2, kBenchmark = 4 };

struct Case {
  std::string name = {};
  std::vector<Input> inputs = {};
  Function function = {};
  /// How often differentiable: 0, 1 or 2 times.
  int order = 2;
  /// Those that the case runs in.
  std::vector<DType> dtypes = {DType::f32, DType::f64, DType::bf16};
  /// Others that it needs beside its inputs': its result's.
  std::vector<DType> also = {};
  /// Largest error against the reference, which runs in double (or in the same dtype: see below). Integers
  /// must be equal.
  double tolerance = 2e-6;       ///< in f32
  double tolerance_f64 = 1e-12;  ///< in f64
  double tolerance_bf16 = 0.02;  ///< in bf16; 0: not run in bf16, unless `exact`
  harness::Rule::Scale scale = harness::Rule::Scale::largest;  ///< what tolerances are relative to
  /// The reference runs in the same dtype and every number must be equal.
  bool exact = false;
  std::uint8_t drivers = kConformance | kGradcheck;
  /// Step of the central differences, relative to max(1, |x|); 0: the driver's.
  double step = 0;
  /// Kinks inside the function: the gradient check may draw this many times more.
  int redraws = 0;
  /// The result may hold NaN or infinities, at the reference's places.
  bool nonfinite = false;
  /// Work of one call, for the benchmark; 0: one operation per element of the result; inputs and result once.
  double flops = 0, bytes = 0;

  /// The op whose rule this case tests: the name up to the last slash.
  std::string op() const { return name.substr(0, name.rfind('/')); }
};

/// All cases. Error on a repeated name.
const std::vector<Case>& all();

/// A dtype that the case needs to run in `dtype` and that the backend lacks.
std::optional<DType> lacking(const Case& c, DType dtype, const Backend& backend);

/// One family each, in the file of that name.
std::vector<Case> elementwise_cases();
std::vector<Case> shape_cases();
std::vector<Case> reduction_cases();
std::vector<Case> matmul_cases();
std::vector<Case> conv_cases();
std::vector<Case> filter_cases();
std::vector<Case> indexing_cases();
std::vector<Case> fused_cases();
std::vector<Case> composed_cases();
std::vector<Case> layer_cases();  ///< names begin with "nn/"
std::vector<Case> elementwise_kernel_cases();
std::vector<Case> moving_kernel_cases();
std::vector<Case> image_kernel_cases();
std::vector<Case> product_kernel_cases();
std::vector<Case> benchmark_cases();

/// Host numbers of each input, rounded to what `dtype` holds.
std::vector<std::vector<double>> draw(const Case& c, DType dtype, std::uint64_t seed = 0);
/// Numbers that every floating dtype holds exactly, with magnitude in [1/2, 2): the r of r . f(x).
std::vector<double> draw_weights(std::int64_t count, std::uint64_t seed);

/// Tensors of drawn numbers on a backend: floating inputs in `dtype`.
Inputs tensors(const Case& c, const std::vector<std::vector<double>>& numbers, DType dtype, Backend& backend);
Tensor tensor(const std::vector<double>& numbers, const Shape& shape, DType dtype, Backend& backend);
/// Elements of a tensor of any dtype.
std::vector<double> numbers_of(const Tensor& x);

}  // namespace om::cases
