// A card's memory and queues on the host. All device memory is one range of addresses that nobody may touch but kernels and
// copies, so that host code that reads it crashes here and not at the first customer's. New memory is NaN, so is what lies
// between two allocations, and after every kernel that border must still be whole.
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include <sys/mman.h>
#include <unistd.h>

#include "kernels/emulated/emulated.hpp"
#include "kernels/nccl/event.hpp"

namespace ctseg::cuda {
namespace {

constexpr Index kTotal = Index{4} << 30;   // of the card: reserved, and taken from the machine where it is used
/// Less where a test of full cards asks for it.
Index total_memory() {
  const char* bytes = std::getenv("CTSEG_EMULATED_MEMORY");
  return bytes ? std::min<Index>(kTotal, std::atoll(bytes)) : kTotal;
}
constexpr Index kCheap = Index{4} << 20;   // to protect
constexpr Index kBorder = 256;             // before and behind every allocation, which begins on 256 bytes

[[noreturn]] void fail(const std::string& what) { throw Error(Code::device, "emulated", what); }

struct Card {
  std::recursive_mutex mutex;
  char* memory = nullptr;
  Index high = 0;                   // bytes that were ever used
  int open = 0;                     // of Access
  Index closings = 0, opened = 0;   // opened: up to here, if is_open
  bool is_open = false;
  std::map<Index, Index> live, free;   // offset of the border before it -> bytes with borders
  std::map<Index, Index> asked;        // the same offset -> bytes
  std::set<void*> pinned;

