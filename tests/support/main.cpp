// The one main of every test program. Two environment variables steer it, so that CTest and ./run need no arguments:
// CTSEG_TEST_DATA is the folder with real scans (without it, cases named "real: ..." are skipped), and
// CTSEG_TEST_FILTER is a pattern such as *conv* for the names of the cases to run.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  doctest::Context context;
  const char* data = std::getenv("CTSEG_TEST_DATA");
  if (data == nullptr || *data == '\0') {
    std::puts("CTSEG_TEST_DATA is not set: cases named \"real: ...\" are skipped");
    context.addFilter("test-case-exclude", "real: *");
  }
  const char* filter = std::getenv("CTSEG_TEST_FILTER");
  if (filter != nullptr && *filter != '\0') context.addFilter("test-case", filter);
  context.applyCommandLine(argc, argv);
  return context.run();
}
