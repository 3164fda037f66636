#include "tensor/opencl/programs.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <sstream>
#include <vector>

#include "tensor/cache_folder.h"
#include "tensor/error.h"

namespace om::opencl {
namespace {

/// FNV-1a (Fowler, Noll, Vo): names and checksums of cached files, not for security.
std::uint64_t hash_of(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

constexpr std::string_view kTitle = "onemodel OpenCL program 1\n";

/// Title, checksum, binary.
std::vector<unsigned char> read_binary(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t head = kTitle.size() + sizeof(std::uint64_t);
  if (bytes.size() <= head || !bytes.starts_with(kTitle)) return {};
  std::uint64_t sum = 0;
  std::memcpy(&sum, bytes.data() + kTitle.size(), sizeof sum);
  const std::string_view binary = std::string_view(bytes).substr(head);
  if (hash_of(binary) != sum) return {};
  return {binary.begin(), binary.end()};
}

void keep_binary(const std::string& path, cl_program program) {
  std::size_t size = 0;
  if (api().get_program_info(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, nullptr) != CL_SUCCESS ||
      size == 0)
    return;
  std::string binary(size, '\0');
  auto* data = reinterpret_cast<unsigned char*>(binary.data());
  if (api().get_program_info(program, CL_PROGRAM_BINARIES, sizeof data, &data, nullptr) != CL_SUCCESS) return;
  const std::uint64_t sum = hash_of(binary);
  std::string bytes(kTitle);
  bytes.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  replace_cached(path, bytes + binary);
}

std::string definitions_of(const ProgramTarget& target, const std::string& type) {
  return "#define T_" + type + (target.f64 ? "\n#define HAS_F64\n" : "\n");
}

constexpr const char* kOptions = "-cl-std=CL1.2";

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

std::string program_file(const ProgramTarget& target, const std::string& name, const std::string& type) {
  const std::string folder = cache_folder();
  if (folder.empty()) return {};
  const std::string all = target.identity + '\n' + kOptions + '\n' + definitions_of(target, type) +
                          source_named("common") + source_named(name);
  std::ostringstream path;
  path << folder << "/opencl-" << name << '-' << type << '-' << std::hex << std::setw(16) << std::setfill('0')
       << hash_of(all) << ".bin";
  return path.str();
}

cl_program make_program(const ProgramTarget& target, const std::string& name, const std::string& type) {
  const Api& cl = api();
  const std::string path = program_file(target, name, type);
  cl_int status = CL_SUCCESS;
  if (const std::vector<unsigned char> binary = read_binary(path); !binary.empty()) {
    const unsigned char* data = binary.data();
    const std::size_t size = binary.size();
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
  if (!path.empty()) keep_binary(path, program);
  return program;
}

}  // namespace om::opencl
