// Inception by its structure; its numbers are held by the golden case.
#include <gtest/gtest.h>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tensor/registry.h"
#include "tests/harness/message.h"
#include "tests/models/tiny_inception.h"

namespace om {
namespace {

std::string complaint(const FileShapes& shapes) {
  return test::message<InputError>([&] { const Inception inception(shapes, {backend("cpu")}); });
}

TEST(Inception, TakesImagesOfAnySize) {
  const auto inception = test::tiny_inception(backend("cpu"));
  EXPECT_EQ(inception->features(), 12);
  const NoGrad no_grad;
  for (const Shape& shape :
       {Shape{2, 16, 16, 3}, Shape{1, 40, 7, 3}, Shape{1, 299, 299, 3}, Shape{1, 1, 1, 3}})
    EXPECT_EQ((*inception)(Tensor::full(shape, 0.5, DType::f32, backend("cpu"))).shape(),
              (Shape{shape[0], 12}));
  EXPECT_THROW((*inception)(Tensor::zeros({1, 8, 8, 4}, DType::f32, backend("cpu"))), Error);
}

TEST(Inception, GivesGradientsToTheImage) {
  const auto inception = test::tiny_inception(backend("cpu"));
  RandomSource random(4, backend("cpu"));
  const Tensor image = require_grad(random.uniform({1, 24, 20, 3}));
  EXPECT_GT(max(abs(grad({sum((*inception)(image))}, {image})[0])).item(), 0);
}

TEST(Inception, SaysWhatIsWrongWithItsWeights) {
  FileShapes shapes = test::tiny_inception_shapes();
  EXPECT_EQ(complaint(shapes), "no error");
  shapes["AuxLogits.conv0.conv.weight"] = {2, 2, 1, 1};
  EXPECT_NE(complaint(shapes).find("torchvision's own"), std::string::npos);
  shapes.erase("AuxLogits.conv0.conv.weight");
  shapes.erase("Mixed_6c.branch7x7_2.conv.weight");
  EXPECT_EQ(complaint(shapes), "Inception: no tensor Mixed_6c.branch7x7_2.conv.weight");
}

}  // namespace
}  // namespace om
