// Where ranks meet: all of them come or one line says who did not; texts of any size arrive in pieces of any
// size; a rank that dies, hangs or fails ends the run of all, with one reason; a stop is agreed upon.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <set>

#include "tensor/error.h"
#include "tests/harness/message.h"
#include "tests/harness/ranks.h"

namespace om {
namespace {

using namespace std::chrono_literals;
using ranks::Clock;
using ranks::Failure;
using ranks::Hub;
using ranks::Kind;
using ranks::Member;
using ranks::Patience;
using test::message;
using test::on_ranks;
using test::trouble_on_ranks;

constexpr Patience kShort = {.rendezvous = 400ms, .silence = 600ms, .beat = 50ms, .cause = 300ms};

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Ranks, ShareTextsOfEverySize) {
  for (const int size : {1, 2, 3, 4}) {
    EXPECT_EQ(trouble_on_ranks(size,
                               [&](Member& member) {
                                 for (const std::size_t length : {0U, 1U, 70'000U, 3'000'000U}) {
                                   const std::string text(length, static_cast<char>('a' + length % 7));
                                   if (member.share(member.rank() == 0 ? text : "mine") != text)
                                     fail("another text");
                                 }
                                 member.set(text("of/", member.rank()), text(member.rank() * 10));
                                 for (int i = 0; i < size; ++i)
                                   if (member.get(text("of/", i)) != text(i * 10)) fail("another value");
                               }),
              "");
  }
}

/// A rank that sends byte by byte, or not at all: a connection without a Member.
class Raw {
 public:
  explicit Raw(const ranks::Address& hub) : channel_(ranks::connect_to(hub, Clock::now() + 5s, "raw")) {}
  void send(const ranks::Message& message) {
    channel_.put(message);
    channel_.flush_by(Clock::now() + 5s);
  }
  void send_bytes(const std::string& bytes) {
    for (const char c : bytes) {
      if (::send(channel_.descriptor(), &c, 1, MSG_NOSIGNAL) != 1) return;  // the other end has heard enough
      std::this_thread::sleep_for(100us);
    }
  }
  /// The next message of a kind; heartbeats are passed over.
  std::optional<ranks::Message> receive() {
    for (const auto until = Clock::now() + 5s; Clock::now() < until;) {
      while (auto message = channel_.take())
        if (message->kind != Kind::beat) return message;
      pollfd wait{channel_.descriptor(), POLLIN, 0};
      ::poll(&wait, 1, 20);
      if (!channel_.fill()) return channel_.take();
    }
    return std::nullopt;
  }
  void close() { channel_.close(); }

 private:
  ranks::Channel channel_;
};

TEST(Ranks, AMessageMayComeByteByByte) {
  Hub hub({.ranks = 1});
  Raw raw(hub.address());
  const std::string key = ranks::protocol(1);
  // a header of a mark, the kind, a number and two lengths, as wire.cpp has it
  std::string bytes("1rmo\1\0\0\0\0\0\0\0\0\0\0\0", 16);
  bytes += static_cast<char>(key.size());
  bytes += std::string(7, '\0') + key;
  raw.send_bytes(bytes);
  const auto answer = raw.receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->kind, Kind::welcome);
}

// A message is none until all of it is there, wherever the connection cuts it.
TEST(Ranks, AMessageIsTakenWholeOrNotAtAll) {
  ranks::Address address = {"127.0.0.1", 0};
  const ranks::Socket listening = ranks::listen_at(address);
  Raw sender(address);
  ranks::Channel receiver{ranks::Socket(::accept(listening.get(), nullptr, nullptr))};
  const std::string key = "key", body = "and body";
  std::string bytes("1rmo\7\0\0\0\5\0\0\0\0\0\0\0\3\0\0\0\10\0\0\0", 24);
  bytes += key + body;
  const auto arrives = [&] {
    pollfd wait{receiver.descriptor(), POLLIN, 0};
    ASSERT_EQ(::poll(&wait, 1, 5000), 1);
    ASSERT_TRUE(receiver.fill());
  };
  for (int turn = 0; turn < 2; ++turn) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      EXPECT_FALSE(receiver.take().has_value()) << i << " bytes";
      sender.send_bytes(bytes.substr(i, 1));
      arrives();
    }
    const auto message = receiver.take();
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->number, 5);
    EXPECT_EQ(message->key, key);
    EXPECT_EQ(message->body, body);
  }
}

