#include "train/step_reports.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace om {

bool StepFigures::finite() const {
  return std::isfinite(loss) &&
         std::all_of(norms.begin(), norms.end(), [](float norm) { return std::isfinite(norm); });
}

std::string metrics_members(const EnqueuedStep& step, const StepFigures& figures) {
  std::string line = fmt::format(R"("loss": {}, "mse": {})", figures.loss, figures.mse);
  if (figures.lpips) line += fmt::format(R"(, "lpips": {})", *figures.lpips);
  line += ", " + step.rates + R"(, "grad_norm": {)";
  for (std::size_t g = 0; g < figures.norms.size(); ++g)
    line += fmt::format(R"({}"{}": {})", g == 0 ? "" : ", ", step.groups.at(g), figures.norms[g]);
  return line + "}";
}

void StepReports::add(EnqueuedStep step, const StepResult& result) {
  const Tensor& figures = result.figures;
  const std::size_t bytes = static_cast<std::size_t>(figures.elements()) * sizeof(float);
  pending_.push_back(
      {std::move(step), result.lpips.defined(), figures.backend().read_later(figures.in().data, bytes)});
  while (!pending_.empty() && (pending_.size() > kMostAhead || pending_.front().read->arrived()))
    take_first();
}

void StepReports::drain() {
  while (!pending_.empty()) take_first();
}

void StepReports::take_first() {
  const Pending first = std::move(pending_.front());
  pending_.pop_front();
  const std::span<const std::byte> bytes = first.read->wait();
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  StepFigures figures{values.at(0), values.at(1), {}, {}};
  if (first.lpips) figures.lpips = values.at(2);
  figures.norms.assign(values.begin() + (first.lpips ? 3 : 2), values.end());
  take_(first.step, figures);
}

}  // namespace om
