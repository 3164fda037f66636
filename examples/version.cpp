#include "examples/version.h"

#include <fmt/core.h>

#include <CLI/Version.hpp>

#include "examples/commit.h"  // made at every build: kVersion, kCommit
#include "examples/http_server.h"
#include "examples/web_files.h"
#include "io/libraries.h"
#include "tensor/error.h"
#include "tensor/registry.h"

namespace om {
namespace {

std::string compiler() {
#if defined(__clang__)
  return text("clang ", __clang_major__, ".", __clang_minor__, ".", __clang_patchlevel__);
#else
  return text("gcc ", __GNUC__, ".", __GNUC_MINOR__, ".", __GNUC_PATCHLEVEL__);
#endif
}

}  // namespace

std::string version_text() {
  std::string out =
      text("onemodel ", kVersion, "\ncommit ", kCommit, "\ncompiler ", compiler(), "\nbackends");
  for (const std::string& name : backend_names()) out += " " + name;
  out += "\n";
  for (const auto& [name, version] : library_versions()) out += name + " " + version + "\n";
  out += text("fmt ", FMT_VERSION / 10000, ".", FMT_VERSION / 100 % 100, ".", FMT_VERSION % 100, "\n");
  out += text("CLI11 ", CLI11_VERSION, "\ncpp-httplib ", http_library_version(), "\n");
  const std::string_view chart =
      web::chart_min_js.substr(0, web::chart_min_js.find("https"));  // its first comment
  const std::size_t name = chart.find("Chart.js v");
  if (name != std::string_view::npos)
    out +=
        text("Chart.js ", chart.substr(name + 10, chart.find_first_of(" \r\n", name + 10) - name - 10), "\n");
  return out;
}

}  // namespace om
