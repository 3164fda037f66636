// onemodel: the program. It finds the subcommand, runs it, and turns errors into one line and an exit code.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>

#include "examples/args.h"
#include "examples/common.h"
#include "examples/version.h"
#include "io/suggest.h"
#include "tensor/cpu/processor.h"
#include "tensor/error.h"

namespace om {

std::vector<Command> Subcommand::all() {
  std::vector<Command> commands;
  for (const Subcommand* at = first_; at != nullptr; at = at->next_) commands.push_back(at->make_());
  std::sort(commands.begin(), commands.end(),
            [](const Command& a, const Command& b) { return a.name < b.name; });
  return commands;
}

namespace {

void print_help(const std::vector<Command>& commands) {
  std::cout << "onemodel: encode real images into generators and reconstruct them\n\n"
               "Usage: onemodel COMMAND [OPTIONS]\n\nCommands:\n";
  for (const Command& command : commands)
    std::cout << "  " << command.name << std::string(14 - command.name.size(), ' ') << command.summary
              << "\n";
  std::cout << "\n`onemodel COMMAND --help` lists a command's options, `onemodel --version` what the program "
               "is made of.\n";
}

int run(const std::vector<std::string>& words) {
  const std::vector<Command> commands = Subcommand::all();
  std::vector<std::string> names;
  names.reserve(commands.size());
  for (const Command& command : commands) names.push_back(command.name);

  if (words.empty()) fail<UsageError>("expects a command; `onemodel --help` lists them");
  const std::string& word = words.front();
  if (word == "--help" || word == "-h") {
    print_help(commands);
    return kDone;
  }
  if (word == "--version") {
    std::cout << version_text();
    return kDone;
  }
  const auto command = std::find_if(commands.begin(), commands.end(),
                                    [&](const Command& candidate) { return candidate.name == word; });
  if (command == commands.end())
    fail<UsageError>(word.starts_with('-') ? "expects a command before the option '" : "unknown command '",
                     word, "'", suggestion(word, names));
  const std::optional<Common> common = parse_arguments(*command, {words.begin() + 1, words.end()});
  return common ? command->run(*common) : kDone;
}

int guarded_run(int argc, char** argv) {
  try {
    end_on_signals();
    require_processor();
    const int code = run({argv + std::min(argc, 1), argv + argc});
    std::cout.flush();
    if (!std::cout) fail("standard output: cannot write");
    return code;
  } catch (const Interrupted& stop) {
    complain(text("interrupted; to go on: ", stop.resume_with));
    return kInterrupted;
  } catch (const UsageError& error) {
    complain(error.what());
    return kWrongUsage;
  } catch (const InputError& error) {
    complain(error.what());
    return kBadInput;
  } catch (const std::bad_alloc&) {
    complain("not enough memory");
  } catch (const std::exception& error) {
    complain(error.what());
  }
  return kFailed;
}

/// What stands before main (CLI11's constants, say) is out of any catch's reach; so is what other libraries
/// allocate in noexcept functions.
void end_without_memory() {
  try {
    if (const auto error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    constexpr std::string_view line = "onemodel: not enough memory\n";
    (void)!::write(STDERR_FILENO, line.data(), line.size());
    ::_exit(kFailed);
  } catch (...) {
  }
  std::abort();
}

[[gnu::constructor(101)]] void before_all_constants() { std::set_terminate(end_without_memory); }

}  // namespace
}  // namespace om

int main(int argc, char** argv) {
  try {
    return om::guarded_run(argc, argv);
  } catch (const std::bad_alloc&) {  // while an error was worded
    om::complain("not enough memory");
    return om::kFailed;
  }
}
