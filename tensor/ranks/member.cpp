#include "tensor/ranks/member.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "tensor/error.h"

namespace om::ranks {

std::string protocol(int ranks) { return text("onemodel ranks 2, of ", ranks); }

Member::Member(Options options) : options_(std::move(options)), hub_(options_.hub.text()) {
  come_to_hub();
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) fail("ranks: the system gives no pipe");
  wake_read_ = Socket(ends[0]);
  wake_write_ = Socket(ends[1]);
  thread_ = std::thread([this] { serve(); });
}

void Member::come_to_hub() {
  const std::string who = text("rank ", options_.rank, " of ", options_.size);
  const Deadline until = Clock::now() + options_.patience.rendezvous;
  Reminder reminder(options_.patience);
  const auto remind = [&](const auto&... words) {
    if (options_.on_wait && reminder.due())
      options_.on_wait(text(who, ": waiting for rank 0 at ", hub_, " (", reminder.waited(), "): ", words...));
  };
  channel_.emplace(connect_to(options_.hub, until, who, [&](const std::string& reason) { remind(reason); }));
  own_host_ = own_of(channel_->socket()).host;
  channel_->put({Kind::hello, options_.rank, protocol(options_.size), {}});
  Deadline heard = Clock::now(), last = heard, next_beat = heard + options_.patience.beat;
  // The hub says itself who is missing; a little later than its deadline nobody is there to say it.
  for (const Deadline end = until + std::chrono::seconds(5);;) {
    if (!channel_->flush()) fail(who, ": the connection to ", hub_, " ended before all ranks had come");
    pollfd wait{channel_->descriptor(), POLLIN, 0};
    ::poll(&wait, 1, std::min(milliseconds_to(std::min(end, next_beat)), 200));
    const Deadline now = Clock::now();
    if (now - last > std::max<Clock::duration>(options_.patience.silence / 4, 2 * options_.patience.beat))
      heard = now;  // this process was stopped itself
    last = now;
    const bool open = channel_->fill();
    try {
      while (auto message = channel_->take()) {
        heard = now;
        if (message->kind == Kind::welcome) return;
        if (message->kind == Kind::refuse) fail(who, ": ", hub_, " refuses it: ", message->body);
        if (message->kind == Kind::end) throw RunEnded(message->body);
      }
    } catch (const NoMessage&) {
      fail(who, ": what answers at ", hub_, " is no run of onemodel");
    }
    if (!open) fail(who, ": the connection to ", hub_, " ended before all ranks had come");
    if (now >= end) fail(who, ": not all ranks came to ", hub_, " in time");
    if (now - heard > options_.patience.silence)  // a hub sends something every second
      fail(who, ": what listens at ", hub_, " has not answered for ",
           std::chrono::duration_cast<std::chrono::seconds>(now - heard).count(), " s");
    if (now - heard > options_.patience.word) remind("it has been reached and does not answer");
    if (now >= next_beat) {
      channel_->put({Kind::beat});
      next_beat = now + options_.patience.beat;
    }
  }
}

Member::~Member() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  (void)!::write(wake_write_.get(), "x", 1);
  thread_.join();
}

void Member::send(const Message& message) {
  {
    const std::lock_guard lock(mutex_);
    channel_->put(message);
  }
  (void)!::write(wake_write_.get(), "x", 1);
}

