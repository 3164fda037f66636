#include "io/pickle.h"

#include <gtest/gtest.h>

#include <string>

#include "io/bytes.h"
#include "tests/io/checkpoint_bytes.h"
#include "tests/io/python_pickles.h"

namespace om {
namespace {

using namespace std::string_literals;
using test::bytes_of;
using test::le;

Pickle read(const std::string& bytes) {
  const auto source = memory_source(bytes_of(bytes), "t");
  ByteReader in(*source);
  return read_pickle(in);
}

std::string show(const PickleValue* value, int depth = 0);

std::string show_items(std::span<const PickleValue* const> items, int depth) {
  std::string out;
  for (const PickleValue* item : items) out += (out.empty() ? "" : ", ") + show(item, depth + 1);
  return out;
}

// A value in something close to Python's notation; bytes are "b:" and hex, however they were pickled.
std::string show(const PickleValue* value, int depth) {
  if (!value || depth > 12) return "...";
  const auto quoted = [&] { return "'" + printable(value->text()) + "'"; };
  switch (value->kind()) {
    case PickleKind::none: return "None";
    case PickleKind::boolean: return value->integer() ? "True" : "False";
    case PickleKind::integer: return std::to_string(value->integer());
    case PickleKind::big_integer: return std::string(value->text());
    case PickleKind::real: return text(value->real());
    case PickleKind::string: return quoted();
    case PickleKind::bytes: return "b" + quoted();
    case PickleKind::tuple: return "(" + show_items(value->items(), depth) + ")";
    case PickleKind::list: return "[" + show_items(value->items(), depth) + "]";
    case PickleKind::set: return "set(" + show_items(value->items(), depth) + ")";
    case PickleKind::dict: return "{" + show_items(value->items(), depth) + "}";
    case PickleKind::global: return text(value->module(), ".", value->name());
    case PickleKind::persistent: return "persistent(" + show(value->id(), depth + 1) + ")";
    case PickleKind::call: break;
  }
  if (const auto bytes = pickle_bytes(*value)) return "b'" + printable(*bytes) + "'";
  std::string out = show(value->callable(), depth + 1) + (value->is_keyword_call() ? "*" : "") +
                    show(value->args(), depth + 1);
  if (value->state()) out += ".state(" + show(value->state(), depth + 1) + ")";
  if (value->list()) out += ".list(" + show(value->list(), depth + 1) + ")";
  if (value->dict()) out += ".dict(" + show(value->dict(), depth + 1) + ")";
  return out;
}

std::string shown(const std::string& bytes) {
  const Pickle pickle = read(bytes);
  return show(pickle.root);
}

std::string error(const std::string& bytes) {
  return test::input_error([&] { read(bytes); });
}

std::string unhex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

TEST(Pickle, OpcodesOfEveryProtocol) {
  const struct {
    std::string bytes, expected;
  } cases[] = {
      {"N.", "None"},
      {"\x88.", "True"},
      {"I00\n.", "False"},
      {"I-12\n.", "-12"},
      {"L12345678901L\n.", "12345678901"},
      {"L-99999999999999999999L\n.", "-99999999999999999999"},
      {"J\xfe\xff\xff\xff.", "-2"},
      {"K\xff.", "255"},
      {"M\x00\x01."s, "256"},
      {"\x8a\x00."s, "0"},
      {"\x8a\x01\xff.", "-1"},
      {"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."s, "-9223372036854775808"},
      {"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00."s, "0x8000000000000000"},
      {"\x8b\x0a\x00\x00\x00\xfb\xff\xff\xff\xff\xff\xff\xff\xff\xfe."s, "-0x1000000000000000005"},
      {"F-1.5\n.", "-1.5"},
      {"G\x3f\xf8\x00\x00\x00\x00\x00\x00."s, "1.5"},
      {"S'a\\n\\x41\\102\\'\"'\n.", "'a\\x0aAB'\"'"},
      {"Va\\u00e9\\U0001F600\xe9\n.", "'a\\xc3\\xa9\\xf0\\x9f\\x98\\x80\\xc3\\xa9'"},
      {"T\x02\x00\x00\x00hi."s, "'hi'"},
      {"U\x02\xffi.", "'\\xffi'"},
      {"X\x02\x00\x00\x00hi."s, "'hi'"},
      {"\x8c\x02hi.", "'hi'"},
      {"\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi."s, "'hi'"},
      {"B\x02\x00\x00\x00hi."s, "b'hi'"},
      {"C\x02hi.", "b'hi'"},
      {"\x8e\x02\x00\x00\x00\x00\x00\x00\x00hi."s, "b'hi'"},
      {"\x96\x02\x00\x00\x00\x00\x00\x00\x00hi."s, "b'hi'"},
      {").", "()"},
      {"NK\1\x86.", "(None, 1)"},
      {"NNN\x87\x85.", "((None, None, None))"},
      {"((NNtt.", "((None, None))"},
      {"](K\1K\2eNa.", "[1, 2, None]"},
      {"(K\1K\2l.", "[1, 2]"},
      {"}(K\1K\2uNNs.", "{1, 2, None, None}"},
      {"(K\1K\2d.", "{1, 2}"},
      {"\x8f(K\1K\2\x90.", "set(1, 2)"},
      {"(K\1\x91.", "set(1)"},
      {"cos\nsystem\n.", "os.system"},
      {"\x8c\x02os\x8c\x06system\x93.", "os.system"},
      {"cos\nsystem\n(S'ls'\ntR.", "os.system('ls')"},
      {"ca\nB\n)\x81K\1b.", "a.B().state(1)"},
      {"ca\nB\n(K\1t}\x8c\1kNs\x92.", "a.B*((1), {'k', None})"},
      {"(K\1ia\nB\n.", "a.B(1)"},
      {"(ca\nB\nK\1o.", "a.B(1)"},
      {"ca\nB\n)R(K\1e(K\2K\3uK\4a.", "a.B().list([1, 4]).dict({2, 3})"},
      {"Pabc\n.", "persistent('abc')"},
      {"K\7Q.", "persistent(7)"},
      {"]2a.", "[[[[[[[[[[[[[...]]]]]]]]]]]]]"},
      {"]q\0h\0\x86."s, "([], [])"},
      {"]r\0\0\0\0j\0\0\0\0\x86."s, "([], [])"},
      {"]p0\ng0\n\x86.", "([], [])"},
      {"]\x94h\0\x86."s, "([], [])"},
      {"NK\1"
       "0.",
       "None"},
      {"N(K\1K\2"
       "1.",
       "None"},
      {"N(0.", "None"},
      {"\x80\5\x95\1\0\0\0\0\0\0\0N."s, "None"},
  };
  for (const auto& [bytes, expected] : cases) EXPECT_EQ(shown(bytes), expected) << printable(bytes);
}

TEST(Pickle, WhatPythonWritesInEveryProtocol) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const std::string array = protocol < 5 ? test::python_array : test::python_array_5;
    EXPECT_EQ(shown(unhex(test::python_pickles[protocol])), test::python_value + array + "}") << protocol;
  }
}

