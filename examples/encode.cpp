// onemodel encode: images become the generator's inputs, latents and noise maps.
#include <memory>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "examples/common.h"
#include "examples/inputs.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "io/safetensors.h"
#include "train/evaluate.h"

namespace om {
namespace {

struct EncodeOptions {
  std::string model, tensors;
  std::vector<std::string> images;
};

int encode(const EncodeOptions& options, const Common& common) {
  Backend& backend = start(common);
  const Model model = load_model(read_checkpoint(options.model), backend);
  if (!model.encoder) fail<InputError>(options.model, ": holds no encoder");
  const Encoder& encoder = *model.encoder;
  const std::int64_t size = encoder.config().size();
  expect_writable(options.tensors);
  catch_interrupts();

  const NoGrad no_grad;
  std::vector<Tensor> latents;             // per image
  std::vector<std::vector<Tensor>> noise;  // per map, per image
  ImageInputs inputs(options.images);
  Pace pace(inputs.files().size());
  std::int64_t count = 0;
  while (const auto item = inputs.next()) {
    const Image image = resize_bilinear(item->image, static_cast<int>(size), static_cast<int>(size));
    const Code code = encoder(to_tensor(image.pixels, 1, size, backend));
    if (code.latent.defined()) latents.push_back(code.latent);
    noise.resize(code.noise.size());
    for (std::size_t i = 0; i < code.noise.size(); ++i) noise[i].push_back(code.noise[i]);
    ++count;
    pace.step();
  }
  if (count == 0) return inputs.exit_code();

  SafeTensors out;
  if (!latents.empty()) out.tensors[name_of(encoder.config().projection)] = to_file(concat(latents, 0));
  for (std::size_t i = 0; i < noise.size(); ++i)
    out.tensors[text("noise.", i)] = to_file(concat(noise[i], 0), layouts::image);
  write_safetensors(options.tensors, out);
  note(text(count, " images in ", options.tensors));
  return inputs.exit_code();
}

}  // namespace

Command encode_command() {
  auto o = std::make_shared<EncodeOptions>();
  return {"encode",
          "Encode images into latents and noise maps",
          {{"--model", "FILE", &o->model, "Checkpoint with an encoder, PyTorch's or ours", kRequired},
           {"IMAGES", "", &o->images, "PNG or JPEG files, or folders of them", kRequired},
           {"--tensors", "OUT", &o->tensors,
            "safetensors file to write: wplus [N,L,D] or z [N,D], and noise.i [N,1,h,w]", kRequired}},
          [o](const Common& common) { return encode(*o, common); }};
}

}  // namespace om
