// What the commands share: the start of a command, lines on stderr, output folders, interruption.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "autograd/precision.h"
#include "examples/command.h"
#include "tensor/registry.h"

namespace om {

/// Sets the threads and opens the backend that the command line names.
Backend& open_backend(const Common& common);

/// The precision that the command line names, or the backend's default. UsageError for bf16 that the backend
/// lacks; for tf32 it is fp32, with a line on stderr.
Precision precision_of(const Common& common, const Backend& backend);

/// What a command computes with: the backend, and while this lives, in this thread, the precision.
class Session {
 public:
  explicit Session(const Common& common)
      : backend_(open_backend(common)), scope_(precision_of(common, backend_)) {}
  Backend& backend() const { return backend_; }

 private:
  Backend& backend_;
  PrecisionScope scope_;
};

/// One line on stderr, `onemodel: message`, as shown() has it.
void complain(std::string_view message);

/// A note for people on stderr, without the program's name.
void note(std::string_view message);

/// Says on stderr how far a long command is, at most every few seconds.
class Pace {
 public:
  explicit Pace(std::size_t total) : total_(total) {}
  void step();

 private:
  std::size_t done_ = 0, total_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Makes the folder and its parents. Error `FOLDER: reason` where that fails or something else stands there.
void make_folder(const std::filesystem::path& folder);

/// Error where no file can be written in the folder that `file` is to stand in; better said before the work.
void expect_writable(const std::filesystem::path& file);

/// A signal came; main ends with code 130 and the line that goes on.
struct Interrupted {
  std::string resume_with = "the same command again";
};

/// SIGINT, SIGTERM (Slurm, docker, shutdown) and SIGHUP (a closed terminal) end the program at once with code
/// 130; one that is ignored at the start (nohup) stays ignored. And a limit on files' sizes is an error of
/// the write that meets it, as a full disk is, not a signal.
void end_on_signals();

/// From now on the first of these signals only raises a flag; one that comes a second later or more ends the
/// program.
void catch_interrupts();
const std::atomic<bool>& interrupted();
/// Throws Interrupted once one of them came.
void stop_if_interrupted();

}  // namespace om
