// Gloo (https://github.com/facebookincubator/gloo) as a Communicator: all-reduce in a ring over TCP, between
// processors, or for a device without an engine of its own through host memory.
#pragma once

#include <memory>

#include "tensor/communicator.h"

namespace om::ranks {

/// Error where this program was built without Gloo.
std::unique_ptr<Communicator> make_gloo(Backend& backend, Member& member);

}  // namespace om::ranks