TEST(Ranks, AStrangerDisturbsNobody) {
  Hub hub({.ranks = 2});
  Raw stranger(hub.address());
  stranger.send_bytes("GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n");
  std::vector<std::thread> threads;
  std::atomic<int> fine = 0;
  for (int rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      Member member({.rank = rank, .size = 2, .hub = hub.address()});
      fine += member.share("x") == "x";
      member.finish();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(fine, 2);
}

TEST(Ranks, WhoDoesNotComeIsNamed) {
  Failure failure;
  Hub hub({.ranks = 4, .patience = kShort, .on_end = [&](const Failure& end) { failure = end; }});
  const auto begun = Clock::now();
  std::string said[2];
  std::thread other([&] {
    said[1] = message([&] { Member({.rank = 2, .size = 4, .hub = hub.address(), .patience = kShort}); });
  });
  said[0] = message([&] { Member({.rank = 0, .size = 4, .hub = hub.address(), .patience = kShort}); });
  other.join();
  EXPECT_LT(Clock::now() - begun, 10s);
  for (const std::string& line : said)
    EXPECT_EQ(line, text("2 of 4 ranks came to ", hub.address().text(), " within 0 s; missing: 1, 3"));
}

/// Waits for so long that it is spoken of, once.
constexpr Patience kSpoken = {
    .rendezvous = 1100ms, .silence = 600ms, .beat = 50ms, .cause = 300ms, .word = 100ms, .again = 1min};

TEST(Ranks, AWaitIsSpokenOfAtIntervals) {
  ranks::Reminder once(kSpoken), often({.word = 0ms, .again = 20ms}), never({.word = 1min, .again = 0ms});
  EXPECT_FALSE(once.due());
  EXPECT_TRUE(often.due());
  EXPECT_EQ(often.waited(), "0 s, 300 s at most");
  std::this_thread::sleep_for(110ms);
  EXPECT_TRUE(once.due());
  EXPECT_FALSE(once.due());
  EXPECT_TRUE(often.due());
  EXPECT_FALSE(never.due());
}

TEST(Ranks, WhoIsWaitedForIsSaid) {
  std::vector<std::string> lines;
  std::mutex mutex;
  const Patience patience = {.rendezvous = 30s, .word = 500ms, .again = 1min};
  Hub hub({.ranks = 4, .patience = patience, .on_wait = [&](const std::string& line) {
             const std::lock_guard lock(mutex);
             lines.push_back(line);
           }});
  Raw first(hub.address()), third(hub.address());
  first.send({Kind::hello, 0, ranks::protocol(4), {}});
  third.send({Kind::hello, 2, ranks::protocol(4), {}});
  std::this_thread::sleep_for(1s);
  const std::lock_guard lock(mutex);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].starts_with(text("waiting at ", hub.address().text(), " for ranks 1, 3 of 4 (")))
      << lines[0];
  EXPECT_TRUE(lines[0].ends_with(" s, 30 s at most)")) << lines[0];
}

TEST(Ranks, OfManyWhoAreWaitedForSomeAreNamed) {
  std::string said;
  std::mutex mutex;
  Hub hub({.ranks = 100, .patience = kSpoken, .on_wait = [&](const std::string& line) {
             const std::lock_guard lock(mutex);
             said = line;
           }});
  for (const auto until = Clock::now() + 5s; Clock::now() < until; std::this_thread::sleep_for(10ms)) {
    const std::lock_guard lock(mutex);
    if (!said.empty()) break;
  }
  const std::lock_guard lock(mutex);
  EXPECT_TRUE(
      holds(said, "for ranks 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 and 84 more of 100 ("))
      << said;
}

