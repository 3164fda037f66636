#include "examples/serve_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/data_url.h"
#include "io/image.h"
#include "train/codes.h"
#include "train/flat_json.h"

namespace om {
namespace {

constexpr double kMaxFactor = 100, kMaxTruncation = 10;
constexpr double kMaxWhole = 9007199254740992;  // 2^53: whole numbers of JavaScript
constexpr std::size_t kMaxChannel = 64;

/// A question's values, by name. UsageError naming the one that is missing or out of range.
class Question {
 public:
  explicit Question(const std::string& body) : object_(read_flat_json(body)) {
    if (!object_.valid || !object_.is_object) fail<UsageError>("the question is no JSON object");
  }

  double number(const char* name, double least, double most) const {
    const JsonValue* value = find(name);
    const auto* whole = value != nullptr ? std::get_if<std::int64_t>(value) : nullptr;
    const auto* real = value != nullptr ? std::get_if<double>(value) : nullptr;
    if (whole == nullptr && real == nullptr) fail<UsageError>("'", name, "' expects a number");
    return checked(name, whole != nullptr ? static_cast<double>(*whole) : *real, least, most);
  }

  std::uint64_t whole(const char* name) const {
    const JsonValue* value = find(name);
    const auto* whole = value != nullptr ? std::get_if<std::int64_t>(value) : nullptr;
    if (whole == nullptr || *whole < 0 || static_cast<double>(*whole) > kMaxWhole)
      fail<UsageError>("'", name, "' expects a whole number");
    return static_cast<std::uint64_t>(*whole);
  }

  bool has(const char* name) const {
    const JsonValue* value = find(name);
    return value != nullptr && !std::holds_alternative<std::nullptr_t>(*value);
  }

  /// The place among `names`.
  std::size_t one_of(const char* name, const std::vector<std::string>& names) const {
    const JsonValue* value = find(name);
    const auto* word = value != nullptr ? std::get_if<std::string>(value) : nullptr;
    const auto found = word != nullptr ? std::find(names.begin(), names.end(), *word) : names.end();
    if (found == names.end())
      fail<UsageError>("'", name, "' expects one of ", fmt::format("{}", fmt::join(names, ", ")));
    return static_cast<std::size_t>(found - names.begin());
  }

  std::vector<double> numbers(const char* name, double least, double most) const {
    const JsonValue* value = find(name);
    const auto* list = value != nullptr ? std::get_if<std::vector<double>>(value) : nullptr;
    if (list == nullptr) fail<UsageError>("'", name, "' expects a list of numbers");
    for (const double item : *list) checked(name, item, least, most);
    return *list;
  }

  /// "" where there is none.
  std::string channel() const {
    const JsonValue* value = find("channel");
    if (value == nullptr) return "";
    const auto* word = std::get_if<std::string>(value);
    if (word == nullptr || word->empty() || word->size() > kMaxChannel)
      fail<UsageError>("'channel' expects a text of at most ", kMaxChannel, " bytes");
    return *word;
  }

 private:
  const JsonValue* find(std::string_view name) const {
    for (const auto& [key, value] : object_.members)
      if (key == name) return &value;
    return nullptr;
  }
  static double checked(const char* name, double value, double least, double most) {
    if (!(value >= least && value <= most))
      fail<UsageError>("'", name, "' must lie between ", least, " and ", most);
    return value;
  }

  FlatJson object_;
};

std::string png_url(const Image& image) { return data_url("image/png", encode_png(image)); }

std::string scores_json(const ImageScores& scores) {
  const auto number = [](const std::optional<double>& value) { return value ? json_text(*value) : "null"; };
  return fmt::format(R"({{"psnr": {}, "ssim": {}}})", number(scores.psnr), number(scores.ssim));
}

std::string list_of(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, ", "));
}

/// Runs a question's work where the model is; its answer.
HttpAnswer ask(NewestQueue& queue, const Question* question, const std::function<HttpAnswer()>& work) {
  HttpAnswer answer;
  const std::string channel = question != nullptr ? question->channel() : "";
  const std::uint64_t number = channel.empty() ? 0 : question->whole("number");
  NewestQueue::Fate fate = NewestQueue::Fate::closed;
  try {
    fate = queue.run(channel, number, [&] { answer = work(); });
  } catch (const PictureGone& gone) {
    return refusal(410, gone.what());
  }
  switch (fate) {
    case NewestQueue::Fate::done: return answer;
    case NewestQueue::Fate::stale: return {204, "", ""};
    case NewestQueue::Fate::full: return refusal(503, "too much is asked at once");
    case NewestQueue::Fate::closed: break;
  }
  return refusal(503, "the server is ending");
}

Playground::NoiseChange change_of(const Question& question) {
  constexpr NoiseMaps kinds[] = {NoiseMaps::predicted, NoiseMaps::random, NoiseMaps::zero};
  Playground::NoiseChange change;
  change.maps = kinds[question.one_of("maps", {"predicted", "random", "zero"})];
  change.seed = question.has("seed") ? question.whole("seed") : 0;
  if (question.has("factors")) change.factors = question.numbers("factors", -kMaxFactor, kMaxFactor);
  return change;
}

HttpAnswer json(std::string body) { return {200, "application/json", std::move(body)}; }

}  // namespace

ServeApi::ServeApi(Playground& playground, NewestQueue& queue, const std::string& name, std::uint64_t begun)
    : playground_(playground), queue_(queue) {
  const Decoder& decoder = playground.decoder();
  std::vector<std::string> sides, sigmas;
  for (const std::int64_t side : decoder.noise_sizes()) sides.push_back(text(side));
  for (const double sigma : playground.sigmas()) sigmas.push_back(json_text(sigma));
  model_ = fmt::format(
      R"({{"name": {}, "size": {}, "maps": {}, "encodes": {}, "predicts_noise": {}, "denoises": {}, "sigmas": {},
"stored_noise": {}, "most_bytes": {}, "begun": {}}})",
      json_text(name), decoder.size(), list_of(sides), playground.encodes(), playground.predicts_noise(),
      playground.denoises().has_value(), list_of(sigmas), !decoder.stored_noise().empty(), kMaxUpload, begun);
}

