// Graphs as DOT text, which Graphviz lays out (https://graphviz.org/doc/info/lang.html): boxes with lines of
// text, in groups within groups, and edges between them.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace om {

struct DotBox {
  std::vector<std::string> lines;   ///< the first in bold
  std::vector<std::string> groups;  ///< from the outermost on; a group's boxes need not follow one another
};

struct DotGraph {
  std::string title;
  std::vector<DotBox> boxes;
  std::vector<std::pair<std::size_t, std::size_t>> edges;  ///< from, to
};

/// The same graph gives the same text.
std::string dot_text(const DotGraph& graph);

/// Writes a .dot file, or an .svg through Graphviz's program `dot`, which a browser shows whole, or a place
/// of it in full size. UsageError for other endings; Error where the program is not there or fails, or the
/// file cannot be written.
void write_graph(const std::string& path, const DotGraph& graph);

/// UsageError where write_graph() would not know the ending.
void expect_graph_ending(const std::string& path);

}  // namespace om
