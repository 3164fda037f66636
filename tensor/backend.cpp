#include "tensor/backend.h"

#include <new>

namespace om {

void* Backend::allocate_pinned(std::size_t bytes) { return ::operator new (bytes, std::align_val_t{64}); }
void Backend::release_pinned(void* pointer) { ::operator delete (pointer, std::align_val_t{64}); }

}  // namespace om
