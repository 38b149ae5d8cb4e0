// What a checkpoint of nnU-Net says beside its weights. Its pickle is read, never run (io/torch_file.hpp).
#pragma once
#include "../io/torch_file.hpp"

namespace ctseg::nnunet {

struct CheckpointInfo {
  std::string configuration{}, trainer_name{};
  std::vector<Index> mirroring_axes{};   // of the patch, 0 the first; empty: none
};

namespace checkpoint {

/// The value of a key; none if it is not there.
inline const io::pickle::Value* find(const io::pickle::Document& d, const io::pickle::Value& dictionary, std::string_view key) {
  if (dictionary.kind != io::pickle::Kind::dictionary) return nullptr;
  for (std::size_t i = 0; i + 1 < dictionary.items.size(); i += 2)
    if (const auto& k = d.values[dictionary.items[i]]; k.kind == io::pickle::Kind::words && k.words == key)
      return &d.values[dictionary.items[i + 1]];
  return nullptr;
}
inline const io::pickle::Value& required(const io::pickle::Document& d, const io::pickle::Value& dictionary,
                                         std::string_view key, const std::string& file) {
  if (const auto* found = find(d, dictionary, key)) return *found;
  throw Error(
      Code::bad_input, file,
      text("has no \"", std::string(key), "\"; a checkpoint of nnU-Net 2 has network_weights, trainer_name and init_args."));
}
inline std::string words(const io::pickle::Value& v, std::string_view key, const std::string& file) {
  if (v.kind != io::pickle::Kind::words) throw Error(Code::bad_input, file, text("\"", std::string(key), "\" is not a text."));
  return std::string(v.words);
}

/// Whole numbers of a list or a tuple.
inline std::vector<Index> integers(const io::pickle::Document& d, const io::pickle::Value& v, const std::string& where) {
  std::vector<Index> out;
  for (const io::pickle::Id id : v.items) {
    if (d.values[id].kind != io::pickle::Kind::integer)
      throw Error(Code::bad_input, where, "a list that must hold whole numbers holds something else.");
    out.push_back(d.values[id].number);
  }
  return out;
}

}   // namespace checkpoint

/// Errors    those of io::index_torch_file; bad_input for a checkpoint of something else than nnU-Net 2.
template <class = void> CheckpointInfo read_checkpoint(const std::filesystem::path& path) {
  const io::ByteSource source(path);
  io::torch_file::refuse_others(source);
  const io::TorchFileOptions options{};
  const std::string bytes = io::torch_file::Archive(source, options).read_pickle();
  const io::pickle::Document d = io::pickle::Machine(bytes, source.name()).run();
  const io::pickle::Value& top = d.values[d.top];
  const std::string& file = source.name();
  checkpoint::required(d, top, "network_weights", file);
  CheckpointInfo info{.trainer_name =
                          checkpoint::words(checkpoint::required(d, top, "trainer_name", file), "trainer_name", file)};
  const auto& arguments = checkpoint::required(d, top, "init_args", file);
  info.configuration = checkpoint::words(checkpoint::required(d, arguments, "configuration", file), "configuration", file);
  if (const auto* axes = checkpoint::find(d, top, "inference_allowed_mirroring_axes");
      axes && axes->kind == io::pickle::Kind::sequence)   // else None
    info.mirroring_axes = checkpoint::integers(d, *axes, file);
  return info;
}

}   // namespace ctseg::nnunet
