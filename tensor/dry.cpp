#include "tensor/dry.h"

#include <sys/mman.h>

#include "tensor/error.h"
#include "tensor/idle.h"

namespace om {

AddressSpace::~AddressSpace() {
  while (!taken_.empty()) give_back(taken_.begin()->first);
}

void* AddressSpace::take(std::size_t bytes) {
  void* pointer =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pointer == MAP_FAILED) fail<OutOfMemory>("dry run: no addresses for ", bytes, " bytes");
  taken_.emplace(pointer, bytes);
  return pointer;
}

void AddressSpace::give_back(void* pointer) {
  const auto found = taken_.find(pointer);
  munmap(pointer, found->second);
  taken_.erase(found);
}

std::unique_ptr<Backend> dry_backend(Backend& like) {
  if (auto* form = like.extension<DryForm>()) return form->dry_form();
  if (like.extension<ConvActivationKernels>() != nullptr)
    return std::make_unique<DryConvActivation<IdleConvActivationBackend>>(like);
  if (like.extension<ChannelKernels>() != nullptr) return std::make_unique<DryFused<IdleFusedBackend>>(like);
  return std::make_unique<Dry<IdleBackend>>(like);
}

}  // namespace om
