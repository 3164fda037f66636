// Module: a tree of layers with named parameters and buffers.
//
// Names are those of the PyTorch checkpoints, joined by dots, so that loading a file is a matter of prefixes.
// Each entry also says how files lay it out (FileLayout): by role, because a rank alone does not tell. io/
// fills entries, train/ steps parameters; a layer itself only holds handles to the same tensors.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace om {

/// How a file stores a tensor: `leading_ones` dimensions of size 1, then our dimensions in the order that
/// makes our dimension i the file's dimension order[i] (counted after the ones). An empty order means as is.
struct FileLayout {
  int leading_ones = 0;
  std::vector<int> order = {};

  Shape to_file(const Shape& shape) const;
  /// The shape that this library gives the file's tensor. InputError where the file's shape does not fit the
  /// layout.
  Shape from_file(const Shape& shape) const;
  /// The same on tensors: one permuting copy.
  Tensor to_file(const Tensor& tensor) const;
  Tensor from_file(const Tensor& tensor) const;
};

namespace layouts {
inline const FileLayout plain{};
inline const FileLayout image{0, {0, 2, 3, 1}};              ///< [N, C, H, W]
inline const FileLayout conv{0, {0, 2, 3, 1}};               ///< [O, I, kH, kW] -> [O, kH, kW, I]
inline const FileLayout transposed_conv{0, {0, 2, 3, 1}};    ///< [I, O, kH, kW] -> [I, kH, kW, O]
inline const FileLayout modulated_conv{1, {0, 2, 3, 1}};     ///< [1, O, I, kH, kW] -> [O, kH, kW, I]
inline const FileLayout modulated_up_conv{1, {1, 2, 3, 0}};  ///< [1, O, I, kH, kW] -> [I, kH, kW, O]
}  // namespace layouts

enum class Role : std::uint8_t {
  parameter,  ///< trained
  buffer,     ///< state or constant that files hold too
};

struct Entry {
  std::string name;  ///< dotted, relative to the module asked
  Tensor value;
  FileLayout layout;
  Role role;
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// All entries in registration order, children after own ones. A module that is registered twice (an alias)
  /// appears once per name with `with_aliases`, else under its first name only.
  std::vector<Entry> entries(bool with_aliases = false) const;
  /// The parameters among them.
  std::vector<Entry> parameters() const;

  /// Train mode (batch statistics) or evaluation mode, for the whole tree.
  void set_training(bool training);
  bool training() const { return training_; }

  /// Marks every parameter as a leaf for grad(), or as a constant.
  void set_trainable(bool trainable);

 protected:
  Tensor parameter(std::string name, Tensor value, FileLayout layout = {});
  Tensor buffer(std::string name, Tensor value, FileLayout layout = {});
  void child(std::string name, Module& module);

  /// Children made in place: children_.emplace(...) keeps them at fixed addresses.
  template <class M>
  using List = std::vector<std::unique_ptr<M>>;

 private:
  struct Child {
    std::string name;
    Module* module;
  };
  void collect(const std::string& prefix, bool with_aliases, std::vector<const Module*>& seen,
               std::vector<Entry>& out) const;

  std::vector<Entry> own_;
  std::vector<Child> children_;
  bool training_ = false;
};

/// Where and in which dtype a module makes its tensors.
struct Placement {
  Backend& backend;
  DType dtype = DType::f32;
  /// Elements that may still be made, where shapes come from a file: shapes that contradict one another must
  /// not allocate more than the file could ever fill.
  std::int64_t* budget = nullptr;

  Tensor full(const Shape& shape, double value) const;
  Tensor zeros(const Shape& shape) const { return full(shape, 0); }
};

}  // namespace om
