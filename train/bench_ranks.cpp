#include "train/bench_ranks.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "train/bench_side.h"
#include "train/stage.h"

namespace om {
namespace {

constexpr double kRound = 0.1;  // seconds; longer than on one rank, since a round begins with a greeting

void expect_real_loss(const StepResult& step) {
  const double loss = step.loss.item();
  if (!(std::isfinite(loss) && loss != 0))
    fail("bench: a step's loss is ", loss, ": its time would mean nothing");
}

}  // namespace

RanksBench::RanksBench(const BenchNetworks& networks, Backend& backend, std::uint64_t seed, int runs,
                       RunRanks& ranks, std::size_t bucket_bytes)
    : backend_(backend),
      runs_(runs),
      ranks_(ranks),
      bucket_bytes_(bucket_bytes),
      model_(networks.model(backend)),
      lpips_(networks.lpips ? networks.lpips(backend) : nullptr),
      random_(seed + 2 + static_cast<std::uint64_t>(ranks.rank()), backend) {}

RanksBench::~RanksBench() = default;

/// The figures of the slowest of those who take part, on rank 0.
Timing RanksBench::time(const std::function<void()>& body, Who who) {
  const bool takes_part = who == Who::all || ranks_.first();
  if (takes_part) body();
  const double once = takes_part ? seconds_of(backend_, body, 1) : 0;
  const int wanted = static_cast<int>(std::clamp(std::ceil(kRound / std::max(once, 1e-9)), 1.0, 1000.0));
  const int calls = std::stoi(ranks_.share(std::to_string(wanted)));
  std::vector<double> times;
  for (int i = 0; i < runs_; ++i) {
    if (who == Who::all && ranks_.together() != nullptr) ranks_.together()->barrier();
    const double mine = takes_part ? seconds_of(backend_, body, calls) / calls : 0;
    double slowest = mine;
    for (const std::string& other : ranks_.gather(text(mine))) slowest = std::max(slowest, std::stod(other));
    times.push_back(slowest);
  }
  std::sort(times.begin(), times.end());
  ranks_.share("");  // nobody begins with what comes next while another is timed
  return {times[times.size() / 2], times.front(), times.back()};
}

RanksRow RanksBench::train(Precision precision, std::int64_t batch) {
  const PrecisionScope scope(precision);
  RanksRow row;
  row.precision = precision;
  row.batch = batch;
  row.ranks = ranks_.size();
  const std::int64_t side = model_->decoder().size();
  const Tensor x = [&] {
    const NoGrad off;
    return random_.uniform({batch, side, side, 3}) * 2.0 - 1.0;
  }();
  const StageRecipe recipe = stage_recipe(TrainConfig(), 1);
  {
    Training training(*model_, lpips_.get(), recipe, random_);
    StepResult last;
    const auto step = [&] { last = training.step(0, x); };
    row.alone = time(step, Who::first);  // the search for engines too: the others find what it found
    row.apart = time(step, Who::all);
    expect_real_loss(last);
  }
  backend_.synchronize();
  backend_.memory().release_cached();
  Training training(*model_, lpips_.get(), recipe, random_, ranks_.together());
  training.set_bucket_bytes(bucket_bytes_);
  ranks_.broadcast(*model_, training.adam());
  StepResult last;
  row.together = time([&] { last = training.step(0, x); }, Who::all);
  expect_real_loss(last);
  row.replayed = training.recorded();
  StepResult sums;
  for (const Tensor& gradient : last.gradients) {
    if (!gradient.defined()) continue;
    sums.gradients.push_back(random_.normal(gradient.shape()));
    row.bytes += static_cast<std::size_t>(gradient.elements()) * size_of(gradient.dtype());
  }
  sums.sums = random_.normal({3});
  if (ranks_.together() != nullptr)
    row.sums = time([&] { sum_over_ranks(sums, *ranks_.together(), bucket_bytes_); }, Who::all);
  return row;
}

std::vector<Communicator::Span> RanksBench::timeline(Precision precision, std::int64_t batch) {
  if (ranks_.together() == nullptr) return {};
  const PrecisionScope scope(precision);
  const std::int64_t side = model_->decoder().size();
  const Tensor x = random_.uniform({batch, side, side, 3});
  Training training(*model_, lpips_.get(), stage_recipe(TrainConfig(), 1), random_, ranks_.together());
  training.set_bucket_bytes(bucket_bytes_);
  Communicator& together = *ranks_.together();
  together.trace(true);
  for (int i = 0; i < 6; ++i) training.step(0, x);
  std::vector<Communicator::Span> spans = together.traced();
  together.trace(false);
  together.barrier();
  return spans;
}

}  // namespace om
