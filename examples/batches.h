// Pictures that a command line names, taken through a network in batches.
#pragma once

#include <optional>

#include "examples/command.h"
#include "examples/common.h"
#include "examples/inputs.h"
#include "train/picture_flow.h"

namespace om {

/// `--batch N`.
Option batch_option(std::optional<std::int64_t>* batch);

/// UsageError where it is out of range.
void check_batch(const std::string& command, const std::optional<std::int64_t>& batch);

/// Takes every image of `inputs` through `inference`; says which cannot be read, and how far it is.
template <class Picture>
void run_flow(ImageInputs& inputs, Inference& inference, FlowSteps<Picture> steps) {
  const std::vector<std::string> names = inputs.files();
  Pace pace(names.size());
  steps.check = stop_if_interrupted;
  steps.read = [&](std::size_t, const std::string* why) { inputs.tell(why); };
  steps.done = [&, done = std::move(steps.done)](Picture& picture) {
    done(picture);
    pace.step();
  };
  run_flow({names.begin(), names.end()}, inference, steps, flow_threads(inference.backend()));
}

}  // namespace om
