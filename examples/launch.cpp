// --ranks N: N processes of this program, with this one beside them as the place where they meet
// (tensor/ranks/hub.h) and as the one who hears what the system says of them.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "examples/common.h"
#include "examples/ranks.h"
#include "tensor/error.h"

extern char** environ;

namespace om {
namespace {

using Clock = ranks::Clock;

struct Child {
  pid_t process = -1;
  bool running = false;
  int status = 0;
};

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> words;
  for (std::size_t at = 0; at < bytes.size(); at += words.back().size() + 1)
    words.emplace_back(bytes.c_str() + at);
  if (words.empty()) fail("--ranks: this system does not say how the program was started");
  return words;
}

/// A child has no signal of a terminal's or a job's: they come to this process, which passes them on.
class DeafTo {
 public:
  DeafTo() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      struct sigaction ignored = {};
      ignored.sa_handler = SIG_IGN;
      ::sigaction(kSignals[i], &ignored, &before_[i]);
    }
  }
  ~DeafTo() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  }
  DeafTo(const DeafTo&) = delete;
  DeafTo& operator=(const DeafTo&) = delete;

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, 3> before_{};
};

class Launcher {
 public:
  Launcher(int ranks, const Kept& kept) : kept_(kept), hub_(options_of(ranks)) {
    const std::vector<std::string> arguments = own_arguments();
    const DeafTo deaf;
    for (int rank = 0; rank < ranks; ++rank) children_.push_back(start(rank, ranks, arguments));
  }

  int wait() {
    catch_interrupts();
    bool told = false;
    Clock::time_point killed_at = Clock::time_point::max();
    for (;;) {
      if (look() == 0) break;
      if (interrupted() && !told) {
        told = true;
        signal_all(SIGUSR1);
      }
      if (failure() && killed_at == Clock::time_point::max()) killed_at = Clock::now() + kGrace;
      if (Clock::now() >= killed_at)
        signal_all(SIGKILL);  // one that hangs may not even hear the other signals
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return outcome(told);
  }

 private:
  /// For ranks to end by themselves once the run has failed.
  static constexpr auto kGrace = std::chrono::seconds(6);

  ranks::Hub::Options options_of(int ranks) {
    ranks::Hub::Options options;
    options.ranks = ranks;
    options.patience = patience_of_ranks();
    options.on_wait = note;
    options.on_end = [this](const ranks::Failure& failure) {
      const std::lock_guard lock(mutex_);
      failure_ = failure;
    };
    return options;
  }

  Child start(int rank, int ranks, std::vector<std::string> arguments) const {
    const std::vector<std::string> settings = {text("RANK=", rank),
                                               text("WORLD_SIZE=", ranks),
                                               text("LOCAL_RANK=", rank),
                                               text("LOCAL_WORLD_SIZE=", ranks),
                                               "MASTER_ADDR=" + hub_.address().host,
                                               text("MASTER_PORT=", hub_.address().port),
                                               "ONEMODEL_HUB=1"};
    std::vector<char*> environment, words;
    for (const std::string& setting : settings) environment.push_back(const_cast<char*>(setting.c_str()));
    for (char** inherited = environ; *inherited != nullptr; ++inherited) environment.push_back(*inherited);
    environment.push_back(nullptr);
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    Child child;
    const int error =
        ::posix_spawn(&child.process, "/proc/self/exe", nullptr, nullptr, words.data(), environment.data());
    if (error != 0) {
      signal_all(SIGKILL);
      fail("--ranks: cannot start rank ", rank, ": ", std::strerror(error));
    }
    child.running = true;
    return child;
  }

  void signal_all(int signal) const {
    for (const Child& child : children_)
      if (child.running) ::kill(child.process, signal);
  }

  /// Takes note of who has ended; how many have not.
  int look() {
    int running = 0;
    for (std::size_t rank = 0; rank < children_.size(); ++rank) {
      Child& child = children_[rank];
      if (child.running && ::waitpid(child.process, &child.status, WNOHANG) == child.process) {
        child.running = false;
        const bool fine = WIFEXITED(child.status) &&
                          (WEXITSTATUS(child.status) == kDone || WEXITSTATUS(child.status) == kInterrupted);
        if (!fine) hub_.end(static_cast<int>(rank), how_it_ended(rank));
      }
      running += child.running;
    }
    return running;
  }

  std::string how_it_ended(std::size_t rank) const {
    const int status = children_[rank].status;
    return WIFSIGNALED(status) ? text("rank ", rank, " was killed by signal ", WTERMSIG(status), " (",
                                      ::strsignal(WTERMSIG(status)), ")")
                               : text("rank ", rank, " ended with code ", WEXITSTATUS(status));
  }

  std::optional<ranks::Failure> failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  int outcome(bool told) {
    const std::optional<ranks::Failure> failure = this->failure();
    if (!failure) {
      for (const Child& child : children_)
        if (WIFEXITED(child.status) && WEXITSTATUS(child.status) != kDone) return WEXITSTATUS(child.status);
      return kDone;
    }
    if (failure->rank < 0) {  // not all came
      complain(failure->why);
      return kFailed;
    }
    const auto at_fault = static_cast<std::size_t>(failure->rank);
    const int status = children_[at_fault].status;
    const bool by_itself = WIFEXITED(status);
    if (told && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1) throw Interrupted{};
    if (failure->reported || (by_itself && WEXITSTATUS(status) != kDone &&
                              WEXITSTATUS(status) != kInterrupted && failure->why == how_it_ended(at_fault)))
      return by_itself ? WEXITSTATUS(status) : kFailed;  // it has said so itself
    // Of a rank that was still there when the hub gave it up, the hub knows more than the system.
    const bool hung = failure->why.find("heard of") != std::string::npos;
    complain(end_line(hung || by_itself ? failure->why : how_it_ended(at_fault), kept_, true));
    return kFailed;
  }

  const Kept& kept_;
  std::mutex mutex_;
  std::optional<ranks::Failure> failure_;
  std::vector<Child> children_;
  ranks::Hub hub_;
};

}  // namespace

int start_ranks(int ranks, const Kept& kept) { return Launcher(ranks, kept).wait(); }

}  // namespace om
