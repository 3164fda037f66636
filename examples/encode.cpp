// onemodel encode: images become the generator's inputs, latents and noise maps.
#include <memory>

#include "examples/batches.h"
#include "examples/common.h"
#include "examples/models.h"
#include "io/model_file.h"
#include "io/same_file.h"
#include "train/codes.h"

namespace om {
namespace {

struct EncodeOptions {
  std::string model, tensors;
  std::vector<std::string> images;
  std::optional<std::int64_t> batch;
  bool recursive = false;
};

/// The shape of a picture's share of a tensor [N, ..].
Shape of_one(Shape shape) {
  shape[0] = 1;
  return shape;
}

int encode(const EncodeOptions& options, const Common& common) {
  check_batch("encode", options.batch);
  ImageInputs inputs(options.images, options.recursive);
  refuse_overwriting(options.tensors, inputs.files_and({options.model}));
  const Session session(common);
  Backend& backend = session.backend();
  const Model model = load_model(read_checkpoint(options.model), backend, saying_so());
  if (!model.encoder) fail<InputError>(options.model, ": holds no encoder");
  const Encoder& encoder = *model.encoder;
  const std::int64_t size = encoder.config().size();
  const std::int64_t batch = options.batch.value_or(default_batch(backend, largest_map_bytes(encoder)));
  expect_writable(options.tensors);
  catch_interrupts();

  // A code is kept on the host, in the tensors that its parts are one picture's share of.
  std::vector<Code> codes;
  std::vector<Shape> shapes;
  const bool with_latent = encoder.config().latent_heads;
  Inference::Work work;
  work.forward = [&](const Inference::Inputs& in) {
    Code code = encoder(in.images);
    if (model.noise_encoder) code.noise = (*model.noise_encoder)(in.images).noise;
    if (with_latent) code.noise.insert(code.noise.begin(), code.latent);
    shapes.clear();
    for (const Tensor& part : code.noise) shapes.push_back(of_one(part.shape()));
    return code.noise;
  };
  Inference inference(size, batch, std::move(work), backend);
  struct Encoded : FlowPicture {
    std::vector<std::vector<float>> parts;
  };
  FlowSteps<Encoded> steps;
  steps.prepare = [size](const Image& image) { return resized_pair(image, size); };
  steps.finish = [&](Encoded& picture, const FlowOutputs& outputs) {
    for (std::size_t k = 0; k < shapes.size(); ++k)
      picture.parts.emplace_back(outputs[k].begin(), outputs[k].end());
  };
  steps.done = [&](Encoded& picture) {
    Code& code = codes.emplace_back();
    for (std::size_t k = 0; k < shapes.size(); ++k) {
      Tensor part = Tensor::from_host(picture.parts[k], shapes[k], om::backend("cpu"));
      with_latent&& k == 0 ? void(code.latent = std::move(part)) : code.noise.push_back(std::move(part));
    }
  };
  run_flow(inputs, inference, steps);
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
       batch_option(&o->batch),
       {"--tensors", "OUT", &o->tensors,
        "file to write (.safetensors or .npz): wplus [N,L,D] or z [N,D], and noise.i [N,1,h,w]", kRequired}},
      [o](const Common& common) { return encode(*o, common); },
      "section 3.1: the encoder's side of the autoencoder"};
}

const Subcommand here(encode_command);

}  // namespace
}  // namespace om
