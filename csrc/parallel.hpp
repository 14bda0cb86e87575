// A few threads over independent tasks; each task writes only what is its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace hubfast {

// Calls task(i) for i in 0..count - 1 on up to `threads` threads. The first exception is rethrown.
template <class Task>
void parallel_for(int count, int threads, const Task& task) {
  std::atomic<int> next{0};
  std::vector<std::exception_ptr> failures(std::max(1, std::min(threads, count)));
  const auto work = [&](std::exception_ptr& failure) {
    try {
      for (int i = next++; i < count; i = next++) task(i);
    } catch (...) {
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  for (std::size_t h = 1; h < failures.size(); ++h) helpers.emplace_back(work, std::ref(failures[h]));
  work(failures[0]);
  for (auto& helper : helpers) helper.join();
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace hubfast
