// Tests that tests/harness/harness_test.cpp runs to see what the harness makes of them: one that asserts
// nothing, one that is skipped, and two that assert. Without "tests" as its argument the program has none.
#include <string>

#include "tests/harness/run.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1 && std::string(argv[1]) == "tests") {
    const auto add = [](const char* name, void (*body)()) {
      class Body : public testing::Test {
       public:
        explicit Body(void (*body)()) : body_(body) {}
        void TestBody() override { body_(); }

       private:
        void (*body_)();
      };
      testing::RegisterTest("Inner", name, nullptr, nullptr, __FILE__, __LINE__,
                            [body]() -> testing::Test* { return new Body(body); });
    };
    add("blind", [] {});
    add("skipped", [] { GTEST_SKIP() << "for the test of it"; });
    add("conv2d/sees", [] { EXPECT_EQ(1, 1); });
    add("matmul/sees", [] { EXPECT_THROW(throw 1, int); });
  }
  return om::harness::run_all_tests();
}
