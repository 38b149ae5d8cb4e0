// The weights of a model in files: written as safetensors, read from those and from PyTorch's checkpoints, under PyTorch's
// names, shapes and order.
#pragma once
#include "../core/finite.hpp"
#include "../nn/parameter.hpp"
#include "safetensors.hpp"
#include "weight_names.hpp"

namespace ctseg::io {

struct SaveOptions {
  std::map<std::string, std::string> metadata{};
  bool second_names = false;   // also those that load_state_dict of nnU-Net's networks and MONAI's DynUNet asks for
};

namespace weights {

template <class From, class Acc> void convert(const std::vector<std::byte>& bytes, std::vector<Acc>& out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    if constexpr (sizeof(From) == 2)
      out[i] = static_cast<Acc>(static_cast<float>(value));
    else
      out[i] = static_cast<Acc>(value);
  }
}

/// The values of a tensor in the file's order.
/// Errors    bad_input if one is not finite.
template <class Acc> std::vector<Acc> values_of(const TensorIndex& index, const TensorEntry& t) {
  const std::vector<std::byte> bytes = read_tensor(index, t);
  std::vector<Acc> out(bytes.size() / static_cast<std::size_t>(size_of(t.dtype)));
  if (t.dtype == Dtype::f64) convert<double>(bytes, out);
  if (t.dtype == Dtype::f32) convert<float>(bytes, out);
  if (t.dtype == Dtype::f16) convert<half>(bytes, out);
  if (t.dtype == Dtype::bf16) convert<bf16>(bytes, out);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!is_finite(out[i]))
      throw Error(Code::bad_input, index.bytes.name(),
                  text("tensor ", printable(t.name), " has a value that is not finite as ", dtype_of<Acc>(), " at ", i, "."));
  return out;
}

template <AnySpec S> void read_into(void* parameter, const TensorIndex& index, const TensorEntry& t, bool keep) {
  auto& p = *static_cast<Parameter<S>*>(parameter);
  const auto read = values_of<typename S::Acc>(index, t);
  if (!keep) return;
  const auto values = p.edit();
  for_file_order(
      p, [&](Index memory, Index at) { values[static_cast<std::size_t>(memory)] = read[static_cast<std::size_t>(at)]; });
}

/// The tensors of a weight file. Its content decides what it is; its name, who complains when that is unclear.
inline TensorIndex index_of(const std::filesystem::path& path, const LoadOptions& options) {
  const ByteSource source(path);
  const std::string start = source.read(0, std::min<Index>(source.size(), 9));
  const bool zip = start.starts_with("PK\3\4");
  if (!zip && (start.ends_with('{') || options.reader.index == nullptr || path.extension() == ".safetensors")) {
    if (!options.dictionary.empty())
      throw Error(Code::bad_argument, path.string(),
                  text("has no dictionaries, so dictionary = \"", options.dictionary, "\" names nothing. Hint: leave it out."));
    return index_safetensors(source);
  }
  if (options.reader.index == nullptr)
    throw Error(Code::unsupported, path.string(),
                "is a zip archive, perhaps a checkpoint of torch.save. Hint: #include <ctseg/io/torch_file.hpp> and load with "
                "{.reader = io::torch_reader()}.");
  return options.reader.index(source, options.dictionary, options.check_crc);
}

}   // namespace weights

/// Writes every parameter under its name. The file appears whole or not at all.
/// PyTorch   net.load_state_dict(safetensors.torch.load_file(path)), strict: it adds batch norm's counts of batches by itself.
template <class Model>
void save_weights(const std::filesystem::path& path, const Model& model, const SaveOptions& options = {}) {
  TensorFile file{.tensors = {}, .metadata = options.metadata};
  std::vector<std::string> names;
  visit(model, [&](const std::string& name, const auto&) { names.push_back(name); });
  const weights::SecondNames seconds(
      [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); });
  visit(model, [&](const std::string& name, const auto& p) {
    using Acc = typename std::remove_cvref_t<decltype(p)>::Acc;
    TensorRecord record{.name = name, .dtype = dtype_of<Acc>(), .shape = p.shape()};
    record.bytes.resize(static_cast<std::size_t>(p.size()) * sizeof(Acc));
    for_file_order(p, [&](Index memory, Index at) {
      std::memcpy(record.bytes.data() + static_cast<std::size_t>(at) * sizeof(Acc),
                  &p.values()[static_cast<std::size_t>(memory)], sizeof(Acc));
    });
    file.tensors.push_back(std::move(record));
    if (!options.second_names) return;
    const std::size_t place = file.tensors.size() - 1;
    for (const std::string& second : seconds.of(name)) {
      TensorRecord again = file.tensors[place];
      again.name = second;
      file.tensors.push_back(std::move(again));
    }
  });
  write_safetensors(path, file);
}

/// Fills every parameter from a safetensors file or, with {.reader = torch_reader()}, a PyTorch checkpoint. Everything is read
/// and looked at before the first parameter changes, one tensor at a time; then it is read again. (Only a disk that fails in
/// between can leave half.)
/// Names     "module." and "_orig_mod." in front are dropped, batch norm's counts of batches left out, and second names too:
///           those in files of nnU-Net and DynUNet, which must have the values of the first.
/// Errors    bad_input if names are missing or left over, shapes differ, or a value is not finite; each lists the tensors;
///           unsupported for a file that holds more than weights; the model is then as before.
template <class Model> void load_weights(const std::filesystem::path& path, Model& model, const LoadOptions& options = {}) {
  std::vector<weights::Wanted> wanted;
  visit(model, [&]<AnySpec S>(const std::string& name, Parameter<S>& p) {
    wanted.push_back({.name = name, .shape = p.shape(), .parameter = &p, .read = weights::read_into<S>});
  });
  weights::load(weights::index_of(path, options), wanted, options);
}

}   // namespace ctseg::io