/// What a rank says of an address where no hub is: while it waits, and in the end.
std::pair<std::vector<std::string>, std::string> said_at(const ranks::Address& address) {
  std::vector<std::string> waiting;
  const std::string end = message([&] {
    Member(
        {.rank = 3, .size = 8, .hub = address, .patience = kSpoken, .on_wait = [&](const std::string& line) {
           waiting.push_back(line);
         }});
  });
  return {waiting, end};
}

TEST(Ranks, ARankSaysThatNobodyAnswers) {
  ranks::Address free = {"127.0.0.1", 0};
  { const ranks::Socket taken = ranks::listen_at(free); }
  const auto [waiting, end] = said_at(free);
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_TRUE(waiting[0].starts_with(text("rank 3 of 8: waiting for rank 0 at ", free.text(), " (")))
      << waiting[0];
  EXPECT_TRUE(waiting[0].ends_with(" s, 1 s at most): Connection refused")) << waiting[0];
  EXPECT_TRUE(end.starts_with(text("rank 3 of 8: nobody answers at ", free.text(), " ("))) << end;
}

// A port that something else has: it takes connections and says nothing, or what no hub says.
TEST(Ranks, ARankSaysThatWhatListensIsNoHub) {
  ranks::Address address = {"127.0.0.1", 0};
  const ranks::Socket mute = ranks::listen_at(address);
  const auto [waiting, end] = said_at(address);
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_TRUE(holds(waiting[0], "): it has been reached and does not answer")) << waiting[0];
  EXPECT_TRUE(
      end.starts_with(text("rank 3 of 8: what listens at ", address.text(), " has not answered for ")))
      << end;
}

