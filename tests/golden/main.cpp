// golden_tests: one test per case file; a folder without any fails. And whole models recorded and replayed,
// against themselves.
#include <algorithm>
#include <functional>
#include <map>

#include "autograd/precision.h"
#include "tensor/registry.h"
#include "tests/golden/golden_case.h"
#include "tests/harness/run.h"

namespace om::golden {
namespace {

using Runner = std::function<void(const Case&, Backend&)>;

const std::map<std::string, Runner>& runners() {
  static const std::map<std::string, Runner> table = {{"stylegan1", run_stylegan1},
                                                      {"stylegan2", run_stylegan2},
                                                      {"encoder", run_encoder},
                                                      {"stylegan2-ada", run_pickled_generator},
                                                      {"stylegan2-tf", run_pickled_generator},
                                                      {"training", run_training},
                                                      {"inception", run_inception},
                                                      {"lpips", run_lpips},
                                                      {"op", run_ops}};
  return table;
}

class ReplayTest : public testing::Test {
 public:
  ReplayTest(void (*run)(Backend&), std::string backend) : run_(run), backend_(std::move(backend)) {}
  void TestBody() override { run_(backend(backend_)); }

 private:
  void (*run_)(Backend&);
  std::string backend_;
};

class GoldenTest : public testing::Test {
 public:
  GoldenTest(std::filesystem::path file, std::string backend)
      : file_(std::move(file)), backend_(std::move(backend)) {}
  void TestBody() override {
    const Case c(file_);
    const auto runner = runners().find(c.kind());
    ASSERT_TRUE(runner != runners().end()) << "no runner for cases of kind " << c.kind();
    const PrecisionScope strict(Precision::fp32);
    runner->second(c, backend(backend_));
  }

 private:
  std::filesystem::path file_;
  std::string backend_;
};

}  // namespace
}  // namespace om::golden

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::string backend = "cpu";
  for (int i = 1; i + 1 < argc; ++i)
    if (std::string(argv[i]) == "--backend") backend = argv[i + 1];
  const std::vector<std::filesystem::path> files = om::golden::case_files();
  if (files.empty()) {
    std::fprintf(stderr, "golden_tests: no case (*.safetensors) in %s\n", om::golden::case_folder().c_str());
    return 1;
  }
  for (const auto& file : files) {
    std::string name = file.stem().string();
    std::replace_if(
        name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; },
        '_');
    testing::RegisterTest("Golden", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [=] { return new om::golden::GoldenTest(file, backend); });
  }
  for (const auto& [name, run] : {std::pair("Reconstruction", &om::golden::run_replayed_reconstruction),
                                  std::pair("TrainingSteps", &om::golden::run_replayed_training),
                                  std::pair("PredictedMemory", &om::golden::run_predicted_memory)})
    testing::RegisterTest("Replay", name, nullptr, nullptr, __FILE__, __LINE__,
                          [=] { return new om::golden::ReplayTest(run, backend); });
  return om::harness::run_all_tests();
}
