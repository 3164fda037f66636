#include "train/adam.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "autograd/grad.h"
#include "autograd/observer.h"
#include "autograd/ops.h"

namespace om {
namespace {

// Six arrays of this many floats stay in a core's cache.
constexpr std::int64_t block_elements = std::int64_t{1} << 16;

/// A run of elements of a dense tensor, seen as one dimension: to write, and to read.
Out part(const Tensor& tensor, std::int64_t start, std::int64_t count) {
  const Out all = tensor.out();
  const std::size_t offset = static_cast<std::size_t>(start) * size_of(all.dtype);
  return {static_cast<std::byte*>(all.data) + offset, all.dtype, {count}};
}
In read_part(const Tensor& tensor, std::int64_t start, std::int64_t count) {
  const In all = tensor.in();
  const std::size_t offset = static_cast<std::size_t>(start) * size_of(all.dtype);
  return {static_cast<const std::byte*>(all.data) + offset, all.dtype, {count}};
}
In scalar(const Tensor& tensor) { return read_part(tensor, 0, 1); }

/// Of rates and of the number of steps.
DType scalar_dtype(const Backend& backend) { return backend.supports(DType::f64) ? DType::f64 : DType::f32; }

/// 1 - beta^t without cancellation, for devices without double: with u = -t ln(beta) / 2 it is
/// 2 tanh(u) / (1 + tanh(u)).
Tensor one_less_power(double beta, const Tensor& t) {
  const Tensor half = tanh(t * (-0.5 * std::log(beta)));
  return half * 2.0 / (half + 1.0);
}

}  // namespace

/// The scalars of an update, each of shape [] in the parameter's dtype.
struct Adam::Factors {
  Tensor clip;       // undefined: none
  Tensor step_size;  // rate / (1 - b1^t)
  Tensor root;       // sqrt(1 - b2^t)
};

Adam::Adam(std::vector<ParameterGroup> groups, const AdamOptions& options)
    : groups_(std::move(groups)), options_(options) {
  Clock clock;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    first_of_group_.push_back(parameters_.size());
    for (const Entry& entry : groups_[g].parameters) {
      if (entry.value.dtype() != DType::f32 && entry.value.dtype() != DType::f64)
        fail("adam: ", entry.name, " must be f32 or f64");
      clock.members.push_back(parameters_.size());
      parameters_.push_back(entry.value);
      group_of_.push_back(g);
    }
  }
  if (parameters_.empty()) fail<UsageError>("adam: there is no parameter to train");
  Backend& backend = parameters_.front().backend();
  for (const ParameterGroup& group : groups_)
    rates_.push_back(Tensor::full({}, group.lr, scalar_dtype(backend), backend));
  clock.steps = Tensor::zeros({}, scalar_dtype(backend), backend);
  clocks_.push_back(std::move(clock));
  first_.resize(parameters_.size());
  second_.resize(parameters_.size());
}

const Entry& Adam::entry(std::size_t parameter) const {
  const std::size_t group = group_of_[parameter];
  return groups_[group].parameters[parameter - first_of_group_[group]];
}

void Adam::set_lr(std::size_t group, double lr) {
  groups_.at(group).lr = lr;
  rates_[group].fill(lr);
}

Tensor Adam::group_norm(std::size_t group, const std::vector<Tensor>& gradients) const {
  Backend& backend = parameters_.front().backend();
  std::vector<Tensor> members;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (group_of_[i] == group && gradients[i].defined()) members.push_back(gradients[i]);
  if (members.empty()) return Tensor::zeros({}, DType::f32, backend);
  if (auto* kernels = backend.extension<AdamKernels>()) {
    std::vector<In> arrays;
    for (const Tensor& g : members) {
      if (g.dtype() != members[0].dtype())
        fail("adam: the gradients of group ", groups_[group].name, " differ in dtype");
      arrays.push_back(g.in());
    }
    const Tensor norm = members[0].empty_like({});
    kernels->adam_norm(arrays, norm.out());
    return norm;
  }
  std::vector<Tensor> squares;
  for (const Tensor& g : members) squares.push_back(reshape(sum(square(g)), {1}));
  return sqrt(sum(concat(squares, 0)));
}

