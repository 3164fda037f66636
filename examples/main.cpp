// onemodel: the program. It finds the subcommand, runs it, and turns errors into one line and an exit code.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <utility>

#include "examples/args.h"
#include "examples/common.h"
#include "examples/ranks.h"
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
  std::size_t width = 0;
  for (const Command& command : commands) width = std::max(width, command.name.size());
  for (const Command& command : commands)
    std::cout << "  " << command.name << std::string(width + 2 - command.name.size(), ' ') << command.summary
              << "\n";
  std::cout << "\n`onemodel COMMAND --help` lists a command's options, `onemodel --version` what the program "
               "is made of.\n";
}

/// The command that the words begin with, and how many they are: one, or two as in `figure noise-maps`.
std::pair<const Command*, std::size_t> find(const std::vector<Command>& commands,
                                            const std::vector<std::string>& words) {
  for (const Command& command : commands) {
    if (command.name == words[0]) return {&command, 1};
    if (words.size() > 1 && command.name == words[0] + " " + words[1]) return {&command, 2};
  }
  return {nullptr, 0};
}

/// Whether the words ask for help on a group of commands, `figure --help`.
bool asks_for_group(const std::vector<std::string>& words) {
  return words.size() == 2 && (words[1] == "--help" || words[1] == "-h");
}

/// UsageError that says what stands where a command should, and the nearest one.
[[noreturn]] void fail_without_command(const std::vector<Command>& commands,
                                       const std::vector<std::string>& words) {
  std::vector<std::string> names, members;  // of the group that the first word names
  for (const Command& command : commands) {
    names.push_back(command.name);
    if (command.name.starts_with(words[0] + " ")) members.push_back(command.name.substr(words[0].size() + 1));
  }
  if (members.empty())
    fail<UsageError>(
        words[0].starts_with('-') ? "expects a command before the option '" : "unknown command '", words[0],
        "'", suggestion(words[0], names));
  std::string known;
  for (const std::string& member : members) known += (known.empty() ? "" : ", ") + member;
  fail<UsageError>(words[0], ": expects one of ", known, words.size() > 1 ? "; got '" + words[1] + "'" : "");
}

int run(const std::vector<std::string>& words) {
  const std::vector<Command> commands = Subcommand::all();
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
  const auto [command, taken] = find(commands, words);
  if (command == nullptr && asks_for_group(words)) {
    std::vector<Command> group = commands;
    std::erase_if(group, [&](const Command& each) { return !each.name.starts_with(word + " "); });
    if (!group.empty()) {
      print_help(group);
      return kDone;
    }
  }
  if (command == nullptr) fail_without_command(commands, words);
  const std::optional<Common> common =
      parse_arguments(*command, {words.begin() + static_cast<std::ptrdiff_t>(taken), words.end()});
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
  } catch (const EndedElsewhere&) {
    return kFailed;
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
