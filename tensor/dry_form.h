// What a backend derives from beside Backend that brings a dry form of its own (tensor/dry.h): one whose
// kernels take the scratch memory that they always take, and compute nothing.
#pragma once

#include <memory>

namespace om {

class Backend;

class DryForm {
 public:
  virtual ~DryForm() = default;
  virtual std::unique_ptr<Backend> dry_form() = 0;
};

}  // namespace om
