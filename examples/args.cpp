#include "examples/args.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <type_traits>

#include "examples/lists.h"
#include "io/suggest.h"
#include "tensor/error.h"

namespace om {
namespace {

constexpr std::int64_t kMaxThreads = 1024;

/// Declares the option; its words go to `words`, since CLI11's own reading of numbers takes 010 for eight,
/// 0x10 and 1_000 for numbers, and the largest there is for anything larger.
void declare(CLI::App& app, const Option& option, std::vector<std::string>& words) {
  if (const auto* flag = std::get_if<bool*>(&option.target)) {
    app.add_flag(option.name, **flag, option.help);
    return;
  }
  CLI::Option* added = nullptr;
  if (std::holds_alternative<std::vector<std::string>*>(option.target)) {
    added = app.add_option(option.name, words, option.help);
    option.name[0] == '-' ? added->allow_extra_args(false) : added->expected(1, 1 << 20);
  } else {
    const auto take = [&words](const CLI::results_t& results) {
      words = results;
      return true;
    };
    added = app.add_option(option.name, take, option.help);
  }
  added->type_name(option.value);
  if (option.required) added->required();
}

bool was_given(const CLI::App& app, const std::string& name) {
  return app.get_option(name.substr(0, name.find(',')))->count() > 0;
}

std::string long_name(const std::string& name) { return name.substr(name.find(',') + 1); }

/// What CLI11 says of an option without its value, or with two, in plain words.
std::string describe(const CLI::ParseError& error, const std::vector<Option>& options) {
  const std::string what = error.what();
  std::string name = what.substr(0, what.find(':'));
  for (const Option& option : options)
    if (option.name.starts_with(name + ',')) name = long_name(option.name);
  if (what.find(": At Most 1 required but received ") != std::string::npos)
    return name + " is given more than once";
  if (const std::size_t at = what.find(": 1 required ");
      at != std::string::npos && what.ends_with(" missing"))
    return text(name, " expects ", what.substr(at + 13, what.size() - at - 21), ", got nothing");
  return what;
}

/// The first argument that CLI11 could not place.
std::string describe_extra(const CLI::App& app, const std::vector<std::string>& names) {
  const std::vector<std::string> extras = app.remaining();
  const auto option = std::find_if(extras.begin(), extras.end(),
                                   [](const std::string& word) { return word.size() > 1 && word[0] == '-'; });
  if (option == extras.end()) return text("unexpected argument '", extras.empty() ? "" : extras.front(), "'");
  const std::string word = option->substr(0, option->find('='));
  return text("unknown option '", word, "'", suggestion(word, names));
}

// CLI11 would split an argument like [a,b] into two where several are allowed; paths must come through as
// given.
constexpr char kShield = '\x01';

std::string shielded(const std::string& word) { return word.starts_with('[') ? kShield + word : word; }

void remove_shield(std::string& word) {
  if (word.starts_with(kShield)) word.erase(0, 1);
}

void set(const Option& option, std::string& target, const std::string& word) {
  if (word.empty()) fail<UsageError>(long_name(option.name), " expects ", option.value, ", got nothing");
  const auto& choices = option.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), word) == choices.end()) {
    std::string known;
    for (const std::string& choice : choices) known += (known.empty() ? "" : ", ") + choice;
    fail<UsageError>(long_name(option.name), " expects one of ", known, "; got '", word, "'");
  }
  target = word;
}
void set(const Option& option, std::int64_t& target, const std::string& word) {
  target = whole_number(long_name(option.name), word);
}
void set(const Option& option, double& target, const std::string& word) {
  target = finite_number(long_name(option.name), word);
}
void set(const Option& option, std::vector<std::int64_t>& target, const std::string& word) {
  target = integer_list(long_name(option.name), word);
}
void set(const Option& option, std::vector<double>& target, const std::string& word) {
  target = number_list(long_name(option.name), word);
}

/// Gives the option's variable the value that the words say.
void set_value(const Option& option, std::vector<std::string> words) {
  std::for_each(words.begin(), words.end(), remove_shield);
  const auto assign = [&](auto* target) {
    using T = std::remove_pointer_t<decltype(target)>;
    if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      if (std::find(words.begin(), words.end(), "") != words.end())
        fail<UsageError>(long_name(option.name), " expects a name, got nothing");
      *target = words;
    } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>> ||
                         std::is_same_v<T, std::optional<double>>) {
      set(option, target->emplace(), words.front());
    } else if constexpr (!std::is_same_v<T, bool>) {
      set(option, *target, words.front());
    }
  };
  std::visit(assign, option.target);
}

}  // namespace

std::optional<Common> parse_arguments(const Command& command, const std::vector<std::string>& arguments) {
  Common common;
  std::vector<Option> options = command.options;
  options.push_back({"--seed", "S", &common.seed, "Seed of all random numbers (default 0)"});
  options.push_back({"--threads", "N", &common.threads, "Threads on the CPU (default: all processors)"});
  options.push_back({"--backend", "NAME", &common.backend, "Device to compute on (default cpu)"});
  options.push_back({"--precision",
                     "fp32|tf32|bf16",
                     &common.precision,
                     "Of products and convolutions (default: tf32 where the device has it, else fp32)",
                     false,
                     {"fp32", "tf32", "bf16"}});

  CLI::App app(command.summary, "onemodel " + command.name);
  app.set_help_flag("-h,--help", "Print this and exit");
  if (!command.paper.empty()) app.footer("\nIn the paper: " + command.paper);
  std::vector<std::vector<std::string>> words_of(options.size());
  for (std::size_t i = 0; i < options.size(); ++i) declare(app, options[i], words_of[i]);
  std::vector<std::string> names = {"--help"};
  for (const Option& option : options)
    if (option.name[0] == '-') names.push_back(long_name(option.name));

  // CLI11 would give `--option=` the word after it
  for (const std::string& word : arguments)
    for (const std::string& name : names)
      if (word == name + '=') fail<UsageError>(command.name, ": ", name, " expects a value, got nothing");

  try {
    std::vector<std::string> words(arguments.size());  // CLI11 wants them reversed
    std::transform(arguments.begin(), arguments.end(), words.rbegin(), shielded);
    app.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    // an option that is missing often is one that was misspelt
    const std::string what = app.remaining_size() > 0 ? describe_extra(app, names) : describe(error, options);
    fail<UsageError>(command.name, ": ", what);
  }
  for (std::size_t i = 0; i < options.size(); ++i) {
    const Option& option = options[i];
    if (!was_given(app, option.name)) continue;
    try {
      set_value(option, std::move(words_of[i]));
    } catch (const UsageError& error) {
      fail<UsageError>(command.name, ": ", error.what());
    }
    common.given.push_back(long_name(option.name).substr(option.name[0] == '-' ? 2 : 0));
  }
  if (common.seed < 0) fail<UsageError>(command.name, ": --seed must not be negative");
  if (common.threads < 0 || common.threads > kMaxThreads)
    fail<UsageError>(command.name, ": --threads must lie between 0 (all processors) and ", kMaxThreads);
  return common;
}

}  // namespace om
