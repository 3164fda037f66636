#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "io/pickle.h"

namespace om {

namespace {

// Places of a call's parts in its items.
enum : std::size_t { part_callable, part_args, part_state, part_list, part_dict, part_count };

constexpr std::size_t block_bytes = 64 * 1024;

}  // namespace

static_assert(std::is_trivially_destructible_v<PickleValue>,
              "blocks are dropped without visiting their nodes");

std::string_view name_of(PickleKind kind) {
  switch (kind) {
    case PickleKind::none: return "None";
    case PickleKind::boolean: return "boolean";
    case PickleKind::integer:
    case PickleKind::big_integer: return "integer";
    case PickleKind::real: return "number";
    case PickleKind::string: return "string";
    case PickleKind::bytes: return "bytes";
    case PickleKind::tuple: return "tuple";
    case PickleKind::list: return "list";
    case PickleKind::set: return "set";
    case PickleKind::dict: return "dict";
    case PickleKind::global: return "name";
    case PickleKind::call: return "object";
    case PickleKind::persistent: return "persistent id";
  }
  return "?";
}

std::int64_t PickleValue::integer() const {
  return kind_ == PickleKind::integer || kind_ == PickleKind::boolean ? integer_ : 0;
}

double PickleValue::real() const {
  return kind_ == PickleKind::real ? real_ : static_cast<double>(integer());
}

std::string_view PickleValue::text() const {
  switch (kind_) {
    case PickleKind::string:
    case PickleKind::bytes:
    case PickleKind::big_integer: return {text_, count_};
    default: return {};
  }
}

std::span<const PickleValue* const> PickleValue::items() const {
  switch (kind_) {
    case PickleKind::tuple:
    case PickleKind::list:
    case PickleKind::set:
    case PickleKind::dict: return {items_, count_};
    default: return {};
  }
}

std::string_view PickleValue::module() const {
  return kind_ == PickleKind::global ? items_[0]->text() : std::string_view{};
}

std::string_view PickleValue::name() const {
  return kind_ == PickleKind::global ? items_[1]->text() : std::string_view{};
}

bool PickleValue::is_global(std::string_view module, std::string_view name) const {
  return kind_ == PickleKind::global && this->module() == module && this->name() == name;
}

const PickleValue* PickleValue::callable() const {
  return kind_ == PickleKind::call ? items_[part_callable] : nullptr;
}
const PickleValue* PickleValue::args() const {
  return kind_ == PickleKind::call ? items_[part_args] : nullptr;
}
const PickleValue* PickleValue::state() const {
  return kind_ == PickleKind::call ? items_[part_state] : nullptr;
}
const PickleValue* PickleValue::list() const {
  return kind_ == PickleKind::call ? items_[part_list] : nullptr;
}
const PickleValue* PickleValue::dict() const {
  return kind_ == PickleKind::call ? items_[part_dict] : nullptr;
}
bool PickleValue::is_keyword_call() const { return kind_ == PickleKind::call && keywords_; }

bool PickleValue::is_call(std::string_view module, std::string_view name) const {
  return kind_ == PickleKind::call && items_[part_callable]->is_global(module, name);
}

const PickleValue* PickleValue::id() const { return kind_ == PickleKind::persistent ? items_[0] : nullptr; }

const PickleValue* PickleValue::get(std::string_view key) const {
  const PickleValue* where = kind_ == PickleKind::call ? dict() : this;
  if (!where || where->kind_ != PickleKind::dict) return nullptr;
  const auto pairs = where->items();
  for (std::size_t i = pairs.size(); i >= 2; i -= 2) {
    if (pairs[i - 2]->is(PickleKind::string) && pairs[i - 2]->text() == key) return pairs[i - 1];
  }
  return nullptr;
}

void PickleArena::charge(std::uint64_t bytes) {
  if (bytes > budget_ || used_ > budget_ - bytes) throw std::length_error("pickle budget");
  used_ += bytes;
}

void* PickleArena::allocate(std::size_t bytes) {
  bytes = (bytes + 7) / 8 * 8;
  charge(bytes);
  if (data_.empty() || data_.back().size - data_.back().used < bytes) {
    const bool large = bytes > block_bytes / 4;
    const std::size_t size = large ? bytes : block_bytes;
    data_.push_back({std::unique_ptr<std::byte[]>(new std::byte[size]), 0, size});
    if (large && data_.size() > 1) {  // a block of its own; the open one stays open
      void* result = data_.back().bytes.get();
      data_.back().used = size;
      std::swap(data_.back(), data_[data_.size() - 2]);
      return result;
    }
  }
  Block& block = data_.back();
  void* result = block.bytes.get() + block.used;
  block.used += bytes;
  return result;
}

PickleValue* PickleArena::make(PickleKind kind) {
  charge(sizeof(PickleValue));
  if (nodes_.empty() || nodes_.back().used == nodes_.back().size) {
    const std::size_t n = block_bytes / sizeof(PickleValue);
    nodes_.push_back({std::unique_ptr<std::byte[]>(new std::byte[n * sizeof(PickleValue)]), 0, n});
  }
  Block& block = nodes_.back();
  auto* value = new (block.bytes.get() + block.used++ * sizeof(PickleValue)) PickleValue;
  value->kind_ = kind;
  ++node_count_;
  return value;
}

PickleValue* PickleArena::make_integer(PickleKind kind, std::int64_t number) {
  PickleValue* value = make(kind);
  value->integer_ = number;
  return value;
}

PickleValue* PickleArena::make_real(double number) {
  PickleValue* value = make(PickleKind::real);
  value->real_ = number;
  return value;
}

std::pair<PickleValue*, char*> PickleArena::make_text(PickleKind kind, std::uint32_t size) {
  char* room = static_cast<char*>(allocate(size));
  PickleValue* value = make(kind);
  value->text_ = room;
  value->count_ = size;
  return {value, room};
}

PickleValue* PickleArena::make_text(PickleKind kind, std::string_view text) {
  if (text.size() > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("pickle text");
  auto [value, room] = make_text(kind, static_cast<std::uint32_t>(text.size()));
  std::copy(text.begin(), text.end(), room);
  return value;
}

PickleValue* PickleArena::make_items(PickleKind kind, std::span<const PickleValue* const> items) {
  if (items.size() > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("pickle items");
  PickleValue* value = make(kind);
  value->items_ = nullptr;
  if (!items.empty()) {
    value->items_ = static_cast<const PickleValue**>(allocate(items.size_bytes()));
    std::copy(items.begin(), items.end(), value->items_);
  }
  value->count_ = value->capacity_ = static_cast<std::uint32_t>(items.size());
  return value;
}

PickleValue* PickleArena::make_call(const PickleValue* callable, const PickleValue* args, bool keywords) {
  const PickleValue* parts[part_count] = {callable, args, nullptr, nullptr, nullptr};
  PickleValue* value = make_items(PickleKind::call, parts);
  value->keywords_ = keywords;
  return value;
}

void PickleArena::append(PickleValue* container, PickleKind part, std::span<const PickleValue* const> items) {
  if (container->kind_ == PickleKind::call) {
    const PickleValue*& slot = container->items_[part == PickleKind::dict ? part_dict : part_list];
    if (!slot) slot = make_items(part, {});
    append(const_cast<PickleValue*>(slot), part, items);  // made above, never one of the pickle's own
    return;
  }
  const std::uint64_t count = std::uint64_t{container->count_} + items.size();
  if (count > std::numeric_limits<std::uint32_t>::max() / 2) throw std::length_error("pickle items");
  if (count > container->capacity_) {
    const auto capacity =
        static_cast<std::uint32_t>(std::max<std::uint64_t>(count, 2 * container->capacity_));
    auto* grown = static_cast<const PickleValue**>(allocate(capacity * sizeof(PickleValue*)));
    std::copy_n(container->items_, container->count_, grown);
    container->items_ = grown;
    container->capacity_ = capacity;
  }
  std::copy(items.begin(), items.end(), container->items_ + container->count_);
  container->count_ = static_cast<std::uint32_t>(count);
}

void PickleArena::set_state(PickleValue* call, const PickleValue* state) { call->items_[part_state] = state; }

std::optional<std::string> pickle_bytes(const PickleValue& value) {
  if (value.is(PickleKind::bytes) || value.is(PickleKind::string)) return std::string(value.text());
  if (value.kind() != PickleKind::call || !value.args()) return std::nullopt;
  const auto args = value.args()->items();
  const bool bytes_class = value.callable()->name() == "bytes" || value.callable()->name() == "bytearray";
  if (bytes_class && args.empty()) return std::string();
  if (bytes_class && args[0]->is(PickleKind::bytes)) return std::string(args[0]->text());
  if (!value.is_call("_codecs", "encode") || args.size() != 2 || !args[0]->is(PickleKind::string))
    return std::nullopt;
  if (args[1]->text() != "latin1" && args[1]->text() != "latin-1") return std::nullopt;
  std::string out;
  const std::string_view text = args[0]->text();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      out += text[i];
    } else if ((c & 0xfc) == 0xc0 && i + 1 < text.size()) {  // U+0080 to U+00FF: two bytes, C2 or C3 first
      out += static_cast<char>((c & 3) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3f));
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace om
