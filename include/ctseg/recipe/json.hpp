// JSON of files that people write by hand, strict in both directions: one function fields(value, f) names what an object may
// hold and in which range; it serves the reader and the writer, so that what is written can be read. A mistake is one sentence:
// where, what was found, what is allowed.
#pragma once
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "../core/finite.hpp"
#include "../image/geometry.hpp"
#include "../ops/axes.hpp"

namespace ctseg {

/// Members keep their order, so that a file reads as it was written.
using Json = nlohmann::ordered_json;

namespace json {

/// What a number may be, both included.
struct Range {
  double least = -1e9, most = 1e9;
};
inline constexpr Index kMostEntries = 1024;   // of a list

/// A name of an enumerator; names_of(E) gives all of them.
template <class E> struct Name {
  const char* name;
  E value;
};
template <class T>
concept Named = std::is_enum_v<T> && requires(T t) {
  names_of(t);
};

template <class T> inline constexpr bool is_vector = false;
template <class T> inline constexpr bool is_vector<std::vector<T>> = true;
template <class T> inline constexpr bool is_array = false;
template <class T, std::size_t N> inline constexpr bool is_array<std::array<T, N>> = true;
template <class T> inline constexpr bool is_optional = false;
template <class T> inline constexpr bool is_optional<std::optional<T>> = true;
template <class T> inline constexpr bool is_axes = false;
template <int Dim> inline constexpr bool is_axes<Axes<Dim>> = true;

/// A value as an error shows it.
inline std::string shown(const Json& j) {
  std::string words = j.dump(-1, ' ', true, Json::error_handler_t::replace);
  return words.size() > 60 ? words.substr(0, 60) + " ..." : words;
}

/// The text of a JSON file as values.
/// Errors    bad_input for what is not JSON, a key that an object has twice, and nesting deeper than 32.
inline Json parse(std::string_view words, std::string_view file) {
  std::vector<std::set<std::string>> keys;   // of the objects around this place
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (depth > 32) throw Error(Code::bad_input, file, "JSON is nested deeper than 32 levels.");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw Error(Code::bad_input, file, text("an object has the key ", shown(parsed), " twice."));
    return true;
  };
  try {
    return Json::parse(words.begin(), words.end(), watch);
  } catch (const Json::exception& e) {
    const std::string_view what = e.what();   // "[json.exception.parse_error.101] parse error at line 1, ..."
    const std::size_t begin = what.find("] ");
    throw Error(Code::bad_input, file,
                text("is not JSON: ", std::string(begin == what.npos ? what : what.substr(begin + 2)), "."));
  }
}

/// Where in which document a value stands.
struct Place {
  std::string file, path{};
  Place operator/(std::string_view key) const { return {file, (path.empty() ? "" : path + ".") + std::string(key)}; }
  Place operator[](std::size_t i) const { return {file, text(path, "[", i, "]")}; }
  [[noreturn]] void fail(const Json& found, std::string_view allowed) const {
    throw Error(Code::bad_input, file,
                text(path.empty() ? "the document" : path, " is ", shown(found), "; must be ", std::string(allowed), "."));
  }
};

/// Reads the members of one object. Keys that are not there leave their values as they are.
class Reader {
 public:
  Reader(const Json& object, Place at) : object_(object), at_(std::move(at)) {
    if (!object.is_object()) at_.fail(object, "an object");
  }

  template <class T> void operator()(const char* key, T& value, Range range = {}) {
    known_.push_back(key);
    if (const auto found = object_.find(key); found != object_.end()) take(*found, at_ / key, value, range);
  }
  /// The same for a key that must be there.
  template <class T> void required(const char* key, T& value, Range range = {}) {
    if (!object_.contains(key))
      throw Error(Code::bad_input, at_.file, text(at_.path.empty() ? "the document" : at_.path, " has no \"", key, "\"."));
    (*this)(key, value, range);
  }
  /// Errors    bad_input for a key that nobody asked for.
  void finish() const {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      std::string all;
      for (const char* k : known_) all += (all.empty() ? "" : ", ") + std::string(k);
      throw Error(Code::bad_input, at_.file,
                  text(at_.path.empty() ? "the document" : at_.path, " has an unknown key ", shown(Json(key)), "; known are ",
                       all, "."));
    }
  }
  const Json& object() const { return object_; }
  const Place& place() const { return at_; }

