#include "examples/inputs.h"

#include <filesystem>

#include "examples/common.h"
#include "io/image_folder.h"
#include "tensor/error.h"

namespace om {

ImageInputs::ImageInputs(const std::vector<std::string>& paths, bool recursive) {
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      sources_.push_back({path, false, {path}});
      continue;
    }
    try {
      const ImageFolder folder(path, recursive);
      sources_.push_back({path, true, {folder.files().begin(), folder.files().end()}});
    } catch (const InputError& problem) {
      reject(problem.what());
    }
  }
}

std::vector<std::string> ImageInputs::files() const {
  std::vector<std::string> all;
  for (const Source& source : sources_) all.insert(all.end(), source.files.begin(), source.files.end());
  return all;
}

std::vector<std::string> ImageInputs::files_and(const std::vector<std::string>& others) const {
  std::vector<std::string> all = files();
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

std::optional<ImageInputs::Item> ImageInputs::next() {
  for (; current_ < sources_.size(); ++current_) {
    Source& source = sources_[current_];
    while (source.position < source.files.size()) {
      stop_if_interrupted();
      if (auto item = read(source)) return item;
    }
    finish(source);
  }
  return std::nullopt;
}

std::optional<ImageInputs::Item> ImageInputs::read(Source& source) {
  const std::string& file = source.files[source.position++];
  try {
    return Item{file, read_image(file)};
  } catch (const InputError& error) {
    ++source.skipped;
    source.folder ? note(text("skipped ", error.what())) : reject(error.what());
  }
  return std::nullopt;
}

void ImageInputs::finish(const Source& source) {
  if (!source.folder || source.skipped == 0) return;
  if (source.skipped == source.files.size()) {
    reject(source.path + ": holds no readable image");
  } else {
    note(text(source.path, ": skipped ", source.skipped, " of ", source.files.size(), " images"));
  }
}

void ImageInputs::reject(const std::string& reason) {
  complain(reason);
  exit_code_ = kBadInput;
}

}  // namespace om
