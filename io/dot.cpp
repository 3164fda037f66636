#include "io/dot.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string_view>

#include "io/atomic_file.h"
#include "io/bytes.h"
#include "io/markup.h"
#include "tensor/error.h"

extern char** environ;

namespace om {
namespace {

/// Groups as they stand in one another.
struct Group {
  std::vector<std::string> order;  // of the groups inside
  std::map<std::string, Group> groups;
  std::vector<std::size_t> boxes;
};

void write(const Group& group, const DotGraph& graph, const std::string& indent, int& number,
           std::string& out) {
  for (const std::size_t i : group.boxes) {
    out += text(indent, "n", i, " [label=<");
    const std::vector<std::string>& lines = graph.boxes[i].lines;
    for (std::size_t k = 0; k < lines.size(); ++k)
      out += k == 0 ? "<B>" + in_markup(lines[k]) + "</B>" : "<BR/>" + in_markup(lines[k]);
    out += ">];\n";
  }
  for (const std::string& name : group.order) {
    out += text(indent, "subgraph cluster_", number++, " {\n", indent, "  label=<", in_markup(name), ">;\n");
    write(group.groups.at(name), graph, indent + "  ", number, out);
    out += indent + "}\n";
  }
}

/// A model's graph is some seven thousand pixels wide, and empty in its corner: a browser that opens the file
/// shows all of it, at a click (or Enter) that place in full size, and at the next all of it again.
constexpr std::string_view kZoom = R"(<script><![CDATA[
"use strict";
const root = document.documentElement, full = ["width", "height"].map((name) => [name, root.getAttribute(name)]);
let all = false;
function turn(x, y) {
  const place = new DOMPoint(x, y).matrixTransform(root.getScreenCTM().inverse());
  all = !all;
  for (const [name, value] of full) root.setAttribute(name, all ? "100%" : value);
  root.style.cursor = all ? "zoom-in" : "zoom-out";
  const now = place.matrixTransform(root.getScreenCTM());
  window.scrollBy(now.x - window.innerWidth / 2, now.y - window.innerHeight / 2);
}
turn(0, 0);
root.addEventListener("click", (event) => turn(event.clientX, event.clientY));
window.addEventListener("keydown", (event) => {
  if (event.key === "Enter") turn(window.innerWidth / 2, window.innerHeight / 2);
});
]]></script>
)";

/// What `dot` writes to `output`; why there is nothing, in a line.
std::string run_dot(const std::string& input, const std::string& output) {
  std::array<std::string, 5> words = {"dot", "-Tsvg", "-o", output, input};
  std::array<char*, 6> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", 1, 0);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, "dot", &quiet, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&quiet);
  if (error == ENOENT) return "Graphviz's program `dot` is not installed; a .dot file needs none";
  if (error != 0) return std::string("cannot run `dot`: ") + std::strerror(error);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return "Graphviz's program `dot` is not installed; a .dot file needs none";
  return status == 0 ? "" : "Graphviz's program `dot` failed";
}

}  // namespace

std::string dot_text(const DotGraph& graph) {
  Group all;
  for (std::size_t i = 0; i < graph.boxes.size(); ++i) {
    Group* place = &all;
    for (const std::string& name : graph.boxes[i].groups) {
      if (!place->groups.contains(name)) place->order.push_back(name);
      place = &place->groups[name];
    }
    place->boxes.push_back(i);
  }
  std::string out =
      "digraph onemodel {\n  label=<" + in_markup(graph.title) +
      ">;\n  labelloc=t;\n  fontname=\"sans-serif\";\n"
      "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\", fontsize=10];\n"
      "  edge [color=gray30];\n";
  int number = 0;
  write(all, graph, "  ", number, out);
  for (const auto& [from, to] : graph.edges) out += text("  n", from, " -> n", to, ";\n");
  return out + "}\n";
}

void expect_graph_ending(const std::string& path) {
  if (!path.ends_with(".dot") && !path.ends_with(".svg"))
    fail<UsageError>(path, ": a graph is written as .dot or .svg");
}

void write_graph(const std::string& path, const DotGraph& graph) {
  expect_graph_ending(path);
  const std::string content = dot_text(graph);
  if (path.ends_with(".dot")) {
    write_file(path, std::as_bytes(std::span(content)));
    return;
  }
  std::string folder = (std::filesystem::temp_directory_path() / "onemodel-graph-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) fail(folder, ": cannot make the folder: ", std::strerror(errno));
  struct Remove {
    std::string folder;
    ~Remove() {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
  } const remove{folder};
  write_file(folder + "/graph.dot", std::as_bytes(std::span(content)));
  if (const std::string why = run_dot(folder + "/graph.dot", folder + "/graph.svg"); !why.empty())
    fail(path, ": ", why);
  const auto source = open_source(folder + "/graph.svg");
  std::string svg(source->size(), '\0');
  source->read_at(0, std::as_writable_bytes(std::span(svg)));
  if (const std::size_t end = svg.rfind("</svg>"); end != std::string::npos) svg.insert(end, kZoom);
  write_file(path, std::as_bytes(std::span(svg)));
}

}  // namespace om
