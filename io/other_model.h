// Models that are not the paper's: how a program that writes files of its own (examples/dncnn.cpp) has them
// known. The word stands in the file's metadata under "kind"; `onemodel info` prints what the row says of
// such a file, and every command that wants another model says in its refusal what it was given.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "io/state_dict.h"
#include "tensor/backend.h"

namespace om {

struct OtherModel {
  std::string_view word;    ///< "dncnn"
  std::string_view title;   ///< "DnCNN"
  std::string_view reader;  ///< the command that takes it: "onemodel dncnn --model"
  /// What this one holds, in a line: sizes, what it was trained for. InputError where it is broken.
  std::function<std::string(const Checkpoint& checkpoint, Backend& backend)> describe;
};

/// Adds a row for as long as the program runs; before main, as a static object's.
struct OtherModelRow {
  explicit OtherModelRow(OtherModel model);
};

/// The row of this file; null where it is of no such kind.
const OtherModel* other_model(const Checkpoint& checkpoint);

}  // namespace om
