// Builds small checkpoint files in memory, right and wrong ones, for the tests of io's readers.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace om::test {

inline std::span<const std::byte> bytes_of(std::string_view s) {
  return std::as_bytes(std::span(s.data(), s.size()));
}

/// The low `size` bytes of value, little-endian.
inline std::string le(std::uint64_t value, int size) {
  std::string out;
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

template <class T>
std::string raw(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// A pickled string (BINUNICODE), integer (LONG1), tuple of integers, class name.
inline std::string p_text(std::string_view s) { return "X" + le(s.size(), 4) + std::string(s); }
inline std::string p_int(std::int64_t v) { return "\x8a\x08" + le(static_cast<std::uint64_t>(v), 8); }
inline std::string p_ints(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t v : values) out += p_int(v);
  return out + "t";
}
inline std::string p_name(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
/// A pickled dict, keys and values already pickled.
inline std::string p_dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += p_text(key) + value;
  return out + "u";
}

struct TensorSpec {
  std::string key = "0";
  std::string type = "FloatStorage";
  std::int64_t count = 6;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape{2, 3}, strides{3, 1};
  std::string view = "N";  ///< sixth part of the storage's id, before 1.6
};

/// A pickled call of _rebuild_tensor_v2.
inline std::string p_tensor(const TensorSpec& t = {}) {
  const std::string id = "(" + p_text("storage") + p_name("torch", t.type) + p_text(t.key) + p_text("cpu") +
                         p_int(t.count) + t.view + "t";
  return p_name("torch._utils", "_rebuild_tensor_v2") + "(" + id + "Q" + p_int(t.offset) + p_ints(t.shape) +
         p_ints(t.strides) + "\x89" + p_name("collections", "OrderedDict") + ")RtR";
}
inline std::string pickled(const std::string& body) { return "\x80\x02" + body + "."; }

/// A zip archive; `packed` entries say method 8 (deflate) and hold `data` as it is.
class ZipBuilder {
 public:
  struct Claim {
    int method = 0;
    std::uint64_t unpacked_size = UINT64_MAX;  // default: data.size()
    std::uint32_t unpacked_crc = 0;            // with method 8
    bool no_crc = false;                       // 0 in its place
  };
  void add(const std::string& name, const std::string& data) { add(name, data, Claim{}); }
  void add(const std::string& name, const std::string& data, Claim claim) {
    const std::uint64_t size = claim.unpacked_size == UINT64_MAX ? data.size() : claim.unpacked_size;
    const std::string common = le(20, 2) + le(0, 2) + le(static_cast<std::uint64_t>(claim.method), 2) +
                               le(0, 4) +
                               le(claim.no_crc   ? 0
                                  : claim.method ? claim.unpacked_crc
                                                 : crc(data),
                                  4) +
                               le(data.size(), 4) + le(size, 4) + le(name.size(), 2) + le(0, 2);
    directory_ += "PK\1\2" + le(20, 2) + common + le(0, 2) + le(0, 2) + le(0, 2) + le(0, 4) +
                  le(body_.size(), 4) + name;
    body_ += "PK\3\4" + common + name + data;
    ++count_;
  }
  /// Lists the last entry again, at the same place, as `name`.
  void repeat_last(const std::string& name, const std::string& last) {
    std::string again = directory_.substr(directory_.size() - 46 - last.size(), 46);
    again.replace(28, 2, le(name.size(), 2));
    directory_ += again + name;
    ++count_;
  }
  std::string finish() const {
    return body_ + directory_ + "PK\5\6" + le(0, 4) + le(count_, 2) + le(count_, 2) +
           le(directory_.size(), 4) + le(body_.size(), 4) + le(0, 2);
  }

  static std::uint32_t crc(std::string_view data) {
    std::uint32_t c = ~0u;
    for (const char byte : data) {
      c ^= static_cast<unsigned char>(byte);
      for (int i = 0; i < 8; ++i) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    return ~c;
  }

 private:
  std::string body_, directory_;
  std::uint64_t count_ = 0;
};

/// `data` as a deflate stream of stored blocks.
inline std::string deflated(const std::string& data) {
  std::string out;
  for (std::size_t at = 0; at < data.size() || at == 0; at += 65535) {
    const std::string block = data.substr(at, 65535);
    out += le(at + 65535 >= data.size(), 1) + le(block.size(), 2) + le(~block.size(), 2) + block;
  }
  return out;
}

using Storages = std::vector<std::pair<std::string, std::string>>;  // key, bytes

inline std::string pytorch_zip(const std::string& root, const Storages& storages,
                               std::string_view order = "little") {
  ZipBuilder zip;
  zip.add("x/data.pkl", pickled(root));
  zip.add("x/byteorder", std::string(order));
  for (const auto& [key, data] : storages) zip.add("x/data/" + key, data);
  zip.add("x/version", "3\n");
  return zip.finish();
}

inline const std::string old_magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The format before 1.6; `item` is the storages' bytes per element.
inline std::string pytorch_old(const std::string& root, const Storages& storages, std::size_t item = 4) {
  std::string keys = "](", data;
  for (const auto& [key, bytes] : storages) {
    keys += p_text(key);
    data += le(bytes.size() / item, 8) + bytes;
  }
  return old_magic + pickled(p_int(1001)) + pickled(p_dict({{"little_endian", "\x88"}})) + pickled(root) +
         pickled(keys + "e") + data;
}

/// The message of the InputError that `body` throws; a failure of the test where it throws nothing or
/// something else.
inline std::string input_error(const std::function<void()>& body) {
  try {
    body();
  } catch (const InputError& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "not an InputError: " << e.what();
    return "";
  }
  ADD_FAILURE() << "no error";
  return "";
}

/// Feeds every truncation of `good`, and every byte of it changed in three ways, to `read`, which may succeed
/// or throw an InputError of one line that begins with the name it gives its file, "t".
inline void torment(const std::string& good, const std::function<void(const std::string&)>& read) {
  const auto attempt = [&](const std::string& bytes, const char* how, std::size_t at) {
    try {
      read(bytes);
    } catch (const InputError& e) {
      const std::string_view what = e.what();
      EXPECT_TRUE(what.starts_with("t: ") && what.find('\n') == what.npos) << what;
    } catch (const std::exception& e) {
      ADD_FAILURE() << how << " at " << at << ": " << e.what();
    }
  };
  for (std::size_t n = 0; n < good.size(); ++n) attempt(good.substr(0, n), "cut", n);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      attempt(bad, "flipped", i);
    }
  }
}

}  // namespace om::test
