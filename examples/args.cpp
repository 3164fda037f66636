#include "examples/args.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>

#include "io/suggest.h"
#include "tensor/error.h"

namespace om {
namespace {

constexpr std::int64_t kMaxThreads = 1024;

void declare(CLI::App& app, const Option& option) {
  const auto add = [&](auto* target) -> CLI::Option* {
    using T = std::remove_pointer_t<decltype(target)>;
    if constexpr (std::is_same_v<T, bool>) {
      return app.add_flag(option.name, *target, option.help);
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      return app.add_option(option.name, *target, option.help)->expected(1, 1 << 20);
    } else {
      return app.add_option(option.name, *target, option.help);
    }
  };
  CLI::Option* added = std::visit(add, option.target);
  if (!std::holds_alternative<bool*>(option.target)) added->type_name(option.value);
  if (option.required) added->required();
}

bool was_given(const CLI::App& app, const std::string& name) {
  return app.get_option(name.substr(0, name.find(',')))->count() > 0;
}

std::string long_name(const std::string& name) { return name.substr(name.find(',') + 1); }

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

void remove_shields(const Option& option) {
  if (const auto* word = std::get_if<std::string*>(&option.target)) remove_shield(**word);
  if (const auto* words = std::get_if<std::vector<std::string>*>(&option.target))
    std::for_each((*words)->begin(), (*words)->end(), remove_shield);
}

void check_value(const Option& option) {
  if (const auto* number = std::get_if<double*>(&option.target); number && !std::isfinite(**number))
    fail<UsageError>(option.name, " expects a finite number");
  if (const auto* number = std::get_if<std::optional<double>*>(&option.target);
      number && **number && !std::isfinite(***number))
    fail<UsageError>(option.name, " expects a finite number");
  const auto* word = std::get_if<std::string*>(&option.target);
  if (word == nullptr) return;
  if ((*word)->empty()) fail<UsageError>(option.name, " expects ", option.value, ", got nothing");
  const auto& choices = option.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), **word) != choices.end()) return;
  std::string known;
  for (const std::string& choice : choices) known += (known.empty() ? "" : ", ") + choice;
  fail<UsageError>(option.name, " expects one of ", known, "; got '", **word, "'");
}

}  // namespace

std::optional<Common> parse_arguments(const Command& command, const std::vector<std::string>& arguments) {
  Common common;
  std::vector<Option> options = command.options;
  options.push_back({"--seed", "S", &common.seed, "Seed of all random numbers (default 0)"});
  options.push_back({"--threads", "N", &common.threads, "Threads on the CPU (default: all processors)"});
  options.push_back({"--backend", "NAME", &common.backend, "Device to compute on (default cpu)"});

  CLI::App app(command.summary, "onemodel " + command.name);
  app.set_help_flag("-h,--help", "Print this and exit");
  for (const Option& option : options) declare(app, option);
  std::vector<std::string> names = {"--help"};
  for (const Option& option : options)
    if (option.name[0] == '-') names.push_back(long_name(option.name));

  try {
    std::vector<std::string> words(arguments.size());  // CLI11 wants them reversed
    std::transform(arguments.begin(), arguments.end(), words.rbegin(), shielded);
    app.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    // an option that is missing often is one that was misspelt
    const std::string what = app.remaining_size() > 0 ? describe_extra(app, names) : error.what();
    fail<UsageError>(command.name, ": ", what);
  }
  for (const Option& option : options) {
    if (!was_given(app, option.name)) continue;
    remove_shields(option);
    try {
      check_value(option);
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
