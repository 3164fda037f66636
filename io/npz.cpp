#include "io/npz.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "io/atomic_file.h"
#include "io/zip_writer.h"
#include "tensor/error.h"

namespace om {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxHeader = 64 * 1024;
constexpr std::size_t kMaxRankOfFile = 64;  // numpy's own limit

struct TypeName {
  std::string_view descr;
  FileType type;
};
constexpr std::array<TypeName, 9> kTypes = {{{"<f2", FileType::f16},
                                             {"<f4", FileType::f32},
                                             {"<f8", FileType::f64},
                                             {"|i1", FileType::i8},
                                             {"|u1", FileType::u8},
                                             {"<i2", FileType::i16},
                                             {"<i4", FileType::i32},
                                             {"<i8", FileType::i64},
                                             {"|b1", FileType::boolean}}};

/// Reads the little of Python that such headers are written in.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  [[noreturn]] void broken() const { fail<InputError>(name_, ": broken header of a .npy array"); }

  bool take(char c) {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n')) text_.remove_prefix(1);
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) broken();
  }
  std::string quoted() {
    const char quote = take('\'') ? '\'' : take('"') ? '"' : '\0';
    const std::size_t end = text_.find(quote);
    if (quote == '\0' || end == std::string_view::npos) broken();
    const std::string word(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return word;
  }
  bool boolean() {
    take(' ');
    for (const std::string_view word : {"True", "False"})
      if (text_.starts_with(word)) {
        text_.remove_prefix(word.size());
        return word == "True";
      }
    broken();
  }
  std::vector<std::int64_t> sizes() {
    std::vector<std::int64_t> out;
    expect('(');
    while (!take(')')) {
      if (out.size() == kMaxRankOfFile) broken();
      out.push_back(size());
      if (take(',')) continue;
      expect(')');
      break;
    }
    return out;
  }
  /// What a descr that is no plain text (a structure) takes; false where it is text.
  bool at_list() { return take('['); }

 private:
  std::int64_t size() {
    take(' ');
    std::int64_t value = 0;
    std::size_t digits = 0;
    for (; digits < text_.size() && text_[digits] >= '0' && text_[digits] <= '9'; ++digits) {
      if (digits == 18) broken();
      value = value * 10 + (text_[digits] - '0');
    }
    if (digits == 0) broken();
    text_.remove_prefix(digits);
    if (text_.starts_with('L')) text_.remove_prefix(1);  // as Python 2 wrote long integers
    return value;
  }

  std::string_view text_;
  const std::string& name_;
};

std::vector<std::byte> npy_bytes(const std::string& name, const FileTensor& tensor) {
  const auto type = std::find_if(kTypes.begin(), kTypes.end(),
                                 [&](const TypeName& known) { return known.type == tensor.type; });
  if (type == kTypes.end()) fail("npz: ", printable(name), ": NumPy has no ", name_of(tensor.type));
  std::string sizes;
  for (const std::int64_t size : tensor.shape) sizes += text(size, tensor.shape.size() == 1 ? "," : ", ");
  if (tensor.shape.size() > 1) sizes.resize(sizes.size() - 2);
  std::string header =
      text("{'descr': '", type->descr, "', 'fortran_order': False, 'shape': (", sizes, "), }");
  // magic, version, length and text together fill a multiple of 64 bytes
  constexpr std::size_t kBefore = 10;
  header.resize((kBefore + header.size() + 1 + 63) / 64 * 64 - kBefore, ' ');
  header.back() = '\n';
  std::string head(kMagic);
  head += {'\1', '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  head += header;
  std::vector<std::byte> bytes(head.size() + tensor.data.size());
  std::memcpy(bytes.data(), head.data(), head.size());
  std::copy(tensor.data.begin(), tensor.data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(head.size()));
  return bytes;
}

}  // namespace

