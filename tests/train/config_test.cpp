#include "train/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "io/bytes.h"
#include "tensor/error.h"
#include "tests/harness/message.h"
#include "tests/io/scratch_folder.h"

namespace om {
namespace {

using test::message;

std::string complaint(const std::string& json) {
  TrainConfig config;
  return message<InputError>([&] { apply_json(config, json, "run.json"); });
}

TEST(Config, GoesThroughJson) {
  TrainConfig config;
  config.generator = "g.pt";
  config.images = "photos";
  config.lr = 2e-3;
  config.lr_noise_heads = 1e-5;
  config.iterations = 90;
  config.latent = "z";
  config.seed = 9'007'199'254'740'993;
  TrainConfig back;
  const std::vector<std::string> keys = apply_json(back, to_json(config, true), "run.json");
  EXPECT_EQ(keys.size() + 2, config_keys().size());  // without what files name where it is set
  EXPECT_EQ(to_json(back, true), to_json(config, true));
  EXPECT_EQ(back.seed, config.seed);
  EXPECT_EQ(*back.lr_noise_heads, 1e-5);
  EXPECT_EQ(back.projection(), Projection::z);
  EXPECT_EQ(to_json(config, false).find("photos"), std::string::npos);
  EXPECT_EQ(to_json(config, false).find("norm_batches"), std::string::npos);
  EXPECT_EQ(to_json(config, false).find("sync"), std::string::npos);
  config.sync_batch_norm = true;
  config.norm_batches = 7;
  EXPECT_EQ(apply_json(back, to_json(config, true), "run.json").size(), config_keys().size());
  EXPECT_TRUE(back.sync_batch_norm);
  EXPECT_EQ(back.norm_batches, 7);
}

// A path is bytes, JSON is Unicode.
TEST(Config, PathsThatAreNoUtf8GoThroughJson) {
  for (const std::string& path :
       {std::string("/caf\xe9/a b%c"), std::string("bytes:"), std::string("bytes:/x%zz"),
        std::string("\xff\xfe\x01\n"), std::string("caf\xc3\xa9 %41")}) {
    TrainConfig config, back;
    config.images = path;
    const std::string json = to_json(config, true);
    EXPECT_TRUE(is_utf8_text(json));
    apply_json(back, json, "run.json");
    EXPECT_EQ(back.images, path);
    EXPECT_EQ(to_json(back, true), json);
  }
  TrainConfig config;
  config.images = "/caf\xe9";
  EXPECT_NE(to_json(config, true).find("\"images\": \"bytes:/caf%E9\""), std::string::npos);
  EXPECT_EQ(complaint(R"({"val": "bytes:/a%e"})"),
            "run.json: 'val' begins with bytes: and holds a broken %XX");
}

TEST(Config, ListsAndFlags) {
  TrainConfig config, back;
  config.sigmas = {5, 12.5};
  config.grey = config.recursive = true;
  const std::string json = to_json(config, true);
  EXPECT_NE(json.find("\"sigmas\": [5.0, 12.5]"), std::string::npos) << json;
  apply_json(back, json, "run.json");
  EXPECT_EQ(back.sigmas, config.sigmas);
  EXPECT_TRUE(back.grey && back.recursive);
  EXPECT_EQ(to_json(config, false).find("recursive"), std::string::npos);  // where pictures lie is no setting
  EXPECT_EQ(complaint(R"({"sigmas": 5})"), "run.json: 'sigmas' expects a list of numbers, [5, 10]");
  EXPECT_EQ(complaint(R"({"grey": 1})"), "run.json: 'grey' expects true or false");
  for (const char* list : {R"([5, "x"])", "[[5]]", "[true]", "[{}]", "[null]"})
    EXPECT_NE(complaint(std::string(R"({"sigmas": )") + list + "}").find("nests"), std::string::npos) << list;
  EXPECT_EQ(complaint(R"({"lr": [1]})"), "run.json: 'lr' expects a number");
  EXPECT_NE(complaint(R"({"sigmas": [5, -1]})").find("'sigmas' must lie between 0 and"), std::string::npos);
}

TEST(Config, RelativePathsOfAFileAreRelativeToIt) {
  const test::ScratchFolder folder;
  std::filesystem::create_directory(folder / "sub");
  std::ofstream(folder / "sub/run.json") << R"({"images": "../photos", "generator": "/g.pt", "val": ""})";
  TrainConfig config;
  apply_json_file(config, (folder / "sub/run.json").string());
  EXPECT_EQ(config.images, (folder / "sub/../photos").string());
  EXPECT_EQ(config.generator, "/g.pt");
  EXPECT_EQ(config.val, "");
}

TEST(Config, TakesAFewKeysAndWholeFloats) {
  TrainConfig config;
  EXPECT_EQ(apply_json(config, R"({"iterations": 1e5, "lr": 1, "lr_noise_heads": null})", "x").size(), 3U);
  EXPECT_EQ(config.iterations, 100'000);
  EXPECT_EQ(config.lr, 1);
}

TEST(Config, NamesWhatIsWrong) {
  EXPECT_EQ(complaint(R"({"interations": 5})"),
            "run.json: unknown key 'interations'; did you mean 'iterations'?");
  EXPECT_EQ(complaint(R"({"Batch-": 5})"), "run.json: unknown key 'Batch-'; did you mean 'batch'?");
  EXPECT_EQ(complaint(R"({"wieght_decay": 5})"),
            "run.json: unknown key 'wieght_decay'; did you mean 'weight_decay'?");
  EXPECT_EQ(complaint(R"({"xylophone": 5})"), "run.json: unknown key 'xylophone'");
  EXPECT_EQ(complaint(R"({"a\nb": 5})"), "run.json: unknown key 'a\\x0ab'");
  EXPECT_EQ(complaint(R"({"batch": "4"})"), "run.json: 'batch' expects a number");
  EXPECT_EQ(complaint(R"({"batch": 4.5})"), "run.json: 'batch' expects a whole number");
  EXPECT_EQ(complaint(R"({"batch": true})"), "run.json: 'batch' expects a number");
  EXPECT_EQ(complaint(R"({"batch": 0})"), "run.json: 'batch' must lie between 1 and 65536, got 0");
  EXPECT_EQ(complaint(R"({"images": 4})"), "run.json: 'images' expects a text");
  EXPECT_EQ(complaint(R"({"batch": 4, "batch": 5})"), "run.json: key 'batch' stands twice");
  EXPECT_EQ(complaint(R"({"batch": {"size": 4}})"),
            "run.json: settings are one flat JSON object, nothing in them nests");
  EXPECT_EQ(complaint("[1]"), "run.json: settings are a JSON object {..}");
  EXPECT_EQ(complaint(R"({"batch": 4)").substr(0, 31), "run.json: no valid JSON at byte");
  EXPECT_EQ(complaint("").substr(0, 23), "run.json: no valid JSON");
  EXPECT_EQ(complaint("{\"latent\": \"\xff\"}").substr(0, 23), "run.json: no valid JSON");
  EXPECT_EQ(complaint(std::string(100'000, '[')),
            "run.json: settings are one flat JSON object, nothing in them nests");
  EXPECT_EQ(complaint(R"({"lr": 1e999})").substr(0, 23), "run.json: no valid JSON");
}

TEST(Config, FilesAreBounded) {
  const test::ScratchFolder folder;
  TrainConfig config;
  EXPECT_THROW(apply_json_file(config, folder / "none.json"), InputError);
  EXPECT_THROW(apply_json_file(config, folder.path()), InputError);
  std::ofstream(folder / "large.json") << "{" << std::string(2 << 20, ' ') << "}";
  EXPECT_THROW(apply_json_file(config, folder / "large.json"), InputError);
}

TEST(Config, IsCheckedAsAWhole) {
  TrainConfig config;
  const auto problem = [&] { return message<UsageError>([&] { check(config); }); };
  EXPECT_EQ(problem().substr(0, 22), "'generator' is missing");
  config.generator = "g";
  EXPECT_EQ(problem().substr(0, 19), "'images' is missing");
  config.images = "i";
  EXPECT_EQ(problem(), "no error");
  config.latent = "w";
  EXPECT_EQ(problem(), "'latent' must be wplus or z, got 'w'");
  config.latent = "z";
  config.lr = 1e-9;
  EXPECT_EQ(problem().substr(0, 28), "'lr_min' must not exceed 'lr");
  config.lr = 1;
  config.lpips = "vgg.pth";
  EXPECT_EQ(problem().substr(0, 27), "'lpips' needs 'lpips_heads'");
  config.lpips = "";
  config.batch = -1;
  EXPECT_EQ(problem(), "'batch' must lie between 1 and 65536, got -1");
}

TEST(Config, ARunKeepsItsSettings) {
  TrainConfig stored;
  stored.images = std::filesystem::absolute("photos").string();
  TrainConfig given = stored;
  given.images = "photos/../photos";
  given.batch = 8;
  EXPECT_NO_THROW(expect_equal(stored, given, {"images", "lr"}));
  EXPECT_EQ(message<UsageError>([&] {
              expect_equal(stored, given, {"lr", "batch"});
            }),
            "'batch' is 8, but the run to resume has 4; a resumed run keeps its settings");
  overlay(stored, given, {"batch"});
  EXPECT_EQ(stored.batch, 8);
}

}  // namespace
}  // namespace om
