// The last block of a grid finishes what all have begun: partial sums of every block become one result without a second launch,
// in an order that follows from shapes alone.
#pragma once
#include "block.cuh"
#include "ctseg/core/memory.hpp"

namespace ctseg::cuda {

/// True in all threads of the block that comes last of `blocks`; it sees what the others wrote. `counter` was 0 before the
/// launch. Needs a few bytes of shared memory, from its start on.
CTSEG_DEVICE bool comes_last(const Block& b, unsigned* counter, Index blocks) {
  b.sync();
  unsigned* const said = b.shared<unsigned>();
  if (b.thread() == 0) *said = b.arrive(counter);
  b.sync();
  const bool last = static_cast<Index>(*said) + 1 == blocks;
  b.sync();   // before the memory is used again
  return last;
}

/// done(item, total) once for every item of a block, with total[Q] what add(item, first, step, total) adds for the parts first,
/// first + step, ...: where there are few items, several threads add parts of one. kThreads is a power of two; needs
/// kThreads * Q doubles of shared memory.
template <int kThreads, int Q, class Add, class Done>
CTSEG_DEVICE void sum_parts(const Block& b, Index items, Index parts, Add add, Done done) {
  int slices = 1;
  while (2 * slices * items <= kThreads && 2 * slices <= parts) slices *= 2;
  const int side = kThreads / slices, slice = b.thread() / side, at = b.thread() % side;
  double* const shared = b.shared<double>() + b.thread();
  for (Index first = 0; first < items; first += side) {
    const Index item = first + at;
    double total[Q] = {};
    if (item < items) add(item, Index{slice}, Index{slices}, total);
    for (int half = slices / 2; half > 0; half /= 2) {
      for (int q = 0; q < Q; ++q) shared[q * kThreads] = total[q];
      b.sync();
      if (slice < half)
        for (int q = 0; q < Q; ++q) total[q] += shared[q * kThreads + half * side];
      b.sync();
    }
    if (slice == 0 && item < items) done(item, total);
  }
}

/// Bytes of a layout of saved or scratch memory: a struct that takes its pieces when made, and keeps `next`, what is behind.
template <class Layout, class Of> Index bytes_taken(const Of& of) {
  std::byte* const anywhere = reinterpret_cast<std::byte*>(std::uintptr_t{64});
  return Layout(anywhere, of).next.next - anywhere;
}

}   // namespace ctseg::cuda
