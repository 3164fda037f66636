// A checksum of bytes: Fowler-Noll-Vo's 1a on words of eight bytes. Against damage, not against malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace om {

class Checksum {
 public:
  /// Adds a run of bytes with its end: "ab", "c" and "a", "bc" differ.
  void add(std::span<const std::byte> bytes) {
    for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t))) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), sizeof word);
      mix(word);
    }
    std::uint64_t rest = bytes.size();
    for (const std::byte b : bytes) rest = rest << 8 | std::to_integer<std::uint64_t>(b);
    mix(rest);
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }

  std::uint64_t value() const { return hash_; }
  /// 16 hexadecimal digits.
  std::string text() const {
    std::string digits(16, '0');
    for (std::size_t i = 0; i < digits.size(); ++i)
      digits[i] = "0123456789abcdef"[hash_ >> (60 - 4 * i) & 15];
    return digits;
  }

 private:
  void mix(std::uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001b3ULL;
    hash_ ^= hash_ >> 29;  // upper bits of a word must reach the lower ones
  }

  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace om
