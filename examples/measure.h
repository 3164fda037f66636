// What `eval` and `dncnn` share: networks are measured on folders of pictures, and the tables go to stdout
// and to --out. Both so show every network the same pictures with the same noise.
#pragma once

#include <string>
#include <vector>

#include "examples/lists.h"
#include "train/evaluation.h"

namespace om {

struct MeasureOptions {
  std::vector<std::string> data;  ///< NAME=DIR each
  std::string out;                ///< folder for table.txt, table.csv and table.json
  std::string inception, cache;   ///< for FID; empty: none, the standard folder
  bool recursive = false;
};

/// The words cut at their first `=`; UsageError where a name stands twice.
std::vector<Named> named_once(const std::string& command, const char* option,
                              const std::vector<std::string>& words);

/// UsageError where there is none, or one is out of range.
void check_sigmas(const std::string& command, const std::vector<double>& sigmas);

/// The pictures of each folder. InputError as ImageFolder has it.
std::vector<EvalData> folders_of(const std::vector<Named>& data, bool recursive);

/// Measures every network on all of `data`; from here on an interrupt ends it between two pictures.
int measure(const MeasureOptions& options, std::vector<EvalData> data, EvalTask task,
            const std::vector<EvalNetwork>& networks, Backend& backend);

}  // namespace om
