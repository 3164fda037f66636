// onemodel info --graph.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {
namespace {

using GraphTest = ProgramTest;

bool has_graphviz() { return std::system("command -v dot >/dev/null 2>&1") == 0; }  // NOLINT

TEST_F(GraphTest, DotOfModelStepAndGenerator) {
  const auto drawn = [](const std::string& file, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"info", path(file), "--graph", path("graph.dot")};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    return content(path("graph.dot"));
  };
  const std::string model = drawn("model.safetensors"), step = drawn("model.safetensors", {"--step"}),
                    generator = drawn("generator.safetensors");
  for (const char* part :
       {"<B>picture</B>", "label=<encoder>", "label=<resnet_blocks.1>", "<BR/>conv2d<BR/>weight [5, 3, 3, 4]",
        "label=<decoder>", "→ [1, 16, 16, 3]", "model.safetensors: its layers"})
    EXPECT_NE(model.find(part), std::string::npos) << part;
  EXPECT_NE(step.find("<B>loss</B>"), std::string::npos);
  EXPECT_NE(step.find("the gradient's way"), std::string::npos);
  EXPECT_EQ(step.find("<B>picture</B>"), std::string::npos);
  EXPECT_NE(generator.find("<B>z</B>"), std::string::npos);
  EXPECT_EQ(drawn("model.safetensors"), model);  // the same again
  EXPECT_EQ(drawn("z-model.safetensors").find("label=<encoder>") == std::string::npos, false);
}

TEST_F(GraphTest, SvgWhereGraphvizIs) {
  if (!has_graphviz()) GTEST_SKIP() << "Graphviz is not installed; what is said then is tested below";
  const ProgramRun run = onemodel({"info", path("model.safetensors"), "--graph", path("graph.svg")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const std::string svg = content(path("graph.svg"));
  EXPECT_NE(svg.find("<svg"), std::string::npos);
  EXPECT_NE(svg.find("resnet_blocks.1"), std::string::npos);
}

TEST_F(GraphTest, WhatCannotBeIsOneLine) {
  const auto expect = [](const ProgramRun& run, int code, const std::string& reason) {
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    EXPECT_NE(run.err.find(reason), std::string::npos) << run.err;
  };
  const std::string model = path("model.safetensors"), out = path("none.svg");
  expect(onemodel_in_shell("PATH=/nowhere; export PATH; exec \"$0\" \"$@\"", {"info", model, "--graph", out}),
         1, "none.svg: Graphviz's program `dot` is not installed");
  expect(onemodel({"info", model, "--graph", path("graph.png")}), 2, "a graph is written as .dot or .svg");
  expect(onemodel({"info", model, "--graph", path("nowhere/graph.dot")}), 1, "cannot write");
  expect(onemodel({"info", model, "--step"}), 2, "--step is for --graph");
  expect(onemodel({"info", path("generator.safetensors"), "--graph", path("x.dot"), "--step"}), 3,
         "generator.safetensors: a training step needs an encoder and a generator");
  expect(onemodel({"info", path("text.txt"), "--graph", path("x.dot")}), 3, "text.txt: ");
  std::filesystem::copy_file(model, path("in.dot"));
  expect(onemodel({"info", path("in.dot"), "--graph", path("in.dot")}), 2, "is also an input");
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace om::test
