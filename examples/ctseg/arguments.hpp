// What the command line may say. CLI11 is seen by arguments.cpp alone.
#pragma once
#include <functional>

#include "commands.hpp"

namespace cli {

/// A command line that was understood: what to do, or a text that was asked for (help, version).
struct Parsed {
  Common common{};
  std::function<void(Console&)> command{};
  std::string text{};
  std::string error{};   // what could not be understood, with the help to try; all else is empty then
};
Parsed parse(int argc, const char* const* argv);

}   // namespace cli
