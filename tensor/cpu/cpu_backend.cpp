// Memory and the description of the cpu backend; its kernels have their own files.
#include "tensor/cpu/cpu_backend.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/processor.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace om {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kCacheLine = 64;

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return "unknown processor";
}

}  // namespace

std::string CpuBackend::description() const {
  return text("cpu: ", processor_name(), ", ", threads(), threads() == 1 ? " thread, " : " threads, ",
              processor_level());
}

void* CpuBackend::allocate(std::size_t bytes) {
  // Fresh pages are cleared on their first touch; 2 MiB pages make that 512 times rarer for large blocks.
  const bool large = bytes >= 2 * kHugePage;
  const std::size_t alignment = large ? kHugePage : kCacheLine;
  if (bytes > SIZE_MAX - alignment) fail<OutOfMemory>("cpu: no memory for ", bytes, " bytes");
  const std::size_t rounded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  void* pointer = nullptr;
  if (posix_memalign(&pointer, alignment, rounded) != 0)
    fail<OutOfMemory>("cpu: no memory for ", bytes, " bytes");
#if defined(__linux__)
  if (large) madvise(pointer, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return pointer;
}

void CpuBackend::release(void* pointer) { std::free(pointer); }

void CpuBackend::copy_from_host(void* destination, const void* source, std::size_t bytes) {
  copy(destination, source, bytes);
}

void CpuBackend::copy_to_host(void* destination, const void* source, std::size_t bytes) {
  copy(destination, source, bytes);
}

void CpuBackend::copy(void* destination, const void* source, std::size_t bytes) {
  parallel_tiles(
      static_cast<std::int64_t>(bytes), std::int64_t{1} << 20, [&](std::int64_t begin, std::int64_t end) {
        std::memcpy(static_cast<std::byte*>(destination) + begin,
                    static_cast<const std::byte*>(source) + begin, static_cast<std::size_t>(end - begin));
      });
}

std::unique_ptr<Backend> make_cpu_backend() {
  require_processor();
  const int there = cpu::start_team(threads());
  if (there < threads()) set_threads(there);
  return std::make_unique<CpuBackend>();
}

}  // namespace om
