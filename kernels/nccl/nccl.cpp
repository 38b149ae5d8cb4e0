// NcclWorld: a thin layer over the C interface of NCCL 2, found by dlopen, so that programs start where there is none. What is
// declared here of it has been the same since 2.4.
#include <dlfcn.h>

#include <ctseg/train/nccl.hpp>
#include "event.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace ctseg {
namespace {

struct UniqueId {
  char bytes[128];
};
using Comm = void*;
enum Type { kByte = 1, kFloat = 7, kDouble = 8 };
constexpr int kSum = 0, kInProgress = 7;
using Clock = std::chrono::steady_clock;

/// The functions that are needed.
struct Library {
  void* handle = nullptr;
  int (*get_version)(int*) = nullptr;
  const char* (*get_error_string)(int) = nullptr;
  int (*get_unique_id)(UniqueId*) = nullptr;
  int (*comm_init_rank)(Comm*, int, UniqueId, int) = nullptr;
  int (*comm_destroy)(Comm) = nullptr;
  int (*comm_abort)(Comm) = nullptr;
  int (*comm_get_async_error)(Comm, int*) = nullptr;
  int (*all_reduce)(const void*, void*, std::size_t, int, int, Comm, cuda::Stream) = nullptr;
  int (*broadcast)(const void*, void*, std::size_t, int, int, Comm, cuda::Stream) = nullptr;

  explicit Library(const std::string& name) : handle(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!handle)
      throw Error(Code::unsupported, "nccl",
                  text("cannot be loaded: ", dlerror(),
                       ". Hint: install NCCL 2 (Debian and Ubuntu: libnccl2), or name its file in NcclOptions::library."));
    find(get_version, "ncclGetVersion"), find(get_error_string, "ncclGetErrorString");
    find(get_unique_id, "ncclGetUniqueId"), find(comm_init_rank, "ncclCommInitRank");
    find(comm_destroy, "ncclCommDestroy"), find(comm_abort, "ncclCommAbort");
    find(comm_get_async_error, "ncclCommGetAsyncError");
    find(all_reduce, "ncclAllReduce"), find(broadcast, "ncclBroadcast");
  }
  template <class F> void find(F*& function, const char* name) {
    function = reinterpret_cast<F*>(dlsym(handle, name));
    if (!function) throw Error(Code::unsupported, "nccl", text("this library has no ", name, ". Hint: NCCL 2.4 or newer."));
  }
  void check(int result, const char* call) const {
    if (result != 0) throw Error(Code::device, call, text(get_error_string(result), " (", result, ")."));
  }
};

/// Device memory for values of the host, as large as the largest so far.
struct Staging {
  void* memory = nullptr;
  Index bytes = 0;
  ~Staging() { cuda::release(memory); }
  void* room(Index wanted) {
    if (wanted > bytes) {
      cuda::release(std::exchange(memory, nullptr));
      bytes = 0;
      memory = cuda::allocate(wanted), bytes = wanted;
    }
    return memory;
  }
};

const NcclOptions& checked(const NcclOptions& o) {
  if (o.place.rank < 0 || o.place.rank >= o.place.size)
    throw Error(Code::bad_argument, "nccl",
                text("rank ", o.place.rank, " of ", o.place.size, " processes; must be 0 or more and below their number."));
  if (o.place.size > 1 && o.rendezvous.empty())
    throw Error(Code::bad_argument, "nccl",
                text(o.place.size, " processes, and no folder where they find each other. Hint: NcclOptions::rendezvous."));
  if (!(o.limit_seconds > 0))
    throw Error(Code::bad_argument, "nccl", text("limit_seconds = ", o.limit_seconds, "; must be above 0."));
  return o;
}

