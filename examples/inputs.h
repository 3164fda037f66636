// The images that a command line names: single files, and folders of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/image.h"

namespace om {

/// The help of `IMAGES` and of `--recursive`, in every command that takes them.
inline constexpr const char* kImagesHelp = "PNG, JPEG or WebP files, or folders of them";
inline constexpr const char* kRecursiveHelp = "Read the images in the folders' subfolders as well";

/// Reads them one after the other. An image that was named itself and cannot be read is a complaint on stderr
/// and makes the exit code 3; inside a folder it is skipped, named and counted on stderr. A folder without
/// one readable image counts as one that cannot be read.
class ImageInputs {
 public:
  /// Lists the folders, `recursive` with the folders in them.
  explicit ImageInputs(const std::vector<std::string>& paths, bool recursive = false);

  /// All images to read. Paths as given; in a folder, the folder as given plus the name.
  std::vector<std::string> files() const;
  /// These and `others`: everything that a command reads.
  std::vector<std::string> files_and(const std::vector<std::string>& others) const;

  struct Item {
    std::string file;  ///< as in files()
    Image image;
  };
  /// The next readable image; nothing after the last.
  std::optional<Item> next();
  /// For whoever reads files() elsewhere: tells of the next of them why it could not be read (null where it
  /// could). In the place of next().
  void tell(const std::string* why);

  /// kDone, or kBadInput where something named could not be read. Complete after the last next() or tell().
  int exit_code() const { return exit_code_; }

 private:
  struct Source {
    std::string path;
    bool folder;
    std::vector<std::string> files;
    std::size_t position = 0, skipped = 0;
  };
  /// The source of the next file; null after the last.
  Source* source();
  void finish(const Source& source);
  void reject(const std::string& reason);

  std::vector<Source> sources_;
  std::size_t current_ = 0;
  int exit_code_ = 0;
};

}  // namespace om
