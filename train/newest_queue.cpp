#include "train/newest_queue.h"

#include <algorithm>
#include <chrono>

namespace om {

bool NewestQueue::note(const std::string& channel, std::uint64_t number) {
  const auto found = channels_.find(channel);
  if (found != channels_.end() && number <= found->second.newest) return false;
  if (found == channels_.end() && channels_.size() >= kChannels)
    channels_.erase(std::min_element(channels_.begin(), channels_.end(), [](const auto& a, const auto& b) {
      return a.second.used < b.second.used;
    }));
  channels_[channel] = {number, ++uses_};
  return true;
}

NewestQueue::Fate NewestQueue::run(const std::string& channel, std::uint64_t number, Work work) {
  const auto item = std::make_shared<Item>(Item{channel, std::move(work), nullptr, std::nullopt});
  std::unique_lock lock(mutex_);
  ++asked_;
  if (closed_) return Fate::closed;
  if (!channel.empty() && !note(channel, number)) return Fate::stale;
  const auto before = channel.empty()
                          ? waiting_.end()
                          : std::find_if(waiting_.begin(), waiting_.end(),
                                         [&](const auto& other) { return other->channel == channel; });
  if (before != waiting_.end()) {
    (*before)->fate = Fate::stale;
    *before = item;
    ended_.notify_all();
  } else {
    if (waiting_.size() >= most_) return Fate::full;
    waiting_.push_back(item);
  }
  arrived_.notify_one();
  ended_.wait(lock, [&] { return item->fate.has_value(); });
  if (item->error) std::rethrow_exception(item->error);
  return *item->fate;
}

void NewestQueue::serve(const std::function<bool()>& stop) {
  std::unique_lock lock(mutex_);
  while (!stop() && !closed_) {
    if (!arrived_.wait_for(lock, std::chrono::milliseconds(100),
                           [&] { return !waiting_.empty() || closed_; }))
      continue;
    if (closed_) return;
    const std::shared_ptr<Item> item = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    try {
      item->work();
    } catch (...) {
      item->error = std::current_exception();
    }
    lock.lock();
    item->fate = Fate::done;
    ended_.notify_all();
  }
}

void NewestQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (const auto& item : waiting_) item->fate = Fate::closed;
  waiting_.clear();
  arrived_.notify_all();
  ended_.notify_all();
}

}  // namespace om
