#include "io/zip.h"

#include <zip.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <unordered_map>
#include <utility>

#include "io/shortage.h"
#include "tensor/error.h"

namespace om {

namespace {

constexpr std::uint64_t max_entry = std::uint64_t{4} << 30, max_ratio = 100, ratio_slack = 64 * 1024;

// libzip asks for bytes through this.
struct Feed {
  std::shared_ptr<const ByteSource> source;
  std::uint64_t position = 0;
  zip_error_t error{};
};

zip_int64_t serve(void* user, void* data, zip_uint64_t length, zip_source_cmd_t command) {
  Feed& feed = *static_cast<Feed*>(user);
  switch (command) {
    case ZIP_SOURCE_SUPPORTS:
      return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                            ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                            ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    case ZIP_SOURCE_OPEN: feed.position = 0; return 0;
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_READ: {
      const std::uint64_t n = std::min<std::uint64_t>(length, feed.source->size() - feed.position);
      try {
        feed.source->read_at(feed.position, {static_cast<std::byte*>(data), static_cast<std::size_t>(n)});
      } catch (const std::exception&) {  // must not pass through libzip's C
        zip_error_set(&feed.error, ZIP_ER_READ, 0);
        return -1;
      }
      feed.position += n;
      return static_cast<zip_int64_t>(n);
    }
    case ZIP_SOURCE_STAT: {
      auto* stat = static_cast<zip_stat_t*>(data);
      zip_stat_init(stat);
      stat->size = feed.source->size();
      stat->valid |= ZIP_STAT_SIZE;
      return sizeof(zip_stat_t);
    }
    case ZIP_SOURCE_SEEK: {
      const zip_int64_t to =
          zip_source_seek_compute_offset(feed.position, feed.source->size(), data, length, &feed.error);
      if (to < 0) return -1;
      feed.position = static_cast<std::uint64_t>(to);
      return 0;
    }
    case ZIP_SOURCE_TELL: return static_cast<zip_int64_t>(feed.position);
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&feed.error, data, length);
    default: zip_error_set(&feed.error, ZIP_ER_OPNOTSUPP, 0); return -1;
  }
}

// Why an entry is not read; empty where it is.
std::string problem_of(const zip_stat_t& stat) {
  const bool compressed = stat.comp_method != ZIP_CM_STORE;
  // Deflate unpacks in a fixed little memory; others ask for what the file says, up to 4 GiB.
  if (compressed && stat.comp_method != ZIP_CM_DEFLATE)
    return text("is packed by method ", stat.comp_method, ", neither stored nor deflated");
  if (stat.size > max_entry) return text(stat.size, " bytes, more than the limit of 4 GiB");
  if (!compressed && stat.size != stat.comp_size) return "is stored with two different sizes";
  if (compressed && stat.size > ratio_slack + max_ratio * stat.comp_size)
    return "unpacks to more than 100 times its size";
  return "";
}

struct CloseFile {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using OpenEntry = std::unique_ptr<zip_file_t, CloseFile>;

}  // namespace

struct ZipArchive::State {
  Feed feed;
  zip_t* archive = nullptr;
  std::unordered_map<std::string_view, std::size_t> by_name;
  std::vector<bool> checked;  // by index in entries_: its checksum was right, or is not computed

  const std::string& file() const { return feed.source->name(); }

  ~State() {
    if (archive) zip_discard(archive);
    zip_error_fini(&feed.error);
  }

  template <class... Parts>
  [[noreturn]] void broken(const ZipEntry& entry, const Parts&... why) const {
    fail<InputError>(file(), ": entry ", printable(entry.name), ": ", why...);
  }

  OpenEntry open(const ZipEntry& entry) {
    if (!entry.problem.empty()) broken(entry, entry.problem);
    const Shortage shortage;
    OpenEntry file(zip_fopen_index(archive, entry.index, 0));
    if (file) return file;
    shortage.check("to read ", this->file());
    broken(entry, zip_strerror(archive));
  }

  void read(zip_file_t* from, const ZipEntry& entry, std::span<std::byte> out) {
    const Shortage shortage;
    while (!out.empty()) {
      const zip_int64_t n = zip_fread(from, out.data(), std::min<std::size_t>(out.size(), 1 << 24));
      if (n <= 0) {
        shortage.check("to read ", file());
        broken(entry, n == 0 ? "ends too early" : zip_file_strerror(from));
      }
      out = out.subspan(static_cast<std::size_t>(n));
    }
  }

