#include "io/libraries.h"

#include <png.h>
#include <webp/decode.h>
#include <zip.h>
#include <zlib.h>

#include <cstdio>  // jpeglib.h needs it first

#include <jpeglib.h>

#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace om {
namespace {

#ifdef LIBJPEG_TURBO_VERSION
// The macro holds bare words, 2.1.5.
#define OM_QUOTED_ONCE(x) #x
#define OM_QUOTED(x) OM_QUOTED_ONCE(x)
constexpr const char* kJpeg = OM_QUOTED(LIBJPEG_TURBO_VERSION);
#undef OM_QUOTED
#undef OM_QUOTED_ONCE
#else
constexpr const char* kJpeg = "of another make";
#endif

}  // namespace

std::vector<std::pair<std::string, std::string>> library_versions() {
  const int webp = WebPGetDecoderVersion();
  return {{"libpng", png_get_libpng_ver(nullptr)},
          {"libjpeg-turbo", kJpeg},
          {"libwebp", text(webp >> 16, ".", webp >> 8 & 255, ".", webp & 255)},
          {"libzip", zip_libzip_version()},
          {"zlib", zlibVersion()},
          {"nlohmann-json", text(NLOHMANN_JSON_VERSION_MAJOR, ".", NLOHMANN_JSON_VERSION_MINOR, ".",
                                 NLOHMANN_JSON_VERSION_PATCH)}};
}

}  // namespace om
