// Kernels on the host: every thread of every block, one after the other. Threads of a body that syncs are fibres (a stack each,
// taking turns), for any of them may have to wait for all others. What a card would punish is an error here: threads that end
// or go elsewhere while others wait for them, shared memory beyond what was asked for. Blocks come in a strange order, and warps
// and lanes change theirs at every wait, so that a missing sync shows.
#undef _FORTIFY_SOURCE   // its longjmp refuses to change stacks
#include <csetjmp>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>

#include <sys/mman.h>
#include <ucontext.h>

#include "kernels/emulated/emulated.hpp"

namespace ctseg::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr std::size_t kStackBytes = 128 << 10, kGuardBytes = 4 << 10;
constexpr int kFence = 64;   // bytes behind the shared memory

enum class State { ready, at_warp, at_block, ended };

struct Fibre {
  jmp_buf place;
  ucontext_t begin;
  EmulatedBlock* owner = nullptr;
  Block block{};
  State state = State::ended;
  bool started = false;
};

}   // namespace

struct EmulatedBlock {
  const EmulatedLaunch* launch = nullptr;
  std::vector<unsigned char> shared_memory;
  unsigned char* shared = nullptr;
  alignas(16) unsigned char slots[kMostThreads][16];
  std::vector<std::unique_ptr<Fibre>> fibres;
  unsigned char* stacks = nullptr;
  jmp_buf scheduler;
  Fibre* current = nullptr;

  ~EmulatedBlock() {
    if (stacks) munmap(stacks, kMostThreads * kStackBytes);
  }
  Fibre& fibre(int thread);
  void resume(Fibre&);
  void wait(State);
  void run_warp(int warp);
  void run();
};

namespace {

[[noreturn]] void fail(const EmulatedBlock& b, const std::string& what) {
  throw Error(Code::device, "emulated", text("kernel ", b.launch->name, ": ", what));
}

void begin_fibre(unsigned high, unsigned low) {
  auto* fibre = reinterpret_cast<Fibre*>(static_cast<std::uintptr_t>(std::uint64_t{high} << 32 | low));
  for (;;) {   // a fibre serves block after block
    fibre->owner->launch->run(fibre->owner->launch->body, fibre->block);
    fibre->owner->wait(State::ended);
  }
}

}   // namespace

Fibre& EmulatedBlock::fibre(int thread) {
  if (!stacks) {
    void* p = mmap(nullptr, kMostThreads * kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    stacks = static_cast<unsigned char*>(p);
  }
  const auto t = static_cast<std::size_t>(thread);
  while (fibres.size() <= t) {
    mprotect(stacks + fibres.size() * kStackBytes, kGuardBytes, PROT_NONE);
    fibres.push_back(std::make_unique<Fibre>());
  }
  Fibre& f = *fibres[t];
  if (!f.started) {
    f.owner = this;
    getcontext(&f.begin);
    f.begin.uc_stack.ss_sp = stacks + t * kStackBytes + kGuardBytes;
    f.begin.uc_stack.ss_size = kStackBytes - kGuardBytes;
    f.begin.uc_link = nullptr;
    const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&f));
    makecontext(&f.begin, reinterpret_cast<void (*)()>(begin_fibre), 2, static_cast<unsigned>(address >> 32),
                static_cast<unsigned>(address));
  }
  return f;
}

/// Runs the fibre until it waits or ends.
[[gnu::noinline]] void EmulatedBlock::resume(Fibre& f) {
  current = &f;
  if (_setjmp(scheduler) != 0) return;
  if (f.started) _longjmp(f.place, 1);
  f.started = true;
  setcontext(&f.begin);
}

[[gnu::noinline]] void EmulatedBlock::wait(State state) {
  Fibre& f = *current;
  f.state = state;
  if (_setjmp(f.place) == 0) _longjmp(scheduler, 1);
}

/// Runs the lanes of a warp until each has ended or waits for the block.
void EmulatedBlock::run_warp(int warp) {
  for (bool backwards = false;; backwards = !backwards) {
    for (int k = 0; k < kWarp; ++k) {
      Fibre& f = *fibres[static_cast<std::size_t>(warp * kWarp + (backwards ? kWarp - 1 - k : k))];
      if (f.state == State::ready) resume(f);
    }
    int waiting = 0, ended = 0;
    for (int k = 0; k < kWarp; ++k) {
      const State state = fibres[static_cast<std::size_t>(warp * kWarp + k)]->state;
      waiting += state == State::at_warp, ended += state == State::ended;
    }
    if (waiting == 0) return;
    if (waiting != kWarp)
      fail(*this, text(waiting, " lanes of warp ", warp, " wait for the other lanes (a shuffle or sync_warp), of which ", ended,
                       " have ended and ", kWarp - waiting - ended, " wait for the block. All 32 must call it."));
    for (int k = 0; k < kWarp; ++k) fibres[static_cast<std::size_t>(warp * kWarp + k)]->state = State::ready;
  }
}

