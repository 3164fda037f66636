#include "train/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <thread>

#include "io/bytes.h"
#include "io/folder.h"
#include "tensor/error.h"
#include "train/flat_json.h"

namespace om {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view checkpoint_suffix = ".safetensors";
constexpr std::size_t longest_line = std::size_t{1} << 16;
constexpr int kLockTries = 10;
constexpr std::chrono::milliseconds kLockWait(10);

/// The iteration and kind of a line of metrics.jsonl; -1 where it is none.
struct Line {
  std::int64_t iteration = -1;
  bool validation = false;  // or the leak figure, which comes after it
};

Line parse_line(const std::string& line) {
  const FlatJson object = read_flat_json(line);
  Line found;
  if (!object.valid) return found;
  for (const auto& [key, value] : object.members) {
    if (const auto* n = std::get_if<std::int64_t>(&value); n != nullptr && key == "iteration")
      found.iteration = *n;
    found.validation = found.validation || key == "validation" || key == "leak";
  }
  return found;
}

/// A file that cannot be looked at is an error: taken for one that is not there, a run would start anew.
bool is_there(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::none) fail(path, ": cannot look at it: ", error.message());
  return fs::exists(status);
}

}  // namespace

std::string RunFolder::checkpoint_file(std::int64_t iteration) const {
  return fmt::format("{}/checkpoints/{:06}{}", path_, iteration, checkpoint_suffix);
}

std::string RunFolder::sample_file(std::int64_t iteration) const {
  return fmt::format("{}/samples/{:06}.png", path_, iteration);
}

bool RunFolder::has_settings() const { return is_there(config_file()); }

bool RunFolder::holds_a_run() const {
  return has_steps() || is_there(model_file()) || !checkpoints().empty();
}

bool RunFolder::has_steps() const {
  if (!is_there(metrics_file())) return false;
  const auto source = open_source(metrics_file());
  ByteReader reader(*source);
  try {
    while (reader.remaining() > 0)
      if (parse_line(reader.line(longest_line)).iteration > 0) return true;
  } catch (const InputError&) {  // the end of something that is no line
  }
  return false;
}

void RunFolder::create() const {
  for (const std::string& folder : {path_, path_ + "/checkpoints", path_ + "/samples"}) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) fail(folder, ": cannot make the folder: ", error.message());
  }
}

std::vector<std::int64_t> RunFolder::checkpoints() const {
  std::vector<std::int64_t> iterations;
  const std::string folder = path_ + "/checkpoints";
  if (!is_there(folder)) return {};
  std::error_code problem;
  const std::vector<std::string> names = names_in(folder, problem);
  if (problem) fail(folder, ": cannot read the folder: ", problem.message());
  for (const std::string& name : names) {
    if (!name.ends_with(checkpoint_suffix)) continue;
    const char* end = name.data() + name.size() - checkpoint_suffix.size();
    std::int64_t iteration = -1;
    const auto [stop, error] = std::from_chars(name.data(), end, iteration);
    if (error == std::errc() && stop == end && iteration >= 0) iterations.push_back(iteration);
  }
  std::sort(iterations.begin(), iterations.end());
  return iterations;
}

void RunFolder::remove_checkpoint(std::int64_t iteration) const {
  std::error_code error;
  fs::remove(checkpoint_file(iteration), error);
  if (error) fail(checkpoint_file(iteration), ": cannot remove: ", error.message());
}

void RunFolder::remove_temporaries() const {
  const auto remove_in = [](const std::string& folder, const auto& is_left) {
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored)) return;
    for (const std::string& name : names_in(folder, ignored))
      if (is_left(name)) fs::remove(folder + "/" + name, ignored);
  };
  remove_in(path_ + "/checkpoints", [](const std::string& name) {
    return name.starts_with('.') && name.ends_with(".safetensors.tmp");
  });
  // plans-CARD.txt.PROCESS, which a backend writes before it renames
  remove_in(plans_folder(), [](const std::string& name) {
    const auto end = name.rfind(".txt.");
    return end != std::string::npos && name.find_first_not_of("0123456789", end + 5) == std::string::npos;
  });
}

bool RunFolder::is_trained_in() const {
  const int descriptor = ::open(metrics_file().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return false;
  const bool held = ::flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(descriptor);
  return held;
}

MetricsLog::MetricsLog(std::string path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
  if (descriptor_ < 0) fail_with("cannot write");
  // one who only asks (is_trained_in) lets go at once
  const auto is_held = [&] { return ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; };
  for (int tries = 0; is_held(); ++tries, std::this_thread::sleep_for(kLockWait)) {
    if (tries < kLockTries) continue;
    ::close(descriptor_);
    fail<UsageError>(path_, ": another process is training in this folder");
  }
}

MetricsLog::~MetricsLog() { ::close(descriptor_); }

void MetricsLog::cut(std::int64_t iteration, bool with_validation) {
  std::uint64_t keep = 0;
  sum_ = {};
  const auto source = open_source(path_);
  ByteReader reader(*source);
  try {
    while (reader.remaining() > 0) {
      const std::string text = reader.line(longest_line);
      const Line line = parse_line(text);
      if (line.iteration < 0 || line.iteration > iteration) break;
      if (line.validation && line.iteration == iteration && !with_validation) break;
      keep = reader.position();
      sum_.add(text);
    }
  } catch (const InputError&) {  // a last line without its newline, or something that is no line at all
  }
  if (::ftruncate(descriptor_, static_cast<off_t>(keep)) != 0) fail_with("cannot shorten");
}

void MetricsLog::append(std::string_view line) {
  sum_.add(line);
  const std::string whole = std::string(line) + "\n";
  std::string_view left = whole;
  while (!left.empty()) {
    const ssize_t n = ::write(descriptor_, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_with("cannot write");
    left.remove_prefix(static_cast<std::size_t>(n));
  }
}

void MetricsLog::sync() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail_with("cannot write");
}

void MetricsLog::fail_with(const char* what) const {
  fail(path_, ": ", what, ": ", errno != 0 ? std::strerror(errno) : "nothing was written");
}

}  // namespace om
