// Ctrl-C and SIGTERM as a cancel token. The library installs no handlers; a program that wants to end in order does, with this.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <stop_token>
#include <system_error>
#include <thread>

#include "error.hpp"

namespace ctseg {

/// From its beginning to its end SIGINT and SIGTERM raise token() instead of ending the program: hand it to
/// ContextOptions::cancel, catch Code::cancelled, return kExitCode. A second signal of the same kind ends the program as if
/// there were no guard; a signal that was ignored before (nohup) stays ignored.
/// Errors    bad_argument while there is another one; out_of_memory if the system gives no pipe or thread.
class InterruptGuard {
 public:
  static constexpr int kExitCode = 130;

  InterruptGuard() {
    int none = -1, ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      throw Error(Code::out_of_memory, "interrupt", text("no pipe: ", std::generic_category().message(errno), "."));
    read_ = ends[0], write_ = ends[1];
    if (!pipe_.compare_exchange_strong(none, write_)) {
      close();
      throw Error(Code::bad_argument, "interrupt", "there is an InterruptGuard already. Hint: one, in main().");
    }
    caught_ = 0;
    try {
      waiter_ = std::thread([this] { wait(); });
    } catch (const std::system_error& error) {
      pipe_ = -1;
      close();
      throw Error(Code::out_of_memory, "interrupt", text("no thread: ", error.what(), "."));
    }
    for (std::size_t k = 0; k < 2; ++k) install(k);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  ~InterruptGuard() {
    for (std::size_t k = 0; k < 2; ++k)
      if (installed_[k]) ::sigaction(kSignals[k], &before_[k], nullptr);
    pipe_ = -1;
    wake(write_, 0);
    waiter_.join();
    close();
  }

  std::stop_token token() const { return source_.get_token(); }
  /// Which signal came, SIGINT or SIGTERM; 0: none.
  int signal() const { return caught_; }

 private:
  static constexpr int kSignals[2] = {SIGINT, SIGTERM};

  // A handler has no other way to know where to write; so there is one guard at a time.
  static inline std::atomic<int> pipe_{-1}, caught_{0};
  static_assert(std::atomic<int>::is_always_lock_free, "ctseg: a signal handler may touch lock-free atomics only");

  /// Raising a token calls its callbacks, which lock: no work for a handler. It writes a byte, a thread does the rest.
  static void handle(int signal) {
    const int reason = errno;
    caught_ = signal;
    if (const int to = pipe_; to >= 0) wake(to, 1);
    errno = reason;
  }
  static void wake(int to, char what) {
    while (::write(to, &what, 1) < 0 && errno == EINTR) {}
  }
  void wait() {
    char what = 0;
    for (ssize_t n = -1; n != 1;) {
      n = ::read(read_, &what, 1);
      if (n == 0 || (n < 0 && errno != EINTR)) return;
    }
    if (what == 1) source_.request_stop();
  }
  void install(std::size_t k) {
    struct sigaction action {};
    action.sa_handler = &handle;
    action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
    ::sigemptyset(&action.sa_mask);
    installed_[k] = ::sigaction(kSignals[k], nullptr, &before_[k]) == 0 && before_[k].sa_handler != SIG_IGN &&
                    ::sigaction(kSignals[k], &action, nullptr) == 0;
  }
  void close() {
    ::close(read_);
    ::close(write_);
  }

  int read_ = -1, write_ = -1;
  struct sigaction before_[2]{};
  bool installed_[2] = {};
  std::stop_source source_;
  std::thread waiter_;
};

}   // namespace ctseg
