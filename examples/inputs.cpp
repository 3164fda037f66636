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
  while (const Source* from = source()) {
    stop_if_interrupted();
    const std::string& file = from->files[from->position];
    try {
      Item item{file, read_image(file)};
      tell(nullptr);
      return item;
    } catch (const InputError& error) {
      const std::string why = error.what();
      tell(&why);
    }
  }
  return std::nullopt;
}

ImageInputs::Source* ImageInputs::source() {
  while (current_ < sources_.size() && sources_[current_].position == sources_[current_].files.size())
    ++current_;
  return current_ < sources_.size() ? &sources_[current_] : nullptr;
}

void ImageInputs::tell(const std::string* why) {
  Source* const from = source();
  if (from == nullptr) fail("inputs: no file left to tell of");
  ++from->position;
  if (why != nullptr) {
    ++from->skipped;
    from->folder ? note(text("skipped ", *why)) : reject(*why);
  }
  if (from->position == from->files.size()) finish(*from);
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
