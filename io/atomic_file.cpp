// The temporary is locked (flock) while it is written, so two writers of one target cannot mix their bytes. A
// lock can be won on a temporary that its former writer has just renamed; the inode comparison below notices
// and opens anew.
#include "io/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "tensor/error.h"

namespace om {

void (*atomic_file_fault)(FileFault, const std::string&, std::uint64_t) = nullptr;

namespace {

constexpr std::size_t chunk = std::size_t{1} << 20;

std::string directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

}  // namespace

AtomicFile::AtomicFile(std::string path, bool durable)
    : path_(std::move(path)), target_(path_), durable_(durable) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::is_symlink(path_, ignored)) {
    if (const fs::path real = fs::weakly_canonical(path_, ignored); !ignored) target_ = real.string();
  }
  if (fs::path(target_).filename().empty()) fail_with("cannot write", EISDIR);
  temporary_ = text(directory_of(target_), "/", temporary_name(fs::path(target_).filename().string()));
  fault(FileFault::open);
  try {
    open_temporary();
  } catch (...) {
    if (descriptor_ >= 0) ::close(descriptor_);  // not ours: leave the name alone
    throw;
  }
}

void AtomicFile::open_temporary() {
  struct stat existing {};
  const bool exists = ::stat(target_.c_str(), &existing) == 0;
  if (exists && S_ISDIR(existing.st_mode)) fail_with("cannot write", EISDIR);
  if (exists && !S_ISREG(existing.st_mode)) fail(path_, ": cannot write: not a regular file");
  while (true) {
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (descriptor_ < 0) fail_with("cannot write", errno);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      fail(path_, ": cannot write: another process is writing it");
    }
    struct stat opened {
    }, named{};
    if (::fstat(descriptor_, &opened) != 0) fail_with("cannot write", errno);
    if (!S_ISREG(opened.st_mode)) fail(path_, ": cannot write: ", temporary_, " is not a regular file");
    if (::lstat(temporary_.c_str(), &named) == 0 && named.st_ino == opened.st_ino &&
        named.st_dev == opened.st_dev) {
      break;
    }
    ::close(std::exchange(descriptor_, -1));
  }
  if (::ftruncate(descriptor_, 0) != 0) fail_with("cannot write", errno);
  if (exists) (void)!::fchmod(descriptor_, existing.st_mode & 07777);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::unlink(temporary_.c_str());  // before the close, which gives the lock away
  ::close(descriptor_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    fault(FileFault::write);
    const ssize_t n = ::write(descriptor_, bytes.data(), std::min(bytes.size(), chunk));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_with("cannot write", n == 0 ? ENOSPC : errno);
    written_ += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void AtomicFile::commit() {
  fault(FileFault::sync);
  // A network file system may report a full disk only at a close, which must not come after the rename.
  const int flushed = durable_ ? ::fsync(descriptor_) : ::close(::dup(descriptor_));
  if (flushed != 0) fail_with("cannot write", errno);
  fault(FileFault::rename);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_with("cannot rename the finished file", errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_with("cannot write", errno);
  if (durable_) {  // the name itself; some file systems cannot sync a directory, which is no error
    const int directory = ::open(directory_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
      (void)!::fsync(directory);
      ::close(directory);
    }
  }
  fault(FileFault::done);
}

void AtomicFile::fault(FileFault step) const {
  if (atomic_file_fault) atomic_file_fault(step, path_, written_);
}

void AtomicFile::fail_with(const char* what, int error) const {
  fail(path_, ": ", what, ": ", std::strerror(error));
}

std::string temporary_name(const std::string& name) {
  constexpr std::size_t short_enough = 100;
  if (name.size() <= short_enough) return "." + name + ".tmp";
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a of 64 bits: two long names that begin alike differ here
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4) digits += "0123456789abcdef"[hash >> shift & 15];
  const std::string ending = "~" + digits + ".tmp";
  return "." + std::string(cut_text(name, name.size() - 1 - ending.size())) + ending;
}

std::string_view cut_text(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit;  // before a byte that goes on, 10xxxxxx, a character would be cut
  while (end > 0 && limit - end < 4 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, limit - end < 4 ? end : limit);
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace om
