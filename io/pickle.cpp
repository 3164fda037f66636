// The stack machine. Values are shared by pointer, as Python shares objects, so DUP, the memo and APPEND cost
// a pointer.
#include "io/pickle.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "tensor/error.h"

namespace om {

namespace {

constexpr std::uint64_t memory_per_byte = 32, memory_floor = std::uint64_t{1} << 20;
constexpr std::size_t short_line = 4096;  // names and numbers
constexpr std::uint64_t max_text = std::numeric_limits<std::uint32_t>::max() - 8;

using Values = std::span<const PickleValue* const>;

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xe0 | code >> 12);
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | ((code >> 12) & 0x3f));
    }
    put(0x80 | ((code >> 6) & 0x3f));
  }
  put(0x80 | (code & 0x3f));
}

// The number at s[at, at + digits) in `base`; -1 where there is none.
std::int64_t digits_at(std::string_view s, std::size_t at, std::size_t digits, int base) {
  std::uint32_t value = 0;
  if (at + digits > s.size()) return -1;
  const auto [end, error] = std::from_chars(s.data() + at, s.data() + at + digits, value, base);
  return error == std::errc{} && end == s.data() + at + digits ? std::int64_t{value} : -1;
}

class Machine {
 public:
  explicit Machine(ByteReader& in) : in_(in), start_(in.position()) {}

  Pickle run();

 private:
  PickleArena& arena() { return pickle_.arena; }

  // Raises the budget to what the bytes read so far allow, then makes.
  template <class Make>
  auto keep(Make make) {
    arena().set_budget(memory_floor + memory_per_byte * (in_.position() - start_));
    return make();
  }
  void push(PickleValue* value) { stack_.push_back(value); }
  template <class Make>
  void push_new(Make make) {
    stack_.push_back(keep(make));
  }

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleValue* top() {
    if (stack_.size() <= floor()) in_.broken("pickle takes from an empty stack");
    return stack_.back();
  }
  PickleValue* pop() {
    PickleValue* value = top();
    stack_.pop_back();
    return value;
  }
  // The values since the last mark; valid until the next push.
  Values marked() {
    if (marks_.empty()) in_.broken("pickle lacks a mark");
    const std::size_t begin = marks_.back();
    return {stack_.data() + begin, stack_.size() - begin};
  }
  void drop_marked() {
    stack_.resize(marks_.back());
    marks_.pop_back();
  }
  void collect(PickleKind kind) {
    const Values items = marked();
    if (kind == PickleKind::dict && items.size() % 2) in_.broken("pickle has a dict with a key and no value");
    PickleValue* value = keep([&] { return arena().make_items(kind, items); });
    drop_marked();
    push(value);
  }
  void collect_tuple(std::size_t count) {
    if (stack_.size() - floor() < count) in_.broken("pickle takes from an empty stack");
    PickleValue* value = keep([&] {
      return arena().make_items(PickleKind::tuple, Values(stack_.data() + stack_.size() - count, count));
    });
    stack_.resize(stack_.size() - count);
    push(value);
  }

  // Moves the values from `below` on into the list, set, dict or object under them, which stands above
  // `lowest`.
  void add(PickleKind part, std::size_t below, std::size_t lowest) {
    const Values items(stack_.data() + below, stack_.size() - below);
    if (part == PickleKind::dict && items.size() % 2) in_.broken("pickle sets a key without a value");
    if (below <= lowest) in_.broken("pickle takes from an empty stack");
    PickleValue* container = stack_[below - 1];
    if (!container->is(part) && !container->is(PickleKind::call)) {
      in_.broken(text("pickle adds to a ", name_of(container->kind()), " as if it were a ", name_of(part)));
    }
    keep([&] { return arena().append(container, part, items), 0; });
    stack_.resize(below);
  }
  void add_top(PickleKind part, std::size_t count) {
    if (stack_.size() - floor() < count) in_.broken("pickle takes from an empty stack");
    add(part, stack_.size() - count, floor());
  }
  void add_marked(PickleKind part) {
    marked();
    const std::size_t below = marks_.back();
    marks_.pop_back();
    add(part, below, floor());
  }

  void call(bool keywords = false) {
    PickleValue* args = pop();
    PickleValue* callable = pop();
    if (!args->is(PickleKind::tuple)) in_.broken("pickle calls without a tuple of arguments");
    push_new([&] { return arena().make_call(callable, args, keywords); });
  }

