// What generate, encode, reconstruct, import and info make of good input.
#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/grad.h"
#include "io/image.h"
#include "io/model_file.h"
#include "tensor/registry.h"
#include "tests/examples/fixture.h"
#include "tests/examples/program.h"
#include "tests/harness/comparison.h"
#include "train/evaluate.h"

namespace om::test {
namespace {

using Words = std::vector<std::string>;
using Sizes = std::vector<std::int64_t>;

class ImagesTest : public ProgramTest {
 protected:
  /// Runs, expects success, and returns stdout.
  static std::string succeed(const Words& words) {
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << words.front() << "\n" << run.err;
    return run.out;
  }
  /// `onemodel generate` into path(name) and path(name).safetensors.
  static SafeTensors generate(const std::string& name, const Words& more,
                              const std::string& generator = "generator.safetensors") {
    Words words = {"generate",
                   "--generator",
                   path(generator),
                   "--out",
                   path(name),
                   "--tensors",
                   path(name) + ".safetensors"};
    words.insert(words.end(), more.begin(), more.end());
    succeed(words);
    return read_safetensors(path(name) + ".safetensors");
  }
  /// Empty where no number of a is off from b's by more than `tolerance`.
  static std::string difference(const std::vector<float>& a, const std::vector<float>& b, double tolerance) {
    return harness::difference(harness::as_doubles(a), harness::as_doubles(b),
                               {.tolerance = tolerance, .scale = harness::Rule::Scale::absolute});
  }
};

TEST_F(ImagesTest, GenerateFromSeed) {
  const SafeTensors four = generate("four", {"--seed", "5", "--count", "4"});
  EXPECT_EQ(four.tensors.at("w").shape, (Sizes{4, kWidth}));
  EXPECT_EQ(four.tensors.at("image").shape, (Sizes{4, 3, kSize, kSize}));
  EXPECT_EQ(four.tensors.at("image").type, FileType::f32);
  const auto files = folder_content(path("four"));
  ASSERT_EQ(files.size(), 4U);
  EXPECT_TRUE(files.contains("000000.png") && files.contains("000003.png"));

  // the same through the library
  const NoGrad no_grad;
  const auto generator = load_generator(path("generator.safetensors"), backend("cpu"));
  RandomSource random(5, backend("cpu"));
  const Tensor w = generator->map(random.normal({4, kWidth}));
  EXPECT_EQ(difference(floats(four, "w"), to_f32(to_file(w)), 1e-6), "");
  const Tensor image = generator->synthesize(repeat_latent(w, kLatents), generator->stored_noise());
  EXPECT_EQ(difference(floats(four, "image"), to_f32(to_file(image, layouts::image)), 1e-5), "");
  const Image first = read_image(path("four/000000.png"));
  const Image expected = to_image(to_float_images(image).front());
  ASSERT_EQ(first.pixels.size(), expected.pixels.size());
  for (std::size_t i = 0; i < first.pixels.size(); ++i) EXPECT_NEAR(first.pixels[i], expected.pixels[i], 1);

  // image n does not depend on how many there are, and another seed gives others
  generate("one", {"--seed", "5"});
  EXPECT_EQ(folder_content(path("one")).at("000000.png"), files.at("000000.png"));
  generate("other", {"--seed", "6"});
  EXPECT_NE(folder_content(path("other")).at("000000.png"), files.at("000000.png"));
}

TEST_F(ImagesTest, GenerateRepeatsToTheByte) {
  const Words words = {"--seed", "7", "--count", "3", "--noise", "random", "--truncation", "0.7"};
  const auto with_threads = [&](const std::string& threads) {
    Words more = words;
    more.insert(more.end(), {"--threads", threads});
    generate("repeat" + threads, more);
    return std::pair(folder_content(path("repeat" + threads)),
                     content(path("repeat" + threads + ".safetensors")));
  };
  const auto one = with_threads("1");
  EXPECT_EQ(one, with_threads("2"));
  EXPECT_EQ(one, with_threads("1"));
}

TEST_F(ImagesTest, GenerateFromLatents) {
  const SafeTensors seeded = generate("seeded", {"--seed", "5", "--count", "2"});
  RandomSource random(5, backend("cpu"));
  save("z.safetensors", {{"z", to_file(random.normal({2, kWidth}))}});
  const SafeTensors from_z = generate("from-z", {"--latents", path("z.safetensors")});
  EXPECT_EQ(floats(from_z, "image"), floats(seeded, "image"));

  // w for every layer is that w, and given noise wins
  const std::vector<float> w = floats(seeded, "w");
  std::vector<float> repeated;
  for (int n = 0; n < 2; ++n)
    for (int layer = 0; layer < kLatents; ++layer)
      repeated.insert(repeated.end(), w.begin() + n * kWidth, w.begin() + (n + 1) * kWidth);
  std::map<std::string, FileTensor> in = {{"wplus", make_file_tensor({2, kLatents, kWidth}, repeated)}};
  save("wplus.safetensors", in);
  const SafeTensors from_wplus = generate("from-wplus", {"--latents", path("wplus.safetensors")});
  EXPECT_EQ(from_wplus.tensors.at("w").shape, (Sizes{2, kLatents, kWidth}));
  EXPECT_EQ(floats(from_wplus, "image"), floats(seeded, "image"));

  const Sizes sides = {4, 8, 8, 16, 16};
  for (std::size_t i = 0; i < sides.size(); ++i)
    in[text("noise.", i)] = waves({i % 2 ? 2 : 1, 1, sides[i], sides[i]}, 0.7 + static_cast<double>(i));
  save("noise.safetensors", in);
  const SafeTensors given = generate("given", {"--latents", path("noise.safetensors"), "--noise", "zero"});
  const NoGrad no_grad;
  const auto generator = load_generator(path("generator.safetensors"), backend("cpu"));
  std::vector<Tensor> maps;
  for (std::size_t i = 0; i < sides.size(); ++i)
    maps.push_back(from_file(in.at(text("noise.", i)), layouts::image, backend("cpu")));
  const Tensor image = generator->synthesize(from_file(in.at("wplus"), {}, backend("cpu")), maps);
  EXPECT_EQ(difference(floats(given, "image"), to_f32(to_file(image, layouts::image)), 1e-5), "");
  // and without a single stored map every one that is given serves
  generate("given-bare", {"--latents", path("noise.safetensors")}, "bare.safetensors");
}

TEST_F(ImagesTest, GenerateNoiseModes) {
  const auto images = [&](const std::string& name, const Words& more, const std::string& generator) {
    Words words = {"--seed", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return floats(generate(name, words, generator), "image");
  };
  const std::string with = "generator.safetensors", without = "bare.safetensors";
  EXPECT_EQ(images("n0", {}, with), images("n1", {"--noise", "stored"}, with));
  EXPECT_NE(images("n0", {}, with), images("n2", {"--noise", "zero"}, with));
  EXPECT_NE(images("n2", {"--noise", "zero"}, with), images("n3", {"--noise", "random"}, with));
  EXPECT_EQ(images("n4", {}, without), images("n5", {"--noise", "random"}, without));
  EXPECT_EQ(images("n2", {"--noise", "zero"}, with), images("n6", {"--noise", "zero"}, without));
  const ProgramRun run =
      onemodel({"generate", "--generator", path(without), "--noise", "stored", "--out", path("n7")});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_NE(run.err.find(path(without) + ": holds no stored noise"), std::string::npos);
}

TEST_F(ImagesTest, GenerateTruncation) {
  for (const char* generator : {"generator.safetensors", "bare.safetensors"}) {
    const auto w = [&](const Words& more) {
      Words words = {"--seed", "2", "--count", "2"};
      words.insert(words.end(), more.begin(), more.end());
      return floats(generate("t", words, generator), "w");
    };
    const auto full = w({}), none = w({"--truncation", "0"}), half = w({"--truncation", "0.5"});
    EXPECT_EQ(difference(w({"--truncation", "1"}), full, 1e-6), "");
    for (std::size_t i = 0; i < full.size(); ++i) {
      EXPECT_NEAR(half[i], (full[i] + none[i]) / 2, 1e-6);
      EXPECT_EQ(none[i], none[i % kWidth]);
    }
    if (std::string(generator) == "bare.safetensors") continue;
    const SafeTensors file = read_safetensors(path(generator));
    EXPECT_EQ(std::vector<float>(none.begin(), none.begin() + kWidth), floats(file, "latent_avg"));
  }
}

TEST_F(ImagesTest, GenerateRefusesOtherShapes) {
  const auto refused = [&](const std::map<std::string, FileTensor>& tensors, const std::string& reason) {
    save("bad.safetensors", tensors);
    expect_error(3,
                 onemodel({"generate", "--generator", path("generator.safetensors"), "--latents",
                           path("bad.safetensors"), "--out", path("bad")}),
                 path("bad.safetensors") + ": " + reason);
  };
  const FileTensor z = waves({2, kWidth}, 1);
  refused({}, "expects either z or wplus, holds neither");
  refused({{"z", z}, {"wplus", waves({2, kLatents, kWidth}, 1)}}, "expects either z or wplus, holds both");
  refused({{"z", waves({2, 7}, 1)}}, "z expects shape [N, 8], got [2, 7]");
  refused({{"z", waves({8}, 1)}}, "z expects shape [N, 8], got [8]");
  refused({{"z", waves({0, kWidth}, 1)}}, "z expects shape [N, 8], got [0, 8]");
  refused({{"wplus", waves({1, 5, kWidth}, 1)}}, "wplus expects shape [N, 6, 8], got [1, 5, 8]");
  refused({{"z", z}, {"noise.1", waves({2, 1, 4, 4}, 1)}}, "noise.1 expects shape [N, 1, 8, 8]");
  refused({{"z", z}, {"noise.0", waves({3, 1, 4, 4}, 1)}}, "noise.0 holds 3 maps for 2 latents");
  refused({{"z", z}, {"noise.5", waves({1, 1, 16, 16}, 1)}}, "noise.5: this generator takes");
  refused({{"z", {FileType::i32, {1, kWidth}, std::vector<std::byte>(32)}}}, "z expects floating numbers");
  const std::vector<float> infinite(8, INFINITY);
  refused({{"z", make_file_tensor({1, kWidth}, infinite)}}, "z holds a number that is not finite");
  EXPECT_FALSE(std::filesystem::exists(path("bad")));
}

TEST_F(ImagesTest, EncodeThenGenerateIsReconstruct) {
  for (const std::string model : {"model", "z-model"}) {
    const std::string file = path(model + ".safetensors"), codes = path(model + "-codes.safetensors");
    succeed({"encode", "--model", file, path("photos/one.png"), path("photos/two.jpg"), "--tensors", codes});
    const SafeTensors code = read_safetensors(codes);
    if (model == "model") {
      EXPECT_EQ(code.tensors.at("wplus").shape, (Sizes{2, kLatents, kWidth}));
    } else {
      EXPECT_EQ(code.tensors.at("z").shape, (Sizes{2, kWidth}));
    }
    EXPECT_EQ(code.tensors.size(), 6U);
    EXPECT_EQ(code.tensors.at("noise.4").shape, (Sizes{2, 1, kSize, kSize}));
    generate(model + "-decoded", {"--latents", codes}, model + ".safetensors");
    succeed({"reconstruct", "--model", file, path("photos"), "--out", path(model + "-direct")});
    const auto decoded = folder_content(path(model + "-decoded")),
               direct = folder_content(path(model + "-direct"));
    EXPECT_EQ(decoded.at("000000.png"), direct.at("one.png"));
    EXPECT_EQ(decoded.at("000001.png"), direct.at("two.png"));
  }
}

TEST_F(ImagesTest, EncodeDoesTheOthersFirst) {
  const std::string codes = path("some-codes.safetensors");
  const ProgramRun run = onemodel({"encode", "--model", path("model.safetensors"), path("broken.png"),
                                   path("photos/one.png"), "--tensors", codes});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_NE(run.err.find(path("broken.png") + ": "), std::string::npos);
  EXPECT_EQ(read_safetensors(codes).tensors.at("wplus").shape[0], 1);
}

TEST_F(ImagesTest, ReconstructFolder) {
  const ProgramRun run = onemodel({"reconstruct", "--model", path("model.safetensors"), path("mixed"),
                                   path("photos"), "--out", path("folder"), "--json"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_NE(run.err.find(path("mixed/broken.png") + ": "), std::string::npos);
  EXPECT_NE(run.err.find("skipped 1 of 2 images"), std::string::npos);
  const auto files = folder_content(path("folder"));
  EXPECT_EQ(files.size(), 5U);
  for (const char* name : {"good.png", "one.png", "three.png", "two.png", "contact-sheet.png"})
    EXPECT_TRUE(files.contains(name)) << name;
  const Image sheet = read_image(path("folder/contact-sheet.png"));
  EXPECT_EQ(sheet.width, 3 * kSize);
  EXPECT_EQ(sheet.height, 4 * kSize);
  EXPECT_EQ(read_image(path("folder/two.png")).width, kSize);

  const auto json = nlohmann::json::parse(run.out);
  ASSERT_EQ(json.size(), 3U);
  ASSERT_EQ(json.at("images").size(), 4U);
  double total = 0;
  for (const auto& image : json.at("images")) {
    EXPECT_EQ(image.size(), 5U);
    EXPECT_TRUE(std::filesystem::exists(image.at("output").get<std::string>()));
    for (const char* key : {"psnr", "ssim", "ssim_wang"}) EXPECT_TRUE(image.at(key).is_number()) << key;
    total += image.at("psnr").get<double>();
  }
  EXPECT_EQ(json.at("images")[0].at("file"), path("mixed") + "/good.png");
  EXPECT_EQ(json.at("images")[2].at("file"), path("photos") + "/three.png");
  EXPECT_EQ(json.at("images")[3].at("output"), path("folder") + "/two.png");
  EXPECT_EQ(json.at("mean").size(), 3U);
  EXPECT_GT(json.at("images_per_second").get<double>(), 0);
  EXPECT_NEAR(json.at("mean").at("psnr").get<double>(), total / 4, 1e-9);
}

TEST_F(ImagesTest, SubfoldersAreReadWhereAskedFor) {
  std::filesystem::create_directories(path("tree/sub/deep"));
  std::filesystem::copy_file(path("photos/one.png"), path("tree/sub/deep/one.png"));
  std::filesystem::copy_file(path("photos/three.png"), path("tree/sub/one.png"));
  const std::string model = path("model.safetensors");
  const Words encode = {"encode", "--model", model, path("tree"), "--tensors", path("tree.safetensors")};
  const Words reconstruct = {"reconstruct", "--model", model, path("tree"), "--out", path("tree-out")};
  for (Words words : {encode, reconstruct}) {
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 3);
    ASSERT_EQ(run.complaints().size(), 1U) << run.err;
    EXPECT_NE(run.err.find(path("tree") + ": holds no readable image, but its subfolders do; --recursive"),
              std::string::npos)
        << run.err;
    words.emplace_back("--recursive");
    succeed(words);
  }
  EXPECT_EQ(read_safetensors(path("tree.safetensors")).tensors.at("wplus").shape[0], 2);
  const auto files = folder_content(path("tree-out"));
  for (const char* name : {"one.png", "one-2.png", "contact-sheet.png"})
    EXPECT_TRUE(files.contains(name)) << name;
  const ProgramRun none =
      onemodel({"encode", "--model", model, path("empty"), "--tensors", path("tree.safetensors")});
  EXPECT_EQ(none.err.find("--recursive"), std::string::npos) << none.err;
}

TEST_F(ImagesTest, LongNames) {
  std::filesystem::create_directories(path("long"));
  std::vector<std::string> names = {std::string(251, 'a') + ".png", std::string(250, 'b') + ".jpeg",
                                    std::string(255, 'c'), std::string(254, 'c') + "d"};
  for (const std::string& name : names)
    std::filesystem::copy_file(path("photos/one.png"), path("long/" + name));
  Words words = {"reconstruct", "--model", path("model.safetensors"), path("long")};
  for (const std::string& name : {names[2], names[3]})
    words.push_back(path("long/" + name));  // no image's names
  words.insert(words.end(), {"--out", path("long-out"), "--json"});
  const auto json = nlohmann::json::parse(succeed(words));
  ASSERT_EQ(json.at("images").size(), 4U);
  EXPECT_EQ(folder_content(path("long-out")).size(), 5U);
  for (const auto& image : json.at("images"))
    EXPECT_TRUE(std::filesystem::exists(image.at("output").get<std::string>())) << image;
  // beside the inputs the names need a number as well
  succeed({"reconstruct", "--model", path("model.safetensors"), path("long"), "--out", path("long")});
  EXPECT_EQ(content(path("long/" + names[0])), content(path("photos/one.png")));
}

TEST_F(ImagesTest, EscapeCodesInNamesAreShownEscaped) {
  const std::string red = "\x1b[31mred\n\xc2\x9b\x7f.png", shown = "\\x1b[31mred\\x0a\\xc2\\x9b\\x7f.png";
  std::filesystem::create_directories(path("codes"));
  std::filesystem::copy_file(path("photos/one.png"), path("codes/" + red));
  std::filesystem::copy_file(path("broken.png"), path("codes/2" + red));
  const auto expect_plain = [](const std::string& text) {
    for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c != 0x7f)) << text;
  };
  const std::string model = path("model.safetensors"), out = path("codes-out");
  for (const bool json : {false, true}) {
    Words words = {"reconstruct", "--model", model, path("codes"), "--out", out};
    if (json) words.emplace_back("--json");
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    expect_plain(run.out);
    expect_plain(run.err);
    EXPECT_NE(run.err.find("2" + shown), std::string::npos) << run.err;
    if (json) {
      EXPECT_EQ(nlohmann::json::parse(run.out).at("images")[0].at("file"), path("codes/" + red));
    } else {
      EXPECT_NE(run.out.find(path("codes/") + shown), std::string::npos) << run.out;
    }
  }
  for (const Words& words :
       {Words{"reconstruct", "--model", path(red), path("codes"), "--out", out},
        Words{"encode", "--model", model, path("2" + red), "--tensors", path("codes.safetensors")},
        Words{"generate", "--generator", path(red), "--out", out},
        Words{"train", "--generator", path(red), "--images", path("photos"), "--out", out},
        Words{"info", path(red)}, Words{"import", path(red), "-o", out}, Words{red},
        Words{"info", model, red}, Words{"info", model, "--" + red},
        Words{"generate", "--generator", model, "--out", path("text.txt/" + red)}}) {
    const ProgramRun run = onemodel(words);
    EXPECT_NE(run.exit_code, 0);
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    expect_plain(run.err);
    EXPECT_NE(run.err.find("x1b[31mred"), std::string::npos) << run.err;
  }
}

TEST_F(ImagesTest, ReconstructNumbersEqualNames) {
  std::filesystem::create_directories(path("twins/a"));
  std::filesystem::create_directories(path("twins/b"));
  for (const char* name : {"twins/a/x.png", "twins/a/x-2.png", "twins/b/x.png", "twins/b/contact-sheet.png"})
    std::filesystem::copy_file(path("photos/one.png"), path(name));
  succeed({"reconstruct", "--model", path("model.safetensors"), path("twins/a"), path("twins/b"), "--out",
           path("twins/out")});
  const auto files = folder_content(path("twins/out"));
  EXPECT_EQ(files.size(), 5U);
  for (const char* name : {"x-2.png", "x.png", "x-3.png", "contact-sheet.png", "contact-sheet-2.png"})
    EXPECT_TRUE(files.contains(name)) << name;
  // no input is ever overwritten
  const auto before = folder_content(path("twins/a"));
  succeed({"reconstruct", "--model", path("model.safetensors"), path("twins/a"), "--out", path("twins/a")});
  for (const auto& [name, bytes] : before) EXPECT_EQ(folder_content(path("twins/a")).at(name), bytes) << name;
}

TEST_F(ImagesTest, ReconstructRepeatsToTheByte) {
  const auto with_threads = [&](const std::string& out, const std::string& threads) {
    const std::string json = succeed({"reconstruct", "--model", path("model.safetensors"), path("photos"),
                                      "--json", "--out", path(out), "--threads", threads});
    nlohmann::json parsed = nlohmann::json::parse(json);
    EXPECT_GT(parsed.at("images_per_second").get<double>(), 0);
    parsed.erase("images_per_second");
    std::string figures = parsed.dump();  // but for the folder that each went into
    for (std::size_t at = 0; (at = figures.find("/" + out + "/", at)) != std::string::npos;)
      figures.replace(at, out.size() + 2, "/out/");
    return std::pair(figures, folder_content(path(out)));
  };
  const auto one = with_threads("repeat-a", "1");
  EXPECT_EQ(one, with_threads("repeat-b", "2"));
  EXPECT_EQ(one, with_threads("repeat-c", "1"));
}

TEST_F(ImagesTest, ReconstructDoesTheOthersFirst) {
  const ProgramRun run =
      onemodel({"reconstruct", "--model", path("model.safetensors"), path("missing.png"), path("broken"),
                path("empty"), path("photos/one.png"), "--out", path("others")});
  EXPECT_EQ(run.exit_code, 3);
  for (const std::string& name : {path("missing.png"), path("broken"), path("empty")})
    EXPECT_NE(run.err.find("onemodel: " + name + ": "), std::string::npos) << name;
  EXPECT_EQ(folder_content(path("others")).size(), 2U);
  EXPECT_NE(run.out.find(path("photos/one.png")), std::string::npos);
}

TEST_F(ImagesTest, ImportKeepsEverything) {
  const std::string out = path("imported.safetensors");
  const std::string report = succeed({"import", path("model.safetensors"), "-o", out});
  EXPECT_NE(report.find("StyleGAN 2 generator"), std::string::npos);
  EXPECT_NE(report.find("encoder into W+"), std::string::npos);
  EXPECT_EQ(content(out), content(path("model.safetensors")));

  std::map<std::string, FileTensor> tensors = read_safetensors(path("model.safetensors")).tensors;
  tensors["optimizer.step"] = waves({1}, 1);
  save("more.safetensors", tensors);
  const std::string z_report = succeed({"import", path("more.safetensors"), "-o", out, "--latent", "z"});
  EXPECT_NE(z_report.find("encoder into z"), std::string::npos);
  EXPECT_NE(z_report.find("left   optimizer: 1 tensors"), std::string::npos) << z_report;
  EXPECT_EQ(read_safetensors(out).metadata.at("latent"), "z");
}

TEST_F(ImagesTest, InfoTellsWhatIsInside) {
  const std::string all = succeed({"info", path("model.safetensors")});
  for (const char* part : {"safetensors", "StyleGAN 2 generator", "16 pixels", "6 latents of width 8",
                           "encoder into W+", "of f32: ", "bytes", "kind = autoencoder", "latent = wplus"})
    EXPECT_NE(all.find(part), std::string::npos) << part << "\n" << all;
  EXPECT_NE(
      succeed({"info", "--tensors", path("bare.safetensors")}).find("conv1.conv.weight f32 [1, 6, 6, 3, 3]"),
      std::string::npos);
  save("waves.safetensors", {{"z", waves({2, 3}, 1)}});
  EXPECT_NE(succeed({"info", path("waves.safetensors")}).find("none that is known"), std::string::npos);
}

}  // namespace
}  // namespace om::test
