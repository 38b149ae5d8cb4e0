// Training on more than one machine: the group of the processes that mpirun started. Its code is the library ctseg::mpi.
#pragma once
#include <memory>

#include "../core/process_group.hpp"

namespace ctseg {

/// All processes of an MPI program, or one alone where nothing started others. MPI is initialised if the program has not done
/// that, and finalised with the object then, but not where an
/// exception ends it: mpirun then ends all processes. Calls are made from the thread that made it.
/// Errors    unsupported if MPI was initialised without thread support; io with MPI's own words where it fails.
class MpiWorld final : public ProcessGroup {
 public:
  MpiWorld();
  ~MpiWorld() override;
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  int rank() const override;
  int size() const override;
  void sum(std::span<float> values) override;
  void sum(std::span<double> values) override;
  void begin_sum(std::span<float> values) override;
  void begin_sum(std::span<double> values) override;
  void advance() override;
  void finish() override;
  void broadcast(std::span<std::byte> bytes) override;

  /// Ends all processes with this exit status: for the program's last resort, when one of them failed and the others wait.
  [[noreturn]] void end_all(int status);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}   // namespace ctseg