  Card() {
    void* p = mmap(reinterpret_cast<void*>(Index{1} << 44), kTotal, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fail("the machine cannot reserve 4 GiB of addresses.");
    memory = static_cast<char*>(p);
    free[0] = kTotal;
  }
  ~Card() { munmap(memory, kTotal); }

  /// To change the rights of much memory takes longer than most kernels: then only every eighth closing is done.
  void protect(bool open_now) {
    if (!open_now && high > kCheap && ++closings % 8 != 0) return;
    if (high > 0 && (!is_open || high > opened || !open_now))
      mprotect(memory, static_cast<std::size_t>(high), open_now ? PROT_READ | PROT_WRITE : PROT_NONE);
    is_open = open_now, opened = high;
  }
  /// After large memory has gone, what is left is cheap to protect again.
  void shrink() {
    const Index last = live.empty() ? 0 : live.rbegin()->first + live.rbegin()->second, now = (last + 65535) / 65536 * 65536;
    if (high <= kCheap || now >= high) return;
    mprotect(memory + now, static_cast<std::size_t>(high - now), PROT_NONE);
    high = now, opened = std::min(opened, now);
  }
  bool holds(const void* p, Index bytes) const {
    const Index offset = static_cast<const char*>(p) - memory;
    if (offset < 0 || offset >= kTotal) return false;
    auto block = asked.upper_bound(offset);
    if (block == asked.begin()) return false;
    --block;
    const Index first = block->first + kBorder;
    return offset >= first && offset + bytes <= first + block->second;
  }
  bool contains(const void* p) const {
    return p >= static_cast<const void*>(memory) && p < static_cast<const void*>(memory + kTotal);
  }
};
Card& card() {
  static Card one;
  return one;
}

int& recordings() {   // that this thread has begun
  thread_local int count = 0;
  return count;
}
void refuse_while_recording(const char* what) {
  if (recordings() > 0) fail(text(what, " while this thread records."));
}
void check_device(const char* what, const void* p, Index bytes) {
  const std::lock_guard lock(card().mutex);
  if (!card().holds(p, bytes))
    fail(text(what, ": ", bytes, " bytes at an address that is ",
              card().contains(p) ? "not (or not whole) inside what was allocated." : "the host's, not the card's."));
}
void check_host(const char* what, const void* p) {
  if (card().contains(p)) fail(text(what, ": an address of the card where one of the host belongs."));
}
bool is_pinned(const void* p) {
  const std::lock_guard lock(card().mutex);
  return card().pinned.contains(const_cast<void*>(p));
}

/// A page of this program: asks the system, without touching it.
bool is_mapped(std::uintptr_t address) {
  static const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  return msync(reinterpret_cast<void*>(address / page * page), page, MS_ASYNC) == 0;
}

bool all_ones(const char* first, Index count) {
  for (Index i = 0; i < count; ++i)
    if (first[i] != static_cast<char>(0xff)) return false;
  return true;
}

}   // namespace

Access::Access() {
  Card& c = card();
  const std::lock_guard lock(c.mutex);
  if (c.open++ == 0) c.protect(true);
}
Access::~Access() {
  Card& c = card();
  const std::lock_guard lock(c.mutex);
  if (--c.open == 0) c.protect(false);
}

void enqueue(Stream stream, std::function<void()> work) {
  if (stream && stream->recording)
    stream->recorded.push_back(std::move(work));
  else
    work();
}

void check_arguments(const char* name, const void* body, std::size_t bytes) {
  for (std::size_t k = 0; k + sizeof(std::uintptr_t) <= bytes; k += sizeof(std::uintptr_t)) {
    std::uintptr_t word;
    std::memcpy(&word, static_cast<const char*>(body) + k, sizeof word);
    if (word >> 44 == 0 || word >> 48 != 0 || card().contains(reinterpret_cast<void*>(word))) continue;
    if (is_mapped(word))
      fail(text("kernel ", name, ": its arguments hold an address of the host, at byte ", k,
                ". Hint: a pointer to device memory; or give every member a value."));
  }
}

void check_borders(const char* name) {
  Card& c = card();
  const std::lock_guard lock(c.mutex);
  for (const auto& [offset, bytes] : c.live) {
    const Index asked = c.asked.at(offset);
    if (!all_ones(c.memory + offset, kBorder))
      fail(text(name, ": somebody wrote before the beginning of an allocation of ", asked, " bytes."));
    if (!all_ones(c.memory + offset + kBorder + asked, bytes - kBorder - asked))
      fail(text(name, ": somebody wrote behind the end of an allocation of ", asked, " bytes."));
  }
}

int shared_memory() {
  const char* bytes = std::getenv("CTSEG_EMULATED_SHARED");
  return bytes ? std::atoi(bytes) : 227 << 10;
}

int device_count() noexcept { return 1; }
std::string why_no_device() { return {}; }
bool emulated() noexcept { return true; }
DeviceFacts device_facts(int) {
  return {.name = "emulated card", .capability = 90, .multiprocessors = 132, .memory = total_memory(), .l2_bytes = Index{50} << 20,
          .shared_bytes_per_block = shared_memory()};
}
MemoryFacts memory_facts() {
  Card& c = card();
  const std::lock_guard lock(c.mutex);
  Index used = 0;
  for (const auto& [offset, bytes] : c.live) used += bytes;
  return {std::max<Index>(0, total_memory() - used), total_memory()};
}

void use_device(int device) {
  if (device != 0) fail(text("device ", device, "; there is one, number 0."));
}
Stream make_stream() { return new CUstream_st; }
void release_stream(Stream stream) noexcept { delete stream; }

void* allocate(Index bytes) {
  refuse_while_recording("memory is allocated");
  Card& c = card();
  const std::lock_guard lock(c.mutex);
  const Index wanted = (bytes + 255) / 256 * 256 + 2 * kBorder;
  auto place = c.free.begin();
  while (place != c.free.end() && place->second < wanted) ++place;
  if (place == c.free.end() || wanted > memory_facts().free)
    throw Error(Code::out_of_memory, "cuda",
                text("cannot allocate ", (bytes + (1 << 20) - 1) >> 20, " MiB; of the card's ", total_memory() >> 20, " MiB ",
                     memory_facts().free >> 20, " are free. Hint: smaller patches or batches, or bf16."));
  const auto [offset, room] = *place;
  c.free.erase(place);
  if (room > wanted) c.free[offset + wanted] = room - wanted;
  c.live[offset] = wanted, c.asked[offset] = bytes;
  c.high = std::max(c.high, (offset + wanted + 65535) / 65536 * 65536);
  if (c.open > 0) c.protect(true);
  const Access access;
  std::memset(c.memory + offset, 0xff, static_cast<std::size_t>(wanted));
  return c.memory + offset + kBorder;
}

void release(void* p) noexcept {
  if (!p) return;
  Card& c = card();
  const std::lock_guard lock(c.mutex);
  const auto block = c.live.find(static_cast<char*>(p) - c.memory - kBorder);
  if (block == c.live.end() || recordings() > 0) std::abort();   // a program error that nobody could catch
  auto [offset, bytes] = *block;
  {
    const Access access;
    std::memset(c.memory + offset, 0xff, static_cast<std::size_t>(bytes));   // whoever reads it now reads NaN
  }
  c.live.erase(block), c.asked.erase(offset);
  const auto next = c.free.find(offset + bytes);
  if (next != c.free.end()) bytes += next->second, c.free.erase(next);
  const auto before = c.free.lower_bound(offset);
  if (before != c.free.begin() && std::prev(before)->first + std::prev(before)->second == offset)
    std::prev(before)->second += bytes;
  else
    c.free[offset] = bytes;
  c.shrink();
}

void* allocate_pinned(Index bytes) {
  refuse_while_recording("pinned memory is allocated");
  void* p = std::aligned_alloc(256, static_cast<std::size_t>((bytes + 255) / 256 * 256));
  if (!p) throw Error(Code::out_of_memory, "cuda", text("cannot allocate ", bytes, " bytes of pinned memory."));
  const std::lock_guard lock(card().mutex);
  card().pinned.insert(p);
  return p;
}
void release_pinned(void* p) noexcept {
  const std::lock_guard lock(card().mutex);
  card().pinned.erase(p);
  std::free(p);
}

namespace {
void copy(Stream stream, void* to, const void* from, Index bytes) {
  enqueue(stream, [=] {
    const Access access;
    std::memmove(to, from, static_cast<std::size_t>(bytes));
  });
}
void refuse_pageable(Stream stream, const void* host) {
  if (stream && stream->recording && !is_pinned(host)) fail("a copy from or to pageable memory of the host is recorded.");
}
}   // namespace

void copy_to_device(Stream stream, void* to, const void* from, Index bytes) {
  check_device("copy_to_device, to", to, bytes), check_host("copy_to_device, from", from);
  refuse_pageable(stream, from);
  copy(stream, to, from, bytes);
}
void copy_to_host(Stream stream, void* to, const void* from, Index bytes) {
  check_device("copy_to_host, from", from, bytes), check_host("copy_to_host, to", to);
  refuse_pageable(stream, to);
  copy(stream, to, from, bytes);
}
void copy_on_device(Stream stream, void* to, const void* from, Index bytes) {
  check_device("copy_on_device, to", to, bytes), check_device("copy_on_device, from", from, bytes);
  copy(stream, to, from, bytes);
}
void clear(Stream stream, void* to, Index bytes) {
  check_device("clear", to, bytes);
  enqueue(stream, [=] {
    const Access access;
    std::memset(to, 0, static_cast<std::size_t>(bytes));
  });
}
void synchronize(Stream stream) {
  if (stream && stream->recording) fail("somebody waits for a stream that records.");
}

Event make_event() { return new CUevent_st; }
void release_event(Event event) noexcept { delete event; }
void record_event(Stream, Event) {}   // all work before is done
bool event_done(Event) { return std::getenv("CTSEG_EMULATED_STUCK") == nullptr; }   // else as if a peer had died
void wait_event(Stream, Event) {}

void begin_recording(Stream stream) {
  if (!stream || stream->recording) fail("this stream cannot record, or records already.");
  stream->recording = true;
  stream->recorded.clear();
  ++recordings();
}
CUgraphExec_st* end_recording(Stream stream) {
  if (!stream || !stream->recording) fail("this stream does not record.");
  stream->recording = false;
  --recordings();
  return new CUgraphExec_st{std::move(stream->recorded)};
}
void launch_recording(Stream stream, CUgraphExec_st* recording) {
  if (stream && stream->recording) fail("a recording is played into another.");
  for (const auto& work : recording->work) work();
}
void release_recording(CUgraphExec_st* recording) noexcept { delete recording; }

}   // namespace ctseg::cuda
