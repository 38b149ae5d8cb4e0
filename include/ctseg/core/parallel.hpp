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
#include <thread>
#include <vector>

#include "error.hpp"

namespace ctseg {

/// Where tasks run. Embedders with a thread system of their own derive from it and hand it to a Context.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual int threads() const = 0;
  /// Calls task(data, i) once for every i in [0, count), in any order and on any threads; returns when all are done.
  /// If tasks throw, the exception of the lowest i is thrown again. A call from inside a task runs on the calling thread.
  virtual void run(Index count, void (*task)(void* data, Index i), void* data) = 0;
};

/// f(i) for every i in [0, count) on the executor.
template <class F> void parallel_for(Executor& executor, Index count, F&& f) {
  if (count <= 0) return;
  using Body = std::remove_reference_t<F>;
  executor.run(
      count, [](void* data, Index i) { (*static_cast<Body*>(data))(i); }, const_cast<std::remove_const_t<Body>*>(&f));
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
  explicit ThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ThreadPool(const ThreadPool&) = delete;
  ~ThreadPool() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

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
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  struct Job {
    Index count;
    void (*task)(void*, Index);
    void* data;
    std::atomic<Index> next{0};
    std::mutex error_mutex{};
    Index error_at = 0;
    std::exception_ptr error{};

    void take_all() {
      for (Index i = next++; i < count; i = next++) try {
          task(data, i);
        } catch (...) {
          const std::lock_guard lock(error_mutex);
          if (!error || i < error_at) error = std::current_exception(), error_at = i;
        }
    }
  };

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
