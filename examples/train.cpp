#include "examples/common.h"
namespace om {
Command train_command() {
  return {"train", "", {}, [](const Common&) { return 0; }};
}
}  // namespace om
