// norm_batches: at a stage's end the norms of all encoders hold the mean statistics of the run's first
// batches.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "io/image_folder.h"
#include "io/model_file.h"
#include "io/safetensors.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/pixels.h"
#include "train/run_settings.h"
#include "train/training_step.h"

namespace om {
namespace {

using test::TinyRun;

class TrainNorms : public testing::Test {
 protected:
  static bool is_statistic(const std::string& name) { return test::contains(name, ".running_"); }

  /// What norms hold after each of the run's first batches alone.
  std::vector<std::map<std::string, std::vector<double>>> of_batches(const std::string& model, int batches) {
    Backend& cpu = backend("cpu");
    const std::unique_ptr<Autoencoder> net = load_autoencoder(model, cpu);
    const std::int64_t size = net->decoder().size();
    ImageLoader loader(ImageFolder(tiny_.config.images), loader_options(tiny_.config, size, 1, cpu));
    PixelFeed feed(cpu);
    const PixelTable table(cpu);
    std::vector<std::map<std::string, std::vector<double>>> found;
    for (int i = 0; i < batches; ++i) {
      average_norms(*net, 1, [&] {
        return table(feed(loader.next().pixels, {tiny_.config.batch, size, size, 3}));
      });
      for (const Autoencoder::Part& part : net->encoders())
        for (const Entry& entry : part.encoder->entries(true))
          if (is_statistic("." + entry.name))
            for (const float v : entry.value.to_host<float>())
              (i < static_cast<int>(found.size()) ? found[static_cast<std::size_t>(i)]
                                                  : found.emplace_back())[part.name + "." + entry.name]
                  .push_back(v);
    }
    return found;
  }

  TinyRun tiny_;
};

TEST_F(TrainNorms, AtTheEndTheyAreMeansOverTheFirstBatchesAndNothingElseDiffers) {
  ASSERT_FALSE(tiny_.run("plain").interrupted);
  tiny_.config.norm_batches = 3;
  ASSERT_FALSE(tiny_.run("mean").interrupted);
  const auto alone = of_batches(tiny_.out("mean/model.safetensors"), 3);
  const SafeTensors plain = read_safetensors(tiny_.out("plain/model.safetensors"));
  const SafeTensors mean = read_safetensors(tiny_.out("mean/model.safetensors"));
  ASSERT_EQ(plain.tensors.size(), mean.tensors.size());
  int statistics = 0, moved = 0;
  for (const auto& [name, tensor] : mean.tensors) {
    if (!is_statistic(name)) {
      EXPECT_EQ(tensor.data, plain.tensors.at(name).data) << name;
      continue;
    }
    ++statistics;
    moved += tensor.data != plain.tensors.at(name).data;
    const std::vector<float> values = to_f32(tensor);
    for (std::size_t i = 0; i < values.size(); ++i) {
      double sum = 0;
      for (const auto& batch : alone) sum += batch.at(name).at(i);
      EXPECT_NEAR(values[i], sum / 3, 1e-5 * (1 + std::abs(sum))) << name;
    }
  }
  EXPECT_GT(statistics, 10);
  EXPECT_GT(moved, statistics / 2);
}

// Before the end a run is that of one without; what is measured at the end is the model that is kept.
TEST_F(TrainNorms, ChangeNoCheckpointBeforeTheEnd) {
  tiny_.run("plain");
  tiny_.config.norm_batches = 2;
  tiny_.run("mean");
  for (const char* name : {"000002", "000004"}) {
    const SafeTensors a =
        read_safetensors(tiny_.out(std::string("plain/checkpoints/") + name + ".safetensors"));
    const SafeTensors b =
        read_safetensors(tiny_.out(std::string("mean/checkpoints/") + name + ".safetensors"));
    for (const auto& [key, tensor] : a.tensors) EXPECT_EQ(tensor.data, b.tensors.at(key).data) << key;
  }
  const std::string plain = test::files_of(tiny_.out("plain")).at("metrics.jsonl");
  const std::string mean = test::files_of(tiny_.out("mean")).at("metrics.jsonl");
  const auto last = [](const std::string& text, const char* what) { return text.substr(text.rfind(what)); };
  const auto before = [](const std::string& text) {
    return text.substr(0, text.rfind("{\"iteration\": 6, \"val"));
  };
  EXPECT_EQ(before(plain), before(mean));
  EXPECT_NE(last(plain, "\"validation\""), last(mean, "\"validation\""));
}

// A model that is not trained any further can be given other statistics.
TEST_F(TrainNorms, OfAModelThatIsThere) {
  tiny_.run("plain");
  tiny_.config.init = tiny_.out("plain/model.safetensors");
  tiny_.config.iterations = 0;
  tiny_.config.norm_batches = 3;
  EXPECT_EQ(tiny_.run("again").unreadable, 1);  // though no step met it
  tiny_.config.init.clear();
  tiny_.config.iterations = 6;
  tiny_.run("mean");
  const SafeTensors again = read_safetensors(tiny_.out("again/model.safetensors"));
  const SafeTensors mean = read_safetensors(tiny_.out("mean/model.safetensors"));
  for (const auto& [name, tensor] : mean.tensors) {
    if (is_statistic(name)) EXPECT_EQ(tensor.data, again.tensors.at(name).data) << name;
  }
}

TEST_F(TrainNorms, AStopInTheLastValidationAndAResumeComeToTheSame) {
  tiny_.config.norm_batches = 2;
  tiny_.run("whole");
  test::StopAfter stop(6);
  ASSERT_TRUE(tiny_.run("stopped", false, stop.options).interrupted);
  ASSERT_FALSE(tiny_.run("stopped", true).interrupted);
  EXPECT_EQ(test::files_of(tiny_.out("whole")).at("model.safetensors"),
            test::files_of(tiny_.out("stopped")).at("model.safetensors"));
}

}  // namespace
}  // namespace om