// Counts the step for every parameter with a gradient and returns each parameter's clock. A clock of which
// only some members advance splits; this happens on the host, once for each new pattern of missing gradients.
std::vector<std::size_t> Adam::advance_clocks(const std::vector<Tensor>& gradients) {
  const std::size_t before = clocks_.size();
  for (std::size_t c = 0; c < before; ++c) {
    const auto moves = [&](std::size_t i) { return gradients[i].defined(); };
    std::vector<std::size_t>& members = clocks_[c].members;
    const auto waiting = std::stable_partition(members.begin(), members.end(), moves);
    if (waiting == members.begin()) continue;
    if (waiting != members.end()) {
      Clock rest{clocks_[c].steps.clone(), {waiting, members.end()}};
      members.erase(waiting, members.end());
      clocks_.push_back(std::move(rest));
    }
    clocks_[c].steps.assign(clocks_[c].steps + 1.0);
  }
  std::vector<std::size_t> clock_of(parameters_.size());
  for (std::size_t c = 0; c < clocks_.size(); ++c)
    for (const std::size_t i : clocks_[c].members) clock_of[i] = c;
  return clock_of;
}

std::vector<Tensor> Adam::step(const std::vector<Tensor>& gradients) {
  const NoGrad no_grad;
  if (gradients.size() != parameters_.size())
    fail("adam: expects ", parameters_.size(), " gradients, got ", gradients.size());
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i].defined() &&
        (gradients[i].shape() != parameters_[i].shape() || gradients[i].dtype() != parameters_[i].dtype()))
      fail("adam: the gradient of ", entry(i).name, " is ", gradients[i].shape(), ", the parameter ",
           parameters_[i].shape(), ", or their dtypes differ");

  std::vector<Tensor> norms;
  for (std::size_t g = 0; g < groups_.size(); ++g) norms.push_back(group_norm(g, gradients));
  const std::vector<std::size_t> clock_of = advance_clocks(gradients);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i].defined()) make_moments(i);
  if (auto* kernels = parameters_.front().backend().extension<AdamKernels>())
    update_fused(*kernels, gradients, norms, clock_of);
  else
    update_composed(gradients, norms, clock_of);
  op_ran("adam");
  return norms;
}

void Adam::make_moments(std::size_t parameter) {
  const Tensor& p = parameters_[parameter];
  if (first_[parameter].defined()) return;
  first_[parameter] = Tensor::zeros(p.shape(), p.dtype(), p.backend());
  second_[parameter] = Tensor::zeros(p.shape(), p.dtype(), p.backend());
}

void Adam::update_fused(AdamKernels& kernels, const std::vector<Tensor>& gradients,
                        const std::vector<Tensor>& norms, const std::vector<std::size_t>& clock_of) {
  std::vector<AdamKernels::AdamArray> arrays;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (gradients[i].defined())
      arrays.push_back({.gradient = gradients[i].in(),
                        .parameter = parameters_[i].out(),
                        .first = first_[i].out(),
                        .second = second_[i].out(),
                        .rate = rates_[group_of_[i]].in(),
                        .steps = clocks_[clock_of[i]].steps.in(),
                        .norm = options_.clip_norm > 0 ? norms[group_of_[i]].in() : In{}});
  kernels.adam(arrays,
               {options_.beta1, options_.beta2, options_.eps, options_.weight_decay, options_.clip_norm});
}

void Adam::update_composed(const std::vector<Tensor>& gradients, const std::vector<Tensor>& norms,
                           const std::vector<std::size_t>& clock_of) {
  std::vector<Tensor> clips(groups_.size());
  for (std::size_t g = 0; g < groups_.size(); ++g)
    if (options_.clip_norm > 0) {
      const Tensor one = Tensor::full({}, 1, norms[g].dtype(), norms[g].backend());
      clips[g] = minimum(reciprocal(norms[g] + 1e-6) * options_.clip_norm, one);
    }

  // Powers of the betas come from t itself, in double where there is double: a resumed run computes the same
  // bits.
  using Key = std::tuple<std::size_t, std::size_t, DType>;
  std::map<Key, Factors> factors;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!gradients[i].defined()) continue;
    const std::size_t g = group_of_[i];
    const DType dtype = parameters_[i].dtype();
    Factors& f = factors[{clock_of[i], g, dtype}];
    if (!f.root.defined()) {
      const Tensor& t = clocks_[clock_of[i]].steps;
      const auto correction = [&](double beta) {
        if (beta == 0) return Tensor::full({}, 1, t.dtype(), t.backend());
        return t.dtype() == DType::f64 ? affine(exp(t * std::log(beta)), -1, 1) : one_less_power(beta, t);
      };
      f.step_size = cast(rates_[g] / correction(options_.beta1), dtype);
      f.root = cast(sqrt(correction(options_.beta2)), dtype);
      if (clips[g].defined()) f.clip = cast(clips[g], dtype);
    }
    update(i, gradients[i], f);
  }
}

