// Several ranks in one process, a thread each, for tests: they meet at a hub as processes do.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tensor/ranks/hub.h"
#include "tensor/ranks/member.h"

namespace om::test {

/// Runs the body once for each rank, all at the same time; returns what each threw, "" where nothing.
inline std::vector<std::string> on_ranks(int size, const std::function<void(ranks::Member&)>& body,
                                         const ranks::Patience& patience = {}) {
  ranks::Hub hub({.ranks = size, .patience = patience});
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        ranks::Member member({.rank = rank, .size = size, .hub = hub.address(), .patience = patience});
        try {
          body(member);
          member.finish();
        } catch (const std::exception& error) {
          thrown[static_cast<std::size_t>(rank)] = error.what();
          member.report(error.what(), false);
        }
      } catch (const std::exception& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

/// The same where none may fail: what the first that did said.
inline std::string trouble_on_ranks(int size, const std::function<void(ranks::Member&)>& body) {
  for (const std::string& what : on_ranks(size, body))
    if (!what.empty()) return what;
  return "";
}

}  // namespace om::test