TEST(Ranks, ARankSaysThatWhatAnswersIsNoHub) {
  ranks::Address address = {"127.0.0.1", 0};
  const ranks::Socket listening = ranks::listen_at(address);
  std::thread server([&] {
    const ranks::Socket guest(::accept(listening.get(), nullptr, nullptr));
    const std::string answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(::send(guest.get(), answer.data(), answer.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(answer.size()));
    std::this_thread::sleep_for(300ms);
  });
  EXPECT_EQ(said_at(address).second,
            text("rank 3 of 8: what answers at ", address.text(), " is no run of onemodel"));
  server.join();
}

TEST(Ranks, RankZeroHearsWhatOthersTell) {
  EXPECT_EQ(
      trouble_on_ranks(3,
                       [](Member& member) {
                         if (member.rank() != 0) {
                           member.tell("pictures", text("of rank ", member.rank()));
                           member.set(text("then/", member.rank()), "");
                           if (member.share("") != "heard" || !member.told().empty()) fail("another");
                           return;
                         }
                         for (int rank = 1; rank < 3; ++rank) member.get(text("then/", rank));
                         std::multiset<std::string> lines;
                         for (const auto& [about, line] : member.told()) lines.insert(about + ' ' + line);
                         if (lines != std::multiset<std::string>{"pictures of rank 1", "pictures of rank 2"})
                           fail(lines.size(), " lines");
                         if (!member.told().empty()) fail("told twice");
                         member.share("heard");
                       }),
      "");
}

TEST(Ranks, NobodyThereIsOneLineWithRankAndAddress) {
  ranks::Address free = {"127.0.0.1", 0};
  { const ranks::Socket taken = ranks::listen_at(free); }  // a port that was free a moment ago
  const std::string said = message([&] { Member({.rank = 3, .size = 8, .hub = free, .patience = kShort}); });
  EXPECT_TRUE(said.starts_with(text("rank 3 of 8: nobody answers at ", free.text(), " ("))) << said;
}

TEST(Ranks, TheHubMayComeLater) {
  ranks::Address address = {"127.0.0.1", 0};
  { const ranks::Socket taken = ranks::listen_at(address); }
  std::string said = "nothing";
  std::thread early([&] {
    said = message([&] {
      Member member({.rank = 0, .size = 1, .hub = address});
      member.finish();
    });
  });
  std::this_thread::sleep_for(300ms);
  Hub hub({.ranks = 1, .address = address});
  early.join();
  EXPECT_EQ(said, "no error");
}

TEST(Ranks, TwoOfOneNumberAndOtherRunsAreRefused) {
  Hub hub({.ranks = 2});
  Raw first(hub.address());
  first.send({Kind::hello, 0, ranks::protocol(2), {}});
  std::this_thread::sleep_for(100ms);
  const auto refusal = [&](int rank, int size) {
    return message([&] { Member({.rank = rank, .size = size, .hub = hub.address(), .patience = kShort}); });
  };
  EXPECT_TRUE(holds(refusal(0, 2), "rank 0 is here already, from 127.0.0.1:")) << refusal(0, 2);
  EXPECT_TRUE(holds(refusal(1, 3), "is of another run")) << refusal(1, 3);
  EXPECT_TRUE(holds(refusal(5, 2), "calls itself rank 5 of 2")) << refusal(5, 2);
}

/// What each of three ranks hears, where the last is a connection that `end` ends in its way.
struct Heard {
  std::vector<std::string> failures;
  Failure hub;
  Clock::duration took;
};
Heard heard_after(const std::function<void(Raw&)>& end) {
  Heard heard;
  heard.failures.resize(2);
  std::mutex mutex;
  Hub hub({.ranks = 3, .patience = kShort, .on_end = [&](const Failure& failure) {
             const std::lock_guard lock(mutex);
             heard.hub = failure;
           }});
  std::atomic<bool> ended = false;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      std::atomic<bool> told = false;
      Member member({.rank = rank,
                     .size = 3,
                     .hub = hub.address(),
                     .patience = kShort,
                     .on_end = [&](const std::string& why, bool) {
                       heard.failures[static_cast<std::size_t>(rank)] = why;
                       told = true;
                     }});
      while (!ended) std::this_thread::sleep_for(5ms);
      for (const auto until = Clock::now() + 20s; !told && Clock::now() < until;)
        std::this_thread::sleep_for(5ms);
      EXPECT_NE(message([&] { member.check(); }), "no error");
    });
  Raw raw(hub.address());
  raw.send({Kind::hello, 2, ranks::protocol(3), {}});
  EXPECT_TRUE(raw.receive().has_value());  // welcome
  const auto begun = Clock::now();
  ended = true;
  end(raw);
  for (auto& thread : threads) thread.join();
  heard.took = Clock::now() - begun;
  const std::lock_guard lock(mutex);
  return heard;
}

TEST(Ranks, ARankThatDiesEndsAll) {
  const Heard heard = heard_after([](Raw& raw) { raw.close(); });
  EXPECT_EQ(heard.hub.rank, 2);
  EXPECT_FALSE(heard.hub.reported);
  EXPECT_TRUE(heard.hub.why.starts_with("rank 2 (127.0.0.1:")) << heard.hub.why;
  EXPECT_TRUE(heard.hub.why.ends_with(") ended without a word")) << heard.hub.why;
  for (const std::string& why : heard.failures) EXPECT_EQ(why, heard.hub.why);
  EXPECT_LT(heard.took, 5s);
}

TEST(Ranks, ARankThatHangsEndsAll) {
  const Heard heard = heard_after([](Raw&) {});  // its connection stays
  EXPECT_EQ(heard.hub.rank, 2);
  EXPECT_TRUE(holds(heard.hub.why, "has not been heard of for ")) << heard.hub.why;
  for (const std::string& why : heard.failures) EXPECT_EQ(why, heard.hub.why);
  EXPECT_GE(heard.took, 500ms);
  EXPECT_LT(heard.took, 10s);
}