  template <class T> static void take(const Json& j, const Place& at, T& value, Range range = {}) {
    if constexpr (std::is_same_v<T, Json>) {
      value = j;
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!j.is_boolean()) at.fail(j, "true or false");
      value = j.get<bool>();
    } else if constexpr (std::is_arithmetic_v<T>) {
      number(j, at, value, range);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!j.is_string()) at.fail(j, "a text");
      value = j.get<std::string>();
    } else if constexpr (Named<T>) {
      std::string all;
      for (const auto& n : names_of(value)) {
        if (j == n.name) return void(value = n.value);
        all += (all.empty() ? "one of \"" : ", \"") + std::string(n.name) + "\"";
      }
      at.fail(j, all);
    } else if constexpr (is_optional<T>) {
      if (j.is_null()) return value.reset();
      typename T::value_type some{};
      take(j, at, some, range);
      value = some;
    } else if constexpr (is_vector<T>) {
      if (!j.is_array() || std::ssize(j) > kMostEntries) at.fail(j, text("a list of at most ", kMostEntries, " entries"));
      value.clear();
      for (std::size_t i = 0; i < j.size(); ++i) value.push_back(one<typename T::value_type>(j[i], at[i], range));
    } else if constexpr (is_array<T>) {
      if (!j.is_array() || j.size() != value.size()) at.fail(j, text("a list of ", value.size(), " entries"));
      for (std::size_t i = 0; i < j.size(); ++i) take(j[i], at[i], value[i], range);
    } else if constexpr (is_axes<T>) {
      if (!j.is_array()) return value = one<Index>(j, at, range), void();
      auto each = value.value;
      take(j, at, each, range);
      value = each;
    } else {
      Reader members(j, at);
      fields(value, members);
      members.finish();
    }
  }

 private:
  template <class T> static T one(const Json& j, const Place& at, Range range) {
    if constexpr (is_axes<T>) {
      T value = 1;
      take(j, at, value, range);
      return value;
    } else {
      T value{};
      take(j, at, value, range);
      return value;
    }
  }
  template <class T> static void number(const Json& j, const Place& at, T& value, Range range) {
    constexpr bool kWhole = std::is_integral_v<T>;
    const double v = j.is_number() ? j.get<double>() : 0;
    if (!j.is_number() || (kWhole && !j.is_number_integer()) || !is_finite(v) || v < range.least || v > range.most)
      at.fail(j, text(kWhole ? "a whole number from " : "a number from ", range.least, " to ", range.most));
    value = j.get<T>();
  }

  const Json& object_;
  Place at_;
  std::vector<const char*> known_;
};

/// Writes the members of one object; all of them, but for numbers that are not finite, which JSON has not.
class Writer {
 public:
  template <class T> void operator()(const char* key, T& value, Range = {}) {
    if constexpr (std::is_floating_point_v<T>)
      if (!is_finite(value)) return;
    object[key] = of(value);
  }
  template <class T> void required(const char* key, T& value, Range range = {}) { (*this)(key, value, range); }

  template <class T> static Json of(const T& value) {
    if constexpr (std::is_same_v<T, float>) {
      return shortest(value);
    } else if constexpr (std::is_same_v<T, Json> || std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else if constexpr (Named<T>) {
      for (const auto& n : names_of(value))
        if (n.value == value) return n.name;
      return {};
    } else if constexpr (is_optional<T>) {
      return value ? of(*value) : Json();
    } else if constexpr (is_vector<T> || is_array<T>) {
      Json list = Json::array();
      for (const auto& v : value) list.push_back(of(v));
      return list;
    } else if constexpr (is_axes<T>) {
      return of(value.value);
    } else {
      T copy = value;   // fields() takes what can be changed
      Writer members;
      fields(copy, members);
      return members.object;
    }
  }

  Json object = Json::object();

 private:
  /// 0.1f as 0.1, not as 0.10000000149011612.
  static double shortest(float v) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;
    double out = 0;
    std::from_chars(digits, end, out);
    return out;
  }
};

template <class T> Json write(const T& value) { return Writer::of(value); }

}   // namespace json

template <class T, class F> void fields(Xyz<T>& v, F& f) {
  f("x", v.x, json::Range{0, 1e6});
  f("y", v.y, json::Range{0, 1e6});
  f("z", v.z, json::Range{0, 1e6});
}

}   // namespace ctseg
