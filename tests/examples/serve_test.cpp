// onemodel serve: its answers are what the other commands make of the same pictures.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "io/image.h"
#include "tensor/registry.h"
#include "tests/examples/serve_fixture.h"

namespace om::test {
namespace {

using Answers = ServeTest;

Image decoded(const std::string& bytes) {
  return decode_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "the answer");
}

/// Of pictures [N, 3, 16, 16].
float plane_value(const std::vector<float>& values, std::size_t n, int y, int x, int c) {
  const auto at = [](int i) { return static_cast<std::size_t>(i); };
  return values.at(((n * 3 + at(c)) * 16 + at(y)) * 16 + at(x));
}

/// A factor for each of the model's five maps: the first as given, the others 1.
std::string factors(const std::string& factor) {
  std::string list = "[" + factor;
  for (int i = 1; i < 5; ++i) list += ", 1";
  return list + "]";
}

std::string ask_picture(const std::string& picture, const std::string& more = "") {
  return R"({"picture": )" + picture + R"(, "maps": "predicted")" + more + "}";
}

TEST_F(Answers, ThePageAndWhatTheModelIs) {
  const HttpReply page = http_get(port(), "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("<h1>Play with a model</h1>"), std::string::npos);
  for (const char* header : {"Content-Security-Policy: default-src 'none'", "frame-ancestors 'none'",
                             "X-Content-Type-Options: nosniff", "Cross-Origin-Resource-Policy: same-origin",
                             "Cache-Control: no-store", "Content-Type: text/html; charset=utf-8"})
    EXPECT_NE(page.head.find(header), std::string::npos) << header << "\n" << page.head;
  for (const char* file : {"/look.css", "/serve.css", "/ask.js", "/serve.js"})
    EXPECT_EQ(http_get(port(), file).status, 200) << file;
  EXPECT_EQ(http_get(port(), "/api/model").body,
            R"({"name": "model.safetensors", "size": 16, "maps": [4, 8, 8, 16, 16], "encodes": true, )"
            R"("predicts_noise": true, "denoises": false, "sigmas": [5.0, 10.0, 15.0, 25.0, 35.0, 50.0],)"
            "\n\"stored_noise\": true, \"most_bytes\": 67108864, \"begun\": " +
                member(http_get(port(), "/api/model").body, "begun") + "}");
}

TEST_F(Answers, ThePictureIsReconstructs) {
  ASSERT_EQ(onemodel({"reconstruct", "--model", path("model.safetensors"), path("photos/two.jpg"), "--out",
                      path("made"), "--json"})
                .exit_code,
            0);
  const HttpReply reply = http_post(port(), "/api/picture", ask_picture(sent("photos/two.jpg")));
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(bytes_of_url(member(reply.body, "picture")), content(path("made/two.png")));
  EXPECT_EQ(
      http_post(port(), "/api/picture", ask_picture(sent("photos/two.jpg"), ", \"factors\": " + factors("1")))
          .body,
      reply.body);
  EXPECT_NE(reply.body.find("\"scores\": {\"psnr\": "), std::string::npos);
}

TEST_F(Answers, AFactorIsNoiseShifts) {
  const ProgramRun run = onemodel({"figure", "noise-shift", "--model", path("model.safetensors"),
                                   path("photos/one.png"), "--maps", "0", "--factors=2.5", "--out",
                                   path("shift.png"), "--tensors", path("shift.safetensors")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<float> values = floats(read_safetensors(path("shift.safetensors")), "image.0");
  const HttpReply reply = http_post(port(), "/api/picture",
                                    ask_picture(sent("photos/one.png"), ", \"factors\": " + factors("2.5")));
  const Image shown = decoded(bytes_of_url(member(reply.body, "picture")));
  ASSERT_EQ(values.size(), shown.pixels.size());
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 16; ++x)
      for (int c = 0; c < 3; ++c) {
        const float value = plane_value(values, 0, y, x, c);
        EXPECT_EQ(shown.at(y, x, c), static_cast<int>((std::clamp(value, -1.0F, 1.0F) + 1) / 2 * 255));
      }
  const std::string plain = http_post(port(), "/api/picture", ask_picture(sent("photos/one.png"))).body;
  EXPECT_NE(member(plain, "picture"), member(reply.body, "picture"));
}

TEST_F(Answers, NoiseIsWhatIsChosen) {
  const std::string picture = sent("photos/one.png");
  const auto with = [&](const std::string& maps, const std::string& seed) {
    const HttpReply reply =
        http_post(port(), "/api/picture",
                  R"({"picture": )" + picture + R"(, "maps": ")" + maps + R"(", "seed": )" + seed + "}");
    EXPECT_EQ(reply.status, 200) << reply.body;
    return member(reply.body, "picture");
  };
  EXPECT_EQ(with("predicted", "1"), with("predicted", "2"));
  EXPECT_EQ(with("zero", "1"), with("zero", "2"));
  EXPECT_EQ(with("random", "1"), with("random", "1"));
  EXPECT_NE(with("random", "1"), with("random", "2"));
  EXPECT_NE(with("random", "1"), with("predicted", "1"));
  EXPECT_NE(with("zero", "1"), with("predicted", "1"));
  EXPECT_NE(with("zero", "1"), with("random", "1"));
}

TEST_F(Answers, BetweenIsFigureInterpolates) {
  const std::string left = sent("photos/one.png"), right = sent("photos/two.jpg");
  const auto at = [&](const std::string& latent, const std::string& noise) {
    const HttpReply reply = http_post(port(), "/api/between",
                                      R"({"left": )" + left + R"(, "right": )" + right + R"(, "latent": )" +
                                          latent + R"(, "noise": )" + noise + "}");
    EXPECT_EQ(reply.status, 200) << reply.body;
    return bytes_of_url(member(reply.body, "picture"));
  };
  const auto alone = [&](const std::string& picture) {
    return bytes_of_url(member(http_post(port(), "/api/picture", ask_picture(picture)).body, "picture"));
  };
  EXPECT_EQ(at("0", "0"), alone(left));
  EXPECT_EQ(at("1", "1"), alone(right));
  EXPECT_NE(at("0", "1"), at("1", "0"));
  EXPECT_NE(at("0.5", "0"), at("0", "0.5"));
  // with the left latent, the noise half way: figure 6's third row, middle
  const ProgramRun run = onemodel({"figure", "interpolate", "--model", path("model.safetensors"),
                                   path("photos/one.png"), path("photos/two.jpg"), "--steps", "3", "--out",
                                   path("between.png"), "--tensors", path("between.safetensors")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const SafeTensors file = read_safetensors(path("between.safetensors"));
  for (const auto& [name, latent] : std::map<std::string, std::string>{{"noise", "0"}, {"both", "0.5"}}) {
    const Image shown = decoded(at(latent, "0.5"));
    bool found = false;
    for (const auto& [tensor, values_of] : file.tensors) {
      if (tensor.find(name) == std::string::npos) continue;
      const std::vector<float> values = to_f32(values_of);
      found = true;
      for (int y = 0; y < 16; ++y)
        for (int x = 0; x < 16; ++x)
          for (int c = 0; c < 3; ++c) {
            const float value = plane_value(values, 1, y, x, c);
            EXPECT_EQ(shown.at(y, x, c), static_cast<int>((std::clamp(value, -1.0F, 1.0F) + 1) / 2 * 255));
          }
    }
    EXPECT_TRUE(found) << name;
  }
}

TEST_F(Answers, NoiseIsRemovedAsDenoiseDoes) {
  const ProgramRun run =
      onemodel({"denoise", "--model", path("model.safetensors"), path("photos/two.jpg"), "--sigma", "25",
                "--noise-at", "model", "--seed", "3", "--out", path("denoised"), "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const HttpReply reply = http_post(
      port(), "/api/denoise", R"({"picture": )" + sent("photos/two.jpg") + R"(, "sigma": 25, "seed": 3})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(bytes_of_url(member(reply.body, "noisy")), content(path("denoised/noisy/two.png")));
  EXPECT_EQ(bytes_of_url(member(reply.body, "picture")), content(path("denoised/two.png")));
  EXPECT_EQ(http_post(port(), "/api/denoise", R"({"picture": 1, "sigma": -1, "seed": 3})").status, 400);
}

TEST_F(Answers, SamplesAreGenerates) {
  const auto sample = [](const std::string& more) {
    const HttpReply reply = http_post(port(), "/api/sample", R"({"seed": 5, )" + more + "}");
    EXPECT_EQ(reply.status, 200) << reply.body;
    return bytes_of_url(member(reply.body, "picture"));
  };
  const auto generated = [](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"generate", "--generator", path("generator.safetensors"), "--seed", "5",
                                      "--out",    path("drawn")};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(onemodel(words).exit_code, 0);
    return content(path("drawn/000000.png"));
  };
  EXPECT_EQ(sample(R"("maps": "stored", "truncation": null)"), generated({}));
  EXPECT_EQ(sample(R"("maps": "random")"), generated({"--noise", "random"}));
  EXPECT_EQ(sample(R"("maps": "zero", "truncation": 0.5)"),
            generated({"--noise", "zero", "--truncation", "0.5"}));
}

TEST_F(Answers, TheCodeGivesThePictureAgain) {
  const std::string question = ask_picture(sent("photos/three.png"), ", \"factors\": " + factors("-1.5"));
  const HttpReply code = http_post(port(), "/api/code", question);
  ASSERT_EQ(code.status, 200) << code.body;
  std::ofstream(path("code.safetensors"), std::ios::binary) << code.body;
  ASSERT_EQ(onemodel({"generate", "--generator", path("generator.safetensors"), "--latents",
                      path("code.safetensors"), "--out", path("again")})
                .exit_code,
            0);
  EXPECT_EQ(content(path("again/000000.png")),
            bytes_of_url(member(http_post(port(), "/api/picture", question).body, "picture")));
  const HttpReply sheet = http_post(port(), "/api/sheet", question);
  ASSERT_EQ(sheet.status, 200);
  EXPECT_NE(sheet.head.find("Content-Type: image/png"), std::string::npos);
  EXPECT_GT(decoded(sheet.body).width, 5 * 16);
}

TEST_F(Answers, TheNewestOfAChannelWins) {
  const std::string picture = sent("photos/one.png");
  const auto asked = [&](int number) {
    return http_post(
        port(), "/api/picture",
        ask_picture(picture, R"(, "channel": "tab slider", "number": )" + std::to_string(number) +
                                 ", \"factors\": " + factors(std::to_string(number * 0.1))));
  };
  std::vector<std::future<HttpReply>> replies;
  for (int number = 1; number <= 30; ++number)
    replies.push_back(std::async(std::launch::async, [&, number] { return asked(number); }));
  for (int number = 1; number <= 30; ++number) {
    const HttpReply reply = replies[static_cast<std::size_t>(number) - 1].get();
    EXPECT_TRUE(reply.status == 200 || (reply.status == 204 && reply.body.empty() && number < 30))
        << number << ": " << reply.status;
  }
  EXPECT_EQ(asked(29).status, 204);
  EXPECT_EQ(asked(30).status, 204);
  EXPECT_EQ(asked(31).status, 200);
  // another tab's numbers are its own
  EXPECT_EQ(
      http_post(port(), "/api/picture", ask_picture(picture, R"(, "channel": "other", "number": 1)")).status,
      200);
}

TEST_F(Answers, OldPicturesAreGone) {
  const std::string first = sent("photos/one.png");
  for (int i = 0; i < 32; ++i) sent("photos/one.png");
  expect_refusal(http_post(port(), "/api/picture", ask_picture(first)), 410, "not kept");
  expect_refusal(
      http_post(port(), "/api/between", R"({"left": 1000000, "right": 1, "latent": 0, "noise": 0})"), 410);
}

TEST_F(Answers, QuestionsAreChecked) {
  const std::string picture = sent("photos/one.png");
  for (const std::string& question :
       {std::string(), std::string("[1]"), std::string("{"), ask_picture("-1"), ask_picture("1.5"),
        ask_picture("\"1\""), ask_picture(picture, R"(, "factors": [1, 2])"),
        ask_picture(picture, R"(, "factors": ["x"])"),
        ask_picture(picture, ", \"factors\": " + factors("1e30")),
        ask_picture(picture, R"(, "factors": [1, [2]])"), ask_picture(picture, R"(, "seed": -1)"),
        ask_picture(picture, R"(, "channel": "a")"), ask_picture(picture, R"(, "channel": "", "number": 1)"),
        ask_picture(picture, R"(, "channel": ")" + std::string(65, 'a') + R"(", "number": 1)"),
        R"({"picture": )" + picture + R"(, "maps": "other"})"})
    expect_refusal(http_post(port(), "/api/picture", question), 400);
  for (const char* question :
       {R"({"left": 1, "right": 1, "latent": 1.5, "noise": 0})",
        R"({"left": 1, "right": 1, "latent": null, "noise": 0})", R"({"left": 1, "right": 1, "latent": 0})"})
    expect_refusal(http_post(port(), "/api/between", question), 400);
  expect_answers();
}

class ServeProgram : public ProgramTest {
 protected:
  static std::string sent_to(int port, const std::string& file) {
    return picture_number(http_post(port, "/api/pictures", content(path(file)), "application/octet-stream"));
  }
};

TEST_F(ServeProgram, AGeneratorAloneGivesSamples) {
  const Served served({"--model", path("generator.safetensors")});
  EXPECT_NE(http_get(served.port(), "/api/model").body.find("\"encodes\": false"), std::string::npos);
  EXPECT_EQ(http_post(served.port(), "/api/sample", R"({"seed": 1, "maps": "random"})").status, 200);
  EXPECT_EQ(
      http_post(served.port(), "/api/pictures", content(path("photos/one.png")), "application/octet-stream")
          .status,
      404);
}

TEST_F(ServeProgram, AServerHasNoneOfAnothersPictures) {
  std::string first, before;
  {
    const Served served({"--model", path("model.safetensors")});
    first = sent_to(served.port(), "photos/one.png");
    before = member(http_get(served.port(), "/api/model").body, "begun");
  }
  const Served served({"--model", path("model.safetensors")});
  EXPECT_NE(member(http_get(served.port(), "/api/model").body, "begun"), before);
  for (const char* file : {"photos/one.png", "photos/two.jpg"})
    EXPECT_NE(sent_to(served.port(), file), first);
  const HttpReply reply = http_post(served.port(), "/api/picture", ask_picture(first));
  EXPECT_EQ(reply.status, 410) << reply.body;
}

/// On a device the first picture is made before the line that says the address; on the processor nothing is
/// waited for.
TEST_F(ServeProgram, ADeviceIsWarmBeforeTheAddressIsSaid) {
  {
    const Served served({"--model", path("model.safetensors")});
    EXPECT_EQ(served.said().find("warm"), std::string::npos) << served.said();
  }
  int devices = 0;
  for (const char* name : {"opencl", "cuda"}) {
    try {
      backend(name);
    } catch (const Error&) {
      continue;
    }
    ++devices;
    for (const char* file : {"model.safetensors", "z-model.safetensors", "generator.safetensors"}) {
      const Served served({"--model", path(file), "--backend", name, "--precision", "fp32"});
      const std::string said = served.said();
      const std::size_t begins = said.find("warming up with one picture\n"), warm = said.find("warm after "),
                        address = said.find("serving http://127.0.0.1:");
      EXPECT_LT(begins, warm) << said;
      EXPECT_LT(warm, address) << said;
      EXPECT_NE(address, std::string::npos) << said;
      EXPECT_EQ(http_post(served.port(), "/api/sample", R"({"seed": 1, "maps": "zero"})").status, 200);
    }
  }
  if (devices == 0) GTEST_SKIP() << "no device but the processor here: neither OpenCL nor CUDA";
}

TEST_F(ServeProgram, CtrlCEndsItWhateverIsOpen) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Served served({"--model", path("model.safetensors")});
    const Connection idle(served.port()), half(served.port());
    EXPECT_TRUE(half.send("GET / HTTP/1.1\r\nHost: "));
    EXPECT_EQ(http_get(served.port(), "/").status, 200);
    served.program().send(signal);
    const auto begin = std::chrono::steady_clock::now();
    const ProgramRun run = served.program().end();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
    EXPECT_EQ(run.exit_code, 130) << run.err;
    EXPECT_EQ(run.complaints().size(), 2U) << run.err;
    EXPECT_TRUE(run.err.ends_with("\nended\n")) << run.err;
  }
}

TEST_F(ServeProgram, WhatCannotBeIsOneLine) {
  const auto expect = [](const std::vector<std::string>& words, int code, const std::string& reason) {
    const ProgramRun run = onemodel(words);
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_EQ(run.complaints().size(), 1U) << run.err;
    EXPECT_NE(run.err.find(reason), std::string::npos) << run.err;
  };
  const Served served({"--model", path("model.safetensors")});
  const std::string port = std::to_string(served.port());
  RunningProgram second({"serve", "--model", path("model.safetensors"), "--port", port});
  EXPECT_TRUE(second.says("onemodel: 127.0.0.1:" + port + ": cannot listen: Address already in use\n"));
  second.send(SIGKILL);  // where it serves all the same
  EXPECT_EQ(second.end().exit_code, 1);
  expect({"serve", "--model", path("nowhere"), "--port", "0"}, 3, "nowhere: ");
  expect({"serve", "--model", path("text.txt"), "--port", "0"}, 3, "text.txt: ");
  expect({"serve", "--model", path("model.safetensors"), "--port", "65536"}, 2, "--port must lie between");
  expect({"serve", "--model", path("model.safetensors"), "--port", "-1"}, 2, "--port must lie between");
}

}  // namespace
}  // namespace om::test
