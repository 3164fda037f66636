// The files of examples/web and the plotting library of the distribution, as they were at build time
// (cmake/embed.cmake), and pages made of them.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace om::web {

extern const std::string_view report_html, report_css, report_js, curves_js, look_css;
extern const std::string_view serve_html, serve_css, ask_js, serve_js;
/// Chart.js as Debian has it, its licence on top; and the package's licence text.
extern const std::string_view chart_min_js, copyright;

/// Puts texts in the places {{name}} of a page. Error for a place without a text.
std::string fill(std::string_view page, const std::map<std::string, std::string_view>& texts);

}  // namespace om::web
