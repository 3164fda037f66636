#include "examples/web_files.h"

#include "tensor/error.h"

namespace om::web {

std::string fill(std::string_view page, const std::map<std::string, std::string_view>& texts) {
  std::string out;
  while (true) {
    const std::size_t place = page.find("{{"), end = page.find("}}", place);
    if (place == std::string_view::npos || end == std::string_view::npos) return out.append(page);
    const std::string name(page.substr(place + 2, end - place - 2));
    const auto text = texts.find(name);
    if (text == texts.end()) fail("page: no text for {{", name, "}}");
    out.append(page.substr(0, place)).append(text->second);
    page.remove_prefix(end + 2);
  }
}

}  // namespace om::web
