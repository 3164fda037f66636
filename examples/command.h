// What a subcommand of the program is: its options, and a function that runs after they were read.
//
// A command lists its options as data, each with the variable that takes the value; args.cpp turns the list
// into a parser and a help text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace om {

/// What the program ends with. 0: all done.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,        ///< unwritable output, full disk, no memory, ..
  kWrongUsage = 2,    ///< unknown option or subcommand, options that contradict one another
  kBadInput = 3,      ///< a named file is missing, unreadable, unsupported or broken
  kInterrupted = 130  ///< SIGINT, SIGTERM, SIGHUP
};

/// The options that every command takes.
struct Common {
  std::int64_t seed = 0;
  std::int64_t threads = 0;  ///< 0: as many as there are processors
  std::string backend = "cpu";
  std::string precision;           ///< fp32, tf32 or bf16; empty: the backend's default
  std::vector<std::string> given;  ///< names of the options that stood on the command line, without dashes
};

/// The variable behind an option; a bool makes it a flag, a vector of numbers takes a list separated by
/// commas. A vector of texts takes everything that is no option; one with dashes a text each time it is
/// given.
using Target = std::variant<bool*, std::string*, std::int64_t*, double*, std::optional<std::int64_t>*,
                            std::optional<double>*, std::vector<std::string>*, std::vector<std::int64_t>*,
                            std::vector<double>*>;

struct Option {
  std::string name;   ///< "--out", "-o,--out"; without dashes: by position
  std::string value;  ///< what the help calls the value, "DIR"; empty for a flag
  Target target;
  std::string help;
  bool required = false;
  std::vector<std::string> choices = {};  ///< the values allowed; empty: any
};

inline constexpr bool kRequired = true;

struct Command {
  std::string name;
  std::string summary;
  std::vector<Option> options;
  /// Returns an ExitCode; errors are exceptions (main.cpp maps them).
  std::function<int(const Common&)> run;
  std::string paper = {};  ///< what of the paper it makes, "Fig. 3": the help's last line
};

/// Makes a command one of the program's. One line at the end of the command's file is all that it takes:
///
///     const Subcommand here(train_command);
class Subcommand {
 public:
  explicit Subcommand(Command (*make)()) : make_(make), next_(first_) { first_ = this; }

  /// All of them, by name.
  static std::vector<Command> all();

 private:
  Command (*make_)();
  const Subcommand* next_;
  inline static const Subcommand* first_ = nullptr;  // set before any constructor runs
};

}  // namespace om
