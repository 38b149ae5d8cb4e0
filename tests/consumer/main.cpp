// A user's program in two files that both include everything: it must compile, link once and run.
#include <ctseg/ctseg.hpp>

#include <cstdio>
#include <ctseg/version.hpp>
#include <string_view>

int sum_below(int count);   // second.cpp

#ifdef EXPECTED_VERSION
static_assert(std::string_view(ctseg::kVersion) == EXPECTED_VERSION, "the package and the header disagree");
#endif

int main() {
  std::printf("ctseg %s: %d\n", ctseg::kVersion, sum_below(10));
  return sum_below(10) == 45 ? 0 : 1;
}