/// The connection to the others, and whether it still holds. NCCL waits for a process that has died for ever, on the card; so
/// whoever waits here asks from time to time, and gives the connection up. Sums that nobody waits for, since the card goes on
/// with other work behind them, a thread watches.
class Connection {
 public:
  Connection(const Library& library, const NcclOptions& o) : library_(&library), place_(o.place), seconds_(o.limit_seconds) {}
  ~Connection() {
    if (watcher_.joinable()) {
      {
        const std::lock_guard lock(mutex_);
        closing_ = true;
      }
      wake_.notify_all();
      watcher_.join();
    }
    for (; !under_way_.empty(); under_way_.pop_front())
      wait_for(under_way_.front()), cuda::release_event(under_way_.front().event);
    if (comm_) library_->comm_destroy(comm_);
  }
  void begin(const UniqueId& id, int device) {
    device_ = device;
    library_->check(library_->comm_init_rank(&comm_, place_.size, id, place_.rank), "ncclCommInitRank");
  }
  /// Errors    device where it was given up.
  Comm get() {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) throw Error(Code::device, "nccl", failure_);
    return comm_;
  }
  /// What the stream was given so far: returns when it has ended. Else the error of get().
  void wait(cuda::Stream stream) {
    const Work work = work_of(stream);
    wait_for(work);
    cuda::release_event(work.event);
    (void)get();
  }
  /// The same, without waiting for it.
  void watch(cuda::Stream stream) {
    const Work work = work_of(stream);
    {
      const std::lock_guard lock(mutex_);
      under_way_.push_back(work);
    }
    if (!watcher_.joinable()) watcher_ = std::thread([this] { watch_all(); });
    wake_.notify_all();
  }
  void abandon(const std::string& why) noexcept {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = why;
    if (comm_) library_->comm_abort(std::exchange(comm_, nullptr));   // kernels that wait for the others end
  }

 private:
  struct Work {
    cuda::Event event;
    Clock::time_point since;
  };
  static Work work_of(cuda::Stream stream) {
    const cuda::Event event = cuda::make_event();
    cuda::record_event(stream, event);
    return {event, Clock::now()};
  }
  /// Or will never end, and was given up.
  bool ended(const Work& work) noexcept try {
    if (cuda::event_done(work.event)) return true;
    int error = 0;
    {
      const std::lock_guard lock(mutex_);
      if (!comm_) return true;
      (void)library_->comm_get_async_error(comm_, &error);
    }
    if (error != 0 && error != kInProgress)
      abandon(text("the connection of rank ", place_.rank, " is broken: ", library_->get_error_string(error), " (", error,
                   "). Hint: look at what the other processes wrote; one of them has ended."));
    else if (Clock::now() - work.since > std::chrono::duration<double>(seconds_))
      abandon(text("rank ", place_.rank, " of ", place_.size, " has waited ", seconds_,
                   " s for the others. Hint: one of them has ended or hangs, look at what it wrote; if it is only slow, raise "
                   "NcclOptions::limit_seconds."));
    else
      return false;
    return true;
  } catch (const Error& e) {   // the card's own, and no work on it will end
    abandon(e.what());
    return true;
  }
  void wait_for(const Work& work) {
    while (!ended(work)) std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  void watch_all() {
    cuda::use_device(device_);
    std::unique_lock lock(mutex_);
    while (!closing_) {
      if (under_way_.empty()) {
        wake_.wait(lock);
        continue;
      }
      const Work first = under_way_.front();
      lock.unlock();
      const bool over = ended(first);
      lock.lock();
      if (over)
        cuda::release_event(first.event), under_way_.pop_front();
      else
        wake_.wait_for(lock, std::chrono::milliseconds(50));
    }
  }

  const Library* library_;
  ProcessPlace place_;
  double seconds_;
  int device_ = 0;
  Comm comm_ = nullptr;
  std::mutex mutex_;   // of all below, and of comm_
  std::condition_variable wake_;
  std::string failure_;
  std::deque<Work> under_way_;
  bool closing_ = false;
  std::thread watcher_;
};

}   // namespace

struct NcclWorld::State {
  explicit State(const NcclOptions& o)
      : library(o.library),
        place(o.place),
        device(o.device < 0 ? o.place.local_rank : o.device),
        connection(std::in_place, library, o) {}
  ~State() {
    connection.reset();   // before what it works on
    if (begun) cuda::release_event(begun), cuda::release_event(ended);
    if (stream) cuda::release_stream(stream);
  }

  Library library;
  ProcessPlace place;
  int device, version = 0;
  cuda::Stream stream = nullptr;   // beside that of the network
  cuda::Event begun = nullptr, ended = nullptr;
  Staging staging;
  std::optional<Connection> connection;
  struct Waiting {
    void* values;
    std::size_t count;
    Type type;
  };
  std::vector<Waiting> waiting;   // sums of the host's values that were begun
  int exceptions = std::uncaught_exceptions();

