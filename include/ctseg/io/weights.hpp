// The weights of a model in files: written as safetensors, read from those and from PyTorch's checkpoints, under PyTorch's
// names, shapes and order.
#pragma once
#include "../core/finite.hpp"
#include "../nn/parameter.hpp"
#include "safetensors.hpp"
#include "torch_file.hpp"
#include "weight_names.hpp"

namespace ctseg::io {

struct SaveOptions {
  std::map<std::string, std::string> metadata{};
  bool nnunet_names = false;   // also the second names that load_state_dict of nnU-Net's networks asks for
};

namespace weights {

/// The second names of nnU-Net for a tensor: all_modules of its block, and both again in the decoder.
inline std::vector<std::string> second_names(const std::string& name) {
  std::vector<std::string> out;
  for (const auto& [part, place] : {std::pair(".conv.", ".all_modules.0."), std::pair(".norm.", ".all_modules.1.")}) {
    const std::size_t at = name.rfind(part);
    if (at != std::string::npos && name.find('.', at + 6) == std::string::npos)
      out.push_back(name.substr(0, at) + place + name.substr(at + 6));
  }
  if (name.starts_with("encoder.")) {
    out.push_back("decoder." + name);
    if (out.size() == 2) out.push_back("decoder." + out[0]);
  }
  return out;
}

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

/// The tensors of a weight file. Its content decides what it is; its name, who complains when that is unclear.
template <class = void> TensorIndex index_of(const std::filesystem::path& path, const LoadOptions& options) {
  const ByteSource source(path);
  const std::string start = source.read(0, std::min<Index>(source.size(), 9));
  const bool torch = start.starts_with("PK\3\4") || (!start.ends_with('{') && path.extension() != ".safetensors");
  if (torch) return index_torch_file<>(source, {.dictionary = options.dictionary, .check_crc = options.check_crc});
  return index_safetensors(source);
}

}   // namespace weights

/// Writes every parameter under its name. The file appears whole or not at all.
/// PyTorch   net.load_state_dict(safetensors.torch.load_file(path)), strict; batch norm's counts of batches may be missing there.
template <class Model>
void save_weights(const std::filesystem::path& path, const Model& model, const SaveOptions& options = {}) {
  TensorFile file{.tensors = {}, .metadata = options.metadata};
  visit(model, [&](const std::string& name, const auto& p) {
    using Acc = typename std::remove_cvref_t<decltype(p)>::Acc;
    TensorRecord record{.name = name, .dtype = dtype_of<Acc>(), .shape = p.shape()};
    record.bytes.resize(static_cast<std::size_t>(p.size()) * sizeof(Acc));
    for_file_order(p, [&](Index memory, Index at) {
      std::memcpy(record.bytes.data() + static_cast<std::size_t>(at) * sizeof(Acc),
                  &p.values()[static_cast<std::size_t>(memory)], sizeof(Acc));
    });
    file.tensors.push_back(std::move(record));
    if (!options.nnunet_names) return;
    const std::size_t place = file.tensors.size() - 1;
    for (const std::string& second : weights::second_names(name)) {
      TensorRecord again = file.tensors[place];
      again.name = second;
      file.tensors.push_back(std::move(again));
    }
  });
  write_safetensors(path, file);
}

/// Fills every parameter from a safetensors file or a PyTorch checkpoint. Everything is read and looked at before the first
/// parameter changes, one tensor at a time; then it is read again. (Only a disk that fails in between can leave half.)
/// Names     "module." and "_orig_mod." in front are dropped, batch norm's counts of batches and the second names in nnU-Net's
///           files left out; the latter must have their twin's values.
/// Errors    bad_input if names are missing or left over, shapes differ, or a value is not finite; each lists the tensors;
///           unsupported for a file that holds more than weights; the model is then as before.
template <class Model> void load_weights(const std::filesystem::path& path, Model& model, const LoadOptions& options = {}) {
  const TensorIndex index = weights::index_of<>(path, options);
  std::vector<weights::Wanted> wanted;
  visit(model, [&](const std::string& name, const auto& p) { wanted.push_back({name, p.shape()}); });
  const std::vector<const TensorEntry*> from = weights::Matcher(index, options).match(wanted);
  weights::check_blocks(index, from);
  std::size_t at = 0;
  visit(model, [&](const std::string&, const auto& p) {
    using Acc = typename std::remove_cvref_t<decltype(p)>::Acc;
    if (const TensorEntry* t = from[at++]) weights::values_of<Acc>(index, *t);
  });
  at = 0;
  visit(model, [&](const std::string&, auto& p) {
    using Acc = typename std::remove_cvref_t<decltype(p)>::Acc;
    const TensorEntry* t = from[at++];
    if (t == nullptr) return;
    const std::vector<Acc> read = weights::values_of<Acc>(index, *t);
    const auto values = p.edit();
    for_file_order(p, [&](Index memory, Index place) {
      values[static_cast<std::size_t>(memory)] = read[static_cast<std::size_t>(place)];
    });
  });
}

}   // namespace ctseg::io
