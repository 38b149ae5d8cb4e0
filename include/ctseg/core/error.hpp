// What goes wrong, said in one way: the fact with numbers, the expectation with numbers, a hint.
#pragma once
#if __cplusplus < 202002L
#error "ctseg: it is written in C++20; compile with -std=c++20 or later"
#endif
#ifndef __cpp_exceptions
#error "ctseg: its errors are exceptions; compile without -fno-exceptions"
#endif
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ctseg {

/// Extents, counts and offsets. Signed, so that differences are ordinary numbers.
using Index = std::int64_t;

enum class Code {
  bad_argument,     // an option or a call that cannot mean anything
  shape_mismatch,   // extents or channels that do not fit together
  bad_input,        // a file or an array whose content is wrong
  unsupported,      // legal, but outside what ctseg does
  io,               // the operating system refused to read or write
  out_of_memory,    // more than there is, or more than the caller allowed
  cancelled,        // the caller's stop token was raised
  device,           // a card or its driver refused, or there is none
};

/// What the library throws, beside std::bad_alloc where the host has no memory left. what() is "where: message".
class Error : public std::runtime_error {
 public:
  Error(Code code, std::string_view where, std::string_view message)
      : std::runtime_error(std::string(where) + ": " + std::string(message)), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

/// text("input has ", 3, " channels"): numbers, strings and anything with its own text(), in one line.
inline std::string text(std::string_view words) { return std::string(words); }
inline std::string text(const char* words) { return words; }
inline std::string text(int number) { return std::to_string(number); }
inline std::string text(Index number) { return std::to_string(number); }
inline std::string text(std::size_t number) { return std::to_string(number); }
inline std::string text(double number) {
  char line[32];
  std::snprintf(line, sizeof line, "%.6g", number);
  for (char* c = line; *c; ++c)
    if (*c == ',') *c = '.';   // whatever the program's locale says
  return line;
}

/// One part of a line, looked at only when the line is made: so a call of text() compiles to a few stores. There are hundreds.
class Part {
 public:
  Part(const char* words)
      : value_(words), append_([](std::string& out, const void* v) { out += static_cast<const char*>(v); }) {}
  template <class T> Part(const T& value)
      : value_(&value), append_([](std::string& out, const void* v) { out += text(*static_cast<const T*>(v)); }) {}
  void append_to(std::string& line) const { append_(line, value_); }

 private:
  const void* value_;
  void (*append_)(std::string&, const void*);
};
inline std::string line_of(const Part* parts, std::size_t count) {
  std::string line;
  for (std::size_t i = 0; i < count; ++i) parts[i].append_to(line);
  return line;
}
template <class... Parts>
requires(sizeof...(Parts) > 1) [[gnu::cold, gnu::noinline]] std::string text(const Parts&... parts) {
  const Part all[] = {parts...};
  return line_of(all, sizeof...(Parts));
}

}   // namespace ctseg
