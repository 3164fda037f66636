#include "tensor/registry.h"

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace om {

std::unique_ptr<Backend> make_reference_backend();  // tensor/reference
std::unique_ptr<Backend> make_cpu_backend();        // tensor/cpu
#ifdef ONEMODEL_HAS_CUDA
std::unique_ptr<Backend> make_cuda_backend();  // tensor/cuda
#endif
#ifdef ONEMODEL_HAS_OPENCL
std::unique_ptr<Backend> make_opencl_backend();  // tensor/opencl
#endif

namespace {

using Maker = std::function<std::unique_ptr<Backend>()>;

const std::map<std::string, Maker, std::less<>>& makers() {
  static const std::map<std::string, Maker, std::less<>> table = {
      {"reference", make_reference_backend},
      {"cpu", make_cpu_backend},
#ifdef ONEMODEL_HAS_CUDA
      {"cuda", make_cuda_backend},
#endif
#ifdef ONEMODEL_HAS_OPENCL
      {"opencl", make_opencl_backend},
#endif
  };
  return table;
}

std::atomic<int> thread_count{0}, device_number{0};

std::mutex plan_folder_mutex;
std::string& plan_folder_value() {
  static std::string folder;
  return folder;
}

int available_processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

}  // namespace

std::unique_ptr<Backend> make_backend(std::string_view name) {
  const auto maker = makers().find(name);
  if (maker == makers().end()) {
    std::string known;
    for (const auto& [other, make] : makers()) known += (known.empty() ? "" : ", ") + other;
    fail<UsageError>("unknown backend '", name, "'; this program has: ", known);
  }
  return maker->second();
}

Backend& backend(std::string_view name) {
  static std::mutex mutex;
  // Never destroyed: tensors with static lifetime may outlive any order of destruction.
  static auto& made = *new std::map<std::string, std::unique_ptr<Backend>, std::less<>>;
  const std::lock_guard lock(mutex);
  if (const auto found = made.find(name); found != made.end()) return *found->second;
  return *made.emplace(std::string(name), make_backend(name)).first->second;
}

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : makers()) names.push_back(name);
  return names;
}

void set_threads(int threads) { thread_count = threads; }

int threads() {
  static const int available = available_processors();  // a system call, and kernels ask at every turn
  const int wanted = thread_count;
  return wanted > 0 ? wanted : available;
}

void set_device(int device) { device_number = device; }
int device() { return device_number; }

void set_plan_folder(std::string folder) {
  const std::lock_guard lock(plan_folder_mutex);
  plan_folder_value() = std::move(folder);
}

std::string plan_folder() {
  const std::lock_guard lock(plan_folder_mutex);
  return plan_folder_value();
}

}  // namespace om
