#include "tensor/cuda/plan_file.h"

#include <fstream>
#include <sstream>

#include "tensor/cache_folder.h"

namespace om::cuda {
namespace {

constexpr const char* kTitle = "onemodel convolution plans 1";

bool parse(const std::string& line, std::string& convolution, Engine& engine) {
  const std::size_t bar = line.find(" | ");
  if (bar == std::string::npos) return false;
  convolution = line.substr(0, bar);
  std::istringstream words(line.substr(bar + 3));
  std::string form;
  if (!(words >> form >> engine.number) || engine.number < 0 ||
      (form != "plain" && form != "copied" && form != "apart"))
    return false;
  engine.copied = form == "copied";
  engine.apart = form == "apart";
  std::int64_t type = 0, value = 0;
  char equals = 0;
  while (words >> type) {
    if (!(words >> equals >> value) || equals != '=') return false;
    engine.knobs.emplace_back(type, value);
  }
  return words.eof();
}

}  // namespace

std::string line_of(const std::string& convolution, const Engine& engine) {
  std::string line = convolution + " | " +
                     (engine.apart    ? "apart"
                      : engine.copied ? "copied"
                                      : "plain") +
                     ' ' + std::to_string(engine.number);
  for (const auto& [type, value] : engine.knobs)
    line += ' ' + std::to_string(type) + '=' + std::to_string(value);
  return line;
}

PlanFile::PlanFile(std::string path) : path_(std::move(path)) { read(); }

void PlanFile::read() {
  std::ifstream file(path_);
  std::string line;
  if (!std::getline(file, line) || line != kTitle) return;
  while (std::getline(file, line)) {
    std::string convolution;
    Engine engine;
    if (parse(line, convolution, engine)) engines_.try_emplace(convolution, engine);
  }
}

const Engine* PlanFile::find(const std::string& convolution) const {
  const auto found = engines_.find(convolution);
  return found == engines_.end() ? nullptr : &found->second;
}

bool PlanFile::keep(const std::string& convolution, const Engine& engine) {
  engines_.insert_or_assign(convolution, engine);
  if (path_.empty()) return false;
  read();  // what another process found meanwhile
  std::string text = std::string(kTitle) + '\n';
  for (const auto& [name, choice] : engines_) text += line_of(name, choice) + '\n';
  return replace_cached(path_, text);
}

}  // namespace om::cuda
