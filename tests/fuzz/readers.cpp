#include "tests/fuzz/readers.h"

#include <algorithm>
#include <array>

#include "autograd/grad.h"
#include "examples/http_head.h"
#include "io/image.h"
#include "io/model_file.h"
#include "io/pickle.h"
#include "io/safetensors.h"
#include "io/state_dict.h"
#include "io/zip.h"
#include "tensor/error.h"
#include "tensor/registry.h"
#include "tests/fuzz/memory_meter.h"
#include "tests/fuzz/model_recipe.h"
#include "train/config.h"
#include "train/metrics_series.h"

namespace om::fuzz {
namespace {

const std::string file_name = "t";

/// Every accessor of every value: what any reader of the tree could ask.
void read_pickles(Bytes file) {
  const auto source = memory_source(file, file_name);
  ByteReader in(*source);
  const Pickle pickle = read_pickle(in);
  std::size_t sum = 0;
  pickle.arena.for_each([&](const PickleValue& value) {
    sum += value.text().size() + value.items().size() + value.module().size() + value.name().size();
    sum += value.get("state") != nullptr;
    if (const auto bytes = pickle_bytes(value)) sum += bytes->size();
    for (const PickleValue* part :
         {value.callable(), value.args(), value.state(), value.list(), value.dict(), value.id()})
      if (part != nullptr) sum += part->items().size() + name_of(part->kind()).size();
  });
  if (sum == SIZE_MAX) fail("a sum that cannot be");  // keeps the walk
}

void read_all_tensors(const Checkpoint& checkpoint) {
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const FileTensor loaded = tensor.read(checkpoint.path);
    if (loaded.data.size() != static_cast<std::uint64_t>(element_count(loaded.shape)) * size_of(loaded.type))
      fail("tensor ", printable(name), " has ", loaded.data.size(), " bytes for its shape");
    if (is_number(loaded.type)) to_f32(loaded);
  }
}

void read_old_pytorch(Bytes file) { read_all_tensors(parse_checkpoint(file, file_name)); }

/// The networks in it too: their names are translated and their settings judged.
void read_nvidia(Bytes file) {
  const Checkpoint checkpoint = parse_checkpoint(file, file_name);
  read_all_tensors(checkpoint);
  if (holds_network(checkpoint)) load_model(checkpoint, backend("cpu"));
}

void read_zip(Bytes file) {
  const auto source = memory_source(file, file_name);
  {
    const ZipArchive archive(source);
    for (const ZipEntry& entry : archive.entries()) {
      archive.find(entry.name);
      try {
        if (archive.read(entry).size() != entry.size) fail("entry of another size than it says");
      } catch (const InputError&) {  // one broken entry does not hide the others
      }
      std::array<std::byte, 16> part;
      const std::uint64_t n = std::min<std::uint64_t>(entry.size, part.size());
      try {
        archive.read_part(entry, entry.size - n, std::span(part).first(static_cast<std::size_t>(n)));
      } catch (const InputError&) {
      }
    }
  }
  if (looks_like_zip(*source)) read_all_tensors(parse_checkpoint(file, file_name));
}

void read_safetensors_file(Bytes file) {
  for (const auto& [name, tensor] : parse_safetensors(file, file_name).tensors)
    if (is_number(tensor.type)) to_f32(tensor);
}

std::span<const std::uint8_t> octets(Bytes file) {
  return {reinterpret_cast<const std::uint8_t*>(file.data()), file.size()};
}

void expect_whole(const Image& image) {
  if (image.width < 1 || image.height < 1 ||
      image.pixels.size() != image.row_bytes() * static_cast<std::size_t>(image.height))
    fail("an image of ", image.width, "x", image.height, " with ", image.pixels.size(), " bytes");
}
void read_png_file(Bytes file) { expect_whole(decode_png(octets(file), file_name)); }
void read_jpeg_file(Bytes file) { expect_whole(decode_jpeg(octets(file), file_name)); }
void read_webp_file(Bytes file) { expect_whole(decode_webp(octets(file), file_name)); }

void read_config(Bytes file) {
  TrainConfig config;
  apply_json(config, {reinterpret_cast<const char*>(file.data()), file.size()}, file_name);
  const std::string written = to_json(config, true);
  TrainConfig again;
  apply_json(again, written, "what was written");
  if (to_json(again, true) != written) fail("settings change when written and read again");
}

/// Every byte is in a line that is taken or counted, and thinning keeps what is there.
void read_metrics_file(Bytes file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  const MetricsSeries metrics = metrics_of(text);
  const auto ends = std::count(text.begin(), text.end(), '\n');
  const bool torn = !text.empty() && text.back() != '\n';
  if (metrics.lines + metrics.skipped != ends + (torn ? 1 : 0))
    fail(metrics.lines, " lines and ", metrics.skipped, " skipped of ", ends);
  for (const auto& [name, series] : metrics.series) {
    const ThinSeries thin = thinned(series, 2);
    if (thin.points.values.size() > 8 || thin.count != series.values.size() ||
        !std::is_sorted(series.iterations.begin(), series.iterations.end()))
      fail("series of ", series.values.size(), " thinned to ", thin.points.values.size());
  }
  if (metrics.lines == 0) fail<InputError>(file_name, ": no line of metrics");
}

/// What goes on to the HTTP library is of our own making.
void read_request(Bytes file) {
  const RequestHead head = judge({reinterpret_cast<const char*>(file.data()), file.size()}, 8321);
  if (head.refusal.status != 0) {
    if (!head.text.empty() || head.body != 0) fail("a refused request goes on");
    fail<InputError>(file_name, ": ", head.refusal.status, " ", reason_of(head.refusal.status), ": ",
                     head.refusal.line);
  }
  if (!head.text.ends_with("\r\n\r\n") || head.text.find("\r\n\r\n") + 4 != head.text.size())
    fail("a head without one end");
  if (std::count(head.text.begin(), head.text.end(), '\n') > 5 || head.body > kMaxUpload)
    fail("more than was asked");
}

/// What was taken must run as well.
void read_model(Bytes recipe) {
  Backend& cpu = backend("cpu");
  const Model model = load_model(checkpoint_of(recipe), cpu);
  const NoGrad no_grad;
  if (model.decoder && model.decoder->size() <= 32) {
    const Tensor w = model.decoder->map(Tensor::zeros({1, model.decoder->z_width()}, DType::f32, cpu));
    const Tensor image =
        model.decoder->synthesize(repeat_latent(w, model.decoder->latents()), model.decoder->zero_noise(cpu));
    image.to_host<float>();
  }
  if (model.encoder && model.encoder->config().size() <= 32) {
    const std::int64_t size = model.encoder->config().size();
    model.encoder->set_training(false);
    (*model.encoder)(Tensor::zeros({1, size, size, 3}, DType::f32, cpu));
  }
}

constexpr std::uint64_t MiB = std::uint64_t{1} << 20;

/// Three bytes a pixel, decoded and turned, of which there are at most 100 million; what libpng or libjpeg
/// hold beside them comes with `per_byte`.
std::uint64_t image_memory(std::uint64_t bytes, std::uint64_t pixels_per_byte, std::uint64_t per_pixel) {
  return 8 * MiB + 4 * bytes + per_pixel * std::min<std::uint64_t>(kMaxImagePixels, pixels_per_byte * bytes);
}

constexpr std::array<Reader, 12> all{{
    // 32 bytes a byte and 1 MiB of values; the stack and the memo beside them.
    {"pickle", read_pickles, [](std::uint64_t n) { return 64 * n + 4 * MiB; }},
    // An entry unpacks to at most 100 times its size and 64 KiB; that one may be a pickle.
    {"zip", read_zip, [](std::uint64_t n) { return 100 * 64 * n + 16 * MiB; }},
    {"old_pytorch", read_old_pytorch, [](std::uint64_t n) { return 128 * n + 8 * MiB; }},
    // Tensors take at most 8 times the file and 1 MiB, a network of them a little more.
    {"nvidia", read_nvidia, [](std::uint64_t n) { return 256 * n + 16 * MiB; }},
    {"safetensors", read_safetensors_file, [](std::uint64_t n) { return 32 * n + 4 * MiB; }},
    // Deflate makes 1032 bytes of one, each of 8 pixels.
    {"png", read_png_file, [](std::uint64_t n) { return image_memory(n, 8 * 1032, 6); }},
    // 512 pixels a byte, arithmetic coding without bound; coefficients of four components beside them.
    {"jpeg", read_jpeg_file, [](std::uint64_t n) { return image_memory(n, kMaxImagePixels, 6 + 8); }},
    // One colour takes no bytes a pixel; libwebp keeps 4 bytes a pixel and the codes of 11 groups beside
    // them.
    {"webp", read_webp_file, [](std::uint64_t n) { return image_memory(n, kMaxImagePixels, 6 + 8); }},
    {"config", read_config, [](std::uint64_t n) { return 64 * n + MiB; }},
    // A number of two bytes becomes two of eight, and a name of its own.
    {"metrics", read_metrics_file, [](std::uint64_t n) { return 256 * n + MiB; }},
    {"request", read_request, [](std::uint64_t n) { return 128 * n + MiB; }},
    // Not a file but a recipe for one; a network may take its tensors' memory several times over.
    {"model", read_model, [](std::uint64_t) { return 64 * MiB; }},
}};

}  // namespace

std::span<const Reader> readers() { return all; }

const Reader& reader(std::string_view name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Reader& r) { return r.name == name; });
  if (found == all.end()) fail("no reader named ", name);
  return *found;
}

Outcome attempt(const Reader& reader, Bytes file) {
  Outcome outcome;
  const MemoryMeter meter;
  try {
    reader.read(file);
    outcome.accepted = true;
  } catch (const InputError& error) {
    const std::string_view line = error.what();
    if (!line.starts_with(file_name + ": ") || line.find('\n') != line.npos || line.size() > 2000)
      outcome.finding = text("not one line that names the file: ", line);
  }
  outcome.peak = meter.peak();
  if (const std::uint64_t most = reader.memory(file.size()); outcome.peak > most)
    outcome.finding =
        text(reader.name, " took ", outcome.peak, " bytes for a file of ", file.size(), ", more than ", most);
  return outcome;
}

}  // namespace om::fuzz
