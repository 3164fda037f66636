// What files that continue a computation share: an optimiser's state, counters, and a checksum of everything
// that the file means.
#pragma once

#include <charconv>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "io/safetensors.h"
#include "io/state_dict.h"
#include "tensor/error.h"
#include "train/adam.h"
#include "train/checksum.h"

namespace om {

/// Names, shapes and values.
void add(Checksum& sum, const std::map<std::string, FileTensor>& tensors);

/// These, the types of the tensors, and all metadata but "checksum".
std::string checksum_of(const SafeTensors& content);

/// Adam's state of each parameter that has any: optimizer.NAME.{exp_avg,exp_avg_sq,step}.
void put_adam(std::map<std::string, FileTensor>& tensors, const Adam& adam);

/// The way back, in the order of adam.parameters(). InputError where a part is missing or does not fit.
std::vector<Adam::State> get_adam(const std::string& path, const std::map<std::string, FileTensor>& tensors,
                                  const Adam& adam);

/// The tensors as a checkpoint, from which fill() takes them; `content` must outlive it.
Checkpoint view_of(const std::string& path, const SafeTensors& content);

/// A value of the metadata. InputError where there is none.
std::string metadata_text(const std::string& path, const SafeTensors& content, const char* key);

/// The same where it is a count.
template <class T>
T metadata_number(const std::string& path, const SafeTensors& content, const char* key) {
  const std::string value = metadata_text(path, content, key);
  T number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || (std::is_signed_v<T> && number < 0))
    fail<InputError>(path, ": '", key, "' in its metadata is no count");
  return number;
}

}  // namespace om