void Adam::update(std::size_t parameter, const Tensor& gradient, const Factors& factors) {
  const Tensor& p = parameters_[parameter];
  const std::int64_t elements = p.elements();
  if (elements == 0) return;
  const Tensor &m = first_[parameter], &v = second_[parameter];
  Backend& backend = p.backend();
  const std::int64_t block = backend.host_memory() ? std::min(elements, block_elements) : elements;
  const Tensor g_room = p.empty_like({block}), t_room = p.empty_like({block});
  const auto affine_into = [&](const In& x, double a, double b, const Out& y) {
    backend.unary(UnaryOp::affine, x, y, a, b);
  };
  const auto combine = [&](BinaryOp op, const In& a, const In& b, const Out& y) {
    backend.binary(op, a, b, y, 0);
  };
  const auto [b1, b2] = std::pair(options_.beta1, options_.beta2);

  for (std::int64_t start = 0; start < elements; start += block) {
    const std::int64_t count = std::min(block, elements - start);
    const Out pb = part(p, start, count), mb = part(m, start, count), vb = part(v, start, count);
    const Out g = part(g_room, 0, count), t = part(t_room, 0, count);
    In raw = read_part(gradient, start, count);

    if (factors.clip.defined()) {
      combine(BinaryOp::multiply, raw, scalar(factors.clip), g);
      raw = g;
    }
    if (options_.weight_decay != 0) {
      affine_into(pb, options_.weight_decay, 0, t);
      combine(BinaryOp::add, raw, t, g);
      raw = g;
    }

    affine_into(raw, 1 - b1, 0, t);
    affine_into(mb, b1, 0, mb);
    combine(BinaryOp::add, mb, t, mb);

    combine(BinaryOp::multiply, raw, raw, t);
    affine_into(t, 1 - b2, 0, t);
    affine_into(vb, b2, 0, vb);
    combine(BinaryOp::add, vb, t, vb);

    backend.unary(UnaryOp::square_root, vb, t, 0, 0);
    combine(BinaryOp::divide, t, scalar(factors.root), t);
    affine_into(t, 1, options_.eps, t);
    combine(BinaryOp::divide, mb, t, t);
    combine(BinaryOp::multiply, t, scalar(factors.step_size), t);
    combine(BinaryOp::subtract, pb, t, pb);
  }
}

std::vector<Adam::State> Adam::state() const {
  std::vector<State> out(parameters_.size());
  for (const Clock& clock : clocks_) {
    const auto steps = static_cast<std::int64_t>(clock.steps.item());
    for (const std::size_t i : clock.members) out[i].steps = steps;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].first = first_[i];
    out[i].second = second_[i];
  }
  return out;
}

void Adam::set_state(const std::vector<State>& state) {
  if (state.size() != parameters_.size())
    fail("adam: expects the state of ", parameters_.size(), " parameters, got ", state.size());
  std::map<std::int64_t, std::vector<std::size_t>> by_steps;
  for (std::size_t i = 0; i < state.size(); ++i) {
    const Shape& shape = parameters_[i].shape();
    if (state[i].steps > 0) {
      for (const Tensor& moment : {state[i].first, state[i].second})
        if (!moment.defined() || moment.shape() != shape || moment.dtype() != parameters_[i].dtype())
          fail("adam: the stored moments of ", entry(i).name, " do not fit its shape ", shape);
    }
    by_steps[state[i].steps].push_back(i);
  }
  Backend& backend = parameters_.front().backend();
  clocks_.clear();
  for (auto& [steps, members] : by_steps)
    clocks_.push_back(
        {Tensor::full({}, static_cast<double>(steps), scalar_dtype(backend), backend), std::move(members)});
  for (std::size_t i = 0; i < state.size(); ++i) {
    const bool started = state[i].steps > 0;
    first_[i] = started ? state[i].first.to(backend).clone() : Tensor();
    second_[i] = started ? state[i].second.to(backend).clone() : Tensor();
  }
}

}  // namespace om
