#include "tensor/cuda/plan_file.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace om::cuda {
namespace {

constexpr const char* kTitle = "onemodel convolution plans 1";

/// "conv2d ... | plain 17 2=1 12=0": after the bar the graph's form, the engine's number and its knobs.
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
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  const std::string temporary = path_ + '.' + std::to_string(getpid());
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << kTitle << '\n';
    for (const auto& [name, choice] : engines_) file << line_of(name, choice) << '\n';
    if (!file.flush()) {
      file.close();
      std::filesystem::remove(temporary, error);
      return false;
    }
  }
  std::filesystem::rename(temporary, path_, error);
  if (!error) return true;
  std::filesystem::remove(temporary, error);
  return false;
}

std::string cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::string(cache) + "/onemodel";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::string(home) + "/.cache/onemodel";
  return {};
}

}  // namespace om::cuda
