// onemodel generate: images from a generator, for a seed or for given latents.
//
//   z --mapping network--> w --truncation: average + T (w - average)--> synthesis network --> image
//
// Images are made one by one and draw their noise in order, so image n never depends on how many follow it.
#include <memory>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "examples/common.h"
#include "examples/models.h"
#include "io/model_file.h"
#include "io/npz.h"
#include "io/same_file.h"
#include "train/codes.h"
#include "train/evaluate.h"
#include "train/samples.h"

namespace om {
namespace {

constexpr std::int64_t kMaxCount = 1'000'000;  // the names have six digits

struct GenerateOptions {
  std::string generator, prefix, latents, noise, out, tensors;
  std::optional<std::int64_t> size;
  std::optional<std::int64_t> count;
  std::optional<double> truncation;
};

/// Noise maps for one image after the other.
class NoiseSource {
 public:
  /// `mode`: stored, random, zero, or empty for stored where the generator has it and random elsewhere.
  NoiseSource(const Decoder& decoder, const std::string& file, std::string mode, const Codes& latents,
              std::int64_t seed, Backend& backend)
      : decoder_(decoder),
        latents_(latents),
        random_(sample_noise(static_cast<std::uint64_t>(seed), backend)) {
    const bool stored = !decoder.stored_noise().empty();
    if (mode.empty()) mode = stored ? "stored" : "random";
    if (mode == "stored" && !stored) fail<InputError>(file, ": holds no stored noise");
    draws_ = mode == "random";
    if (!draws_) fixed_ = mode == "stored" ? decoder.stored_noise() : decoder.zero_noise(backend);
  }

  /// The maps of image n, each [1, s, s, 1]. Asked in order.
  std::vector<Tensor> maps(std::int64_t n) {
    std::vector<Tensor> maps = draws_ ? decoder_.random_noise(1, random_) : fixed_;
    for (std::size_t i = 0; i < latents_.noise.size(); ++i)
      if (const Tensor& given = latents_.noise[i]; given.defined())
        maps[i] = slice(given, 0, given.size(0) == 1 ? 0 : n, 1);
    return maps;
  }

 private:
  const Decoder& decoder_;
  const Codes& latents_;
  RandomSource random_;
  bool draws_ = false;
  std::vector<Tensor> fixed_;
};

std::filesystem::path numbered(const std::filesystem::path& folder, std::int64_t n) {
  std::string name = std::to_string(n);
  return folder / (std::string(6 - std::min<std::size_t>(6, name.size()), '0') + name + ".png");
}

int generate(const GenerateOptions& options, const Common& common) {
  if (!options.latents.empty() && options.count)
    fail<UsageError>("generate: --count and --latents exclude each other; the latents tell how many");
  const std::int64_t count = options.count.value_or(1);
  if (count < 1 || count > kMaxCount)
    fail<UsageError>("generate: --count must lie between 1 and ", kMaxCount);

  const Session session(common);
  Backend& backend = session.backend();
  const NoGrad no_grad;
  LoadOptions load = saying_so();
  if (!options.prefix.empty()) load.prefix = options.prefix;
  load.size = options.size;
  if (!options.latents.empty()) load.size_hint = size_of_codes(options.latents);
  const std::unique_ptr<Decoder> decoder = load_generator(options.generator, backend, load);
  Codes latents;
  if (options.latents.empty()) {
    latents.z = sample_latents(*decoder, static_cast<std::uint64_t>(common.seed), count, backend);
  } else {
    latents = read_codes(options.latents, *decoder, backend);
  }
  NoiseSource noise(*decoder, options.generator, options.noise, latents, common.seed, backend);
  const std::vector<std::string> read = {options.generator, options.latents};
  if (!options.tensors.empty()) refuse_overwriting(options.tensors, read);
  if (std::filesystem::exists(options.out))
    for (std::int64_t n = 0; n < latents.count(); ++n)
      refuse_overwriting(numbered(options.out, n).string(), read);
  make_folder(options.out);
  if (!options.tensors.empty()) expect_writable(options.tensors);
  catch_interrupts();
  const Tensor average = options.truncation ? truncation_average(*decoder, backend) : Tensor();

  std::vector<Tensor> used, images;
  Pace pace(static_cast<std::size_t>(latents.count()));
  for (std::int64_t n = 0; n < latents.count(); ++n, pace.step()) {
    stop_if_interrupted();
    Tensor w = latents.z.defined() ? decoder->map(slice(latents.z, 0, n, 1)) : slice(latents.wplus, 0, n, 1);
    if (options.truncation) w = truncate(w, average, *options.truncation);
    const Tensor wplus = w.rank() == 2 ? repeat_latent(w, decoder->latents()) : w;
    const Tensor image = decoder->synthesize(wplus, noise.maps(n));
    write_png(numbered(options.out, n), to_image(to_float_images(image).front()));
    if (options.tensors.empty()) continue;
    used.push_back(w);
    images.push_back(image);
  }
  if (!options.tensors.empty())
    write_tensors(
        options.tensors,
        {{{"w", to_file(concat(used, 0))}, {"image", to_file(concat(images, 0), layouts::image)}}, {}});
  note(text(latents.count(), " images in ", options.out));
  return kDone;
}

Command generate_command() {
  auto o = std::make_shared<GenerateOptions>();
  return {
      "generate",
      "Generate images from a seed or from latents",
      {{"--generator", "FILE", &o->generator, "Checkpoint with a generator, PyTorch's or ours", kRequired},
       {"--prefix", "P", &o->prefix, "Take the generator under this prefix, where the file holds several"},
       {"--size", "N", &o->size, "Pixels of a StyleGAN 1, whose files hold blocks up to 1024"},
       {"--count", "N", &o->count, "Images to draw from the seed (default 1)"},
       {"--latents", "IN", &o->latents,
        ".safetensors or .npz file with z [N,D] or wplus [N,L,D], and noise.i [N or 1,1,h,w] where wanted"},
       {"--noise",
        "stored|random|zero",
        &o->noise,
        "Noise maps (default: stored where the file has them)",
        false,
        {"stored", "random", "zero"}},
       {"--truncation", "T", &o->truncation, "Pull each w toward the average: average + T (w - average)"},
       {"--out", "DIR", &o->out, "Folder for 000000.png, 000001.png, ..", kRequired},
       {"--tensors", "OUT", &o->tensors,
        "file to write (.safetensors or .npz): w as the decoder used it, image [N,3,H,W] not clamped"}},
      [o](const Common& common) { return generate(*o, common); }};
}

const Subcommand here(generate_command);

}  // namespace
}  // namespace om
