// A step as a picture: time to the right, what the backend's queue does above, sums over the ranks below.
#include <fmt/format.h>

#include <algorithm>

#include "train/bench_ranks.h"

namespace om {
namespace {

constexpr double kWidth = 1200, kLeft = 110, kRow = 44, kTop = 76;

std::string bar(double x, double width, double y, const char* colour, const std::string& title) {
  return fmt::format(
      "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"30\" fill=\"{}\" stroke=\"#fff\" "
      "stroke-width=\"0.5\"><title>{}</title></rect>\n",
      x, y, std::max(width, 0.5), colour, title);
}

std::string label(double x, double y, const std::string& text, const char* anchor = "start") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, text);
}

}  // namespace

std::string timeline_svg(const std::string& title, const std::vector<Communicator::Span>& spans) {
  double end = 0, busy = 0, last_sum = 0, backward_end = 0;
  std::size_t bytes = 0, buckets = 0, largest = 0;
  for (const Communicator::Span& span : spans) {
    end = std::max(end, span.end);
    if (span.what == "backward") backward_end = span.end;
    if (!span.what.empty()) continue;
    busy += span.end - span.begin;
    last_sum = std::max(last_sum, span.end);
    bytes += span.bytes;
    largest = std::max(largest, span.bytes);
    ++buckets;
  }
  const double scale = (kWidth - kLeft - 20) / std::max(end, 1e-9);
  const auto at = [&](double seconds) { return kLeft + seconds * scale; };
  constexpr const char* kColours[] = {"#4878a8", "#6a9f58", "#c8a14b", "#967662"};
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" "
      "font-size=\"13\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n",
      kWidth, kTop + 2 * kRow + 62);
  const std::size_t device = std::min(title.find("; "), title.size());  // a line of its own
  out += label(kLeft, 22, title.substr(0, device));
  out += label(kLeft, 42, title.substr(std::min(device + 2, title.size())));
  out += label(
      kLeft, 62,
      fmt::format("{} buckets, {:.1f} MB, the largest {:.1f} MB; {:.2f} ms of sums in a step of {:.2f} ms, "
                  "the last one ends {:.2f} ms after the backward pass",
                  buckets, 1e-6 * static_cast<double>(bytes), 1e-6 * static_cast<double>(largest), 1e3 * busy,
                  1e3 * end, 1e3 * (last_sum - backward_end)));
  out += label(10, kTop + 20, "step") + label(10, kTop + kRow + 20, "sums");
  std::size_t phase = 0;
  for (const Communicator::Span& span : spans) {
    const double x = at(span.begin), width = (span.end - span.begin) * scale;
    const std::string times = fmt::format("{:.3f} to {:.3f} ms", 1e3 * span.begin, 1e3 * span.end);
    if (span.what.empty()) {
      out += bar(x, width, kTop + kRow, "#b0413e",
                 fmt::format("{:.2f} MB, {}", 1e-6 * static_cast<double>(span.bytes), times));
    } else {
      out += bar(x, width, kTop, kColours[phase++ % 4], span.what + ", " + times);
      if (width > 60) out += fmt::format("<g fill=\"#fff\">{}</g>\n", label(x + 5, kTop + 20, span.what));
    }
  }
  const double ground = kTop + 2 * kRow;
  out += fmt::format("<path d=\"M{0} {2}H{1}\" stroke=\"#333\"/>\n", kLeft, at(end), ground);
  for (int i = 0; i <= 10; ++i) {
    const double seconds = end * i / 10;
    out += fmt::format("<path d=\"M{0:.1f} {1}v5\" stroke=\"#333\"/>\n", at(seconds), ground);
    out += label(at(seconds), ground + 20, fmt::format("{:.1f}", 1e3 * seconds), "middle");
  }
  return out + label(at(end / 2), ground + 42, "milliseconds", "middle") + "</svg>\n";
}

}  // namespace om
