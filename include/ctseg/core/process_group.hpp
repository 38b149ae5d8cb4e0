// Several processes that work as one: what training on more than one machine, or card, needs of whatever connects them.
#pragma once
#include <cstddef>
#include <span>

#include "error.hpp"

namespace ctseg {

/// Processes that train one network together. ctseg::mpi's World is one; all of them make the same calls in the same order.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual int rank() const = 0;   // 0 .. size() - 1
  virtual int size() const = 0;

  /// Replaces every value by its sum over all processes: the same bits in each of them. Sums that were begun stay
  /// under way.
  virtual void sum(std::span<float> values) = 0;
  virtual void sum(std::span<double> values) = 0;
  /// The same, begun only: until finish() the values are the group's.
  virtual void begin_sum(std::span<float> values) = 0;
  virtual void begin_sum(std::span<double> values) = 0;
  virtual void advance() = 0;   // moves what is begun along; cheap
  virtual void finish() = 0;
  /// Rank 0's bytes for everybody.
  virtual void broadcast(std::span<std::byte> bytes) = 0;

  /// Whether it also sums values in the memory of cards (NCCL), without a way through the host: begun behind all that `stream`,
  /// a cuda::Stream, was given before, and what the stream is given after finish_on_device comes behind the sums.
  virtual bool sums_on_device() const { return false; }
  virtual void begin_sum_on_device(std::span<float> values, void* stream);
  virtual void finish_on_device(void* stream);
};

inline void ProcessGroup::begin_sum_on_device(std::span<float>, void*) {
  throw Error(Code::unsupported, "group", "it sums values of the host only. Hint: NcclWorld sums those of cards.");
}
inline void ProcessGroup::finish_on_device(void*) {}

}   // namespace ctseg
