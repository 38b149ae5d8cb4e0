// The weights of a model in a safetensors file: PyTorch's names, shapes and order.
#pragma once
#include "../core/finite.hpp"
#include "../nn/parameter.hpp"
#include "safetensors.hpp"

namespace ctseg::io {

/// Writes every parameter under its name. The file appears whole or not at all.
template <class Model>
void save_weights(const std::filesystem::path& path, const Model& model, std::map<std::string, std::string> metadata = {}) {
  TensorFile file{.tensors = {}, .metadata = std::move(metadata)};
  visit(model, [&](const std::string& name, const auto& p) {
    using Acc = typename std::remove_cvref_t<decltype(p)>::Acc;
    TensorRecord record{.name = name, .dtype = dtype_of<Acc>(), .shape = p.shape()};
    record.bytes.resize(static_cast<std::size_t>(p.size()) * sizeof(Acc));
    for_file_order(p, [&](Index memory, Index at) {
      std::memcpy(record.bytes.data() + static_cast<std::size_t>(at) * sizeof(Acc),
                  &p.values()[static_cast<std::size_t>(memory)], sizeof(Acc));
    });
    file.tensors.push_back(std::move(record));
  });
  write_safetensors(path, file);
}

namespace weights {

inline double number_at(const TensorRecord& r, Index i) {
  const auto read = [&]<class T>(T) {
    T value;
    std::memcpy(&value, r.bytes.data() + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
    return value;
  };
  switch (r.dtype) {
    case Dtype::f64:
      return read(double{});
    case Dtype::f32:
      return static_cast<double>(read(float{}));
    case Dtype::f16:
      return static_cast<double>(static_cast<float>(read(half{})));
    case Dtype::bf16:
      return static_cast<double>(static_cast<float>(read(bf16{})));
    default:
      throw Error(Code::bad_input, "weights", text("tensor ", r.name, " is ", r.dtype, "; weights are f64, f32, f16 or bf16."));
  }
}
inline std::string text_of(const std::vector<Index>& shape) {
  std::string out = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) out += (d ? "," : "") + text(shape[d]);
  return out + "]";
}

}   // namespace weights

/// Fills every parameter from the file; the model is not touched unless all of it fits.
/// Errors    bad_input if a name is missing or unknown, a shape differs, or a value is not finite; each names the tensor.
template <class Model> void load_weights(const std::filesystem::path& path, Model& model) {
  const TensorFile file = read_safetensors(path);
  const std::string where = path.string();
  std::map<std::string, const TensorRecord*> found;
  for (const TensorRecord& t : file.tensors)   // PyTorch counts batch norm's batches; nothing here needs the count
    if (!t.name.ends_with(".num_batches_tracked")) found[t.name] = &t;
  std::size_t used = 0;
  visit(model, [&](const std::string& name, const auto& p) {   // first look at everything
    using Acc = typename std::remove_cvref_t<decltype(p)>::Acc;
    const auto it = found.find(name);
    if (it == found.end())
      throw Error(Code::bad_input, where,
                  text("has no tensor ", name, ". Hint: it was saved from another network or other options."));
    const TensorRecord& t = *it->second;
    if (t.shape != p.shape())
      throw Error(
          Code::bad_input, where,
          text("tensor ", name, " is ", weights::text_of(t.shape), ", the network's is ", weights::text_of(p.shape()), "."));
    for (Index i = 0; i < p.size(); ++i)
      if (!is_finite(static_cast<Acc>(weights::number_at(t, i))))
        throw Error(Code::bad_input, where, text("tensor ", name, " has a value that is not finite at ", i, "."));
    ++used;
  });
  if (used != found.size()) {
    visit(model, [&](const std::string& name, const auto&) { found.erase(name); });
    throw Error(Code::bad_input, where,
                text("has ", found.size(), " tensors that the network has not; the first is ", found.begin()->first, "."));
  }
  visit(model, [&](const std::string& name, auto& p) {
    using Acc = typename std::remove_cvref_t<decltype(p)>::Acc;
    const auto values = p.edit();
    for_file_order(p, [&](Index memory, Index at) {
      values[static_cast<std::size_t>(memory)] = static_cast<Acc>(weights::number_at(*found.at(name), at));
    });
  });
}

}   // namespace ctseg::io
