#include "examples/batches.h"

#include "tensor/error.h"

namespace om {

Option batch_option(std::optional<std::int64_t>* batch) {
  return {"--batch", "N", batch,
          "Images computed together; the same for all, so it may show in last digits (default: 1 on the CPU, "
          "32 or what fits on a card)"};
}

void check_batch(const std::string& command, const std::optional<std::int64_t>& batch) {
  if (batch && (*batch < 1 || *batch > kMaxBatch))
    fail<UsageError>(command, ": --batch must lie between 1 and ", kMaxBatch, ", got ", *batch);
}

}  // namespace om
