// A few threads over independent tasks; each task writes only what is its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <dlfcn.h>
#endif

namespace hubfast {

// What every thread runs: tasks 0..count - 1, whichever is next. The first exception is kept.
template <class Task>
class Work {
 public:
  Work(int count, const Task& task) : count_(count), task_(task) {}

  void run() {
    try {
      for (int i = next_++; i < count_; i = next_++) task_(i);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const int count_;
  const Task& task_;
  std::atomic<int> next_{0};
  std::mutex mutex_;
  std::exception_ptr failure_;
};

// Calls task(i) for i in 0..count - 1 on up to `threads` threads, made for this call.
template <class Task>
void parallel_for(int count, int threads, const Task& task) {
  Work<Task> work(count, task);
  std::vector<std::thread> helpers;
  for (int h = 1; h < std::min(threads, count); ++h) helpers.emplace_back([&] { work.run(); });
  work.run();
  for (auto& helper : helpers) helper.join();
  work.rethrow();
}

// The same on the OpenMP threads of this process, if it has loaded GNU's OpenMP as torch does: idle
// ones spin for milliseconds after torch's own loops, and new threads would fight them for cores.
// As with torch's loops, not in a forked child whose parent has run one.
template <class Task>
void openmp_for(int count, int threads, const Task& task) {
#if defined(__linux__)
  using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
  static const auto parallel = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  if (parallel && threads > 1 && count > 1) {
    Work<Task> work(count, task);
    parallel([](void* at) { static_cast<Work<Task>*>(at)->run(); }, &work,
             std::min(threads, count), 0);
    return work.rethrow();
  }
#endif
  parallel_for(count, threads, task);
}

}  // namespace hubfast
