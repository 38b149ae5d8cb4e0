// Results of a folder appear together or not at all: the part of the program that sees to it, by itself.
#include <doctest/doctest.h>

#include "../../examples/ctseg/console.hpp"
#include "run_ctseg.hpp"

namespace fs = std::filesystem;

TEST_CASE("staged results: where one cannot be moved to its place, what was there before comes back") {
  const TempFolder folder;
  const fs::path out = folder.path / "out";
  cli::Console console({.quiet = true}, {});
  fs::create_directories(out / "part");
  spill(out / "old.txt", "of an earlier run"), spill(out / "part/old.txt", "too"), spill(out / "other.txt", "somebody's");
  try {
    cli::Staging staging(out, console);
    for (const char* name : {"old.txt", "part/old.txt", "new.txt", "deep/new.txt", "late.txt"}) staging.write(name, "new");
    staging.supersede("other.txt");
    fs::create_directories(out / "late.txt/taken");   // after it was asked for
    staging.commit();
    CHECK(false);
  } catch (const ctseg::Error& error) {
    CHECK(has(error.what(), "late.txt: cannot be written"));
  }
  CHECK(slurp(out / "old.txt") == "of an earlier run");
  CHECK(slurp(out / "part/old.txt") == "too");
  CHECK(slurp(out / "other.txt") == "somebody's");
  CHECK(!fs::exists(out / "new.txt"));
  CHECK(!fs::exists(out / "deep"));
  CHECK(names_in(out) == std::vector<std::string>{"late.txt", "old.txt", "other.txt", "part"});   // nothing hidden either
}

TEST_CASE("staged results: all of them are there, and nothing else") {
  const TempFolder folder;
  const fs::path out = folder.path / "new/out";
  cli::Console console({.quiet = true}, {});
  {
    cli::Staging dropped(out, console);
    dropped.write("a.txt", "a");
  }
  CHECK(!fs::exists(folder.path / "new"));
  for (const char* words : {"first", "second"}) {
    cli::Staging staging(out, console);
    staging.write("a.txt", words), staging.write("deep/b.txt", words);
    staging.commit();
    CHECK(slurp(out / "a.txt") == words);
    CHECK(slurp(out / "deep/b.txt") == words);
  }
  CHECK(names_in(out) == std::vector<std::string>{"a.txt", "deep"});
}
