// Pickles, read without executing anything.
//
// A pickle is a program for a small stack machine that builds Python objects; where it names a class and asks
// to call it, Python would. This interpreter runs the same program but builds a tree of plain values: a name
// stays a name
// (`global`), a call is recorded as a call. What the tree means (a tensor, an OrderedDict, an array) its
// reader decides: io/pytorch for PyTorch. All opcodes of protocols 0 to 5 but the extension registry (EXT1,
// EXT2, EXT4) and out-of-band buffers, which need a partner outside the file.
//
// Bounds: each opcode takes a byte of the file, lengths are checked against what is left of it, and values
// take at most 32 bytes of memory a byte of pickle plus 1 MiB. The memo can make a tree that shares nodes, or
// contains itself: walk it with a limit on the depth and on the visits. Source: CPython's Lib/pickletools.py,
// which documents every opcode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/bytes.h"

namespace om {

enum class PickleKind : std::uint8_t {
  none,
  boolean,      // integer()
  integer,      // integer(), 64 bits
  big_integer,  // text(): decimal, or "0x..." / "-0x..."
  real,         // real()
  string,       // text(): UTF-8, or whatever bytes a `str` of Python 2 held
  bytes,        // text(); bytes and bytearray
  tuple,        // items()
  list,         // items()
  set,          // items(); set and frozenset
  dict,         // items(): key, value, key, value, ... in the order they were set
  global,       // module(), name()
  call,         // callable(), args(); state(), list(), dict(): what was done to the result afterwards
  persistent    // id(): something outside the pickle
};

/// "string", "dict", ...
std::string_view name_of(PickleKind kind);

/// A node of the tree; lives as long as its Pickle. An accessor that does not fit the kind gives nothing (0,
/// empty, null).
class PickleValue {
 public:
  PickleKind kind() const { return kind_; }
  bool is(PickleKind kind) const { return kind_ == kind; }

  std::int64_t integer() const;
  double real() const;
  std::string_view text() const;
  std::span<const PickleValue* const> items() const;

  std::string_view module() const;
  std::string_view name() const;
  bool is_global(std::string_view module, std::string_view name) const;

  /// A call of `callable`, or the making of an instance of the class `callable`, with the tuple `args`. Where
  /// is_keyword_call(), which is rare, args() is the pair of that tuple and a dict of keyword arguments.
  const PickleValue* callable() const;
  const PickleValue* args() const;
  const PickleValue* state() const;  ///< what BUILD gave it, else null
  const PickleValue* list() const;   ///< what was appended to it, else null
  const PickleValue* dict() const;   ///< what was set in it, else null
  bool is_keyword_call() const;
  bool is_call(std::string_view module, std::string_view name) const;

  const PickleValue* id() const;

  /// The value last set for a string key, of a dict or of a call's dict(); null without.
  const PickleValue* get(std::string_view key) const;

 private:
  friend class PickleArena;
  PickleKind kind_ = PickleKind::none;
  bool keywords_ = false;
  std::uint32_t count_ = 0;
  std::uint32_t capacity_ = 0;
  union {
    std::int64_t integer_ = 0;
    double real_;
    const char* text_;
    const PickleValue** items_;
  };
};

/// Owns the nodes of one pickle, in a few large blocks: cycles do not leak and destruction does not recurse.
class PickleArena {
 public:
  /// Throws std::length_error once more than `budget` bytes would be in use; the interpreter raises it as it
  /// reads.
  void set_budget(std::uint64_t budget) { budget_ = budget; }

  PickleValue* make(PickleKind kind);
  PickleValue* make_integer(PickleKind kind, std::int64_t value);
  PickleValue* make_real(double value);
  /// Room for `size` bytes of text, to be filled through the pointer that comes back as second.
  std::pair<PickleValue*, char*> make_text(PickleKind kind, std::uint32_t size);
  PickleValue* make_text(PickleKind kind, std::string_view text);
  PickleValue* make_items(PickleKind kind, std::span<const PickleValue* const> items);
  PickleValue* make_call(const PickleValue* callable, const PickleValue* args, bool keywords);

  /// Adds to a list, set or dict, or to the list or dict part of a call.
  void append(PickleValue* container, PickleKind part, std::span<const PickleValue* const> items);
  void set_state(PickleValue* call, const PickleValue* state);

  /// Every node made so far, in order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Block& block : nodes_) {
      for (std::size_t i = 0; i < block.used; ++i)
        visit(reinterpret_cast<const PickleValue*>(block.bytes.get())[i]);
    }
  }
  std::uint64_t node_count() const { return node_count_; }

 private:
  struct Block {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t used, size;  // in nodes for nodes_, in bytes for data_
  };
  void charge(std::uint64_t bytes);
  void* allocate(std::size_t bytes);

  std::vector<Block> nodes_, data_;
  std::uint64_t budget_ = 0, used_ = 0, node_count_ = 0;
};

/// One pickle, read.
struct Pickle {
  PickleArena arena;
  const PickleValue* root = nullptr;
};

/// Reads one pickle from where `in` stands to its STOP opcode; InputError where it is none.
Pickle read_pickle(ByteReader& in);

/// The bytes that a value stands for: bytes, a `str` of Python 2, or the call of `_codecs.encode(text,
/// "latin1")` by which protocols 0 to 2 write bytes; also `bytes()`. Null where it is none of these.
std::optional<std::string> pickle_bytes(const PickleValue& value);

}  // namespace om
