#include "examples/common.h"

#include <signal.h>  // sigaction
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>

#include "io/shown.h"
#include "tensor/error.h"
#include "train/precision_choice.h"

namespace om {
namespace {

std::atomic<bool> interrupt_flag = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler sets it

constexpr int kEnding[] = {SIGINT, SIGTERM, SIGHUP};
constexpr int kPassedOn = SIGUSR1;  // by the process that started this one as a rank (examples/launch.cpp)

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  ::sigaction(signal, nullptr, &action);
  if (action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(signal, &action, nullptr);
}

void end_at_once(int) {
  constexpr std::string_view line = "onemodel: interrupted\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(kInterrupted);
}

/// `timeout`, and a terminal's group, may send one ending as two signals.
constexpr std::int64_t kSameSignal = 1000;  // milliseconds
std::atomic<std::int64_t> interrupted_at = 0;

std::int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

void raise_flag(int signal) {
  if (!interrupt_flag) {
    interrupted_at = now();
    interrupt_flag = true;
  } else if (now() - interrupted_at >= kSameSignal) {
    end_at_once(signal);
  }
}

/// Needs no memory: what it says may be that there is none.
void print_line(std::string_view name, std::string_view message) {
  std::array<char, 4096> buffer;  // written at once where it holds the line
  std::size_t filled = 0;
  const auto put = [&](char c) {
    buffer[filled++] = c;
    if (filled < buffer.size()) return;
    std::cerr.write(buffer.data(), static_cast<std::streamsize>(filled));
    filled = 0;
  };
  std::for_each(name.begin(), name.end(), put);
  while (!message.empty()) {
    const std::size_t length = showable(message), taken = std::max<std::size_t>(length, 1);
    if (length == 0) {
      const auto byte = static_cast<unsigned char>(message[0]);
      for (const char c : {'\\', 'x', "0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]}) put(c);
    }
    std::for_each(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(length), put);
    message.remove_prefix(taken);
  }
  put('\n');
  std::cerr.write(buffer.data(), static_cast<std::streamsize>(filled));
}

}  // namespace

Backend& open_backend(const Common& common) {
  set_threads(static_cast<int>(common.threads));
  const int wanted = threads();
  Backend& chosen = backend(common.backend);
  if (threads() < wanted) note(text("threads: ", threads(), " of ", wanted, "; the system starts no more"));
  return chosen;
}

Precision precision_of(const Common& common, const Backend& backend) {
  if (common.precision.empty()) return default_precision(backend);
  const Precision wanted = precision_named(common.precision), precision = precision_on(wanted, backend);
  if (precision != wanted) note(precision_header(wanted, backend));
  return precision;
}

void complain(std::string_view message) { print_line("onemodel: ", message); }

void note(std::string_view message) { print_line("", message); }

void Pace::step() {
  ++done_;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < std::chrono::seconds(10)) return;
  last_ = now;
  note(text(done_, "/", total_));
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(folder.string(), ": cannot create: ", error.message());
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    fail(folder.string(), ": cannot write: ", std::strerror(errno));
}

void expect_writable(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    fail(file.string(), ": cannot write: ", std::strerror(errno));
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) fail(file.string(), ": cannot write: is a folder");
}

void end_on_signals() {
  for (const int signal : kEnding) handle(signal, end_at_once);
  ::signal(SIGXFSZ, SIG_IGN);
}

void catch_interrupts() {
  for (const int signal : kEnding) handle(signal, raise_flag);
  if (std::getenv("ONEMODEL_HUB") != nullptr) handle(kPassedOn, raise_flag);
}

const std::atomic<bool>& interrupted() { return interrupt_flag; }

void stop_if_interrupted() {
  if (interrupted()) throw Interrupted{};
}

}  // namespace om
