// The second file that includes everything: a function that is not inline in a header shows here, at the link.
#include <ctseg/ctseg.hpp>

int sum_below(int count) {
  ctseg::ThreadPool pool(2);
  std::atomic<int> sum{0};
  ctseg::parallel_for(pool, count, [&](ctseg::Index i) { sum += static_cast<int>(i); });
  return sum;
}
