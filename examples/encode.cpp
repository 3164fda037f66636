// onemodel encode: images become the generator's inputs, latents and noise maps.
#include <memory>

#include "autograd/grad.h"
#include "examples/common.h"
#include "examples/inputs.h"
#include "examples/models.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "io/same_file.h"
#include "train/codes.h"
#include "train/evaluate.h"

namespace om {
namespace {

struct EncodeOptions {
  std::string model, tensors;
  std::vector<std::string> images;
  bool recursive = false;
};

int encode(const EncodeOptions& options, const Common& common) {
  ImageInputs inputs(options.images, options.recursive);
  refuse_overwriting(options.tensors, inputs.files_and({options.model}));
  const Session session(common);
  Backend& backend = session.backend();
  const Model model = load_model(read_checkpoint(options.model), backend, saying_so());
  if (!model.encoder) fail<InputError>(options.model, ": holds no encoder");
  const Encoder& encoder = *model.encoder;
  const std::int64_t size = encoder.config().size();
  expect_writable(options.tensors);
  catch_interrupts();

  const NoGrad no_grad;
  std::vector<Code> codes;
  Pace pace(inputs.files().size());
  while (const auto item = inputs.next()) {
    const Image image = resize_bilinear(item->image, static_cast<int>(size), static_cast<int>(size));
    const Tensor pixels = to_tensor(image.pixels, 1, size, backend);
    codes.push_back(encoder(pixels));
    if (model.noise_encoder) codes.back().noise = (*model.noise_encoder)(pixels).noise;
    pace.step();
  }
  if (codes.empty()) return inputs.exit_code();

  write_codes(options.tensors, codes, encoder.config().projection);
  note(text(codes.size(), " images in ", options.tensors));
  return inputs.exit_code();
}

Command encode_command() {
  auto o = std::make_shared<EncodeOptions>();
  return {
      "encode",
      "Encode images into latents and noise maps",
      {{"--model", "FILE", &o->model, "Checkpoint with an encoder, PyTorch's or ours", kRequired},
       {"IMAGES", "", &o->images, kImagesHelp, kRequired},
       {"--recursive", "", &o->recursive, kRecursiveHelp},
       {"--tensors", "OUT", &o->tensors,
        "file to write (.safetensors or .npz): wplus [N,L,D] or z [N,D], and noise.i [N,1,h,w]", kRequired}},
      [o](const Common& common) { return encode(*o, common); },
      "section 3.1: the encoder's side of the autoencoder"};
}

const Subcommand here(encode_command);

}  // namespace
}  // namespace om
