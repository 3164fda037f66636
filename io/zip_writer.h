// Writing zip archives, through libzip: what numpy's .npz and torch.save's files are made of.
//
// Entries are stored without compression, in the order given, with a fixed time, so that equal content gives
// equal bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace om {

struct ZipMember {
  std::string name;
  std::vector<std::byte> bytes;
};

/// A whole archive in memory. Error where two members share a name.
std::vector<std::byte> make_zip(std::span<const ZipMember> members);

}  // namespace om
