#include "tests/gradcheck/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "autograd/grad.h"
#include "autograd/node.h"

namespace om::gradcheck {
namespace {

using cases::Case;
using cases::Inputs;
using Vector = std::vector<double>;
using Vectors = std::vector<Vector>;

constexpr std::size_t kAllElements = 256;  // inputs up to this size are checked at every element
constexpr std::size_t kSomeElements = 48;
constexpr std::uint64_t kDirections = 8;
constexpr double kStep = 1e-5;  // truncation (h^2) and rounding (eps / h) both stay near 1e-10

/// A function of several vectors, and the claimed gradient of weights . function at a point.
struct Claim {
  std::function<Vectors(const Vectors&)> function;
  Vectors point;
  Vectors weights;           // one per result
  std::vector<bool> wanted;  // per vector of the point
  Vectors gradient;          // per vector of the point; empty where not wanted
  double step = 0;
};

double largest(const Vector& numbers) {
  double result = 0;
  for (const double number : numbers) result = std::max(result, std::abs(number));
  return result;
}

/// d (weights . function) / d step along `direction` from the claim's point, both of whose ends are
/// evaluated.
double slope(const Claim& claim, std::size_t input, const Vector& direction, double step) {
  Vectors before = claim.point, after = claim.point;
  for (std::size_t e = 0; e < direction.size(); ++e) {
    before[input][e] -= step * direction[e];
    after[input][e] += step * direction[e];
  }
  const Vectors low = claim.function(before), high = claim.function(after);
  double sum = 0;  // of differences: a difference of sums would lose digits to elements that do not move
  for (std::size_t i = 0; i < low.size(); ++i)
    for (std::size_t e = 0; e < low[i].size(); ++e) sum += claim.weights[i][e] * (high[i][e] - low[i][e]);
  return sum / (2 * step);
}

struct Difference {
  std::string where;
  double claimed, measured, scale;
};

/// What an input's claimed gradient and the measured slopes differ by, element by element or along
/// directions.
std::vector<Difference> differences(const Claim& claim, std::size_t input) {
  const Vector& gradient = claim.gradient[input];
  const std::size_t count = gradient.size();
  const auto name = [&](const char* what, std::size_t e) {
    return text("input ", input, ", ", what, " ", e);
  };
  std::vector<Difference> found;
  double scale = largest(gradient);
  for (std::size_t k = 0; k < (count <= kAllElements ? count : kSomeElements); ++k) {
    const std::size_t e = count <= kAllElements ? k : (k * 2654435761ULL + 1) % count;
    Vector direction(count, 0.0);
    direction[e] = 1;
    const double step = claim.step > 0 ? claim.step : kStep * std::max(1.0, std::abs(claim.point[input][e]));
    const double measured = slope(claim, input, direction, step);
    found.push_back({name("element", e), gradient[e], measured, 0});
    scale = std::max(scale, std::abs(measured));
  }
  for (Difference& difference : found) difference.scale = scale;
  if (count <= kAllElements) return found;

  for (std::uint64_t d = 0; d < kDirections; ++d) {
    Vector direction = cases::draw_weights(static_cast<std::int64_t>(count), 77 + d);
    double norm = 0, claimed = 0, gradient_norm = 0;
    for (std::size_t e = 0; e < count; ++e) norm += direction[e] * direction[e];
    for (std::size_t e = 0; e < count; ++e) {
      direction[e] /= std::sqrt(norm);
      claimed += gradient[e] * direction[e];
      gradient_norm += gradient[e] * gradient[e];
    }
    // A random direction meets a gradient of length l with a slope of about l / sqrt(count).
    const double expected = std::sqrt(gradient_norm / static_cast<double>(count));
    found.push_back({name("direction", d), claimed, slope(claim, input, direction, kStep),
                     std::max(expected, std::abs(claimed))});
  }
  return found;
}

Report verify(const Claim& claim) {
  double overall = 1e-30;
  for (const Vector& gradient : claim.gradient) overall = std::max(overall, largest(gradient));
  Report report;
  for (std::size_t i = 0; i < claim.point.size(); ++i) {
    if (!claim.wanted[i]) continue;
    for (const Difference& d : differences(claim, i)) {
      const double scale = std::max(d.scale, 1e-3 * overall);  // a gradient of zeros has no scale of its own
      const double error = std::abs(d.claimed - d.measured) / scale;
      if (error <= report.error) continue;  // NaN goes on
      report.error = std::isnan(error) ? HUGE_VAL : error;
      report.where = text(d.where, ": claimed ", d.claimed, ", measured ", d.measured);
    }
  }
  return report;
}

std::set<std::string> recorded_ops(const std::vector<Tensor>& results) {
  std::set<std::string> ops;
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> pending;
  for (const Tensor& result : results) pending.push_back(result.node().get());
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    if (node == nullptr || !seen.insert(node).second) continue;
    if (!node->inputs.empty()) ops.insert(node->op);
    for (const auto& input : node->inputs) pending.push_back(input.get());
  }
  return ops;
}

std::vector<bool> wanted(const Case& c) {
  std::vector<bool> result;
  for (const cases::Input& input : c.inputs) result.push_back(input.differentiable);
  return result;
}

/// The case at a point: inputs marked where `mark` says, the result, and r.
struct Evaluation {
  Evaluation(const Case& c, const Vectors& point, Backend& backend, const std::vector<bool>& mark)
      : inputs(cases::tensors(c, point, DType::f64, backend)) {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (mark[i]) marked.push_back(require_grad(inputs[i]));
    result = c.function(inputs);
  }
  /// The gradients of r . result with respect to the marked inputs.
  std::vector<Tensor> gradients(const Tensor& r, const GradOptions& options = {}) const {
    GradOptions all = options;
    all.output_gradients = {r};
    return grad({result}, marked, all);
  }
  Inputs inputs;
  std::vector<Tensor> marked;
  Tensor result;
};

Tensor like(const Tensor& x, const Vector& numbers) {
  return cases::tensor(numbers, x.shape(), x.dtype(), x.backend());
}

/// One vector per input, from gradients of the marked ones alone.
Vectors spread(const std::vector<Tensor>& gradients, const std::vector<bool>& mark) {
  Vectors result(mark.size());
  for (std::size_t i = 0, next = 0; i < mark.size(); ++i)
    if (mark[i]) result[i] = cases::numbers_of(gradients[next++]);
  return result;
}

/// An input's gradient must not depend on whether others are marked or asked for.
void check_subsets(const Case& c, const Vectors& point, Backend& backend, const Vector& r,
                   const Vectors& gradient) {
  const std::vector<bool> mark = wanted(c);
  if (std::count(mark.begin(), mark.end(), true) < 2) return;
  for (std::size_t i = 0; i < mark.size(); ++i) {
    if (!mark[i]) continue;
    std::vector<bool> only(mark.size(), false);
    only[i] = true;
    const Evaluation alone(c, point, backend, only);
    const Evaluation together(c, point, backend, mark);
    const std::vector<Tensor> marked_alone = alone.gradients(like(alone.result, r));
    const std::vector<Tensor> asked_alone =
        grad({together.result}, {together.inputs[i]}, {.output_gradients = {like(together.result, r)}});
    for (const Tensor& g : {marked_alone[0], asked_alone[0]})
      if (cases::numbers_of(g) != gradient[i])
        fail("the gradient of input ", i, " changes when it is the only one wanted");
  }
}

template <class Check>
Report redrawn(const Case& c, Backend& backend, double tolerance, Check&& check) {
  Report report;
  for (int attempt = 0; attempt <= c.redraws; ++attempt) {
    report = check(c, backend, static_cast<std::uint64_t>(attempt));
    if (report.error <= tolerance) break;
  }
  return report;
}

}  // namespace

