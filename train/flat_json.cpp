#include "train/flat_json.h"

#include <nlohmann/json.hpp>

namespace om {
namespace {

using Json = nlohmann::json;

class Reader final : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(FlatJson& out) : out_(out) {}

  bool null() override { return take(nullptr); }
  bool boolean(bool value) override { return take(value); }
  bool number_integer(number_integer_t value) override {
    return list_ ? item(static_cast<double>(value)) : take(std::int64_t{value});
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (list_) return item(static_cast<double>(value));
    const auto whole = static_cast<std::int64_t>(value);
    return whole >= 0 ? take(whole) : take(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override {
    return list_ ? item(value) : take(value);
  }
  bool string(string_t& value) override { return take(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& value) override {
    if (depth_ == 1) key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ == 0) out_.is_object = true;
    return open();
  }
  bool start_array(std::size_t) override {
    if (depth_ != 1 || !out_.is_object || list_) return open();
    take(std::vector<double>());
    list_ = true;
    ++depth_;
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) override {
    if (dynamic_cast<const Json::parse_error*>(&error) != nullptr) out_.broken_at = position;
    return false;
  }

 private:
  bool item(double value) {
    if (auto* list = std::get_if<std::vector<double>>(&out_.members.back().second)) list->push_back(value);
    return true;
  }
  /// The array that is open holds something that is no number.
  void spoil() {
    if (!list_) return;
    out_.nests = true;
    out_.members.back().second = std::monostate();
    list_ = false;
  }
  bool open() {
    spoil();
    if (depth_ > 0) out_.nests = true;
    take(std::monostate());
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    list_ = false;
    return true;
  }
  template <class T>
  bool take(T value) {
    spoil();
    if (depth_ != 1 || !out_.is_object) return true;
    auto& [key, place] = out_.members.emplace_back();
    key = std::move(key_);
    place = std::move(value);
    return true;
  }

  FlatJson& out_;
  std::string key_;
  int depth_ = 0;
  bool list_ = false;  // inside an array of numbers so far
};

}  // namespace

FlatJson read_flat_json(std::string_view text) {
  FlatJson out;
  Reader reader(out);
  out.valid = Json::sax_parse(text, &reader);
  return out;
}

std::string json_text(const std::string& value) {
  const std::string plain = Json(value).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;  // with the control characters that JSON allows escaped as well
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const auto byte = static_cast<unsigned char>(plain[i]);
    const auto next = static_cast<unsigned char>(i + 1 < plain.size() ? plain[i + 1] : 0);
    if (byte == 0x7F) {
      out += "\\u007f";
    } else if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {  // U+0080 to U+009F
      out += std::string("\\u00") + "89"[next >> 4 & 1] + "0123456789abcdef"[next & 15];
      ++i;
    } else {
      out += plain[i];
    }
  }
  return out;
}

std::string json_text(double value) { return Json(value).dump(); }

}  // namespace om