TEST(Pickle, BrokenOnesAreRefused) {
  const struct {
    std::string bytes, reason;
  } cases[] = {
      {"", "ends too early"},
      {".", "empty stack"},
      {"(.", "empty stack"},
      {"N(.", "empty stack"},
      {"N", "ends too early"},
      {"\xff.", "opcode 255"},
      {"\x82\1.", "opcode 130"},  // EXT1
      {"\x97.", "opcode 151"},    // NEXT_BUFFER
      {"\x80\6N.", "newer than 5"},
      {"t.", "lacks a mark"},
      {"1.", "lacks a mark"},
      {"\x86.", "empty stack"},
      {"N\x86.", "empty stack"},
      {"]a.", "empty stack"},
      {"N(a.", "empty stack"},
      {"NNa.", "adds to a None"},
      {"N(Ne.", "adds to a None"},
      {"(Ne.", "empty stack"},
      {"](((NNue.", "empty stack"},
      {"}Ns.", "empty stack"},
      {"}(Nu.", "key without a value"},
      {"(Nd.", "key and no value"},
      {"]NNs.", "adds to a list as if it were a dict"},
      {"ca\nb\nNR.", "without a tuple"},
      {"NNb.", "gives a state to a None"},
      {"NN\x93.", "no string"},
      {"(o.", "empty stack"},
      {"ca\nb\n)N\x92.", "without arguments"},
      {"h\0."s, "never kept"},
      {"Nq\2h\1.", "never kept"},
      {"Nr\xff\xff\xff\xff.", "out of order"},
      {"Np-1\n.", "no number"},
      {"Ix\n.", "no number"},
      {"F1.5x\n.", "no number"},
      {"F\n.", "no number"},
      {"Sabc\n.", "without quotes"},
      {"S'\\x4'\n.", "unknown escape"},
      {"S'\\'\n.", "without quotes"},
      {"V\\u00g0\n.", "unknown escape"},
      {"V\\U00110000\n.", "unknown escape"},
      {"T\xff\xff\xff\xff.", "negative length"},
      {"\x8b\xff\xff\xff\xff.", "negative length"},
      {"\x8b\xff\xff\xff\x7f.", "ends too early"},
      {"X\xff\xff\xff\x7f"
       "a.",
       "ends too early"},
      {"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "ends too early"},
      {"\x8d\0\0\0\0\0\1\0\0."s, "ends too early"},
      {"\x95\0\0\0\0\0\1\0\0N."s, "ends too early"},
      {"c" + std::string(5000, 'a') + "\nb\n.", "too long"},
  };
  for (const auto& [bytes, reason] : cases) {
    const std::string what = error(bytes);
    EXPECT_TRUE(what.starts_with("t: ")) << what;
    EXPECT_NE(what.find(reason), std::string::npos) << printable(bytes) << " gave " << what;
  }
}

TEST(Pickle, DeepAndCyclicValuesAreBuiltAndDropped) {
  std::string deep(1'000'000, ']');
  deep += std::string(999'999, 'a') + ".";
  EXPECT_EQ(read(deep).root->items().size(), 1u);
  EXPECT_EQ(shown("]q\0h\0a."s), "[[[[[[[[[[[[[...]]]]]]]]]]]]]");
  EXPECT_EQ(read("}q\1h\1h\1s."s).root->items().size(), 2u);
}

TEST(Pickle, SharedListsCostPointersOnly) {
  // Each list holds the one before twice: 2^200 elements, were they copied.
  std::string bytes = "]";
  for (int i = 0; i < 200; ++i) bytes += "r" + le(i, 4) + "0](j" + le(i, 4) + "j" + le(i, 4) + "e";
  const Pickle pickle = read(bytes + ".");
  EXPECT_LT(pickle.arena.node_count(), 300u);
}

TEST(Pickle, MemoryIsBoundedByTheSize) {
  // Two bytes make a call of 64; past the first MiB that is more than 32 a byte allow.
  std::string bytes = "ca\nb\nq\0)q\1("s;
  for (int i = 0; i < 200'000; ++i) bytes += ")\x85\x85\x85";
  const Pickle many_tuples = read(bytes + "t.");
  EXPECT_GT(many_tuples.arena.node_count(), 600'000u);
  std::string hungry = "ca\nb\n";
  for (int i = 0; i < 200'000; ++i) hungry += ")R";
  EXPECT_NE(error(hungry + ".").find("too large for its size"), std::string::npos);
}

TEST(Pickle, TruncatedAndFlipped) {
  for (const char* pickle : test::python_pickles) {
    test::torment(unhex(pickle), [](const std::string& bytes) { shown(bytes); });
  }
}

}  // namespace
}  // namespace om