  template <class T> void sum(std::span<T> values, Type type) {
    const auto bytes = static_cast<Index>(values.size_bytes());
    if (bytes == 0 || place.size == 1) return;
    cuda::use_device(device);
    void* there = staging.room(bytes);
    cuda::copy_to_device(stream, there, values.data(), bytes);
    library.check(library.all_reduce(there, there, values.size(), type, kSum, connection->get(), stream), "ncclAllReduce");
    connection->wait(stream);
    cuda::copy_to_host(stream, values.data(), there, bytes);
    cuda::synchronize(stream);
  }
};

NcclWorld::NcclWorld(const NcclOptions& o) : state_(std::make_unique<State>(checked(o))) {
  State& s = *state_;
  s.library.check(s.library.get_version(&s.version), "ncclGetVersion");
  const int cards = cuda::device_count();
  if (cards == 0) throw Error(Code::device, "nccl", cuda::why_no_device());
  if (s.device >= cards)
    throw Error(Code::bad_argument, "nccl",
                text("rank ", s.place.rank, " wants card ", s.device, "; this machine has ", cards,
                     ". Hint: as many processes here as there are cards."));
  cuda::use_device(s.device);
  s.stream = cuda::make_stream(), s.begun = cuda::make_event(), s.ended = cuda::make_event();
  UniqueId id{};
  if (s.place.rank == 0) s.library.check(s.library.get_unique_id(&id), "ncclGetUniqueId");
  if (s.place.size > 1) {
    const std::string bytes = Rendezvous(o.rendezvous, s.place, o.seconds).share({id.bytes, sizeof id.bytes});
    if (bytes.size() != sizeof id.bytes)
      throw Error(Code::io, o.rendezvous.string(), text("held ", bytes.size(), " bytes; NCCL's number has 128."));
    std::memcpy(id.bytes, bytes.data(), sizeof id.bytes);
  }
  s.connection->begin(id, s.device);
}

NcclWorld::~NcclWorld() {
  State& s = *state_;
  // An error on its way out of this process alone, perhaps: destroying waits for the others, which wait for this one.
  if (std::uncaught_exceptions() > s.exceptions) s.connection->abandon("an error ended the training.");
}

int NcclWorld::rank() const { return state_->place.rank; }
int NcclWorld::size() const { return state_->place.size; }
int NcclWorld::device() const { return state_->device; }
int NcclWorld::version() const { return state_->version; }

void NcclWorld::sum(std::span<float> values) { state_->sum(values, kFloat); }
void NcclWorld::sum(std::span<double> values) { state_->sum(values, kDouble); }
void NcclWorld::begin_sum(std::span<float> values) { state_->waiting.push_back({values.data(), values.size(), kFloat}); }
void NcclWorld::begin_sum(std::span<double> values) { state_->waiting.push_back({values.data(), values.size(), kDouble}); }
void NcclWorld::finish() {
  for (const auto& w : std::exchange(state_->waiting, {}))
    if (w.type == kFloat)
      sum(std::span(static_cast<float*>(w.values), w.count));
    else
      sum(std::span(static_cast<double*>(w.values), w.count));
}

void NcclWorld::broadcast(std::span<std::byte> bytes) {
  State& s = *state_;
  if (bytes.empty() || s.place.size == 1) return;
  const Index count = std::ssize(bytes);
  cuda::use_device(s.device);
  void* there = s.staging.room(count);
  cuda::copy_to_device(s.stream, there, bytes.data(), count);
  s.library.check(s.library.broadcast(there, there, bytes.size(), kByte, 0, s.connection->get(), s.stream), "ncclBroadcast");
  s.connection->wait(s.stream);
  cuda::copy_to_host(s.stream, bytes.data(), there, count);
  cuda::synchronize(s.stream);
}

void NcclWorld::begin_sum_on_device(std::span<float> values, void* stream) {
  State& s = *state_;
  if (values.empty()) return;
  cuda::use_device(s.device);
  cuda::record_event(static_cast<cuda::Stream>(stream), s.begun);
  cuda::wait_event(s.stream, s.begun);
  s.library.check(
      s.library.all_reduce(values.data(), values.data(), values.size(), kFloat, kSum, s.connection->get(), s.stream),
      "ncclAllReduce");
}
void NcclWorld::finish_on_device(void* stream) {
  State& s = *state_;
  (void)s.connection->get();
  cuda::record_event(s.stream, s.ended);
  cuda::wait_event(static_cast<cuda::Stream>(stream), s.ended);
  s.connection->watch(s.stream);
}

}   // namespace ctseg
