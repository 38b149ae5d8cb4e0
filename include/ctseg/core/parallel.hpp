// Threads behind one narrow door. Work is cut into tasks by shape alone, so the cut, and with it every bit of the result,
// is the same for any number of threads; which thread takes which task is left to chance.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "error.hpp"

namespace ctseg {

/// Where tasks run. Embedders with a thread system of their own derive from it and hand it to a Context.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual int threads() const = 0;
  /// Calls task(data, i) once for every i in [0, count), in any order and on any threads; returns when all are done. Tasks do
  /// not throw. A call from inside a task runs on the calling thread.
  virtual void run(Index count, void (*task)(void* data, Index i), void* data) = 0;
};

/// Any f(i), without its type: what parallel_for does with it is compiled once, not once per loop.
struct AnyTask {
  void (*call)(const void* body, Index i);
  const void* body;
};
inline void run_tasks(Executor& executor, Index count, AnyTask f) {
  struct Guarded {
    AnyTask f;
    std::mutex mutex{};
    Index error_at = 0;
    std::exception_ptr error{};
  };
  if (count <= 0) return;
  Guarded guarded{f};
  const auto task = [](void* data, Index i) {
    auto& g = *static_cast<Guarded*>(data);
    try {
      g.f.call(g.f.body, i);
    } catch (...) {
      const std::lock_guard lock(g.mutex);
      if (!g.error || i < g.error_at) g.error = std::current_exception(), g.error_at = i;
    }
  };
  executor.run(count, task, &guarded);
  if (guarded.error) std::rethrow_exception(guarded.error);
}

/// f(i) for every i in [0, count) on the executor. If some throw, the rest still run, and the exception of the lowest i is
/// thrown again on the calling thread.
template <class F> void parallel_for(Executor& executor, Index count, F&& f) {
  using Body = std::remove_reference_t<F>;
  const auto call = [](const void* body, Index i) { (*static_cast<Body*>(const_cast<void*>(body)))(i); };
  run_tasks(executor, count, {call, &f});
}

/// [0, count) cut into blocks of `grain`: f(first, last). The cut depends on count and grain only.
template <class F> void parallel_blocks(Executor& executor, Index count, Index grain, F&& f) {
  grain = std::max<Index>(grain, 1);
  parallel_for(executor, (count + grain - 1) / grain,
               [&](Index block) { f(block * grain, std::min(count, (block + 1) * grain)); });
}

/// A fixed set of threads that take tasks from a counter. One thread means none beside the caller.
class ThreadPool final : public Executor {
 public:
  /// Errors    out_of_memory if the system starts no more threads.
  explicit ThreadPool(int threads) {
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      const int started = this->threads();
      join();
      throw Error(Code::out_of_memory, "threads",
                  text("the system started ", started, " of ", threads, " threads. Hint: ContextOptions::threads = ", started,
                       " or less."));
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ~ThreadPool() override { join(); }

  int threads() const override { return static_cast<int>(workers_.size()) + 1; }

  void run(Index count, void (*task)(void*, Index), void* data) override {
    if (count <= 0) return;
    Job job{count, task, data};
    if (workers_.empty() || count == 1 || inside()) {
      job.take_all();
    } else {
      const std::lock_guard one_job(jobs_);   // two threads may share a pool: their jobs queue up
      {
        const std::lock_guard lock(mutex_);
        job_ = &job;
        ++generation_;
      }
      wake_.notify_all();
      inside() = true;
      job.take_all();
      inside() = false;
      std::unique_lock lock(mutex_);
      job_ = nullptr;   // nobody joins any more; wait for those that did
      idle_.wait(lock, [&] { return busy_ == 0; });
    }
  }

 private:
  struct Job {
    Index count;
    void (*task)(void*, Index);
    void* data;
    std::atomic<Index> next{0};

    void take_all() {
      for (Index i = next++; i < count; i = next++) task(data, i);
    }
  };

  void join() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  /// True on a thread that is running a task of some pool: nested calls then stay on that thread.
  static bool& inside() {
    thread_local bool value = false;
    return value;
  }

  void work() {
    inside() = true;
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stop_ || (generation_ != seen && job_); });
      if (stop_) return;
      seen = generation_;
      Job* job = job_;
      ++busy_;
      lock.unlock();
      job->take_all();
      lock.lock();
      if (--busy_ == 0) idle_.notify_all();
    }
  }

  std::mutex jobs_, mutex_;
  std::condition_variable wake_, idle_;
  Job* job_ = nullptr;
  std::uint64_t generation_ = 0;
  int busy_ = 0;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}   // namespace ctseg