Report first_order(const Case& c, Backend& backend, std::uint64_t seed) {
  Claim claim;
  claim.point = cases::draw(c, DType::f64, seed);
  claim.wanted = wanted(c);
  claim.step = c.step;
  const Evaluation at(c, claim.point, backend, claim.wanted);
  claim.weights = {cases::draw_weights(at.result.elements(), 1 + seed)};
  const std::vector<Tensor> gradients = at.gradients(like(at.result, claim.weights[0]), {.keep_graph = true});
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i].shape() != at.marked[i].shape())
      fail("gradient ", i, " has shape ", gradients[i].shape(), ", its input ", at.marked[i].shape());
  claim.gradient = spread(gradients, claim.wanted);
  check_subsets(c, claim.point, backend, claim.weights[0], claim.gradient);
  claim.function = [&](const Vectors& point) {
    return Vectors{cases::numbers_of(c.function(cases::tensors(c, point, DType::f64, backend)))};
  };
  Report report = verify(claim);
  report.ops = recorded_ops({at.result});
  return report;
}

Report second_order(const Case& c, Backend& backend, std::uint64_t seed) {
  const std::vector<bool> mark = wanted(c);
  Claim claim;
  claim.point = cases::draw(c, DType::f64, seed);
  claim.wanted = mark;
  claim.step = c.step;
  const Evaluation at(c, claim.point, backend, mark);
  claim.point.push_back(cases::draw_weights(at.result.elements(), 1 + seed));  // r is the last variable
  claim.wanted.push_back(true);
  const Tensor r = require_grad(like(at.result, claim.point.back()));
  const std::vector<Tensor> gradients = at.gradients(r, {.create_graph = true});

  std::vector<Tensor> weights, variables = at.marked;
  variables.push_back(r);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    claim.weights.push_back(cases::draw_weights(gradients[i].elements(), 1000 + 7 * i + seed));
    weights.push_back(like(gradients[i], claim.weights.back()));
  }
  Report report;
  const std::set<std::string> ops = recorded_ops(gradients);
  // Where a first derivative does not depend on a variable, the second is zero.
  std::vector<Tensor> second =
      grad(gradients, variables, {.output_gradients = weights, .allow_unused = true});
  for (std::size_t i = 0; i < second.size(); ++i)
    if (!second[i].defined()) second[i] = Tensor::zeros(variables[i].shape(), variables[i].dtype(), backend);
  claim.gradient = spread(second, claim.wanted);
  claim.function = [&](const Vectors& point) {
    const Evaluation there(c, Vectors(point.begin(), point.end() - 1), backend, mark);
    Vectors numbers;
    for (const Tensor& g : there.gradients(like(there.result, point.back())))
      numbers.push_back(cases::numbers_of(g));
    return numbers;
  };
  report = verify(claim);
  report.ops = ops;
  return report;
}

Report first_order_redrawn(const Case& c, Backend& backend) {
  return redrawn(c, backend, kFirstOrderTolerance, first_order);
}

Report second_order_redrawn(const Case& c, Backend& backend) {
  return redrawn(c, backend, kSecondOrderTolerance, second_order);
}

}  // namespace om::gradcheck
