// gradcheck [--backend NAME]: every differentiable case of the table, first order (GradCheck.OP/VARIANT) and
// second order (SecondOrder.OP/VARIANT).
//
// A wrong rule shows in every function built on it, and second derivatives are built on the rules of whatever
// the first derivative's rule calls. So a failing test looks at the ops that were recorded: where another op
// fails a case that records nothing but that op, the test is skipped and names it, and only that op's own
// cases fail.
#include <map>
#include <optional>

#include "tests/cases/program.h"
#include "tests/gradcheck/gradcheck.h"

namespace om::gradcheck {
namespace {

using cases::Case;

/// A case that records this op alone and fails its first-order check, if there is one.
std::optional<std::string> broken_case_of(const std::string& op, Backend& backend) {
  static std::map<std::string, std::optional<std::string>> known;
  if (const auto found = known.find(op); found != known.end()) return found->second;
  std::optional<std::string>& answer = known[op];
  for (const Case& c : cases::all()) {
    if (c.op() != op || c.order < 1 || (c.drivers & cases::kGradcheck) == 0) continue;
    try {
      const Report report = first_order_redrawn(c, backend);
      if (report.ops != std::set<std::string>{op} || report.error <= kFirstOrderTolerance) continue;
    } catch (const std::exception&) {
    }
    return answer = c.name;
  }
  return answer;
}

/// The broken case of another op among these.
std::optional<std::string> blamed(const Case& c, const std::set<std::string>& ops, Backend& backend) {
  for (const std::string& op : ops)
    if (op != c.op())
      if (const auto broken = broken_case_of(op, backend)) return broken;
  return std::nullopt;
}

template <class Check>
void expect_correct(const Case& c, Backend& backend, double tolerance, Check&& check) {
  if (!backend.supports(DType::f64))
    GTEST_SKIP() << backend.name() << " has no f64, in which derivatives are checked";
  Report report;
  try {
    report = check(c, backend);
  } catch (const std::exception& error) {
    FAIL() << c.name << ": " << error.what();
  }
  const bool right = report.error <= tolerance;  // NaN is not
  if (const auto broken = right ? std::nullopt : blamed(c, report.ops, backend))
    GTEST_SKIP() << "built on an op whose own case fails: GradCheck." << *broken;
  EXPECT_TRUE(right) << c.op() << ": relative error " << report.error << " > " << tolerance << " at "
                     << report.where;
}

void add_tests(Backend& backend) {
  set_threads(1);  // thousands of tiny calls: handing them out costs more than they do
  for (const Case& c : cases::all()) {
    if ((c.drivers & cases::kGradcheck) == 0 || c.order < 1) continue;
    cases::add_test("GradCheck", c.name,
                    [&] { expect_correct(c, backend, kFirstOrderTolerance, first_order_redrawn); });
    if (c.order < 2) continue;
    cases::add_test("SecondOrder", c.name,
                    [&] { expect_correct(c, backend, kSecondOrderTolerance, second_order_redrawn); });
  }
}

}  // namespace
}  // namespace om::gradcheck

int main(int argc, char** argv) { return om::cases::run_program(argc, argv, om::gradcheck::add_tests); }