void ServeApi::add_to(HttpServer& server) {
  server.get("/api/model", [this] { return json(model_); });
  const auto post = [&](const std::string& path, Answerer answerer) {
    server.post(path, [this, answerer](const std::string& body) { return (this->*answerer)(body); });
  };
  post("/api/sample", &ServeApi::sample);
  if (!playground_.encodes()) return;
  post(std::string(kUploadPath), &ServeApi::upload);
  post("/api/picture", &ServeApi::picture);
  post("/api/between", &ServeApi::between);
  post("/api/denoise", &ServeApi::denoise);
  post("/api/sheet", &ServeApi::sheet);
  post("/api/code", &ServeApi::code);
}

HttpAnswer ServeApi::upload(const std::string& body) {
  struct Turn {
    std::atomic<int>& count;
    int before = count++;
    ~Turn() { --count; }
  } const turn{uploads_};
  if (turn.before >= kMaxUploads) return refusal(503, "too many pictures at once");
  const std::lock_guard one_at_a_time(decoding_);  // until it is encoded: pixels take more than files
  const PixelLimit limit(kMaxPixels);
  Image image =
      decode_image({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()}, "the picture");
  return ask(queue_, nullptr, [&] {
    const Playground::Picture& added = playground_.add(std::move(image));
    std::vector<std::string> maps;
    for (const Image& map : playground_.maps_of(added.code)) maps.push_back("\"" + png_url(map) + "\"");
    return json(fmt::format(R"({{"picture": {}, "width": {}, "height": {}, "input": "{}", "maps": {}}})",
                            added.id, added.original.width, added.original.height, png_url(added.input),
                            list_of(maps)));
  });
}

HttpAnswer ServeApi::picture(const std::string& body) {
  const Question question(body);
  const std::uint64_t id = question.whole("picture");
  const Playground::NoiseChange change = change_of(question);
  return ask(queue_, &question, [&] {
    const Playground::Picture& picture = playground_.picture(id);
    const FloatImage made = playground_.draw(playground_.changed(picture, change));
    const Image shown = to_image(made);
    return json(fmt::format(R"({{"picture": "{}", "difference": "{}", "scores": {}}})", png_url(shown),
                            png_url(difference(picture.input, shown)),
                            scores_json(score("", picture.input, made))));
  });
}

HttpAnswer ServeApi::between(const std::string& body) {
  const Question question(body);
  const std::uint64_t left = question.whole("left"), right = question.whole("right");
  const double latent = question.number("latent", 0, 1), noise = question.number("noise", 0, 1);
  return ask(queue_, &question, [&] {
    const Code code =
        playground_.between(playground_.picture(left), playground_.picture(right), latent, noise);
    return json(fmt::format(R"({{"picture": "{}"}})", png_url(to_image(playground_.draw(code)))));
  });
}

HttpAnswer ServeApi::denoise(const std::string& body) {
  const Question question(body);
  const std::uint64_t id = question.whole("picture"), seed = question.whole("seed");
  const double sigma = question.number("sigma", 0, kMaxSigma);
  return ask(queue_, &question, [&] {
    const Playground::Denoised result = playground_.denoise(playground_.picture(id), sigma, seed);
    return json(fmt::format(R"({{"noisy": "{}", "picture": "{}", "noisy_scores": {}, "scores": {}}})",
                            png_url(result.noisy), png_url(to_image(result.made)),
                            scores_json(score("", result.clean, to_float_image(result.noisy))),
                            scores_json(score("", result.clean, result.made))));
  });
}

HttpAnswer ServeApi::sample(const std::string& body) {
  constexpr Playground::SampleNoise kinds[] = {
      Playground::SampleNoise::stored, Playground::SampleNoise::random, Playground::SampleNoise::zero};
  const Question question(body);
  const std::uint64_t seed = question.whole("seed");
  const Playground::SampleNoise noise = kinds[question.one_of("maps", {"stored", "random", "zero"})];
  std::optional<double> truncation;
  if (question.has("truncation")) truncation = question.number("truncation", -kMaxTruncation, kMaxTruncation);
  return ask(queue_, &question, [&] {
    const Image made = to_image(playground_.draw(playground_.sample(seed, noise, truncation)));
    return json(fmt::format(R"({{"picture": "{}"}})", png_url(made)));
  });
}

HttpAnswer ServeApi::sheet(const std::string& body) {
  const Question question(body);
  const std::uint64_t id = question.whole("picture");
  const Playground::NoiseChange change = change_of(question);
  return ask(queue_, &question, [&] {
    const Playground::Picture& picture = playground_.picture(id);
    const std::vector<std::uint8_t> png =
        encode_png(draw_sheet(playground_.sheet(picture, playground_.changed(picture, change))));
    return HttpAnswer{200, "image/png", std::string(png.begin(), png.end())};
  });
}

HttpAnswer ServeApi::code(const std::string& body) {
  const Question question(body);
  const std::uint64_t id = question.whole("picture");
  const Playground::NoiseChange change = change_of(question);
  return ask(queue_, &question, [&] {
    const Code code = playground_.changed(playground_.picture(id), change);
    return HttpAnswer{200, "application/octet-stream",
                      safetensors_bytes(contents_of({code}, Projection::wplus), "code.safetensors")};
  });
}

}  // namespace om
