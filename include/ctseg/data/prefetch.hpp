// Work done ahead: threads make results number 0, 1, 2, ... while the caller uses earlier ones. What comes out, and in which
// order, does not depend on the number of threads.
#pragma once
#include <optional>
#include <stop_token>
#include <utility>

#include "../core/parallel.hpp"

namespace ctseg {

struct PrefetchOptions {
  int workers = 2;            // 0: everything is made by the caller, inside next()
  Index in_flight = 0;        // results that exist or are being made, beside those the caller took; 0: workers + 2
  Index first = 0;            // number of the first result: where a resumed training goes on
  Index count = -1;           // how many there are; -1: without end
  std::stop_token cancel{};   // raised: next() throws Code::cancelled, no further result is begun
};

/// Calls make(index) on threads of its own and hands the results over strictly in order. `make` is called by several threads at
/// once, for every index once; for results that repeat it must depend on the index alone.
template <class T> class Prefetch {
 public:
  /// Errors    bad_argument; out_of_memory if the system starts no more threads.
  template <class Make> explicit Prefetch(Make make, const PrefetchOptions& options = {})
      : options_(checked(options)),
        maker_(std::make_unique<Maker<Make>>(std::move(make))),
        slots_(static_cast<std::size_t>(options_.in_flight)),
        begun_(options_.first),
        taken_(options_.first) {
    try {
      for (int i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      const int started = static_cast<int>(workers_.size());
      stop();
      throw Error(Code::out_of_memory, "prefetch",
                  text("the system started ", started, " of ", options_.workers,
                       " threads. Hint: PrefetchOptions::workers = ", started, " or less."));
    } catch (...) {
      stop();
      throw;
    }
    wake_on_cancel_.emplace(options_.cancel, Wake{this});
  }
  Prefetch(const Prefetch&) = delete;
  /// Waits for the calls of `make` under way; what they made is dropped.
  ~Prefetch() {
    wake_on_cancel_.reset();
    stop();
  }

  /// The next result; nothing once `count` were delivered. What make(index) threw is thrown here, at the turn of its index; the
  /// call after that goes on with the next index.
  /// Errors    cancelled; whatever make throws.
  std::optional<T> next() {
    if (workers_.empty()) return make_here();
    std::unique_lock lock(mutex_);
    const auto ready = [&] { return over(taken_) || cancelled() || slot(taken_).ready; };
    made_.wait(lock, ready);
    if (cancelled()) throw Error(Code::cancelled, "prefetch", "the caller asked to stop.");
    if (over(taken_)) return std::nullopt;
    Result result = std::exchange(slot(taken_), {});
    ++taken_;
    lock.unlock();
    room_.notify_one();
    if (result.error) std::rethrow_exception(std::move(result.error));
    return std::move(result.value);
  }

 private:
  struct AnyMaker {
    virtual ~AnyMaker() = default;
    virtual T make(Index index) = 0;
  };
  template <class Make> struct Maker final : AnyMaker {
    explicit Maker(Make f) : make_(std::move(f)) {}
    T make(Index index) override { return make_(index); }
    Make make_;
  };
  struct Result {
    std::optional<T> value{};
    std::exception_ptr error{};
    bool ready = false;
  };
  struct Wake {   // the caller, who may be asleep in next(); workers that sleep do no harm until the end
    Prefetch* prefetch;
    void operator()() const {
      { const std::lock_guard lock(prefetch->mutex_); }   // nobody is between its test and its wait
      prefetch->made_.notify_all();
    }
  };

  static PrefetchOptions checked(PrefetchOptions o) {
    if (o.workers < 0 || o.workers > 1024 || o.in_flight < 0 || o.in_flight > (1 << 20) || o.first < 0 || o.count < -1)
      throw Error(Code::bad_argument, "prefetch",
                  text("workers = ", o.workers, ", in_flight = ", o.in_flight, ", first = ", o.first, ", count = ", o.count,
                       "; must be 0 to 1024, 0 to 1048576, at least 0, at least -1."));
    if (o.in_flight == 0) o.in_flight = o.workers + 2;
    return o;
  }
  bool over(Index index) const { return options_.count >= 0 && index - options_.first >= options_.count; }
  bool cancelled() const { return options_.cancel.stop_requested(); }
  Result& slot(Index index) { return slots_[static_cast<std::size_t>(index % options_.in_flight)]; }

  std::optional<T> make_here() {
    if (cancelled()) throw Error(Code::cancelled, "prefetch", "the caller asked to stop.");
    if (over(taken_)) return std::nullopt;
    return maker_->make(taken_++);
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock, [&] { return stop_ || cancelled() || over(begun_) || begun_ < taken_ + options_.in_flight; });
      if (stop_ || cancelled() || over(begun_)) return;
      const Index index = begun_++;
      lock.unlock();
      Result result{.value = {}, .error = {}, .ready = true};
      try {
        result.value.emplace(maker_->make(index));
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      slot(index) = std::move(result);
      made_.notify_all();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  PrefetchOptions options_;
  std::unique_ptr<AnyMaker> maker_;
  std::mutex mutex_;
  std::condition_variable room_, made_;
  std::vector<Result> slots_;   // result i waits in slot i % in_flight
  Index begun_, taken_;         // the next index to make, the next to hand over
  bool stop_ = false;
  std::vector<std::thread> workers_;
  std::optional<std::stop_callback<Wake>> wake_on_cancel_;
};

}   // namespace ctseg
