// The Inception weights of pytorch-fid, from its published file or any that holds them.
#pragma once

#include <memory>
#include <string>

#include "models/inception.h"

namespace om {

/// Where the published weights lie, for messages.
inline constexpr const char* kInceptionSource =
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth";

/// Found under any prefix. InputError `FILE: reason` where the file holds none or they do not fit.
std::unique_ptr<Inception> load_inception(const std::string& path, Backend& backend);

}  // namespace om
