#include "tests/fuzz/memory_meter.h"

#include <atomic>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define ONEMODEL_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONEMODEL_HAS_ASAN 1
#endif
#endif

#ifdef ONEMODEL_HAS_ASAN
#include <sanitizer/allocator_interface.h>
#endif

namespace om::fuzz {
namespace {

std::atomic<bool> measuring = false;
std::atomic<std::int64_t> held = 0, most = 0;

#ifdef ONEMODEL_HAS_ASAN
void on_malloc(const volatile void*, std::size_t size) {
  if (!measuring) return;
  const std::int64_t now = held += static_cast<std::int64_t>(size);
  if (now > most) most = now;
}

void on_free(const volatile void* block) {
  if (!measuring || block == nullptr) return;
  held -= static_cast<std::int64_t>(__sanitizer_get_allocated_size(block));
}

const bool installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) != 0;
#else
const bool installed = false;
#endif

}  // namespace

MemoryMeter::MemoryMeter() {
  held = most = 0;
  measuring = true;
}
MemoryMeter::~MemoryMeter() { measuring = false; }

bool MemoryMeter::works() { return installed; }
std::uint64_t MemoryMeter::peak() const { return static_cast<std::uint64_t>(most.load()); }

}  // namespace om::fuzz
