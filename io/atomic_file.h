// A file that appears whole or not at all.
//
// Bytes go to temporary_name(NAME) beside the target, `.NAME.tmp` where that is not too long; commit() syncs,
// closes and renames it over the target. Whoever is killed in between leaves the old target untouched and at
// most one temporary, which the next writer of that target reuses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace om {

/// What an AtomicFile is about to do when it calls the fault hook.
enum class FileFault { open, write, sync, rename, done };

/// For tests: called before each step of every AtomicFile with the bytes written so far (at least once a
/// MiB), and with `done` after the rename. May throw (an injected fault) or end the process. Null by default;
/// set it while no file is being written.
extern void (*atomic_file_fault)(FileFault step, const std::string& path, std::uint64_t bytes_written);

/// Writes PATH atomically. Not copyable; one thread. Every failure is an Error naming the path and the
/// system's reason.
class AtomicFile {
 public:
  /// Opens the temporary. A symbolic link at `path` is followed; a target that exists and is no regular file
  /// is refused, and so is one that another AtomicFile (of any process) is writing. `durable` = false skips
  /// the syncs, for files that can be made again.
  explicit AtomicFile(std::string path, bool durable = true);
  ~AtomicFile();  ///< Removes the temporary unless commit() has succeeded.
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

  /// Makes the file visible under its name. Call once, last.
  void commit();

  std::uint64_t bytes_written() const { return written_; }

 private:
  void open_temporary();
  void fault(FileFault step) const;
  [[noreturn]] void fail_with(const char* what, int error) const;

  std::string path_;    // as the caller named it, for messages
  std::string target_;  // links resolved
  std::string temporary_;
  std::uint64_t written_ = 0;
  int descriptor_ = -1;
  bool durable_;
};

/// The name of the file that is written before it becomes NAME: `.NAME.tmp`, or, for names of more than 100
/// bytes, as much of NAME as makes it no longer than NAME, with a checksum of all of it. File systems limit
/// names, commonly to 255 bytes.
std::string temporary_name(const std::string& name);

/// The first `limit` bytes of a text or fewer, so that no UTF-8 character is cut.
std::string_view cut_text(std::string_view text, std::size_t limit);

/// Replaces `path` by `bytes` atomically.
void write_file(const std::string& path, std::span<const std::byte> bytes);

}  // namespace om
