// Everything stateful that is not a model: threads, random numbers, cancelling, log. One context per thread of the caller;
// const models, plans and prepared weights are shared by any number of them.
#pragma once
#include <cstdlib>
#include <optional>
#include <stop_token>

#include "memory.hpp"
#include "parallel.hpp"
#include "process_group.hpp"
#include "random.hpp"

namespace ctseg {

/// Where the library's messages go; without one it says nothing.
struct LogSink {
  void (*write)(void* user, std::string_view line) = nullptr;
  void* user = nullptr;
};

/// What a context on a card asks beside.
struct CudaOptions {
  int device = 0;             // number of the card
  bool tf32 = false;          // float convolutions multiply with 10 bits of fraction, on the tensor cores
  bool deterministic = true;  // the same bits each run; else plans may add in any order where that is faster
  Index workspace = Index{64} << 20;   // most bytes that a convolution's plan may ask for
  bool graphs = true;                  // what a run does again and again is recorded and launched as one (nn/cuda/replay.hpp)
};

struct ContextOptions {
  int threads = 0;   // 0: one per processor
  std::uint64_t seed = 0;
  Executor* executor = nullptr;             // the caller's own threads; must outlive the context. Then `threads` is not used
  std::optional<Isa> isa{};                 // forces a path; else the one that CTSEG_ISA names, else the processor's best
  Accuracy accuracy = Accuracy::standard;   // of float convolutions: strict, standard or fast
  std::stop_token cancel{};                 // raised: the call under way ends soon with Code::cancelled; see docs/pitfalls.md
  LogSink log{};
  ProcessGroup* group = nullptr;                 // processes that train together; must outlive the context
  bool shared_statistics = false;                // of the group: batch norm and batch Dice see the images of all processes
  std::pmr::memory_resource* memory = nullptr;   // for arenas, eager values and prepared weights; must outlive all of them
  CudaOptions cuda{};
};

template <class Device> class Context;

template <> class Context<Cpu> {
 public:
  explicit Context(ContextOptions options = {}) : options_(std::move(options)) {
    traits_ = {.isa = choose_isa(options_.isa), .accuracy = options_.accuracy};
    if (options_.threads < 0 || options_.threads > kMostThreads)
      throw Error(Code::bad_argument, "context",
                  text("threads = ", options_.threads, "; must be 0 (all processors) to ", kMostThreads, "."));
    if (!options_.executor) {
      const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
      own_threads_ = std::make_unique<ThreadPool>(options_.threads > 0 ? options_.threads : all);
      options_.executor = own_threads_.get();
    }
  }

  /// Memory of the caller's resource, or of the system.
  Memory<Cpu> allocate(Index bytes) const { return Memory<Cpu>(bytes, options_.memory); }
  Executor& executor() { return *options_.executor; }
  void synchronize() const {}                               // a call has ended when it returns
  template <class T> T read(const T* at) const { return *at; }   // a value in the device's memory
  const DeviceTraits<Cpu>& traits() const { return traits_; }
  std::uint64_t seed() const { return options_.seed; }
  /// To make another one of: its executor is this one's threads, which must outlive the other.
  const ContextOptions& options() const { return options_; }
  ProcessGroup* group() const { return options_.group; }
  /// The group, where ops sum over it.
  ProcessGroup* statistics_group() const {
    return options_.shared_statistics && options_.group && options_.group->size() > 1 ? options_.group : nullptr;
  }

  /// The key of the next forward pass. resume_at() makes a continued training draw what the straight one would.
  RandomKey next_run() { return {options_.seed, ++runs_, 0}; }
  std::uint64_t runs() const { return runs_; }
  void resume_at(std::uint64_t runs) { runs_ = runs; }

  bool cancelled() const { return options_.cancel.stop_requested(); }
  /// In a group a call that one process leaves would make the others wait for ever: there fit asks all of them, between steps.
  void check_cancelled(std::string_view where) const {
    if (cancelled() && (!group() || group()->size() == 1)) throw Error(Code::cancelled, where, "the caller asked to stop.");
  }
  void log(std::string_view line) const {
    if (options_.log.write) options_.log.write(options_.log.user, line);
  }

 private:
  static constexpr int kMostThreads = 1024;

  static Isa choose_isa(std::optional<Isa> wanted) {
    if (!wanted) {
      const char* name = std::getenv("CTSEG_ISA");
      if (!name || !*name) return detect_isa();
      std::string names;
      for (const Isa isa : kIsas) {
        if (text(isa) == name) wanted = isa;
        names += (names.empty() ? "" : ", ") + text(isa);
      }
      if (!wanted) throw Error(Code::bad_argument, "context", text("CTSEG_ISA=", name, "; must be one of ", names, "."));
    }
    if (!available(*wanted))
      throw Error(Code::unsupported, "context", text("this processor has no ", *wanted, "; its best is ", detect_isa(), "."));
    return *wanted;
  }

  ContextOptions options_;
  DeviceTraits<Cpu> traits_;
  std::unique_ptr<ThreadPool> own_threads_;
  std::uint64_t runs_ = 0;
};

}   // namespace ctseg
