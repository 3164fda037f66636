#include "tensor/ranks/hub.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "tensor/error.h"
#include "tensor/ranks/member.h"

namespace om::ranks {

namespace {

/// Each rank is a descriptor here, and a system's default may be fewer than a process may have.
void make_room(int ranks) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min(limit.rlim_max, static_cast<rlim_t>(ranks) + 256);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// "1, 3, 5", the first of them where they are many.
std::string list_of(const std::vector<int>& ranks) {
  constexpr std::size_t kNamed = 16;
  std::string list;
  for (std::size_t i = 0; i < std::min(ranks.size(), kNamed); ++i) list += text(i == 0 ? "" : ", ", ranks[i]);
  return ranks.size() > kNamed ? text(list, " and ", ranks.size() - kNamed, " more") : list;
}

}  // namespace

bool Reminder::due() {
  const Deadline now = Clock::now();
  if (now < next_) return false;
  next_ = now + patience_.again;
  return true;
}

std::string Reminder::waited() const {
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration_cast<std::chrono::seconds>(time).count();
  };
  return text(seconds(Clock::now() - begun_), " s, ", seconds(patience_.rendezvous), " s at most");
}

/// One connection, a rank's once it has said hello.
struct Hub::Guest {
  explicit Guest(Socket socket) : channel(std::move(socket)), place(peer_of(channel.socket()).text()) {}
  std::string name() const { return rank < 0 ? place : text("rank ", rank, " (", place, ")"); }

  Channel channel;
  std::string place;
  int rank = -1;
  bool done = false;  // finished, refused, or lost: what comes of it no longer matters
  Deadline heard = Clock::now();
  std::set<std::string> waits_for;
  std::optional<std::int64_t> at;
};

Hub::Hub(Options options) : options_(std::move(options)) {
  make_room(options_.ranks);
  listening_ = listen_at(options_.address);
  ::fcntl(listening_.get(), F_SETFL, ::fcntl(listening_.get(), F_GETFL) | O_NONBLOCK);
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) fail("ranks: the system gives no pipe");
  wake_read_ = Socket(ends[0]);
  wake_write_ = Socket(ends[1]);
  rendezvous_until_ = Clock::now() + options_.patience.rendezvous;
  thread_ = std::thread([this] { serve(); });
}

Hub::~Hub() {
  stop_ = true;
  (void)!::write(wake_write_.get(), "x", 1);
  thread_.join();
}

void Hub::end(int rank, const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!from_outside_) from_outside_ = Failure{rank, why, false};
  }
  (void)!::write(wake_write_.get(), "x", 1);
}

void Hub::wait(std::chrono::milliseconds most) {
  for (const Deadline until = Clock::now() + most; !done_ && Clock::now() < until;)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

bool Hub::all_done() const {
  int done = 0;
  for (const auto& guest : guests_) done += guest->rank >= 0 && guest->done;
  return done == options_.ranks;
}

void Hub::serve() {
  Deadline next_beat = Clock::now(), last = next_beat;
  while (!stop_) {
    std::vector<pollfd> polled = {{wake_read_.get(), POLLIN, 0},
                                  {crowded_ ? -1 : listening_.get(), POLLIN, 0}};
    for (const auto& guest : guests_)
      polled.push_back({guest->channel.descriptor(),
                        static_cast<short>(guest->channel.wants_to_send() ? POLLIN | POLLOUT : POLLIN), 0});
    ::poll(polled.data(), polled.size(), std::min(milliseconds_to(next_beat), 100));
    const Deadline now = Clock::now();
    std::array<char, 64> bytes;
    while (::read(wake_read_.get(), bytes.data(), bytes.size()) > 0) {
    }
    let_in();
    // Whoever was stopped itself (a job's suspension, a debugger) has no right to call others silent.
    if (now - last > std::max<Clock::duration>(options_.patience.silence / 4, 2 * options_.patience.beat))
      for (const auto& guest : guests_) guest->heard = now;
    last = now;
    for (std::size_t i = 0; i < guests_.size(); ++i) receive(*guests_[i]);
    if (now >= next_beat) {
      for (const auto& guest : guests_)
        if (guest->rank >= 0 && guest->channel.open()) guest->channel.put({Kind::beat});
      next_beat = now + options_.patience.beat;
    }
    for (const auto& guest : guests_)
      if (guest->rank >= 0 && !guest->done && now - guest->heard > options_.patience.silence)
        lose(*guest,
             text("has not been heard of for ",
                  std::chrono::duration_cast<std::chrono::seconds>(now - guest->heard).count(), " s"));
    std::optional<Failure> from_outside;
    {
      const std::lock_guard lock(mutex_);
      from_outside = from_outside_;
    }
    if (from_outside) declare(*from_outside, nullptr);
    if (consequence_ && now >= consequence_until_) {
      const Guest* speaker = nullptr;
      for (const auto& guest : guests_)
        if (guest->rank == consequence_->rank) speaker = guest.get();
      const Failure consequence = *consequence_;
      declare(consequence, speaker);
    }
    welcome_or_wait();
    for (const auto& guest : guests_) guest->channel.flush();
    std::erase_if(guests_, [](const auto& guest) { return guest->rank < 0 && !guest->channel.open(); });
    done_ = failure_.has_value() || all_done();
  }
  for (const auto& guest : guests_) guest->channel.flush_by(Clock::now() + std::chrono::seconds(1));
}

void Hub::let_in() {
  for (int found = 0; (found = ::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC)) >= 0;)
    guests_.push_back(std::make_unique<Guest>(Socket(found)));
  crowded_ = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
  if (crowded_ && !welcomed_)
    declare({-1,
             text(options_.address.text(), ": cannot take the connections of ", options_.ranks,
                  " ranks: ", std::strerror(errno)),
             false},
            nullptr);
}

