// A table in a page of docs/ that a test makes: it compares, or writes the page anew where CTSEG_WRITE_DOCS is set.
#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

#include "../io/temp_folder.hpp"

/// Checks what stands in docs/formats.md between "<!-- NAME -->" and "<!-- end of NAME -->".
inline void check_formats_table(const std::string& name, const std::string& table) {
  const auto page = std::filesystem::path(CTSEG_SOURCE_DIR) / "docs/formats.md";
  const std::string begin = "<!-- " + name + " -->\n", end = "<!-- end of " + name + " -->\n", old = slurp(page);
  const std::size_t from = old.find(begin), to = old.find(end);
  REQUIRE(from < to);
  REQUIRE(to < old.size());
  const std::string now = old.substr(0, from + begin.size()) + table + old.substr(to);
  if (std::getenv("CTSEG_WRITE_DOCS") != nullptr) return spill(page, now);
  std::istringstream a(old), b(now);
  int line = 0;
  for (std::string is, must; std::getline(b, must);) {
    ++line;
    std::getline(a, is);
    REQUIRE_MESSAGE(is == must, "docs/formats.md:", line, " is old. Hint: run this test with CTSEG_WRITE_DOCS=1");
  }
  CHECK(old == now);
}
