#include "io/folder.h"

#include <dirent.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "tensor/error.h"

namespace om {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

}  // namespace

std::vector<std::string> names_in(const std::string& folder, std::error_code& error) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseFolder> open(::opendir(folder.c_str()));
  int reason = open ? 0 : errno;
  while (open) {
    errno = 0;
    const dirent* entry = ::readdir(open.get());
    if (entry == nullptr) {
      reason = errno;
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (reason == ENOMEM) fail<OutOfMemory>("not enough memory to read the folder ", folder);
  error.assign(reason, std::generic_category());
  return names;
}

}  // namespace om
