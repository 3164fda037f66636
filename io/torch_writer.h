// Writing torch.save's zip format, as torch.load(weights_only=True) reads it.
//
//   NAME/data.pkl   the pickle, protocol 2: a dict whose tensors are calls of torch._utils._rebuild_tensor_v2
//   on
//                   persistent ids ("storage", torch.FloatStorage, KEY, "cpu", count)
//   NAME/data/KEY   one storage each, little-endian
//   NAME/byteorder, NAME/version
//
// Types that have no storage class of their own (u16, f8_e4m3, ..) go through _rebuild_tensor_v3, whose
// storage is untyped and whose seventh argument is the dtype, as torch writes them since 2.3. Source:
// torch/serialization.py and torch/_tensor.py (__reduce_ex__) describe the format by what they do.
#pragma once

#include <map>
#include <string>

#include "io/file_tensor.h"

namespace om {

using TensorDict = std::map<std::string, FileTensor>;

/// Writes {"GROUP": OrderedDict(name -> tensor), ..} with the tensors of the group "" beside the groups.
/// Atomic; equal content gives equal bytes. Error where a group and a tensor beside it share a name.
void write_torch(const std::string& path, const std::map<std::string, TensorDict>& groups);

}  // namespace om