TEST(Ranks, ARankThatSpeaksNonsenseEndsAll) {
  const Heard heard = heard_after([](Raw& raw) { raw.send_bytes(std::string(64, 'x')); });
  EXPECT_TRUE(holds(heard.hub.why, "no message of a run")) << heard.hub.why;
}

// Three ranks meet the same NaN at the same step: one of them says it.
TEST(Ranks, TheFirstToFailSpeaksAlone) {
  Hub hub({.ranks = 3});
  std::atomic<int> speakers = 0;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] {
      Member member({.rank = rank, .size = 3, .hub = hub.address()});
      if (rank > 0) std::this_thread::sleep_for(2ms);
      speakers += member.report(text("of rank ", rank), false);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(speakers, 1);
}

// A rank dies; the collectives of the others break first, and say less.
TEST(Ranks, ACauseGoesBeforeItsConsequences) {
  const Heard heard = heard_after([](Raw& raw) {
    raw.send({Kind::failed, 1, {}, "a connection was reset"});
    std::this_thread::sleep_for(100ms);
    raw.close();
  });
  EXPECT_TRUE(heard.hub.why.ends_with("ended without a word")) << heard.hub.why;
  const Heard alone = heard_after([](Raw& raw) {
    raw.send({Kind::failed, 1, {}, "a connection was reset"});
    for (const auto until = Clock::now() + 400ms; Clock::now() < until; std::this_thread::sleep_for(50ms))
      raw.send({Kind::beat});
    const auto verdict = raw.receive();
    EXPECT_TRUE(verdict && verdict->kind == Kind::speak);
  });
  EXPECT_EQ(alone.hub.why, "a connection was reset");
  EXPECT_TRUE(alone.hub.reported);
}

// While the ranks compute for longer than the hub's patience, their threads answer.
TEST(Ranks, ASlowRankIsNoDeadOne) {
  const std::vector<std::string> thrown = on_ranks(
      2,
      [](Member& member) {
        if (member.rank() == 1) std::this_thread::sleep_for(1500ms);
        member.share("x");
      },
      kShort);
  for (const std::string& what : thrown) EXPECT_EQ(what, "");
}

TEST(Ranks, AgreeWhereToStop) {
  for (const int size : {1, 2, 4}) {
    std::mutex mutex;
    std::multiset<std::int64_t> stops;
    const auto run = [&](Member& member) {
      std::int64_t done = 0;
      for (; done < 100'000; ++done) {
        if (member.rank() == size - 1 && done == 40) member.wish_to_stop();
        if (member.stops_at(done)) break;
        std::this_thread::sleep_for(
            std::chrono::microseconds(50 * (1 + member.rank())));  // one ahead of another
      }
      const std::lock_guard lock(mutex);
      stops.insert(done);
    };
    EXPECT_EQ(trouble_on_ranks(size, run), "");
    ASSERT_EQ(stops.size(), static_cast<std::size_t>(size));
    EXPECT_EQ(*stops.begin(), *stops.rbegin());
    EXPECT_GE(*stops.begin(), 40);
    EXPECT_LT(*stops.begin(), 100'000);
  }
}

TEST(Ranks, TheProcessThatStartedThemMayEndThem) {
  Hub hub({.ranks = 2});
  std::vector<std::thread> threads;
  std::string said[2];
  std::atomic<int> here = 0;
  for (int rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      Member member({.rank = rank, .size = 2, .hub = hub.address()});
      ++here;
      said[rank] = message([&] { member.get("nobody sets it"); });
    });
  while (here < 2) std::this_thread::sleep_for(1ms);
  hub.end(1, "rank 1 was killed by signal 9");
  for (auto& thread : threads) thread.join();
  for (const std::string& line : said) EXPECT_EQ(line, "rank 1 was killed by signal 9");
  // one that comes too late hears the same
  EXPECT_THROW(Member({.rank = 0, .size = 2, .hub = hub.address()}), ranks::RunEnded);
}

}  // namespace
}  // namespace om
