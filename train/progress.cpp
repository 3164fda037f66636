#include "train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "io/shown.h"

namespace om {
namespace {

constexpr std::int64_t bar_width = 30;
constexpr auto redraw_after = std::chrono::milliseconds(200);
constexpr auto plain_line_after = std::chrono::seconds(10);

std::string duration(double seconds) {
  const auto s = static_cast<std::int64_t>(std::clamp(seconds, 0.0, 1e9));
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace

Progress::Progress(std::FILE* stream) : Progress(stream, ::isatty(::fileno(stream)) != 0) {}

Progress::Progress(std::FILE* stream, bool terminal) : stream_(stream), terminal_(terminal) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\n", stream_);
  std::fflush(stream_);
}

void Progress::report(const StepReport& step) {
  advance(step.iteration, step.iterations, step.images, fmt::format("loss {:.4f}  ", step.loss));
}

void Progress::advance(std::int64_t done, std::int64_t total, std::int64_t images, const std::string& words) {
  const Clock::time_point now = Clock::now();
  images_ += images;
  ++steps_;
  const bool last = done == total;
  const auto wait = terminal_ ? Clock::duration(redraw_after) : Clock::duration(plain_line_after);
  if (started_ && !last && now - last_ < wait) return;
  started_ = true;
  last_ = now;

  const double seconds = std::max(1e-9, std::chrono::duration<double>(now - start_).count());
  const double left = seconds / static_cast<double>(steps_) * static_cast<double>(total - done);
  const std::string numbers = fmt::format("{}/{}  {}{:.2f} img/s  {} left", done, total, words,
                                          static_cast<double>(images_) / seconds, duration(left));
  if (terminal_) {
    const auto filled = static_cast<std::size_t>(bar_width * done / std::max<std::int64_t>(1, total));
    fmt::print(stream_, "\r[{:<{}}] {}\x1b[K", std::string(filled, '#'), bar_width, numbers);
    drawn_ = true;
  } else {
    fmt::print(stream_, "{}\n", numbers);
  }
  std::fflush(stream_);
}

void Progress::line(const std::string& text) {
  clear();
  fmt::print(stream_, "{}\n", shown(text));
  std::fflush(stream_);
}

void Progress::clear() {
  if (drawn_) std::fputs("\r\x1b[K", stream_);
  drawn_ = false;
}

}  // namespace om
