#include "tests/memory/failing_malloc.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

// glibc's own, under the names it keeps for this.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

std::atomic<bool> armed{false}, aligned_alone{false};
std::atomic<std::int64_t> counted{0}, fail_at{0}, most_threads{-1}, running_threads{0};
std::atomic<int> mode{kFailOnce};

/// Whether this request is to be refused.
bool refused(bool aligned) {
  if (!armed.load(std::memory_order_relaxed) || (aligned_alone && !aligned)) return false;
  const std::int64_t n = ++counted;
  if (fail_at < 1 || (mode == kFailOnce ? n != fail_at : n < fail_at)) return false;
  errno = ENOMEM;
  return mode != kMetElsewhere;
}

std::int64_t number(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::atoll(value);
}

void arm_by_environment() {
  if (std::getenv("ONEMODEL_FAIL_AT") != nullptr)
    failing_malloc_arm(number("ONEMODEL_FAIL_AT"),
                       static_cast<FailingMallocMode>(number("ONEMODEL_FAIL_MODE")), false);
}

__attribute__((constructor)) void start() {
  if (std::getenv("ONEMODEL_MOST_THREADS") != nullptr) limit_threads(number("ONEMODEL_MOST_THREADS"));
#ifndef ONEMODEL_ARM_AT_MAIN
  arm_by_environment();
#endif
}

__attribute__((destructor)) void finish() {
  const char* file = std::getenv("ONEMODEL_FAIL_COUNT");
  if (file == nullptr) return;
  const std::int64_t count = failing_malloc_disarm();
  const int descriptor = ::open(file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  char text[32];
  const int length = std::snprintf(text, sizeof text, "%lld\n", static_cast<long long>(count));
  (void)!::write(descriptor, text, static_cast<std::size_t>(length));
  ::close(descriptor);
}

struct Start {
  void* (*body)(void*);
  void* argument;
};

#ifdef ONEMODEL_ARM_AT_MAIN
using Main = int (*)(int, char**, char**);
Main program_main = nullptr;

int armed_main(int argc, char** argv, char** environment) {
  arm_by_environment();
  return program_main(argc, argv, environment);
}
#endif

void* run_counted(void* given) {
  const Start start = *static_cast<Start*>(given);
  std::free(given);
  void* result = start.body(start.argument);
  --running_threads;
  return result;
}

}  // namespace

extern "C" {

#ifdef ONEMODEL_ARM_AT_MAIN
int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(), void (*rtld_fini)(),
                      void* stack_end) {
  using StartMain = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  const auto start_main = reinterpret_cast<StartMain>(dlsym(RTLD_NEXT, "__libc_start_main"));
  program_main = main;
  return start_main(armed_main, argc, argv, init, fini, rtld_fini, stack_end);
}
#endif

void failing_malloc_arm(std::int64_t n, FailingMallocMode new_mode, bool aligned) {
  fail_at = n;
  mode = new_mode;
  aligned_alone = aligned;
  counted = 0;
  armed = true;
}

std::int64_t failing_malloc_disarm() {
  armed = false;
  return counted;
}

void limit_threads(std::int64_t most) { most_threads = most; }

void* malloc(std::size_t size) noexcept { return refused(false) ? nullptr : __libc_malloc(size); }

void* calloc(std::size_t count, std::size_t size) noexcept {
  return refused(false) ? nullptr : __libc_calloc(count, size);
}

void* realloc(void* old, std::size_t size) noexcept {
  return refused(false) ? nullptr : __libc_realloc(old, size);
}

int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  if (refused(true)) return ENOMEM;
  void* block = __libc_memalign(alignment, size);
  if (block == nullptr) return ENOMEM;
  *out = block;
  return 0;
}

void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return refused(true) ? nullptr : __libc_memalign(alignment, size);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                   void* argument) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (most_threads >= 0 && running_threads >= most_threads) return EAGAIN;
  auto* start = static_cast<Start*>(__libc_malloc(sizeof(Start)));
  *start = {body, argument};
  ++running_threads;
  const int error = create(thread, attributes, run_counted, start);
  if (error != 0) --running_threads;
  return error;
}
}
