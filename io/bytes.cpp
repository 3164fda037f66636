#include "io/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "io/shown.h"
#include "tensor/error.h"

namespace om {

namespace {

class FileSource final : public ByteSource {
 public:
  FileSource(std::string path, int descriptor, std::uint64_t size)
      : ByteSource(std::move(path), size), descriptor_(descriptor) {}
  ~FileSource() override { ::close(descriptor_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    check_range(offset, out.size());
    while (!out.empty()) {
      const std::size_t want = std::min(out.size(), std::size_t{1} << 30);
      const ssize_t n = ::pread(descriptor_, out.data(), want, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == ENOMEM) fail<OutOfMemory>("not enough memory to read ", name());
      if (n < 0) fail<InputError>(name(), ": cannot read: ", std::strerror(errno));
      if (n == 0) fail<InputError>(name(), ": became shorter while it was read");
      out = out.subspan(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
  }

 private:
  int descriptor_;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::span<const std::byte> bytes, std::string name)
      : ByteSource(std::move(name), bytes.size()), bytes_(bytes) {}
  MemorySource(std::vector<std::byte> bytes, std::string name)
      : ByteSource(std::move(name), bytes.size()), kept_(std::move(bytes)), bytes_(kept_) {}

  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    check_range(offset, out.size());
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
  }

 private:
  std::vector<std::byte> kept_;
  std::span<const std::byte> bytes_;
};

// Length of the UTF-8 sequence at the front of `s`, 0 where it is malformed.
std::size_t utf8_length(std::string_view s) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || s.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = at(1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool surrogate = lead == 0xed && second > 0x9f;
  const bool beyond = lead == 0xf4 && second > 0x8f;
  return overlong || surrogate || beyond ? 0 : n;
}

}  // namespace

std::string printable(std::string_view s, std::size_t limit) {
  static constexpr std::string_view digits = "0123456789abcdef";
  const auto escaped = [](std::string_view part) {
    std::string out;
    for (const char c : part) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && byte < 0x7f) {
        out += c;
      } else {
        out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
      }
    }
    return out;
  };
  if (s.size() <= limit) return escaped(s);
  return escaped(s.substr(0, limit / 2)) + "..." + escaped(s.substr(s.size() - limit / 2));
}

bool is_utf8_text(std::string_view s) {
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    if (n == 0 || s[0] == '\0') return false;
    s.remove_prefix(n);
  }
  return true;
}

void ByteSource::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (offset > size_ || length > size_ - offset) {
    fail<InputError>(name_, ": ends too early: ", length, " bytes expected at byte ", offset, ", file has ",
                     size_);
  }
}

std::shared_ptr<const ByteSource> open_source(const std::string& path_given) {
  // Non-blocking, so that a named pipe is refused below instead of waited for.
  const int descriptor = ::open(path_given.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const int error = errno;
  const std::string path = shown(path_given);  // as errors name it: on one line
  // A shortage of our own says nothing about the file.
  if (descriptor < 0 && error == ENOMEM) fail<OutOfMemory>("not enough memory to read ", path);
  if (descriptor < 0 && (error == EMFILE || error == ENFILE))
    fail(path, ": cannot open: ", std::strerror(error));
  if (descriptor < 0) fail<InputError>(path, ": cannot open: ", std::strerror(error));
  struct stat info {};
  const bool known = ::fstat(descriptor, &info) == 0;
  if (!known || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    fail<InputError>(
        path, known && S_ISDIR(info.st_mode) ? ": is a folder, not a file" : ": is not a regular file");
  }
  return std::make_shared<FileSource>(path, descriptor, static_cast<std::uint64_t>(info.st_size));
}

std::shared_ptr<const ByteSource> memory_source(std::span<const std::byte> bytes, std::string name) {
  return std::make_shared<MemorySource>(bytes, std::move(name));
}

std::shared_ptr<const ByteSource> memory_source(std::vector<std::byte> bytes, std::string name) {
  return std::make_shared<MemorySource>(std::move(bytes), std::move(name));
}

ByteReader::ByteReader(const ByteSource& source, std::uint64_t begin, std::uint64_t end)
    : source_(source), position_(begin), end_(end) {
  if (begin > end || end > source.size()) fail<InputError>(source.name(), ": ends too early");
}

void ByteReader::fill() {
  need(1);
  buffer_.resize(std::min<std::uint64_t>(remaining(), 64 * 1024));
  source_.read_at(position_, buffer_);
  buffer_begin_ = position_;
}

std::uint8_t ByteReader::u8() {
  if (position_ - buffer_begin_ >= buffer_.size()) fill();
  return std::to_integer<std::uint8_t>(buffer_[position_++ - buffer_begin_]);
}

void ByteReader::read(std::span<std::byte> out) {
  need(out.size());
  const std::uint64_t used = position_ - buffer_begin_;
  if (used < buffer_.size()) {
    const std::size_t n = std::min<std::uint64_t>(out.size(), buffer_.size() - used);
    std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(used), n, out.begin());
    position_ += n;
    out = out.subspan(n);
  }
  if (out.empty()) return;
  if (out.size() < 4096) {
    fill();
    std::copy_n(buffer_.begin(), out.size(), out.begin());
  } else {
    source_.read_at(position_, out);
  }
  position_ += out.size();
}

void ByteReader::skip(std::uint64_t count) {
  need(count);
  position_ += count;
}

void ByteReader::need(std::uint64_t count) const {
  if (count > remaining()) {
    broken(text("ends too early: ", count, " bytes expected, ", remaining(), " left"));
  }
}

std::string ByteReader::line(std::size_t limit) {
  std::string result;
  while (true) {
    const auto c = static_cast<char>(u8());
    if (c == '\n') return result;
    if (result.size() >= limit) broken("a line is too long");
    result += c;
  }
}

void ByteReader::broken(std::string_view reason) const {
  fail<InputError>(source_.name(), ": ", reason, " (at byte ", position_, ")");
}

}  // namespace om
