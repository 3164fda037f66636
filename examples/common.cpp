#include "examples/common.h"

#include <signal.h>  // sigaction
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>

#include "tensor/error.h"

namespace om {
namespace {

std::atomic<bool> interrupt_flag = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler sets it

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
  for (const char c : message) put(c == '\n' || c == '\r' ? ' ' : c);
  put('\n');
  std::cerr.write(buffer.data(), static_cast<std::streamsize>(filled));
}

}  // namespace

Backend& start(const Common& common) {
  set_threads(static_cast<int>(common.threads));
  const int wanted = threads();
  Backend& chosen = backend(common.backend);
  if (threads() < wanted) note(text("threads: ", threads(), " of ", wanted, "; the system starts no more"));
  return chosen;
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

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupt_flag = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  ::sigaction(SIGINT, &action, nullptr);
}

const std::atomic<bool>& interrupted() { return interrupt_flag; }

void stop_if_interrupted() {
  if (interrupted()) throw Interrupted{};
}

}  // namespace om
