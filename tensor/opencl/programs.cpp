#include "tensor/opencl/programs.h"

#include <algorithm>
#include <cstring>

#include "tensor/cache_folder.h"
#include "tensor/error.h"

namespace om::opencl {
namespace {

void keep_binary(const std::string& path, const std::string& name, cl_program program) {
  std::size_t size = 0;
  if (api().get_program_info(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, nullptr) != CL_SUCCESS ||
      size == 0)
    return;
  std::string binary(size, '\0');
  auto* data = reinterpret_cast<unsigned char*>(binary.data());
  if (api().get_program_info(program, CL_PROGRAM_BINARIES, sizeof data, &data, nullptr) == CL_SUCCESS)
    keep_cached(path, name, binary);
}

std::string definitions_of(const ProgramTarget& target, const std::string& type) {
  return "#define T_" + type + (target.f64 ? "\n#define HAS_F64\n" : "\n");
}

constexpr const char* kOptions = "-cl-std=CL1.2";

/// Where a program is kept, by a name made of everything it depends on; no path without a cache folder.
struct Kept {
  std::string path, name;
};

Kept kept_as(const ProgramTarget& target, const std::string& name, const std::string& type) {
  const std::string folder = cache_folder();
  if (folder.empty()) return {};
  const std::string hash =
      cache_hash(target.identity + '\n' + kOptions + '\n' + definitions_of(target, type) +
                 source_named("common") + source_named(name));
  const std::string whole = "opencl-" + name + '-' + type + '-' + hash;
  return {folder + '/' + whole + ".bin", whole};
}

/// The compiler's words in one line.
std::string build_log(const ProgramTarget& target, cl_program program) {
  std::size_t size = 0;
  api().get_build_info(program, target.device, CL_PROGRAM_BUILD_LOG, 0, nullptr, &size);
  std::string log(size, '\0');
  api().get_build_info(program, target.device, CL_PROGRAM_BUILD_LOG, size, log.data(), nullptr);
  log.resize(std::min<std::size_t>(std::strlen(log.c_str()), 600));
  for (char& c : log)
    if (c == '\n') c = ' ';
  return log;
}

}  // namespace

cl_program make_program(const ProgramTarget& target, const std::string& name, const std::string& type) {
  const Api& cl = api();
  const Kept kept = kept_as(target, name, type);
  cl_int status = CL_SUCCESS;
  if (const auto binary = read_cached(kept.path, kept.name)) {
    const auto* data = reinterpret_cast<const unsigned char*>(binary->data());
    const std::size_t size = binary->size();
    cl_program program =
        cl.create_program_from_binary(target.context, 1, &target.device, &size, &data, nullptr, &status);
    if (status == CL_SUCCESS &&
        cl.build_program(program, 1, &target.device, kOptions, nullptr, nullptr) == CL_SUCCESS)
      return program;
    if (program != nullptr) cl.release_program(program);
  }
  const std::string definitions = definitions_of(target, type);
  const char* texts[] = {definitions.c_str(), source_named("common"), source_named(name)};
  cl_program program = cl.create_program_from_source(target.context, 3, texts, nullptr, &status);
  check(status, "clCreateProgramWithSource");
  status = cl.build_program(program, 1, &target.device, kOptions, nullptr, nullptr);
  if (status != CL_SUCCESS) {
    const std::string log = build_log(target, program);
    cl.release_program(program);
    fail("opencl: ", name, ".cl for ", type, " does not compile (", name_of_status(status), "): ", log);
  }
  if (!kept.path.empty()) keep_binary(kept.path, kept.name, program);
  return program;
}

}  // namespace om::opencl
