// fuzz_corpus FOLDER: writes the seeds to FOLDER/READER/NAME and the words to FOLDER/READER.dict.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/readers.h"
#include "tests/fuzz/seeds.h"

namespace {

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  if (!out.flush()) throw std::runtime_error(path.string() + ": cannot write");
}

std::string quoted(const std::string& word) {
  std::string out = "\"";
  for (const unsigned char c : word) {
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", c);
    out += escaped;
  }
  return out + "\"\n";
}

void write_corpus(const std::filesystem::path& folder) {
  for (const om::fuzz::Reader& reader : om::fuzz::readers()) {
    std::filesystem::create_directories(folder / reader.name);
    std::size_t count = 0, bytes = 0;
    for (const om::fuzz::Seed& seed : om::fuzz::seeds(reader.name)) {
      write(folder / reader.name / seed.name, seed.bytes);
      ++count;
      bytes += seed.bytes.size();
    }
    std::string dictionary;
    for (const std::string& word : om::fuzz::words(reader.name)) dictionary += quoted(word);
    write(folder / (std::string(reader.name) + ".dict"), dictionary);
    std::printf("%-12s %3zu seeds, %zu bytes\n", std::string(reader.name).c_str(), count, bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_corpus FOLDER\n");
    return 2;
  }
  try {
    write_corpus(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz_corpus: %s\n", error.what());
    return 1;
  }
}
