// Listing and ordering; the threads live in image_loader.cpp.
#include "io/image_folder.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <numeric>
#include <system_error>

#include "io/folder.h"
#include "io/image_codec.h"
#include "tensor/error.h"

namespace om {
namespace {

namespace fs = std::filesystem;

bool has_image_name(const fs::path& file) {
  std::string extension = file.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg" || extension == ".webp";
}

void list(const fs::path& folder, bool recursive, std::vector<fs::path>& files) {
  std::error_code error;
  for (const std::string& name : names_in(folder.string(), error)) {
    const fs::path entry = folder / name;
    std::error_code unknown;  // a dangling link is listed: reading it will say what is wrong
    if (has_image_name(entry) && !fs::is_directory(entry, unknown)) files.push_back(entry);
    if (recursive && fs::is_directory(fs::symlink_status(entry, unknown))) list(entry, recursive, files);
  }
  if (error) fail<InputError>(one_line(folder), ": cannot read the folder: ", error.message());
}

/// Whether a folder in this one, or in one of those, holds an image's name. Folders that cannot be read hold
/// none.
bool some_below(const fs::path& folder, int depth = 0) {
  std::error_code error;
  for (const std::string& name : names_in(folder.string(), error)) {
    const fs::path entry = folder / name;
    std::error_code unknown;
    const bool is_folder = fs::is_directory(fs::symlink_status(entry, unknown));
    if (depth > 0 && !is_folder && has_image_name(entry)) return true;
    if (is_folder && depth < 32 && some_below(entry, depth + 1)) return true;
  }
  return false;
}

/// splitmix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"): a
/// bijection of 64 bits.
uint64_t mixed(uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15U;

}  // namespace

ImageFolder::ImageFolder(fs::path folder, bool recursive) : folder_(std::move(folder)) {
  std::error_code error;
  const fs::file_status status = fs::status(folder_, error);
  if (!fs::exists(status)) {
    fail<InputError>(one_line(folder_), ": ",
                     status.type() == fs::file_type::not_found ? "no such folder" : error.message());
  }
  if (!fs::is_directory(status)) fail<InputError>(one_line(folder_), ": is not a folder");
  list(folder_, recursive, files_);
  if (files_.empty()) {
    const bool below = !recursive && some_below(folder_);
    fail<InputError>(one_line(folder_), ": holds no readable image",
                     below ? ", but its subfolders do; --recursive reads those" : "");
  }
  if (files_.size() > std::numeric_limits<uint32_t>::max())
    fail<InputError>(one_line(folder_), ": too many files");
  const auto by_name = [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); };
  std::sort(files_.begin(), files_.end(), by_name);
}

std::vector<uint32_t> epoch_order(uint64_t seed, uint64_t epoch, size_t n) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), uint32_t{0});
  const uint64_t key = mixed(mixed(seed + kGolden) + epoch * kGolden);
  for (size_t left = n; left > 1; --left) {
    const uint64_t random = mixed(key + left * kGolden) >> 32;
    std::swap(order[left - 1], order[random * left >> 32]);
  }
  return order;
}

}  // namespace om
