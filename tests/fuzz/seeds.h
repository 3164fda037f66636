// The seeds of the fuzzers: small files of every kind a reader knows, made by the project's own writers and
// test builders, the same bytes each time; and the words a mutation may insert.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace om::fuzz {

struct Seed {
  std::string name;
  std::string bytes;
  bool accepted = true;  ///< else a broken one, for the reader to refuse
};

/// Of the reader of that name.
std::vector<Seed> seeds(std::string_view reader);

/// Tokens of its format, for libFuzzer's -dict; may be none.
std::vector<std::string> words(std::string_view reader);

// By family; seeds() asks them.
std::vector<Seed> pickle_seeds();
std::vector<Seed> zip_seeds();
std::vector<Seed> old_pytorch_seeds();
std::vector<Seed> nvidia_seeds();
std::vector<Seed> safetensors_seeds();
std::vector<Seed> config_seeds();
std::vector<Seed> png_seeds();
std::vector<Seed> jpeg_seeds();
std::vector<Seed> webp_seeds();

}  // namespace om::fuzz