void Hub::welcome_or_wait() {
  if (welcomed_ || failure_) return;
  std::set<int> here;
  for (const auto& guest : guests_)
    if (guest->rank >= 0) here.insert(guest->rank);
  if (static_cast<int>(here.size()) == options_.ranks) {
    welcomed_ = true;
    for (const auto& guest : guests_)
      if (guest->rank >= 0) guest->channel.put({Kind::welcome});
    return;
  }
  std::vector<int> missing;
  for (int rank = 0; rank < options_.ranks; ++rank)
    if (!here.contains(rank)) missing.push_back(rank);
  if (Clock::now() < rendezvous_until_) {
    if (options_.on_wait && reminder_.due())
      options_.on_wait(text("waiting at ", options_.address.text(), " for rank",
                            missing.size() > 1 ? "s " : " ", list_of(missing), " of ", options_.ranks, " (",
                            reminder_.waited(), ")"));
    return;
  }
  const auto waited = std::chrono::duration_cast<std::chrono::seconds>(options_.patience.rendezvous).count();
  declare({-1,
           text(here.size(), " of ", options_.ranks, " ranks came to ", options_.address.text(), " within ",
                waited, " s; missing: ", list_of(missing)),
           false},
          nullptr);
}

void Hub::receive(Guest& guest) {
  if (!guest.channel.open()) return;
  const bool open = guest.channel.fill();
  try {
    while (auto message = guest.channel.take()) {
      guest.heard = Clock::now();
      answer(guest, *message);
    }
  } catch (const Error& error) {  // a stranger
    if (guest.rank >= 0) lose(guest, "sends what is no message of a run");
    guest.channel.close();
    return;
  }
  if (open) return;
  if (guest.rank >= 0 && !guest.done) lose(guest, "ended without a word");
  guest.channel.close();
}

void Hub::say_hello(Guest& guest, const Message& message) {
  if (failure_) return guest.channel.put({Kind::end, failure_->rank, {}, failure_->why});  // too late
  std::string refusal;
  if (message.key != protocol(options_.ranks))
    refusal =
        text("is of another run (", message.key.substr(0, 80), " where ", protocol(options_.ranks), " is)");
  if (message.number < 0 || message.number >= options_.ranks)
    refusal = text("calls itself rank ", message.number, " of ", options_.ranks);
  for (const auto& other : guests_)
    if (other->rank == message.number)
      refusal = text("rank ", message.number, " is here already, from ", other->place);
  if (refusal.empty()) {
    guest.rank = static_cast<int>(message.number);
    return;
  }
  guest.channel.put({Kind::refuse, 0, {}, refusal});
}

void Hub::answer(Guest& guest, const Message& message) {
  if (guest.rank < 0 && message.kind != Kind::hello) fail("no hello");
  switch (message.kind) {
    case Kind::hello: say_hello(guest, message); break;
    case Kind::set:
      values_[message.key] = message.body;
      for (const auto& other : guests_)
        if (other->waits_for.erase(message.key) > 0)
          other->channel.put({Kind::value, 0, message.key, message.body});
      break;
    case Kind::get:
      if (const auto found = values_.find(message.key); found != values_.end())
        guest.channel.put({Kind::value, 0, message.key, found->second});
      else
        guest.waits_for.insert(message.key);
      break;
    case Kind::failed:
      if (failure_) {
        guest.channel.put({Kind::silent, 0, {}, failure_->why});
      } else if (message.number == 0) {
        declare({guest.rank, message.body, true}, &guest);
      } else if (!consequence_) {
        consequence_ = Failure{guest.rank, message.body, true};
        consequence_until_ = Clock::now() + options_.patience.cause;
      }
      break;
    case Kind::finished:
      guest.done = true;
      if (querying_ && !told_to_stop_) tell_where_to_stop();
      break;
    case Kind::wish_stop:
      if (querying_) break;
      querying_ = true;
      for (const auto& other : guests_)
        if (other->rank >= 0) other->channel.put({Kind::query});
      break;
    case Kind::at:
      guest.at = message.number;
      tell_where_to_stop();
      break;
    case Kind::tell:
      for (const auto& other : guests_)
        if (other->rank == 0) other->channel.put({Kind::tell, guest.rank, message.key, message.body});
      break;
    default: break;
  }
}

/// Where the rank that is farthest stands: the others get there without it.
void Hub::tell_where_to_stop() {
  std::int64_t farthest = 0;
  int known = 0;
  for (const auto& guest : guests_) {
    if (guest->rank < 0) continue;
    known += guest->done || guest->at.has_value();
    if (guest->at) farthest = std::max(farthest, *guest->at);
  }
  if (known < options_.ranks || told_to_stop_) return;
  told_to_stop_ = true;
  for (const auto& guest : guests_)
    if (guest->rank >= 0 && !guest->done) guest->channel.put({Kind::stop_at, farthest});
}

void Hub::lose(Guest& guest, const std::string& why) {
  guest.done = true;
  declare({guest.rank, text(guest.name(), ' ', why), false}, nullptr);
}

void Hub::declare(const Failure& failure, const Guest* speaker) {
  if (failure_) return;
  failure_ = failure;
  consequence_.reset();
  for (const auto& guest : guests_) {
    if (guest->rank < 0 || !guest->channel.open()) continue;
    if (guest.get() == speaker) {
      guest->channel.put({Kind::speak});
    } else {
      guest->channel.put({Kind::end, failure.rank, {}, failure.why});
    }
  }
  if (options_.on_end) options_.on_end(failure);
}

}  // namespace om::ranks
