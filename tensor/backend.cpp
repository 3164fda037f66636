#include "tensor/backend.h"

#include <new>
#include <vector>

namespace om {
namespace {

class FinishedRead final : public PendingRead {
 public:
  explicit FinishedRead(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  bool arrived() override { return true; }
  std::span<const std::byte> wait() override { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

std::unique_ptr<PendingRead> Backend::read_later(const void* source, std::size_t bytes) {
  std::vector<std::byte> copied(bytes);
  copy_to_host(copied.data(), source, bytes);
  return std::make_unique<FinishedRead>(std::move(copied));
}

void* Backend::allocate_pinned(std::size_t bytes) { return ::operator new (bytes, std::align_val_t{64}); }
void Backend::release_pinned(void* pointer) { ::operator delete (pointer, std::align_val_t{64}); }

}  // namespace om