void Member::serve() {
  Deadline heard = Clock::now(), last = heard, next_beat = heard;
  for (;;) {
    bool sending = false;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_ || !channel_->open()) break;
      sending = channel_->wants_to_send();
    }
    std::array<pollfd, 2> polled{
        {{wake_read_.get(), POLLIN, 0},
         {channel_->descriptor(), static_cast<short>(sending ? POLLIN | POLLOUT : POLLIN), 0}}};
    ::poll(polled.data(), polled.size(), std::min(milliseconds_to(next_beat), 200));
    std::array<char, 64> bytes;
    while (::read(wake_read_.get(), bytes.data(), bytes.size()) > 0) {
    }
    const Deadline now = Clock::now();
    if (now - last > std::max<Clock::duration>(options_.patience.silence / 4, 2 * options_.patience.beat))
      heard = now;
    last = now;
    std::vector<Message> messages;
    bool open = true, broken = false;
    {
      const std::lock_guard lock(mutex_);
      open = channel_->fill();
      try {
        while (auto message = channel_->take()) messages.push_back(std::move(*message));
      } catch (const Error&) {
        broken = true;
      }
      if (now >= next_beat) {
        channel_->put({Kind::beat});
        next_beat = now + options_.patience.beat;
      }
      open = channel_->flush() && open;
    }
    if (!messages.empty()) heard = now;
    for (const Message& message : messages) take(message);
    if (!open || broken) end(text("rank ", options_.rank, ": the connection to ", hub_, " is lost"), true);
    if (now - heard > options_.patience.silence)
      end(text("rank ", options_.rank, ": nothing has been heard from ", hub_, " for ",
               std::chrono::duration_cast<std::chrono::seconds>(now - heard).count(), " s"),
          true);
  }
  const std::lock_guard lock(mutex_);
  channel_->flush_by(Clock::now() + std::chrono::seconds(2));
  channel_->close();
}

void Member::take(const Message& message) {
  if (message.kind == Kind::end) return end(message.body, false);
  {
    const std::lock_guard lock(mutex_);
    switch (message.kind) {
      case Kind::value: values_[message.key] = message.body; break;
      case Kind::speak: verdict_ = true; break;
      case Kind::silent:
        verdict_ = false;
        if (!failure_) failure_ = message.body;
        break;
      case Kind::query:
        queried_ = true;
        channel_->put({Kind::at, begun_});
        break;
      case Kind::stop_at: stop_at_ = message.number; break;
      case Kind::tell: told_.emplace_back(message.key, message.body); break;
      default: break;
    }
  }
  changed_.notify_all();
}

void Member::end(const std::string& why, bool hub_lost) {
  {
    const std::lock_guard lock(mutex_);
    if (hub_lost) channel_->close();
    if (failure_ || finished_ || verdict_) {
      changed_.notify_all();
      return;
    }
    failure_ = why;
  }
  changed_.notify_all();
  if (options_.on_end) options_.on_end(why, hub_lost);
}

void Member::set(const std::string& key, const std::string& value) { send({Kind::set, 0, key, value}); }

std::string Member::get(const std::string& key) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = values_.find(key); found != values_.end()) return found->second;
  }
  send({Kind::get, 0, key, {}});
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || values_.contains(key); });
  if (failure_) throw RunEnded(*failure_);
  return values_.at(key);
}

std::string Member::share(const std::string& text) {
  const std::string key = om::text("shared/", shared_++);
  if (options_.rank != 0) return get(key);
  check();
  set(key, text);
  return text;
}

void Member::tell(const std::string& about, const std::string& line) {
  send({Kind::tell, 0, about.substr(0, Channel::kMostKey), line});
}

std::vector<std::pair<std::string, std::string>> Member::told() {
  const std::lock_guard lock(mutex_);
  return std::exchange(told_, {});
}

void Member::wish_to_stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(wished_, true)) return;
  }
  send({Kind::wish_stop});
}

bool Member::stops_at(std::int64_t done) {
  std::unique_lock lock(mutex_);
  if (queried_) changed_.wait(lock, [&] { return failure_ || stop_at_; });
  if (failure_) throw RunEnded(*failure_);
  if (stop_at_ && done >= *stop_at_) return true;
  begun_ = done + 1;
  return false;
}

void Member::check() const {
  const std::lock_guard lock(mutex_);
  if (failure_) throw RunEnded(*failure_);
}

std::optional<std::string> Member::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool Member::report(const std::string& why, bool follows) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return false;
    channel_->put({Kind::failed, follows ? 1 : 0, {}, why.substr(0, 4096)});
  }
  (void)!::write(wake_write_.get(), "x", 1);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, options_.patience.cause + std::chrono::seconds(5),
                    [&] { return failure_ || verdict_; });
  return verdict_.value_or(!failure_);
}

void Member::finish() {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    finished_ = true;
  }
  send({Kind::finished});
}

}  // namespace om::ranks