void EmulatedBlock::run() {
  const int threads = launch->threads, warps = threads / kWarp;
  for (bool backwards = false;; backwards = !backwards) {
    for (int w = 0; w < warps; ++w) run_warp(backwards ? warps - 1 - w : w);
    int waiting = 0;
    for (int t = 0; t < threads; ++t) waiting += fibres[static_cast<std::size_t>(t)]->state == State::at_block;
    if (waiting == 0) return;
    if (waiting != threads)
      fail(*this, text(waiting, " of ", threads, " threads wait in sync(), the others have ended. All must call it."));
    for (int t = 0; t < threads; ++t) fibres[static_cast<std::size_t>(t)]->state = State::ready;
  }
}

void Block::sync() const {
  if (!emulated->launch->syncs) fail(*emulated, "it calls sync() and says kSyncs = false.");
  emulated->wait(State::at_block);
}
void Block::sync_warp() const {
  if (!emulated->launch->syncs) fail(*emulated, "it calls sync_warp() or a shuffle and says kSyncs = false.");
  emulated->wait(State::at_warp);
}
unsigned char* Block::shared_bytes() const { return emulated->shared; }
unsigned char* Block::lane_slot(int of_lane) const { return emulated->slots[warp() * kWarp + of_lane]; }

namespace {

void check_launch(const EmulatedLaunch& l) {
  const auto refuse = [&](const std::string& what) { throw Error(Code::device, "emulated", text("kernel ", l.name, ": ", what)); };
  if (l.threads % kWarp != 0 || l.threads < kWarp || l.threads > kMostThreads)
    refuse(text("blocks of ", l.threads, " threads; must be a multiple of 32, at most 1024."));
  if (l.blocks > (Index{1} << 31) - 1 || l.rows > 65535)
    refuse(text("a grid of ", l.blocks, " x ", l.rows, " blocks; at most 2147483647 x 65535."));
  if (l.shared_bytes < 0 || l.shared_bytes > shared_memory())
    refuse(text(l.shared_bytes, " bytes of shared memory; at most ", shared_memory(), "."));
  if (l.body_bytes > 4096) refuse(text("arguments of ", l.body_bytes, " bytes; at most 4096."));
#if __has_builtin(__builtin_clear_padding)   // else old addresses may lie between its members
  check_arguments(l.name, l.body, l.body_bytes);
#endif
}

/// One per host thread, with its stacks; left as new by a kernel that failed.
EmulatedBlock& my_block() {
  thread_local EmulatedBlock block;
  return block;
}

void run_block(EmulatedBlock& b, Index index, Index row) {
  const EmulatedLaunch& l = *b.launch;
  std::memset(b.shared, 0xff, static_cast<std::size_t>(l.shared_bytes));   // NaN
  std::memset(b.shared + l.shared_bytes, 0xa5, kFence);
  for (int t = 0; t < l.threads; ++t) {
    const int thread = !l.syncs && index % 2 ? l.threads - 1 - t : t;
    const Block block{&b, thread, l.threads, index, row, l.blocks, l.rows};
    if (!l.syncs) {
      l.run(l.body, block);
      continue;
    }
    Fibre& f = b.fibre(thread);
    f.block = block;
    f.state = State::ready;
  }
  if (l.syncs) b.run();
  for (int k = 0; k < kFence; ++k)
    if (b.shared[l.shared_bytes + k] != 0xa5) fail(b, text("it writes behind its ", l.shared_bytes, " bytes of shared memory."));
}

void run_now(const EmulatedLaunch& l) {
  const Access access;
  EmulatedBlock& b = my_block();
  b.launch = &l;
  b.shared_memory.resize(static_cast<std::size_t>(l.shared_bytes + kFence + 128));
  const auto address = reinterpret_cast<std::uintptr_t>(b.shared_memory.data());
  b.shared = b.shared_memory.data() + (128 - address % 128);
  const Index count = l.blocks * l.rows;
  Index stride = 7919;   // a prime: all blocks once, in an order that nobody would rely on
  while (std::gcd(stride, count) != 1) ++stride;
  try {
    for (Index i = 0, at = count / 2; i < count; ++i, at = (at + stride) % count) run_block(b, at % l.blocks, at / l.blocks);
    check_borders(l.name);
  } catch (...) {
    for (const auto& f : b.fibres) f->started = false;   // some stand in the middle of a body
    throw;
  }
}

}   // namespace

void run_emulated(const EmulatedLaunch& l) {
  if (l.blocks <= 0 || l.rows <= 0) return;
  check_launch(l);
  if (!l.stream || !l.stream->recording) return run_now(l);
  const auto* first = static_cast<const unsigned char*>(l.body);
  enqueue(l.stream, [kept = l, body = std::vector<unsigned char>(first, first + l.body_bytes)]() mutable {
    kept.body = body.data();
    run_now(kept);
  });
}

}   // namespace ctseg::cuda
