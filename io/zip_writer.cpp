#include "io/zip_writer.h"

#include <zip.h>

#include <memory>

#include "tensor/error.h"

namespace om {
namespace {

// 1980-01-01, the first day that the format knows.
constexpr zip_uint16_t kDay = (1 << 5) | 1;

struct FreeSource {
  void operator()(zip_source_t* source) const { zip_source_free(source); }
};
struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};

[[noreturn]] void fail_with(const char* reason) {
  // libzip asks for little but memory here
  fail("zip: cannot make the archive: ", reason);
}

}  // namespace

std::vector<std::byte> make_zip(std::span<const ZipMember> members) {
  zip_error_t error;
  zip_error_init(&error);
  const std::unique_ptr<zip_source_t, FreeSource> target(zip_source_buffer_create(nullptr, 0, 0, &error));
  if (!target) fail_with(zip_error_strerror(&error));
  std::unique_ptr<zip_t, Discard> archive(zip_open_from_source(target.get(), ZIP_TRUNCATE, &error));
  if (!archive) fail_with(zip_error_strerror(&error));
  zip_source_keep(target.get());  // closing the archive drops its own hold

  for (const ZipMember& member : members) {
    zip_source_t* bytes = zip_source_buffer(archive.get(), member.bytes.data(), member.bytes.size(), 0);
    if (bytes == nullptr) fail_with(zip_strerror(archive.get()));
    const zip_int64_t index = zip_file_add(archive.get(), member.name.c_str(), bytes, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(bytes);
      fail_with(zip_strerror(archive.get()));
    }
    const auto entry = static_cast<zip_uint64_t>(index);
    if (zip_set_file_compression(archive.get(), entry, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive.get(), entry, 0, kDay, 0) != 0)
      fail_with(zip_strerror(archive.get()));
  }
  if (zip_close(archive.get()) != 0) fail_with(zip_strerror(archive.get()));
  (void)archive.release();  // zip_close freed it

  if (zip_source_open(target.get()) != 0) fail_with(zip_error_strerror(zip_source_error(target.get())));
  zip_stat_t stat;
  zip_stat_init(&stat);
  std::vector<std::byte> out;
  if (zip_source_stat(target.get(), &stat) == 0) out.resize(stat.size);
  const zip_int64_t read = zip_source_read(target.get(), out.data(), out.size());
  zip_source_close(target.get());
  if (read < 0 || static_cast<std::size_t>(read) != out.size() || out.empty())
    fail_with("it cannot be read back");
  return out;
}

}  // namespace om
