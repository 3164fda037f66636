#include "examples/http_head.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "tensor/error.h"

namespace om {
namespace {

using Headers = std::multimap<std::string, std::string>;  // names in small letters

bool is_token(std::string_view name) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           others.find(c) != std::string_view::npos;
  });
}

/// Printing characters without blanks.
bool is_plain(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Takes the text up to `end` and drops both; nothing is taken where it does not come.
bool take(std::string_view& text, std::string_view end, std::string_view& taken) {
  const std::size_t at = text.find(end);
  if (at == std::string_view::npos) return false;
  taken = text.substr(0, at);
  text.remove_prefix(at + end.size());
  return true;
}

struct Line {
  std::string_view method, target, version;
};

bool read(std::string_view head, Line& line, Headers& headers) {
  std::string_view first, rest = head;
  if (!take(rest, "\r\n", first)) return false;
  if (!take(first, " ", line.method) || !take(first, " ", line.target)) return false;
  line.version = first;
  if (line.version != "HTTP/1.1" && line.version != "HTTP/1.0") return false;
  if (!is_token(line.method) || !is_plain(line.target) || line.target.front() != '/') return false;
  std::string_view header, name;
  while (take(rest, "\r\n", header)) {
    if (header.empty()) return rest.empty();
    if (!take(header, ":", name) || !is_token(name)) return false;
    const std::string_view value = trimmed(header);
    if (std::any_of(value.begin(), value.end(),
                    [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }))
      return false;
    std::string key(name);
    for (char& c : key) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    headers.emplace(std::move(key), value);
  }
  return false;
}

/// The one value of a header; "" where there is none, nothing where there are several.
const std::string* only(const Headers& headers, const std::string& name) {
  static const std::string none;
  const auto [first, end] = headers.equal_range(name);
  if (first == end) return &none;
  return std::next(first) == end ? &first->second : nullptr;
}

bool is_own(std::string_view host, int port) {
  const std::string at = text(":", port);
  return host == "127.0.0.1" + at || host == "localhost" + at ||
         (port == 80 && (host == "127.0.0.1" || host == "localhost"));
}

bool is_page(std::string_view target) { return target == "/"; }

Refusal refuse_origin(const Line& line, const Headers& headers, int port) {
  const std::string* host = only(headers, "host");
  if (host == nullptr || !is_own(*host, port))
    return {403, text("this server answers to 127.0.0.1:", port, " and localhost:", port, " alone")};
  const std::string *origin = only(headers, "origin"), *site = only(headers, "sec-fetch-site"),
                    *mode = only(headers, "sec-fetch-mode");
  if (origin == nullptr || (!origin->empty() && *origin != "http://" + *host))
    return {403, "requests of other origins are not answered"};
  const bool opens_page =
      line.method == "GET" && is_page(line.target) && mode != nullptr && *mode == "navigate";
  const bool own_site = site != nullptr && (site->empty() || *site == "same-origin" || *site == "none");
  if (!own_site && !opens_page) return {403, "requests of other sites are not answered"};
  return {};
}

Refusal refuse_body(const Line& line, const Headers& headers, std::uint64_t& body) {
  if (headers.contains("transfer-encoding")) return {411, "a body needs its Content-Length"};
  if (headers.contains("content-encoding")) return {415, "coded bodies are not taken"};
  const std::string* length = only(headers, "content-length");
  const bool posts = line.method == "POST";
  if (length == nullptr) return {400, "one Content-Length is enough"};
  if (length->empty()) {
    if (posts) return {411, "a body needs its Content-Length"};
    return {};
  }
  const auto [end, error] = std::from_chars(length->data(), length->data() + length->size(), body);
  if (error != std::errc() || end != length->data() + length->size())
    return {400, "Content-Length is no number"};
  if (!posts) return body == 0 ? Refusal{} : Refusal{400, "only a POST has a body"};
  const bool uploads = line.target == kUploadPath;
  if (const std::size_t most = uploads ? kMaxUpload : kMaxQuestion; body > most)
    return {413, text("a body of ", body, " bytes; at most ", most, " are taken here")};
  const std::string* type = only(headers, "content-type");
  const std::string_view wanted = uploads ? "application/octet-stream" : "application/json";
  if (type == nullptr || *type != wanted) return {415, text("a body here is of type ", wanted)};
  return {};
}

}  // namespace

RequestHead judge(std::string_view head, int port) {
  Line line;
  Headers headers;
  if (!read(head, line, headers)) return {{400, "this is no HTTP request"}, "", 0};
  if (line.method != "GET" && line.method != "HEAD" && line.method != "POST")
    return {{405, "GET, HEAD and POST are answered"}, "", 0};
  if (line.target.size() > kMaxPath)
    return {{414, text("a path has at most ", kMaxPath, " characters here")}, "", 0};
  RequestHead judged;
  judged.refusal = refuse_origin(line, headers, port);
  if (judged.refusal.status == 0) judged.refusal = refuse_body(line, headers, judged.body);
  if (judged.refusal.status != 0) return {std::move(judged.refusal), "", 0};
  judged.text =
      text(line.method, " ", line.target, " ", line.version, "\r\nHost: ", *only(headers, "host"), "\r\n");
  if (line.method == "POST")
    judged.text +=
        text("Content-Type: ", *only(headers, "content-type"), "\r\nContent-Length: ", judged.body, "\r\n");
  judged.text += "\r\n";
  return judged;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 413: return "Payload Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Entity";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return "Status";
  }
}

}  // namespace om
