// Exit codes, and one line for every error.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class UsageTest : public ProgramTest {
 protected:
  /// Ends with `code`, says nothing on stdout and one line on stderr with `reason` in it.
  static void expect_error(int code, const Words& words, const std::string& reason) {
    check_error(code, onemodel(words), words, reason);
  }
  static void check_error(int code, const ProgramRun& run, const Words& words, const std::string& reason) {
    std::string command;
    for (const std::string& word : words) command += " " + word;
    SCOPED_TRACE("onemodel" + command + "\n" + run.err);
    EXPECT_EQ(run.exit_code, code);
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.complaints().size(), 1U);
    EXPECT_TRUE(run.err.starts_with("onemodel: "));
    EXPECT_NE(run.err.find(reason), std::string::npos) << "expected: " << reason;
  }
};

const Words kCommands = {"import", "info", "generate", "train", "encode", "reconstruct", "leak"};

TEST_F(UsageTest, HelpListsWhatThereIs) {
  const ProgramRun all = onemodel({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_EQ(all.err, "");
  for (const std::string& command : kCommands) {
    EXPECT_NE(all.out.find("  " + command + " "), std::string::npos);
    const ProgramRun one = onemodel({command, "--help"});
    EXPECT_EQ(one.exit_code, 0) << command;
    EXPECT_EQ(one.err, "") << command;
    for (const char* option : {"--help", "--seed", "--threads", "--backend"})
      EXPECT_NE(one.out.find(option), std::string::npos) << command << " " << option;
  }
}

TEST_F(UsageTest, WrongUsageIsTwo) {
  const std::string generator = path("generator.safetensors"), out = path("unused");
  expect_error(2, {}, "expects a command");
  expect_error(2, {"reconstrct"}, "unknown command 'reconstrct'; did you mean 'reconstruct'?");
  expect_error(2, {"xyzzy"}, "unknown command 'xyzzy'");
  expect_error(2, {"--seed", "1", "info", generator}, "expects a command before");
  for (const std::string& command : kCommands)
    expect_error(2, {command, "--bogus-option"}, "unknown option '--bogus-option'");
  expect_error(2, {"info"}, "FILE is required");
  expect_error(2, {"info", generator, generator}, "unexpected argument");
  expect_error(2, {"info", generator, "--threads", "-1"}, "--threads");
  expect_error(2, {"info", generator, "--seed", "many"}, "--seed");
  expect_error(2, {"info", generator, "--backend", "abacus"}, "unknown backend 'abacus'");
  expect_error(2, {"generate", "--generator", generator}, "--out is required");
  expect_error(2, {"generate", "--generator", generator, "--out"}, "--out");
  const auto generate = [&](const Words& more) {
    Words words = {"generate", "--generator", generator, "--out", out};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  expect_error(2, generate({"--cuont", "2"}), "unknown option '--cuont'; did you mean '--count'?");
  expect_error(2, generate({"--count", "0"}), "--count");
  expect_error(2, generate({"--count", "two"}), "--count");
  expect_error(2, generate({"--count", "2", "--count", "3"}), "--count");
  expect_error(2, generate({"--count", "2", "--latents", generator}), "exclude each other");
  expect_error(2, generate({"--noise", "loud"}), "--noise expects one of stored, random, zero; got 'loud'");
  expect_error(2, generate({"--truncation", "nan"}), "--truncation");
  expect_error(2, {"import", generator, "-o", out, "--latent", "w"}, "--latent expects one of wplus, z");
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(UsageTest, BadInputIsThree) {
  const std::string generator = path("generator.safetensors"), model = path("model.safetensors");
  const std::string missing = path("missing"), out = path("unused"), photo = path("photos/one.png");
  for (const std::string& file : {missing, path("text.txt"), photo, path("photos"), path("broken.png")}) {
    expect_error(3, {"info", file}, file + ": ");
    expect_error(3, {"import", file, "-o", out}, file + ": ");
    expect_error(3, {"generate", "--generator", file, "--out", out}, file + ": ");
    expect_error(3, {"generate", "--generator", generator, "--latents", file, "--out", out}, file + ": ");
    expect_error(3, {"encode", "--model", file, photo, "--tensors", out}, file + ": ");
    expect_error(3, {"reconstruct", "--model", file, photo, "--out", out}, file + ": ");
  }
  expect_error(3, {"encode", "--model", generator, photo, "--tensors", out}, "holds no encoder");
  expect_error(3, {"reconstruct", "--model", generator, photo, "--out", out},
               generator + ": expects an encoder");
  for (const std::string& image : {missing, path("broken.png"), path("text.txt"), path("empty")})
    expect_error(3, {"encode", "--model", model, image, "--tensors", out}, image + ": ");
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(UsageTest, BrokenCheckpointIsThree) {
  std::string bytes = content(path("generator.safetensors"));
  const std::string file = path("cut.safetensors");
  std::ofstream(file, std::ios::binary) << bytes.substr(0, bytes.size() - 5);
  expect_error(3, {"info", file}, file + ": ");
  bytes.replace(bytes.find("[1,6,6,3,3]"), 11, "[1,6,3,6,3]");
  std::ofstream(file, std::ios::binary) << bytes;
  expect_error(3, {"import", file, "-o", path("unused")}, file + ": ");
}

TEST_F(UsageTest, UnwritableOutputIsOne) {
  const std::string generator = path("generator.safetensors"), model = path("model.safetensors");
  const std::string photo = path("photos/one.png"), below_file = path("text.txt") + "/x";
  expect_error(1, {"import", generator, "-o", below_file}, below_file + ": ");
  expect_error(1, {"import", generator, "-o", path("nowhere/x.safetensors")}, "nowhere");
  expect_error(1, {"generate", "--generator", generator, "--out", below_file}, below_file + ": ");
  expect_error(1, {"generate", "--generator", generator, "--out", path("text.txt")}, "text.txt: ");
  expect_error(1, {"encode", "--model", model, photo, "--tensors", below_file}, below_file + ": ");
  expect_error(1, {"reconstruct", "--model", model, photo, "--out", below_file}, below_file + ": ");
}

TEST_F(UsageTest, FullDiskIsOne) {
  // a file-size limit of 0 refuses every byte, as a full disk does
  const std::string limited = "ulimit -f 0; trap '' XFSZ; exec \"$0\" \"$@\"";
  const Words generate = {"generate", "--generator", path("generator.safetensors"), "--out", path("full")};
  check_error(1, onemodel_in_shell(limited, generate), generate, "000000.png: cannot write: ");
  const Words import = {"import", path("generator.safetensors"), "-o", path("full/x.safetensors")};
  check_error(1, onemodel_in_shell(limited, import), import, "full/x.safetensors: cannot write: ");
  EXPECT_TRUE(folder_content(path("full")).empty());
  const Words info = {"info", path("generator.safetensors")};
  check_error(1, onemodel_in_shell("exec \"$0\" \"$@\" >/dev/full", info), info, "standard output");
}

}  // namespace
}  // namespace om::test
