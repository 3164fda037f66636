// Exit codes, and one line for every error.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;

class UsageTest : public ProgramTest {
 protected:
  static void expect_error(int code, const Words& words, const std::string& reason) {
    check_error(code, onemodel(words), words, reason);
  }
  static void check_error(int code, const ProgramRun& run, const Words& words, const std::string& reason) {
    std::string command;
    for (const std::string& word : words) command += " " + word;
    SCOPED_TRACE("onemodel" + command);
    test::expect_error(code, run, reason);
  }
};

/// The commands that the program lists.
const Words& commands() {
  static const Words names = [] {
    Words found;
    std::istringstream lines(onemodel({"--help"}).out);
    bool listed = false;
    for (std::string line; std::getline(lines, line);) {
      if (listed && line.starts_with("  ")) found.push_back(line.substr(2, line.find("  ", 2) - 2));
      if (line.empty()) listed = false;
      if (line == "Commands:") listed = true;
    }
    return found;
  }();
  return names;
}

TEST_F(UsageTest, HelpListsWhatThereIs) {
  const ProgramRun all = onemodel({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_EQ(all.err, "");
  for (const char* command : {"import", "info", "generate", "train", "encode", "reconstruct", "leak"})
    EXPECT_NE(std::find(commands().begin(), commands().end(), command), commands().end()) << command;
  for (const std::string& command : commands()) {
    Words words;  // one, or two as in `figure noise-maps`
    std::istringstream split(command + " --help");
    for (std::string word; split >> word;) words.push_back(word);
    const ProgramRun one = onemodel(words);
    EXPECT_EQ(one.exit_code, 0) << command;
    EXPECT_EQ(one.err, "") << command;
    for (const char* option : {"--help", "--seed", "--threads", "--backend", "--precision"})
      EXPECT_NE(one.out.find(option), std::string::npos) << command << " " << option;
  }
}

// The README's table of commands holds each once and no other.
TEST_F(UsageTest, ReadmeListsTheCommands) {
  std::istringstream lines(content(std::string(ONEMODEL_SOURCE_DIR) + "/README.md"));
  std::set<std::string> rows;
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view start = "| `onemodel ";
    if (!line.starts_with(start)) continue;
    const std::string rest = line.substr(start.size());
    std::string command = rest.substr(0, rest.find_first_of(" `"));
    const bool grouped = std::find_if(commands().begin(), commands().end(), [&](const std::string& name) {
                           return name.starts_with(command + " ");
                         }) != commands().end();
    if (grouped) command = rest.substr(0, rest.find_first_of(" `", command.size() + 1));
    EXPECT_TRUE(rows.insert(command).second) << command << " stands twice";
  }
  EXPECT_EQ(rows, std::set<std::string>(commands().begin(), commands().end()));
}

TEST_F(UsageTest, VersionSaysWhatItIsMadeOf) {
  const ProgramRun run = onemodel({"--version"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with("onemodel 0.")) << run.out;
  for (const char* part :
       {"\ncommit ", "\nbackends ", " cpu", " reference", "\nlibpng 1.", "\nlibwebp ", "\nlibzip ",
        "\nlibjpeg-turbo ", "\nzlib ", "\nCLI11 ", "\nfmt ", "\ncpp-httplib 0.", "\nChart.js 3."})
    EXPECT_NE(run.out.find(part), std::string::npos) << part << "\n" << run.out;
}

TEST_F(UsageTest, NumbersAreDecimalAndWhole) {
  const std::string generator = path("generator.safetensors"), out = path("numbers");
  const auto generate = [&](const std::string& option, const std::string& value) {
    return Words{"generate", "--generator", generator, "--out", out, option + "=" + value};
  };
  for (const char* value :
       {"0x2", "1e0", " 2", "2 ", "2.0", "", "two", "1'0", "1_0", "+-2", "++2", "0b1", "-"})
    for (const char* option : {"--count", "--seed", "--threads"})
      expect_error(2, generate(option, value), option);
  for (const char* value : {"9223372036854775808", "18446744073709551616", "99999999999999999999999", "-1"})
    for (const char* option : {"--count", "--seed", "--threads"})
      expect_error(2, generate(option, value), option);
  for (const char* value :
       {"nan", "inf", "-inf", "infinity", "1e999", "-1e999", "1e-999", "0x1p3", "1,5", "", " 1", "half"})
    expect_error(2, generate("--truncation", value), "--truncation");
  EXPECT_FALSE(std::filesystem::exists(out));
  // with zeros or a plus in front it is the same number
  for (const char* value : {"010", "+10", "00010"}) {
    EXPECT_EQ(onemodel(generate("--count", value)).exit_code, 0) << value;
    EXPECT_EQ(folder_content(out).size(), 10U) << value;
    std::filesystem::remove_all(out);
  }
}

// Writing over what is read is wrong usage, under whatever name, and leaves everything as it was.
TEST_F(UsageTest, InputsAreNotOverwritten) {
  namespace fs = std::filesystem;
  const std::string generator = path("generator.safetensors"), model = path("model.safetensors");
  fs::create_directories(path("inputs/sub"));
  for (const char* name : {"inputs/a.jpg", "inputs/b.jpg", "inputs/sub/c.jpg"})
    fs::copy_file(path("photos/two.jpg"), path(name));
  fs::create_symlink(path("inputs/a.jpg"), path("link.jpg"));
  fs::create_hard_link(path("inputs/a.jpg"), path("hard.jpg"));
  const std::string photo = content(path("inputs/a.jpg")), weights = content(model);
  // what a shell makes of `--tensors *.jpg`
  expect_error(2,
               {"encode", "--model", model, "--tensors", path("inputs/a.jpg"), path("inputs/a.jpg"),
                path("inputs/b.jpg")},
               "inputs/a.jpg: is also an input");
  for (const std::string& out : {path("link.jpg"), path("hard.jpg"), path("inputs/../inputs/a.jpg"), model})
    expect_error(2, {"encode", "--model", model, path("inputs"), "--tensors", out}, "is also an input");
  expect_error(
      2, {"encode", "--model", model, path("inputs"), "--recursive", "--tensors", path("inputs/sub/c.jpg")},
      "is also an input");
  expect_error(2, {"generate", "--generator", generator, "--out", path("inputs"), "--tensors", generator},
               "is also an input");
  fs::create_directories(path("drawn"));
  fs::copy_file(generator, path("drawn/000001.png"));
  expect_error(2,
               {"generate", "--generator", path("drawn/000001.png"), "--count", "2", "--out", path("drawn")},
               "000001.png: is also an input");
  // reconstruct takes another name, also where a link stands under the first
  fs::create_directories(path("linked"));
  fs::create_symlink(path("inputs/a.jpg"), path("linked/a.png"));
  fs::create_symlink(model, path("linked/contact-sheet.png"));
  const ProgramRun run =
      onemodel({"reconstruct", "--model", model, path("inputs/a.jpg"), "--out", path("linked")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(fs::exists(path("linked/a-2.png")) && fs::exists(path("linked/contact-sheet-2.png")));
  EXPECT_EQ(content(path("inputs/a.jpg")), photo);
  EXPECT_EQ(content(model), weights);
  for (const char* name : {"inputs", "link.jpg", "hard.jpg", "drawn", "linked"}) fs::remove_all(path(name));
}

TEST_F(UsageTest, WrongUsageIsTwo) {
  const std::string generator = path("generator.safetensors"), out = path("unused");
  expect_error(2, {}, "expects a command");
  expect_error(2, {"reconstrct"}, "unknown command 'reconstrct'; did you mean 'reconstruct'?");
  expect_error(2, {"xyzzy"}, "unknown command 'xyzzy'");
  expect_error(2, {"--seed", "1", "info", generator}, "expects a command before");
  for (const std::string& command : commands())
    expect_error(2, {command, "--bogus-option"}, "unknown option '--bogus-option'");
  expect_error(2, {"info"}, "FILE is required");
  expect_error(2, {"info", generator, generator}, "unexpected argument");
  expect_error(2, {"info", generator, "--threads", "-1"}, "--threads");
  expect_error(2, {"info", generator, "--seed", "many"}, "--seed");
  expect_error(2, {"info", generator, "--backend", "abacus"}, "unknown backend 'abacus'");
  expect_error(2, {"generate", "--generator", generator}, "--out is required");
  expect_error(2, {"generate", "--generator", generator, "--out"},
               "generate: --out expects DIR, got nothing");
  expect_error(2, {"generate", "--out", out, "--out", out}, "generate: --out is given more than once");
  expect_error(2, {"train", "--gpus", "3", "--ranks", "2"}, "train: --ranks is given more than once");
  expect_error(2, {"import", generator, "-o"}, "import: --out expects OUT, got nothing");
  expect_error(2, {"generate", "--generator", generator, "--out=", "--count", "2"},
               "generate: --out expects a value, got nothing");
  expect_error(2, {"report", ""}, "report: RUNS expects a name, got nothing");
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
  const std::string limited = "ulimit -f 0; exec \"$0\" \"$@\"";
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
