// Tensors of files into a module's parameters, and back.
#pragma once

#include <functional>

#include "io/networks.h"
#include "nn/module.h"

namespace om {

/// What fill() did not find or not take.
struct FillReport {
  std::vector<std::string> missing;  ///< buffers, and parameters that are not used, which keep their defaults
  std::vector<std::string> left;  ///< entries that are not used and hold numbers that are not finite: lines
};

/// Fills every entry of `module` (aliases included) from the view. InputError naming the tensor where a
/// parameter or a batch norm's statistics are missing, a shape differs, the element type is none that is
/// computed with, or a number is not finite; entries for which `is_used` is false may lack and hold anything
/// of the right shape.
FillReport fill(const Module& module, const NetworkView& view,
                const std::function<bool(const std::string& name)>& is_used = {});

/// The same from the checkpoint's tensors prefix + name, all used; the names of buffers that the file lacks.
std::vector<std::string> fill(const Module& module, const Checkpoint& checkpoint,
                              const std::string& prefix = "");

/// All entries of `module`, aliases included, in the file's shapes, under prefix + name. f32, or f16 where
/// `half`.
std::map<std::string, FileTensor> to_file(const Module& module, const std::string& prefix = "",
                                          bool half = false);

/// One tensor into a file tensor of the given layout, and back onto a backend as f32 (i64 and i32 become
/// i32).
FileTensor to_file(const Tensor& tensor, const FileLayout& layout = {}, bool half = false);
Tensor from_file(const FileTensor& tensor, const FileLayout& layout, Backend& backend);

/// "NaN at element 5" or "an infinity at element 5" for the first number that is not finite; empty where all
/// are, or where the type is no number.
std::string not_finite(const FileTensor& tensor);

/// Runs `body`, naming the file in every complaint about its content.
template <class Body>
auto naming_file(const std::string& path, Body&& body) {
  try {
    return body();
  } catch (const InputError& error) {
    if (std::string_view(error.what()).starts_with(path + ": ")) throw;
    fail<InputError>(path, ": ", error.what());
  }
}

}  // namespace om