std::variant<NpyHeader, std::string> parse_npy_header(std::span<const std::byte> head,
                                                      const std::string& name) {
  const std::string_view all(reinterpret_cast<const char*>(head.data()), head.size());
  const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(head[i]); };
  if (!all.starts_with(kMagic) || all.size() < 12) fail<InputError>(name, ": is no .npy array, or cut short");
  const std::size_t version = byte(6), begin = version == 1 ? 10 : 12;
  if (version < 1 || version > 3) fail<InputError>(name, ": .npy of the unknown version ", version);
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kMaxHeader || length > all.size() - begin)
    fail<InputError>(name, ": its .npy header is cut short or too long");

  HeaderText from(all.substr(begin, length), name);
  NpyHeader header;
  header.data_begin = begin + length;
  std::string descr;
  bool has_descr = false, has_order = false, has_shape = false;
  from.expect('{');
  while (!from.take('}')) {
    const std::string key = from.quoted();
    from.expect(':');
    if (key == "descr" && !has_descr) {
      has_descr = true;
      if (from.at_list()) return "an array of structures";
      descr = from.quoted();
    } else if (key == "fortran_order" && !has_order) {
      has_order = true;
      header.fortran_order = from.boolean();
    } else if (key == "shape" && !has_shape) {
      has_shape = true;
      header.shape = from.sizes();
    } else {
      from.broken();
    }
    if (from.take(',')) continue;
    from.expect('}');
    break;
  }
  if (!has_descr || !has_order || !has_shape) from.broken();
  if (descr.size() == 3 && descr[0] == '<' && descr[2] == '1') descr[0] = '|';
  const auto type =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& known) { return known.descr == descr; });
  if (type == kTypes.end()) return "an array of type " + printable(descr, 20);
  header.type = type->type;
  return header;
}

bool looks_like_npz(const ZipArchive& archive) {
  return !archive.entries().empty() &&
         std::all_of(archive.entries().begin(), archive.entries().end(),
                     [](const ZipEntry& entry) { return entry.name.ends_with(".npy"); });
}

NpzFile::NpzFile(std::shared_ptr<const ByteSource> source) : source_(std::move(source)), archive_(source_) {
  for (const ZipEntry& entry : archive_.entries()) {
    Array array{entry.name.substr(0, entry.name.size() - 4), entry, {}, {}};
    const std::string name = text(source_->name(), ": entry ", printable(entry.name));
    std::vector<std::byte> head(std::min<std::uint64_t>(entry.size, 12 + kMaxHeader));
    archive_.read_part(entry, 0, head);
    auto parsed = parse_npy_header(head, name);
    if (auto* why = std::get_if<std::string>(&parsed)) {
      array.why_not = *why;
    } else {
      array.header = std::get<NpyHeader>(parsed);
      std::uint64_t bytes = 0;
      try {
        bytes = static_cast<std::uint64_t>(element_count(array.header.shape)) * size_of(array.header.type);
      } catch (const InputError& error) {
        fail<InputError>(name, ": ", error.what());
      }
      if (bytes != entry.size - array.header.data_begin)
        fail<InputError>(name, ": shape ", shape_text(array.header.shape), " does not fit its ", entry.size,
                         " bytes");
    }
    arrays_.push_back(std::move(array));
  }
}

FileTensor NpzFile::load(const Array& array) const {
  std::vector<std::byte> bytes = archive_.read(array.entry);
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(array.header.data_begin));
  const NpyHeader& header = array.header;
  if (header.fortran_order && header.shape.size() > 1)
    bytes = to_row_major(bytes, header.shape, size_of(header.type));
  return {header.type, header.shape, std::move(bytes)};
}

void write_npz(const std::string& path, const std::map<std::string, FileTensor>& tensors) {
  std::vector<ZipMember> members;
  for (const auto& [name, tensor] : tensors) members.push_back({name + ".npy", npy_bytes(name, tensor)});
  write_file(path, make_zip(members));
}

void write_tensors(const std::string& path, const SafeTensors& content) {
  if (path.ends_with(".npz")) {
    write_npz(path, content.tensors);
  } else {
    write_safetensors(path, content);
  }
}

}  // namespace om
