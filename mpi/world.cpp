// MpiWorld: a thin layer over MPI 3, compiled once so that its users need no mpi.h.
#include <ctseg/train/mpi.hpp>

#define OMPI_SKIP_MPICXX 1   // the C interface alone
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <vector>

namespace ctseg {

struct MpiWorld::State {
  MPI_Comm comm = MPI_COMM_NULL;
  bool owns_mpi = false;
  int exceptions = std::uncaught_exceptions();
  int rank = 0, size = 1;
  std::vector<MPI_Request> begun;
};

namespace {

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char words[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, words, &length);
  throw Error(Code::io, call, std::string_view(words, static_cast<std::size_t>(length)));
}

/// f(part) for parts that MPI, which counts in int, can take.
template <class T, class F> void each_part(std::span<T> values, F&& f) {
  constexpr std::size_t kMost = std::numeric_limits<int>::max();
  for (std::size_t first = 0; first < values.size(); first += kMost)
    f(values.subspan(first, std::min(kMost, values.size() - first)));
}
template <class T> void sum_now(MPI_Comm comm, std::span<T> values, MPI_Datatype type) {
  each_part(values, [&](std::span<T> part) {
    check(MPI_Allreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()), type, MPI_SUM, comm), "MPI_Allreduce");
  });
}
template <class T> void begin(MPI_Comm comm, std::vector<MPI_Request>& begun, std::span<T> values, MPI_Datatype type) {
  each_part(values, [&](std::span<T> part) {
    MPI_Request request;
    check(MPI_Iallreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()), type, MPI_SUM, comm, &request),
          "MPI_Iallreduce");
    begun.push_back(request);
  });
}

}   // namespace

MpiWorld::MpiWorld() : state_(std::make_unique<State>()) {
  int initialized = 0, level = MPI_THREAD_SINGLE;
  check(MPI_Initialized(&initialized), "MPI_Initialized");
  if (initialized) {
    check(MPI_Query_thread(&level), "MPI_Query_thread");
  } else {
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread");
    state_->owns_mpi = true;
  }
  if (level < MPI_THREAD_FUNNELED)
    throw Error(Code::unsupported, "mpi",
                "MPI runs without thread support. Hint: MPI_Init_thread(..., MPI_THREAD_FUNNELED, ...) instead of MPI_Init.");
  check(MPI_Comm_dup(MPI_COMM_WORLD, &state_->comm), "MPI_Comm_dup");   // no message of the program's can be mistaken for ours
  check(MPI_Comm_set_errhandler(state_->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(state_->comm, &state_->rank), "MPI_Comm_rank");
  check(MPI_Comm_size(state_->comm, &state_->size), "MPI_Comm_size");
}

MpiWorld::~MpiWorld() {
  // An error is on its way out of this process alone, perhaps: whatever waits for the others here would wait for ever, and the
  // sums under way have lost their memory. A process that ends without MPI_Finalize is ended with all of them by mpirun.
  if (std::uncaught_exceptions() > state_->exceptions) return;
  int finalized = 0;
  if (MPI_Finalized(&finalized) != MPI_SUCCESS || finalized) return;
  for (MPI_Request& request : state_->begun) MPI_Wait(&request, MPI_STATUS_IGNORE);
  if (state_->comm != MPI_COMM_NULL) MPI_Comm_free(&state_->comm);
  if (state_->owns_mpi) MPI_Finalize();
}

int MpiWorld::rank() const { return state_->rank; }
int MpiWorld::size() const { return state_->size; }
void MpiWorld::sum(std::span<float> values) { sum_now(state_->comm, values, MPI_FLOAT); }
void MpiWorld::sum(std::span<double> values) { sum_now(state_->comm, values, MPI_DOUBLE); }
void MpiWorld::begin_sum(std::span<float> values) { begin(state_->comm, state_->begun, values, MPI_FLOAT); }
void MpiWorld::begin_sum(std::span<double> values) { begin(state_->comm, state_->begun, values, MPI_DOUBLE); }

void MpiWorld::advance() {
  int done = 0;
  if (!state_->begun.empty())
    check(MPI_Testall(static_cast<int>(state_->begun.size()), state_->begun.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
}

void MpiWorld::finish() {
  check(MPI_Waitall(static_cast<int>(state_->begun.size()), state_->begun.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
  state_->begun.clear();
}

void MpiWorld::broadcast(std::span<std::byte> bytes) {
  each_part(bytes, [&](std::span<std::byte> part) {
    check(MPI_Bcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, 0, state_->comm), "MPI_Bcast");
  });
}

void MpiWorld::end_all(int status) {
  MPI_Abort(state_->comm, status);
  std::terminate();   // MPI_Abort does not come back
}

}   // namespace ctseg
