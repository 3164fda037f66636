// Where the cuda backend keeps its choice of convolution engines (tensor/registry.h, set_plan_folder).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/tensor/cuda_check.h"

namespace om::cuda_check {
namespace {

namespace fs = std::filesystem;

class CudaPlans : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    folder_ =
        fs::temp_directory_path() / text("onemodel_plans_", ::testing::UnitTest::GetInstance()->random_seed(),
                                         '_', reinterpret_cast<std::uintptr_t>(this));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    set_plan_folder("");
    fs::remove_all(folder_);
    CudaTest::TearDown();
  }

  /// A convolution whose shape no other test has.
  std::vector<unsigned char> convolve() {
    const Shape x = {2, 13, 17, 40}, w = {24, 3, 3, 40}, y = {2, 13, 17, 24};
    const Kernel kernel = [](Backend& b, const std::vector<In>& in, Out out) {
      b.conv2d(in[0], in[1], out, {1, 1, 1, 1, Math::tf32});
    };
    return bits(run(*cuda_, {{x, normals(x, 50)}, {w, normals(w, 51)}}, y, DType::f32, DType::f32, kernel));
  }
  fs::path file() const {
    fs::path found;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      EXPECT_TRUE(found.empty()) << "more than one file: " << entry.path();
      found = entry.path();
    }
    return found;
  }
  static std::string content(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  fs::path folder_;
};

TEST_F(CudaPlans, ARunsFolderHoldsWhatItChose) {
  if (!cuda_->supports(Math::tf32)) GTEST_SKIP() << "this card computes no tf32";
  set_plan_folder(folder_.string());
  const auto first = convolve();
  const fs::path path = file();
  ASSERT_FALSE(path.empty());
  EXPECT_TRUE(path.filename().string().starts_with("plans-")) << path;
  const std::string chosen = content(path);
  EXPECT_NE(chosen.find("conv2d f32 tf32 to f32 x [2, 13, 17, 40] w [24, 3, 3, 40]"), std::string::npos)
      << chosen;

  // Read again, the same bits and the same file; another folder in between has its own.
  const fs::path other = folder_.string() + "_other";
  fs::create_directories(other);
  set_plan_folder(other.string());
  EXPECT_EQ(convolve(), first);
  fs::remove_all(other);
  set_plan_folder(folder_.string());
  EXPECT_EQ(convolve(), first);
  EXPECT_EQ(content(path), chosen);
}

TEST_F(CudaPlans, ADamagedFileIsReplaced) {
  if (!cuda_->supports(Math::tf32)) GTEST_SKIP() << "this card computes no tf32";
  set_plan_folder(folder_.string());
  const auto first = convolve();
  const fs::path path = file();
  const std::string chosen = content(path);
  const std::size_t bar = chosen.find(" | ");
  ASSERT_NE(bar, std::string::npos);
  for (const std::string& damaged :
       {std::string(), std::string("something else\n"), chosen.substr(0, bar),
        chosen.substr(0, bar) + " | plain 99999\n", chosen.substr(0, bar) + " | plain -1 x=y\n"}) {
    set_plan_folder("");
    convolve();  // lets go of the folder
    std::ofstream(path, std::ios::trunc) << damaged;
    set_plan_folder(folder_.string());
    EXPECT_EQ(convolve(), first) << damaged;
    EXPECT_NE(content(path).find(chosen.substr(bar)), std::string::npos) << damaged;
  }
}

}  // namespace
}  // namespace om::cuda_check
