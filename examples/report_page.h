// What `onemodel report` writes: one HTML file that holds all it shows and fetches nothing.
#pragma once

#include <string>
#include <vector>

#include "train/run_history.h"

namespace om {

struct ReportOptions {
  std::string title;
  int refresh = 0;  ///< seconds after which the page reads itself anew; 0: never
};

/// Bytes that pictures and points may take of a page, all runs together; with its text and the plotting
/// library a page stays under 5 MB.
inline constexpr std::size_t kPictureBytes = 2'500'000, kPointBytes = 900'000;

/// The page. What cannot be read of pictures becomes a note in it.
std::string report_page(std::vector<RunHistory> runs, const ReportOptions& options);

/// Names for runs: their folders' last parts, whole paths where these are equal, "PATH (2)" for one that is
/// named again.
std::vector<std::string> run_labels(const std::vector<RunHistory>& runs);

}  // namespace om
