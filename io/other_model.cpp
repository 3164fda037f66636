#include "io/other_model.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace om {
namespace {

std::vector<OtherModel>& rows() {
  static std::vector<OtherModel> all;
  return all;
}

}  // namespace

OtherModelRow::OtherModelRow(OtherModel model) { rows().push_back(std::move(model)); }

const OtherModel* other_model(const Checkpoint& checkpoint) {
  const auto kind = checkpoint.metadata.find("kind");
  if (kind == checkpoint.metadata.end()) return nullptr;
  const auto found = std::find_if(rows().begin(), rows().end(),
                                  [&](const OtherModel& model) { return model.word == kind->second; });
  return found == rows().end() ? nullptr : &*found;
}

}  // namespace om