  void text_value(PickleKind kind, std::uint64_t size) {
    in_.need(size);
    if (size > max_text) in_.broken("pickle holds a string of more than 4 GiB");
    arena().set_budget(memory_floor + memory_per_byte * (in_.position() - start_) + size);
    auto [value, room] = arena().make_text(kind, static_cast<std::uint32_t>(size));
    in_.read(std::as_writable_bytes(std::span(room, size)));
    push(value);
  }
  void text_value(PickleKind kind, std::string_view s) {
    push_new([&] { return arena().make_text(kind, s); });
  }

  void put(std::uint64_t index) {
    // Picklers number from 0, so an index beyond the bytes read is not theirs, and would only make the memo
    // huge.
    if (index > in_.position() - start_) in_.broken("pickle has a memo index out of order");
    if (index >= memo_.size()) memo_.resize(index + 1, nullptr);
    memo_[index] = top();
  }
  void get(std::uint64_t index) {
    if (index >= memo_.size() || !memo_[index]) in_.broken("pickle recalls what it never kept");
    push(memo_[index]);
  }
  std::uint64_t line_index() {
    const std::string s = in_.line(short_line);
    std::uint64_t index = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), index);
    if (error != std::errc{} || end != s.data() + s.size())
      in_.broken("pickle has a memo index that is no number");
    return index;
  }
  std::uint64_t length(std::int64_t n) {
    if (n < 0) in_.broken("pickle has a negative length");
    return static_cast<std::uint64_t>(n);
  }

  void integer(std::int64_t value) {
    if (value < 0 || value > 255)
      return push_new([&] { return arena().make_integer(PickleKind::integer, value); });
    PickleValue*& shared = small_[static_cast<std::size_t>(value)];
    if (!shared) shared = keep([&] { return arena().make_integer(PickleKind::integer, value); });
    push(shared);
  }
  void boolean(bool value) {
    PickleValue*& shared = booleans_[value];
    if (!shared) shared = keep([&] { return arena().make_integer(PickleKind::boolean, value); });
    push(shared);
  }
  void line_integer() {
    std::string s = in_.line(short_line);
    if (!s.empty() && s.back() == 'L') s.pop_back();
    if (s == "00" || s == "01") return boolean(s == "01");
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
    if (error == std::errc{} && end == s.data() + s.size()) return integer(value);
    const std::size_t sign = s.starts_with('-') ? 1 : 0;
    if (s.size() == sign || s.find_first_not_of("0123456789", sign) != std::string::npos) {
      in_.broken("pickle has an integer that is no number");
    }
    text_value(PickleKind::big_integer, s);
  }
  // Little-endian two's complement.
  void long_integer(std::uint64_t size) {
    in_.need(size);
    if (size > max_text / 4) in_.broken("pickle holds an integer of more than 1 GiB");
    std::string raw(size, '\0');
    in_.read(std::as_writable_bytes(std::span(raw)));
    const bool negative = size > 0 && (raw.back() & 0x80);
    if (size <= 8) {
      std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
      for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(raw[i]);
      return integer(static_cast<std::int64_t>(value));
    }
    if (negative) {  // magnitude = complement + 1
      unsigned carry = 1;
      for (char& c : raw) {
        const unsigned byte = (~static_cast<unsigned>(c) & 0xff) + carry;
        c = static_cast<char>(byte);
        carry = byte >> 8;
      }
    }
    while (raw.size() > 1 && raw.back() == 0) raw.pop_back();
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string hex = negative ? "-0x" : "0x";
    for (std::size_t i = raw.size(); i-- > 0;) {
      const auto byte = static_cast<unsigned char>(raw[i]);
      if (i + 1 < raw.size() || byte >= 16) hex += digits[byte >> 4];
      hex += digits[byte & 15];
    }
    text_value(PickleKind::big_integer, hex);
  }
  void line_real() {
    const std::string s = in_.line(short_line);
    char* end = nullptr;
    const double value = std::strtod(s.c_str(), &end);
    if (s.empty() || end != s.c_str() + s.size()) in_.broken("pickle has a float that is no number");
    push_new([&] { return arena().make_real(value); });
  }

  // Protocol 0: a Python 2 string in quotes, with its escapes.
  void quoted_string() {
    const std::string s = in_.line(static_cast<std::size_t>(in_.remaining()));
    if (s.size() < 2 || s.front() != s.back() || (s[0] != '\'' && s[0] != '"'))
      in_.broken("pickle has a string without quotes");
    std::string out;
    for (std::size_t i = 1; i + 1 < s.size(); ++i) {
      if (s[i] != '\\') {
        out += s[i];
        continue;
      }
      if (i + 2 >= s.size()) in_.broken("pickle has a string without quotes");  // the last quote is escaped
      const char c = s[++i];
      static constexpr std::string_view names = "abfnrtv\\'\"", codes = "\a\b\f\n\r\t\v\\'\"";
      if (const std::size_t known = names.find(c); known != names.npos) {
        out += codes[known];
        continue;
      }
      const bool octal = c >= '0' && c <= '3';
      const std::int64_t code = octal ? digits_at(s, i, 3, 8) : c == 'x' ? digits_at(s, i + 1, 2, 16) : -1;
      if (code < 0) in_.broken("pickle has a string with an unknown escape");
      out += static_cast<char>(code);
      i += 2;
    }
    text_value(PickleKind::string, out);
  }
  // Protocol 0: Latin-1 with \uXXXX and \UXXXXXXXX.
  void escaped_unicode() {
    const std::string s = in_.line(static_cast<std::size_t>(in_.remaining()));
    std::string out;
    for (std::size_t i = 0; i < s.size(); ++i) {
      const std::size_t digits = s[i] != '\\' || i + 1 >= s.size() ? 0
                                 : s[i + 1] == 'u'                 ? 4
                                 : s[i + 1] == 'U'                 ? 8
                                                                   : 0;
      if (digits == 0) {
        append_utf8(out, static_cast<unsigned char>(s[i]));
        continue;
      }
      const std::int64_t code = digits_at(s, i + 2, digits, 16);
      if (code < 0 || code > 0x10ffff) in_.broken("pickle has a string with an unknown escape");
      append_utf8(out, static_cast<std::uint32_t>(code));
      i += 1 + digits;
    }
    text_value(PickleKind::string, out);
  }

  void global(std::string_view module, std::string_view name) {
    push_new([&] {
      const PickleValue* parts[] = {arena().make_text(PickleKind::string, module),
                                    arena().make_text(PickleKind::string, name)};
      return arena().make_items(PickleKind::global, parts);
    });
  }
  void line_global() {
    const std::string module = in_.line(short_line);
    global(module, in_.line(short_line));
  }
  void stack_global() {
    const PickleValue* name = pop();
    const PickleValue* module = pop();
    if (!name->is(PickleKind::string) || !module->is(PickleKind::string))
      in_.broken("pickle names a class by what is no string");
    const PickleValue* parts[] = {module, name};
    push_new([&] { return arena().make_items(PickleKind::global, parts); });
  }
  void persistent() {
    const PickleValue* id = pop();
    push_new([&] { return arena().make_items(PickleKind::persistent, Values(&id, 1)); });
  }
  // INST: the name stands in the stream; OBJ: the class is the first marked value.
  void old_instance(bool name_in_stream) {
    if (name_in_stream) line_global();
    const PickleValue* callable = name_in_stream ? pop() : nullptr;
    Values args = marked();
    if (!callable) {
      if (args.empty()) in_.broken("pickle takes from an empty stack");
      callable = args[0];
      args = args.subspan(1);
    }
    PickleValue* made =
        keep([&] { return arena().make_call(callable, arena().make_items(PickleKind::tuple, args), false); });
    drop_marked();
    push(made);
  }
  void keyword_instance() {
    collect_tuple(2);  // args, kwargs
    const auto parts = top()->items();
    if (!parts[0]->is(PickleKind::tuple) || !parts[1]->is(PickleKind::dict))
      in_.broken("pickle calls without arguments");
    call(true);
  }
  void build() {
    const PickleValue* state = pop();
    PickleValue* object = top();
    if (!object->is(PickleKind::call))
      in_.broken(text("pickle gives a state to a ", name_of(object->kind())));
    arena().set_state(object, state);
  }

  // Runs one opcode; false after STOP.
  bool step(std::uint8_t opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (in_.u8() > 5) in_.broken("pickle of a protocol newer than 5");
        break;
      case 0x95:  // FRAME
        in_.need(in_.little<std::uint64_t>());
        break;
      case '.': top(); return false;

      case '(': marks_.push_back(stack_.size()); break;
      case '0':  // POP, which also takes a mark
        if (stack_.size() == floor() && !marks_.empty()) {
          marks_.pop_back();
        } else {
          pop();
        }
        break;
      case '1':  // POP_MARK
        marked();
        drop_marked();
        break;
      case '2': push(top()); break;

      case 'p': put(line_index()); break;
      case 'q': put(in_.u8()); break;
      case 'r': put(in_.little<std::uint32_t>()); break;
      case 0x94: put(memo_.size()); break;  // MEMOIZE
      case 'g': get(line_index()); break;
      case 'h': get(in_.u8()); break;
      case 'j': get(in_.little<std::uint32_t>()); break;

      case 'N': push(none_); break;
      case 0x88: boolean(true); break;
      case 0x89: boolean(false); break;
      case 'I':
      case 'L': line_integer(); break;
      case 'J': integer(in_.little<std::int32_t>()); break;
      case 'K': integer(in_.u8()); break;
      case 'M': integer(in_.little<std::uint16_t>()); break;
      case 0x8a: long_integer(in_.u8()); break;
      case 0x8b: long_integer(length(in_.little<std::int32_t>())); break;
      case 'F': line_real(); break;
      case 'G': {  // big-endian
        std::uint64_t bits = 0;
        for (int i = 0; i < 8; ++i) bits = bits << 8 | in_.u8();
        push_new([&] { return arena().make_real(std::bit_cast<double>(bits)); });
        break;
      }

      case 'S': quoted_string(); break;
      case 'T': text_value(PickleKind::string, length(in_.little<std::int32_t>())); break;
      case 'U': text_value(PickleKind::string, std::uint64_t{in_.u8()}); break;
      case 'V': escaped_unicode(); break;
      case 'X': text_value(PickleKind::string, std::uint64_t{in_.little<std::uint32_t>()}); break;
      case 0x8c: text_value(PickleKind::string, std::uint64_t{in_.u8()}); break;
      case 0x8d: text_value(PickleKind::string, in_.little<std::uint64_t>()); break;
      case 'B': text_value(PickleKind::bytes, std::uint64_t{in_.little<std::uint32_t>()}); break;
      case 'C': text_value(PickleKind::bytes, std::uint64_t{in_.u8()}); break;
      case 0x8e:
      case 0x96: text_value(PickleKind::bytes, in_.little<std::uint64_t>()); break;  // BINBYTES8, BYTEARRAY8

      case ')': collect_tuple(0); break;
      case 0x85: collect_tuple(1); break;
      case 0x86: collect_tuple(2); break;
      case 0x87: collect_tuple(3); break;
      case 't': collect(PickleKind::tuple); break;
      case ']': push_new([&] { return arena().make_items(PickleKind::list, {}); }); break;
      case 'l': collect(PickleKind::list); break;
      case '}': push_new([&] { return arena().make_items(PickleKind::dict, {}); }); break;
      case 'd': collect(PickleKind::dict); break;
      case 0x8f: push_new([&] { return arena().make_items(PickleKind::set, {}); }); break;
      case 0x91: collect(PickleKind::set); break;  // FROZENSET
      case 'a': add_top(PickleKind::list, 1); break;
      case 'e': add_marked(PickleKind::list); break;
      case 's': add_top(PickleKind::dict, 2); break;
      case 'u': add_marked(PickleKind::dict); break;
      case 0x90: add_marked(PickleKind::set); break;

      case 'c': line_global(); break;
      case 0x93: stack_global(); break;
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ
        call();
        break;
      case 0x92: keyword_instance(); break;
      case 'i': old_instance(true); break;
      case 'o': old_instance(false); break;
      case 'b': build(); break;
      case 'P':
        text_value(PickleKind::string, in_.line(short_line));
        persistent();
        break;
      case 'Q': persistent(); break;

      default: in_.broken(text("pickle has the unknown or unsupported opcode ", int{opcode}));
    }
    return true;
  }

  ByteReader& in_;
  std::uint64_t start_;
  Pickle pickle_;
  std::vector<PickleValue*> stack_, memo_;
  std::vector<std::size_t> marks_;
  PickleValue* none_ = nullptr;
  std::array<PickleValue*, 256> small_{};
  std::array<PickleValue*, 2> booleans_{};
};

Pickle Machine::run() {
  try {
    none_ = keep([&] { return arena().make(PickleKind::none); });
    while (step(in_.u8())) {
    }
  } catch (const std::length_error&) {
    in_.broken("pickle builds values too large for its size");
  }
  pickle_.root = pop();
  return std::move(pickle_);
}

}  // namespace

Pickle read_pickle(ByteReader& in) { return Machine(in).run(); }

}  // namespace om
