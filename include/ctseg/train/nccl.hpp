// Training on several cards: processes that sum gradients from card to card through NCCL, which is looked for when a program
// runs. Its code is part of ctseg::cuda.
#pragma once
#include <memory>

#include "../core/process_group.hpp"
#include "rendezvous.hpp"

namespace ctseg {

struct NcclOptions {
  ProcessPlace place = process_place();
  int device = -1;                        // number of the card; -1: place.local_rank
  std::filesystem::path rendezvous{};     // a folder that all processes see; for more than one of them
  double seconds = 60;                    // to wait for the others at the beginning
  double limit_seconds = 600;             // that one sum or broadcast may take, the wait for the slowest process included
  std::string library = "libnccl.so.2";   // as dlopen finds it
};

/// One process and card of those that train together: mpirun, srun or torchrun starts them, one for each card; the context is
/// Context<Cuda>({.group = &world, .cuda = {.device = world.device()}}). Values of the host go through the card too.
/// Numerics  every process gets the same bits; which of them depends on how many there are, and on NCCL.
/// Errors    unsupported where NCCL is not installed, or older than 2.4; device with NCCL's own words where it fails, and where
///           one of the others has ended or hangs, after limit_seconds: what waits for it on the card is given up, and every
///           later call throws the same; io where the others do not come; bad_argument for more than one process without a
///           rendezvous, or a limit that is not above 0.
class NcclWorld final : public ProcessGroup {
 public:
  explicit NcclWorld(const NcclOptions& options = {});
  ~NcclWorld() override;
  NcclWorld(const NcclWorld&) = delete;
  NcclWorld& operator=(const NcclWorld&) = delete;

  int rank() const override;
  int size() const override;
  int device() const;
  int version() const;   // of NCCL: 22809 is 2.28.9

  void sum(std::span<float> values) override;
  void sum(std::span<double> values) override;
  void begin_sum(std::span<float> values) override;
  void begin_sum(std::span<double> values) override;
  void advance() override {}
  void finish() override;
  void broadcast(std::span<std::byte> bytes) override;
  bool sums_on_device() const override { return true; }
  void begin_sum_on_device(std::span<float> values, void* stream) override;
  void finish_on_device(void* stream) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}   // namespace ctseg