  // Asking past the end makes libzip compare the checksum.
  void expect_end(zip_file_t* from, const ZipEntry& entry) {
    const Shortage shortage;
    std::byte extra;
    const zip_int64_t more = zip_fread(from, &extra, 1);
    if (more == 0) return;
    shortage.check("to read ", file());
    if (more > 0) broken(entry, "is longer than the archive says");
    if (entry.crc == 0 && zip_error_code_zip(zip_file_get_error(from)) == ZIP_ER_CRC) return;
    broken(entry, zip_file_strerror(from));
  }
};

ZipArchive::ZipArchive(std::shared_ptr<const ByteSource> source) : state_(std::make_unique<State>()) {
  state_->feed.source = std::move(source);
  zip_error_init(&state_->feed.error);
  const std::string& file = state_->file();
  const Shortage shortage;
  const auto refuse = [&](zip_error_t& error) {
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    shortage.check("to read ", file);
    fail<InputError>(file, ": broken zip archive: ", reason);
  };
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* from = zip_source_function_create(serve, &state_->feed, &error);
  if (!from) refuse(error);
  state_->archive = zip_open_from_source(from, ZIP_RDONLY, &error);
  if (!state_->archive) {
    zip_source_free(from);
    refuse(error);
  }
  zip_error_fini(&error);

  const zip_int64_t count = zip_get_num_entries(state_->archive, 0);
  std::uint64_t packed = 0;
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    constexpr auto needed =
        ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_CRC;
    if (zip_stat_index(state_->archive, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW, &stat) != 0 ||
        (stat.valid & needed) != needed) {
      shortage.check("to read ", file);
      fail<InputError>(file, ": broken zip archive: entry ", i, ": ", zip_strerror(state_->archive));
    }
    const bool compressed = stat.comp_method != ZIP_CM_STORE;
    const std::uint64_t left = state_->feed.source->size() - packed;
    if (stat.comp_size > left)
      fail<InputError>(file, ": entry ", printable(stat.name), ": overlaps others or lies outside the file");
    packed += stat.comp_size;
    entries_.push_back(
        {stat.name, static_cast<std::uint64_t>(i), stat.size, compressed, stat.crc, problem_of(stat)});
  }
  state_->checked.resize(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) state_->by_name.emplace(entries_[i].name, i);
}

ZipArchive::~ZipArchive() = default;

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = state_->by_name.find(name);
  return found == state_->by_name.end() ? nullptr : &entries_[found->second];
}

std::vector<std::byte> ZipArchive::read(const ZipEntry& entry) const {
  const OpenEntry file = state_->open(entry);
  std::vector<std::byte> out(entry.size);
  state_->read(file.get(), entry, out);
  state_->expect_end(file.get(), entry);
  return out;
}

void ZipArchive::read_part(const ZipEntry& entry, std::uint64_t begin, std::span<std::byte> out) const {
  if (begin > entry.size || out.size() > entry.size - begin) state_->broken(entry, "ends too early");
  const OpenEntry file = state_->open(entry);
  const bool check = entry.crc != 0 && !state_->checked[entry.index];
  const auto drop = [&](std::uint64_t count) {
    std::vector<std::byte> dropped(std::min<std::uint64_t>(count, 1 << 20));
    for (std::uint64_t at = 0; at < count;) {
      const std::size_t n = std::min<std::uint64_t>(count - at, dropped.size());
      state_->read(file.get(), entry, std::span(dropped).first(n));
      at += n;
    }
  };
  const bool seek = !check && !entry.compressed && begin > 0;
  if (!seek || zip_fseek(file.get(), static_cast<zip_int64_t>(begin), SEEK_SET) != 0) drop(begin);
  state_->read(file.get(), entry, out);
  if (!check) return;
  drop(entry.size - begin - out.size());
  state_->expect_end(file.get(), entry);
  state_->checked[entry.index] = true;
}

bool looks_like_zip(const ByteSource& source) {
  if (source.size() < 4) return false;
  std::array<char, 4> head;
  source.read_at(0, std::as_writable_bytes(std::span(head)));
  return std::memcmp(head.data(), "PK\3\4", 4) == 0 || std::memcmp(head.data(), "PK\5\6", 4) == 0;
}

}  // namespace om
