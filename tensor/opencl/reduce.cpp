// reduce: dimensions that are reduced and lie side by side are one run; runs are reduced from the last to the
// first, each in steps [before, r, after] to [before, parts, lanes, after] (kernels/reduce.cl). The cut into
// parts depends on the shape alone, so the same bits come out on every device of one kind.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "tensor/opencl/opencl_backend.h"

namespace om::opencl {
namespace {

struct Run {
  std::int64_t size;
  bool reduced;
};

/// The dimensions without those of size 1, neighbours of one kind joined.
std::vector<Run> runs_of(const Shape& x, const Shape& y) {
  std::vector<Run> runs;
  for (int d = 0; d < x.rank(); ++d) {
    if (x[d] == 1) continue;
    const bool reduced = y[d] != x[d];
    if (!runs.empty() && runs.back().reduced == reduced)
      runs.back().size *= x[d];
    else
      runs.push_back({x[d], reduced});
  }
  return runs;
}

struct Cut {
  std::int64_t part, parts, lanes;
};

/// Results beside each other in memory read beside each other: short rows of results are widened by lanes.
/// Parts are made where there are few results.
Cut cut(std::int64_t results, std::int64_t r, std::int64_t after) {
  constexpr std::int64_t kWhole = 256;  // terms that one work item adds without more ado
  if (r <= kWhole) return {r, 1, 1};
  const std::int64_t lanes = after >= 64 ? 1 : 64 / after;
  const std::int64_t lines = (r + lanes - 1) / lanes;
  const std::int64_t wanted = std::max<std::int64_t>(1, 16384 / (results * lanes));
  const std::int64_t part = std::max((lines + wanted - 1) / wanted, std::min<std::int64_t>(lines, 128));
  return {part, (lines + part - 1) / part, lanes};
}

}  // namespace

void OpenClBackend::reduce(ReduceOp op, In x, Out y) {
  const std::int64_t results = y.shape.elements();
  if (results == 0) return;
  const bool sum = op == ReduceOp::sum;
  if (x.shape.elements() == 0) return fill(y, sum ? 0 : -std::numeric_limits<double>::infinity());
  std::vector<Run> runs = runs_of(x.shape, y.shape);
  if (std::none_of(runs.begin(), runs.end(), [](const Run& run) { return run.reduced; }))
    runs.push_back({1, true});  // nothing to add: one step that stores
  const std::int64_t pair = x.dtype == DType::f64 ? 16 : 8;
  const void* from = x.data;
  std::unique_ptr<Scratch> held;
  while (true) {
    std::size_t last = runs.size() - 1;
    while (!runs[last].reduced) --last;
    std::int64_t before = 1, after = 1;
    bool only = true;
    for (std::size_t i = 0; i < last; ++i) before *= runs[i].size, only = only && !runs[i].reduced;
    for (std::size_t i = last + 1; i < runs.size(); ++i) after *= runs[i].size;
    const Cut by = cut(before * after, runs[last].size, after);
    const bool ends = only && by.parts * by.lanes == 1;
    const std::int64_t count = before * by.parts * by.lanes * after;
    std::unique_ptr<Scratch> next = ends ? nullptr : std::make_unique<Scratch>(*this, count * pair);
    const std::string kernel = std::string(sum ? "sum" : "max") + (held ? "_more" : "_first");
    device_.run({"reduce", type_name(x.dtype), kernel}, device_.line(count), from,
                ends ? y.data : next->data(), count, runs[last].size, after, by.part, by.parts, by.lanes,
                ends ? static_cast<int>(kind_of(y.dtype)) : -1);
    if (ends) return;
    held = std::move(next);
    from = held->data();
    runs[last].size = by.parts * by.lanes;
    if (runs[last].size == 1) runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(last));
  }
}

}  // namespace om::opencl
