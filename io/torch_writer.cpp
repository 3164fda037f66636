#include "io/torch_writer.h"

#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"
#include "io/zip_writer.h"
#include "tensor/error.h"

namespace om {
namespace {

struct TorchType {
  const char* storage;  // null: untyped, by the dtype's name
  const char* dtype;
};

// By FileType.
constexpr std::array<TorchType, 20> types{{{"HalfStorage", "float16"},
                                           {"BFloat16Storage", "bfloat16"},
                                           {"FloatStorage", "float32"},
                                           {"DoubleStorage", "float64"},
                                           {"CharStorage", "int8"},
                                           {"ByteStorage", "uint8"},
                                           {"ShortStorage", "int16"},
                                           {"IntStorage", "int32"},
                                           {"LongStorage", "int64"},
                                           {"BoolStorage", "bool"},
                                           {nullptr, "uint16"},
                                           {nullptr, "uint32"},
                                           {nullptr, "uint64"},
                                           {nullptr, "float8_e4m3fn"},
                                           {nullptr, "float8_e5m2"},
                                           {nullptr, "float8_e4m3fnuz"},
                                           {nullptr, "float8_e5m2fnuz"},
                                           {nullptr, "float8_e8m0fnu"},
                                           {"ComplexFloatStorage", "complex64"},
                                           {"ComplexDoubleStorage", "complex128"}}};

/// Opcodes of protocol 2, as io/pickle reads them.
class PickleWriter {
 public:
  PickleWriter() { out_ = "\x80\x02"; }

  PickleWriter& op(char code) {
    out_ += code;
    return *this;
  }
  PickleWriter& text(std::string_view s) {
    out_ += 'X';
    little(s.size(), 4);
    out_ += s;
    return *this;
  }
  PickleWriter& integer(std::int64_t value) {
    if (value >= 0 && value < 0x80000000LL) {
      out_ += 'J';
      little(static_cast<std::uint64_t>(value), 4);
    } else {
      out_ += "\x8a\x08";  // LONG1
      little(static_cast<std::uint64_t>(value), 8);
    }
    return *this;
  }
  PickleWriter& integers(const std::vector<std::int64_t>& values) {
    op('(');
    for (const std::int64_t value : values) integer(value);
    return op('t');
  }
  PickleWriter& name(std::string_view module, std::string_view own) {
    out_ += 'c';
    out_ += module;
    out_ += '\n';
    out_ += own;
    out_ += '\n';
    return *this;
  }
  PickleWriter& ordered_dict() { return name("collections", "OrderedDict").op(')').op('R'); }
  std::string finish() {
    op('.');
    return std::move(out_);
  }

 private:
  void little(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out_ += static_cast<char>(value >> (8 * i) & 0xff);
  }
  std::string out_;
};

std::vector<std::byte> bytes_of(std::string_view s) {
  const auto view = std::as_bytes(std::span(s.data(), s.size()));
  return {view.begin(), view.end()};
}

class TorchWriter {
 public:
  void add(const std::string& name, const FileTensor& tensor) {
    const TorchType& type = types[static_cast<std::size_t>(tensor.type)];
    const std::string key = std::to_string(storages_.size());
    const std::int64_t count = element_count(tensor.shape);
    if (static_cast<std::uint64_t>(count) * size_of(tensor.type) != tensor.data.size())
      fail("cannot write: tensor \"", name, "\" has ", tensor.data.size(), " bytes for shape ",
           shape_text(tensor.shape), " of ", name_of(tensor.type));
    std::vector<std::int64_t> strides(tensor.shape.size(), 1);
    for (std::size_t d = strides.size(); d-- > 1;)
      strides[d - 1] = strides[d] * std::max<std::int64_t>(tensor.shape[d], 1);

    pickle_.text(name);
    pickle_.name("torch._utils", type.storage ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3").op('(');
    pickle_.op('(').text("storage");
    if (type.storage) {
      pickle_.name("torch", type.storage);
    } else {
      pickle_.name("torch.storage", "UntypedStorage");
    }
    pickle_.text(key).text("cpu");
    pickle_.integer(type.storage ? count : static_cast<std::int64_t>(tensor.data.size())).op('t').op('Q');
    pickle_.integer(0).integers(tensor.shape).integers(strides).op('\x89').ordered_dict();
    if (!type.storage) pickle_.name("torch", type.dtype);
    pickle_.op('t').op('R');
    storages_.push_back({"archive/data/" + key, tensor.data});
  }

  void write(const std::string& path, const std::map<std::string, TensorDict>& groups) {
    pickle_.op('}').op('(');
    for (const auto& [group, tensors] : groups) {
      if (!group.empty()) pickle_.text(group).ordered_dict().op('(');
      for (const auto& [name, tensor] : tensors) {
        if (group.empty() && groups.contains(name))
          fail("cannot write: both a group and a tensor named \"", name, "\"");
        add(name, tensor);
      }
      if (!group.empty()) pickle_.op('u');
    }
    pickle_.op('u');
    std::vector<ZipMember> members;
    members.push_back({"archive/data.pkl", bytes_of(pickle_.finish())});
    members.push_back({"archive/byteorder", bytes_of("little")});
    for (ZipMember& storage : storages_) members.push_back(std::move(storage));
    members.push_back({"archive/version", bytes_of("3\n")});
    write_file(path, make_zip(members));
  }

 private:
  PickleWriter pickle_;
  std::vector<ZipMember> storages_;
};

}  // namespace

void write_torch(const std::string& path, const std::map<std::string, TensorDict>& groups) {
  try {
    TorchWriter().write(path, groups);
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(path)) throw;
    fail(path, ": ", error.what());
  }
}

}  // namespace om
