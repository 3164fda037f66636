// clblast_peer: CLBlast's GEMM beside the opencl backend's matmul, on the same device in one process, in
// turns; and the largest difference between the two. Built where CLBlast is installed (libclblast-dev), which
// nothing else needs.
#define CL_TARGET_OPENCL_VERSION 200
#include <CL/cl.h>
#include <clblast_c.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "clblast_peer: %s failed\n", what);
  std::exit(1);
}

/// The device that the backend took: the one whose name its description holds.
cl_device_id device_named_in(const std::string& description) {
  cl_uint platforms = 0;
  clGetPlatformIDs(0, nullptr, &platforms);
  std::vector<cl_platform_id> ids(platforms);
  clGetPlatformIDs(platforms, ids.data(), nullptr);
  for (cl_platform_id platform : ids) {
    char name[256] = {};
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, nullptr);
    cl_device_id device = nullptr;
    if (description.starts_with(name) &&
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, nullptr) == CL_SUCCESS)
      return device;
  }
  return nullptr;
}

}  // namespace

int main() {
  om::Backend& ours = om::backend("opencl");
  cl_device_id device = device_named_in(ours.description());
  require(device != nullptr, "finding the backend's device");
  cl_context context = clCreateContext(nullptr, 1, &device, nullptr, nullptr, nullptr);
  cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, nullptr, nullptr);
  std::printf("%s\n%-20s %12s %12s %8s %12s %14s\n", ours.description().c_str(), "m x n x k", "CLBlast ms",
              "ours ms", "ratio", "difference", "first call s");
  for (const auto& [m, n, k] : {std::array<std::size_t, 3>{512, 512, 512},
                                {1024, 1024, 1024},
                                {2048, 2048, 2048},
                                {4096, 512, 512},
                                {4, 512, 512}}) {
    std::vector<float> a(m * k), b(k * n), theirs(m * n);
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 104729 % 1000) / 500 - 1;
    const auto buffer = [&](const std::vector<float>& numbers) {
      return clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, numbers.size() * sizeof(float),
                            const_cast<float*>(numbers.data()), nullptr);
    };
    cl_mem a_there = buffer(a), b_there = buffer(b), y_there = buffer(theirs);
    const auto shape = [](std::size_t rows, std::size_t columns) {
      return om::Shape{1, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)};
    };
    const om::Tensor a_here = om::Tensor::from_host(a, shape(m, k), ours),
                     b_here = om::Tensor::from_host(b, shape(k, n), ours);
    const om::Tensor y_here = om::Tensor::empty(shape(m, n), om::DType::f32, ours);
    const auto peer = [&] {
      require(CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, m, n, k, 1, a_there,
                           0, k, b_there, 0, n, 0, y_there, 0, n, &queue, nullptr) == CLBlastSuccess,
              "CLBlastSgemm");
      clFinish(queue);
    };
    const auto own = [&] {
      ours.matmul(a_here.in(), b_here.in(), y_here.out(), {});
      ours.synchronize();
    };
    const auto first = Clock::now();
    peer();
    const double first_call = seconds_since(first);
    own();
    double best_peer = 1e9, best_own = 1e9;
    for (int turn = 0; turn < 15; ++turn) {
      auto start = Clock::now();
      peer();
      best_peer = std::min(best_peer, seconds_since(start));
      start = Clock::now();
      own();
      best_own = std::min(best_own, seconds_since(start));
    }
    clEnqueueReadBuffer(queue, y_there, CL_TRUE, 0, theirs.size() * sizeof(float), theirs.data(), 0, nullptr,
                        nullptr);
    const std::vector<float> own_result = y_here.to_host<float>();
    double difference = 0, largest = 0;
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      difference = std::max(difference, static_cast<double>(std::abs(theirs[i] - own_result[i])));
      largest = std::max(largest, static_cast<double>(std::abs(theirs[i])));
    }
    const std::string sizes = om::text(m, " x ", n, " x ", k);
    std::printf("%-20s %12.2f %12.2f %8.2f %12.1e %14.1f\n", sizes.c_str(), 1e3 * best_peer, 1e3 * best_own,
                best_peer / best_own, difference / largest, first_call);
    for (cl_mem memory : {a_there, b_there, y_there}) clReleaseMemObject(memory);
  }
  return 0;
}
