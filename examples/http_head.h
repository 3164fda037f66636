// The first look at a request, before any library sees it: what a page on this machine asks of its own
// server, and nothing else. Only headers that are understood here go on.
//
// Refused are: another Host (a name that someone points at 127.0.0.1, DNS rebinding), requests that pages of
// other origins make (Origin, Sec-Fetch-Site: https://www.w3.org/TR/fetch-metadata/), bodies whose length is
// not said or too large, coded or of another type than the page sends, methods, paths and headers beyond what
// the page uses. Each with a status and one line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace om {

/// Bytes: of a head, of a path, of a posted picture, of any other body.
inline constexpr std::size_t kMaxHead = 16 << 10, kMaxPath = 200, kMaxUpload = std::size_t{64} << 20,
                             kMaxQuestion = 64 << 10;
/// The one path that takes pictures.
inline constexpr std::string_view kUploadPath = "/api/pictures";

struct Refusal {
  int status = 0;  ///< 0: none
  std::string line;
};

struct RequestHead {
  Refusal refusal;
  std::string text;        ///< what goes on, with its empty line
  std::uint64_t body = 0;  ///< bytes that follow
};

/// Judges a head that ends with its empty line; `port` is the server's.
RequestHead judge(std::string_view head, int port);

/// "Bad Request" for 400, and so on, for the statuses that are used here.
std::string_view reason_of(int status);

}  // namespace om
