#include "train/op_profile.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace om {
namespace {

using Key = std::pair<std::string, Pass>;

struct Entry {
  std::int64_t calls = 0;
  double amount = 0;
};
using Table = std::map<Key, Entry>;

/// Gives each op what a meter shows more than when it was read last.
class Meter : public OpObserver {
 public:
  explicit Meter(std::function<double()> read) : read_(std::move(read)), last_(read_()) {}

  void ran(std::string_view op, Pass pass) override {
    const double now = read_();
    Entry& entry = table_[{std::string(op), pass}];
    ++entry.calls;
    entry.amount += now - last_;
    last_ = read_();  // what the table costs is nobody's
  }
  const Table& table() const { return table_; }

 private:
  std::function<double()> read_;
  Table table_;
  double last_;
};

Table measure(std::function<double()> read, const std::function<void()>& body, int runs) {
  Meter meter(std::move(read));
  const Watching watching(meter);
  for (int i = 0; i < runs; ++i) body();
  return meter.table();
}

}  // namespace

std::vector<OpRow> profile_ops(Backend& backend, const std::function<void()>& body, WorkMeter& dry,
                               const std::function<void()>& dry_body, int runs) {
  body();
  const Table times = measure(
      [&] {
        backend.synchronize();
        const auto now = std::chrono::steady_clock::now().time_since_epoch();
        return std::chrono::duration<double>(now).count();
      },
      body, runs);
  dry_body();
  const Table work = measure([&] { return dry.work().flops; }, dry_body, 1);

  std::vector<OpRow> rows;
  for (const auto& [key, time] : times) {
    const auto found = work.find(key);
    if (found == work.end() || found->second.calls * runs != time.calls)
      fail("profile: ", key.first, " ran ", time.calls, " times in ", runs, " runs, ",
           found == work.end() ? 0 : found->second.calls, " times in a dry one");
    rows.push_back({key.first, key.second, found->second.calls, time.amount / runs, found->second.amount});
  }
  if (times.size() != work.size()) fail("profile: a dry run called ops that the real one did not");
  std::sort(rows.begin(), rows.end(), [](const OpRow& a, const OpRow& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace om
