// Where file readers get their bytes: a source that knows its size (a file, or memory) and a sequential
// reader on it.
//
// Both check every length against what is there before anything is allocated, and both name the file in their
// errors, so that a reader built on them cannot run past an end. Files are read with pread and not mapped: a
// file that shrinks while it is read is an InputError, not a signal.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace om {

/// `s` fit for a one-line message: control and non-ASCII bytes become \xNN, and the middle is cut past
/// `limit`.
std::string printable(std::string_view s, std::size_t limit = 100);

/// True where `s` is well-formed UTF-8 without a zero byte.
bool is_utf8_text(std::string_view s);

/// Bytes at offsets. Reads are const and may come from several threads.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// Fills `out` from `offset`; InputError where the range is not all there.
  virtual void read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;

  std::uint64_t size() const { return size_; }
  /// For messages, and for a source made by open_source also the path.
  const std::string& name() const { return name_; }

 protected:
  ByteSource(std::string name, std::uint64_t size) : name_(std::move(name)), size_(size) {}
  void check_range(std::uint64_t offset, std::uint64_t length) const;

 private:
  std::string name_;
  std::uint64_t size_;
};

/// A regular file. InputError where it is missing, unreadable, a folder or a device.
std::shared_ptr<const ByteSource> open_source(const std::string& path);

/// Memory that outlives the source.
std::shared_ptr<const ByteSource> memory_source(std::span<const std::byte> bytes, std::string name);

/// Memory that the source keeps.
std::shared_ptr<const ByteSource> memory_source(std::vector<std::byte> bytes, std::string name);

/// Reads [begin, end) of a source front to back through a small buffer. The source must outlive it.
class ByteReader {
 public:
  explicit ByteReader(const ByteSource& source) : ByteReader(source, 0, source.size()) {}
  ByteReader(const ByteSource& source, std::uint64_t begin, std::uint64_t end);

  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return end_ - position_; }

  std::uint8_t u8();

  /// A little-endian integer, sign extended where T is signed.
  template <std::integral T>
  T little() {
    std::array<std::byte, sizeof(T)> raw;
    read(raw);
    std::make_unsigned_t<T> value = 0;
    for (std::size_t i = sizeof(T); i-- > 0;) {
      value = static_cast<std::make_unsigned_t<T>>((static_cast<std::uint64_t>(value) << 8) |
                                                   std::to_integer<std::uint64_t>(raw[i]));
    }
    return static_cast<T>(value);
  }

  void read(std::span<std::byte> out);
  void skip(std::uint64_t count);
  /// Fails unless `count` bytes are left: call it before allocating `count` bytes.
  void need(std::uint64_t count) const;
  /// Up to the next newline, which is consumed and not returned; fails where none comes within `limit` bytes.
  std::string line(std::size_t limit);

  /// Throws InputError: name, reason and position on one line.
  [[noreturn]] void broken(std::string_view reason) const;

 private:
  void fill();

  const ByteSource& source_;
  std::uint64_t position_;
  std::uint64_t end_;
  std::vector<std::byte> buffer_;
  std::uint64_t buffer_begin_ = 0;  // position of buffer_[0]
};

}  // namespace om
