// JSON that nnU-Net wrote. Keys that nobody here knows are passed over, because each of its versions adds some; what is asked
// for must be there, of its type and within its range. And names in a folder.
#pragma once
#include <algorithm>
#include <filesystem>

#include "../io/file.hpp"
#include "../recipe/json.hpp"

namespace ctseg::nnunet {

/// One object of a file with its place, for errors.
class Members {
 public:
  Members(const Json& object, json::Place at) : object_(&object), at_(std::move(at)) {
    if (!object.is_object()) at_.fail(object, "an object");
  }

  const json::Place& place() const { return at_; }
  const Json& object() const { return *object_; }
  /// There, and not null.
  bool has(const char* key) const {
    const auto found = object_->find(key);
    return found != object_->end() && !found->is_null();
  }
  const Json& at(const char* key) const {
    if (!object_->contains(key))
      throw Error(Code::bad_input, at_.file, text(at_.path.empty() ? "the document" : at_.path, " has no \"", key, "\"."));
    return *object_->find(key);
  }
  template <class T> T get(const char* key, json::Range range = {}) const {
    T value{};
    json::Reader::take(at(key), at_ / key, value, range);
    return value;
  }
  template <class T> T get_or(const char* key, T value, json::Range range = {}) const {
    if (has(key)) json::Reader::take(at(key), at_ / key, value, range);
    return value;
  }
  Members child(const char* key) const { return {at(key), at_ / key}; }

 private:
  const Json* object_;
  json::Place at_;
};

/// A JSON file of at most 16 MB.
/// Errors    io if it cannot be read; bad_input for what is not JSON.
template <class = void> Json read_json(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = io::read_file(path, {.max_bytes = Index{16} << 20});
  return json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

/// Names in a folder, in their order.
/// Errors    io if it cannot be listed.
template <class = void> std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    names.push_back(at->path().filename().string());
  if (error) throw Error(Code::io, folder.string(), text("cannot be listed: ", error.message(), "."));
  std::sort(names.begin(), names.end());
  return names;
}

}   // namespace ctseg::nnunet
