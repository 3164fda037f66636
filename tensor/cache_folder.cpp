#include "tensor/cache_folder.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace om {
namespace {

constexpr const char* kTitle = "onemodel cache 1";

}  // namespace

std::string cache_hash(const std::string& bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

std::optional<std::string> read_cached(const std::string& path, const std::string& name) {
  std::ifstream file(path, std::ios::binary);
  std::string title, what, sum;
  if (!std::getline(file, title) || title != kTitle || !std::getline(file, what) || what != name ||
      !std::getline(file, sum))
    return std::nullopt;
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (cache_hash(bytes) != sum) return std::nullopt;
  return bytes;
}

bool keep_cached(const std::string& path, const std::string& name, const std::string& bytes) {
  return replace_cached(path, std::string(kTitle) + '\n' + name + '\n' + cache_hash(bytes) + '\n' + bytes);
}

std::string cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::string(cache) + "/onemodel";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::string(home) + "/.cache/onemodel";
  return {};
}

bool replace_cached(const std::string& path, std::span<const char> bytes) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  const std::string temporary = path + '.' + std::to_string(getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) {
    std::filesystem::rename(temporary, path, error);
    if (!error) return true;
  }
  std::filesystem::remove(temporary, error);
  return false;
}

}  // namespace om
