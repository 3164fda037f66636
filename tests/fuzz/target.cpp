// A libFuzzer target: built once per reader, whose name is ONEMODEL_FUZZ_READER.
//
//   scripts/check fuzz                                        every target for 20 s
//   build/check-clang/tests/fuzz/fuzz_pickle CORPUS_FOLDER    one target, for ever; see -help=1
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/png_checksums.h"
#include "tests/fuzz/readers.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const om::fuzz::Reader& reader = om::fuzz::reader(ONEMODEL_FUZZ_READER);
  const auto outcome = om::fuzz::attempt(reader, std::as_bytes(std::span(data, size)));
  if (!outcome.finding.empty()) {
    std::fprintf(stderr, "finding: %s\n", outcome.finding.c_str());
    std::abort();
  }
  return 0;
}

/// Four of five mutated PNGs get the checksums that their chunks need to be looked into.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (om::fuzz::reader(ONEMODEL_FUZZ_READER).name == "png" && seed % 5 != 0)
    om::fuzz::mend_png_checksums({data, size});
  return size;
}
