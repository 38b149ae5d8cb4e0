// PyTorch's zip checkpoints (.pth, .pt), read without executing anything: a directory of stored bytes, and a pickle that says
// which of them are which tensor.
#pragma once
#include <set>

#include "pickle_machine.hpp"
#include "weight_names.hpp"
#include "zip.hpp"

namespace ctseg::io {

struct TorchFileOptions {
  std::string dictionary{};   // where the weights are, as "model" or "nets.student"; empty: found, see index_torch_file
  bool check_crc = true;      // of all bytes that are read, where PyTorch wrote checksums
  Index max_pickle_bytes = Index{32} << 20;
};

namespace torch_file {

/// Names under which training loops keep a state dictionary.
inline constexpr std::string_view kDictionaries[] = {"network_weights", "state_dict", "model_state_dict", "model", "net"};

/// A file of before PyTorch 1.6, or one that no network is loaded from.
/// Errors    unsupported, with the way to convert it.
inline void refuse_others(const ByteSource& source) {
  const std::string start = source.read(0, std::min<Index>(source.size(), 512));
  constexpr const char* kConvert =
      " Hint: torch.save(torch.load(path, map_location=\"cpu\", weights_only=True), new_path) with a PyTorch of today.";
  const auto refuse = [&](const char* what) {
    throw Error(Code::unsupported, source.name(), text("is ", what, "; a zip archive of torch.save is read.", kConvert));
  };
  if (start.starts_with("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"))
    refuse("in PyTorch's format of before version 1.6");
  if (start.size() > 262 && start.compare(257, 5, "ustar") == 0)
    refuse("a tar archive, PyTorch's format of before version 0.1.10");
  if (start.starts_with('\x80')) refuse("a bare pickle");
  if (!start.starts_with("PK\3\4"))
    throw Error(Code::bad_input, source.name(), "is neither a safetensors file nor a checkpoint of torch.save.");
}

/// `dictionary` as a state dictionary has it: names and tensors, in the file's order. Other values are left out.
class Selection {
 public:
  Selection(const pickle::Document& document, const ByteSource& source)
      : document_(document), where_(source.name()), holds_(document.values.size()) {
    for (std::size_t i = 0; i < holds_.size(); ++i) holds_[i] = any_tensor(document.values[i]);
  }

  /// The value behind "a.b", or, without a name, the top level or one of its dictionaries.
  const pickle::Value& find(std::string_view dictionary) const {
    const pickle::Value& top = document_.values[document_.top];
    if (top.kind != pickle::Kind::dictionary)
      throw Error(Code::bad_input, where_,
                  "holds no dictionary. Hint: save the weights by torch.save(net.state_dict(), path).");
    return dictionary.empty() ? guess(top) : walk(dictionary);
  }

 private:
  const pickle::Value& value(pickle::Id id) const { return document_.values[id]; }
  /// Asked once of each: a file may name one long dictionary a million times.
  bool holds_tensors(pickle::Id id) const { return holds_[id]; }
  bool any_tensor(const pickle::Value& v) const {
    if (v.kind != pickle::Kind::dictionary) return false;
    for (std::size_t i = 1; i < v.items.size(); i += 2)
      if (value(v.items[i]).kind == pickle::Kind::tensor) return true;
    return false;
  }
  std::string keys_of(const pickle::Value& v, bool with_tensors) const {
    std::string out;
    for (std::size_t i = 0; i + 1 < v.items.size() && out.size() < 300; i += 2)
      if (value(v.items[i]).kind == pickle::Kind::words && (!with_tensors || holds_tensors(v.items[i + 1])))
        out += (out.empty() ? "" : ", ") + printable(value(v.items[i]).words);
    return out.empty() ? "none" : out;
  }

  const pickle::Value& walk(std::string_view path) const {
    pickle::Id at = document_.top;
    for (std::string_view rest = path; !rest.empty();) {
      const std::string_view key = rest.substr(0, rest.find('.'));
      rest.remove_prefix(std::min(key.size() + 1, rest.size()));
      const pickle::Value& from = value(at);
      bool found = false;
      if (from.kind == pickle::Kind::dictionary)
        for (std::size_t i = 0; i + 1 < from.items.size(); i += 2)
          if (value(from.items[i]).kind == pickle::Kind::words && value(from.items[i]).words == key)
            at = from.items[i + 1], found = true;
      if (!found)
        throw Error(Code::bad_argument, where_,
                    text("has no dictionary ", std::string(path), "; at ", std::string(key),
                         " there are: ", keys_of(from, false), "."));
    }
    if (holds_tensors(at)) return value(at);
    throw Error(Code::bad_argument, where_,
                text("has no tensors in ", std::string(path), "; there are: ", keys_of(value(at), false), "."));
  }

  const pickle::Value& guess(const pickle::Value& top) const {
    if (holds_tensors(document_.top)) return top;
    const pickle::Value *known = nullptr, *any = nullptr;
    int known_count = 0, any_count = 0;
    for (std::size_t i = 0; i + 1 < top.items.size(); i += 2) {
      const pickle::Value &key = value(top.items[i]), &v = value(top.items[i + 1]);
      if (key.kind != pickle::Kind::words || !holds_tensors(top.items[i + 1])) continue;
      any = &v;
      ++any_count;
      if (std::find(std::begin(kDictionaries), std::end(kDictionaries), key.words) == std::end(kDictionaries)) continue;
      known = &v;
      ++known_count;
    }
    if (known_count == 1) return *known;
    if (known_count == 0 && any_count == 1) return *any;
    throw Error(Code::bad_input, where_,
                text("has ", any_count, " dictionaries of tensors at its top level: ", keys_of(top, true),
                     " (all keys: ", keys_of(top, false), "). Hint: name the one to read by the option dictionary."));
  }

  const pickle::Document& document_;
  const std::string& where_;
  std::vector<bool> holds_;   // of every value: is it a dictionary with a tensor
};

/// The archive around the pickle.
class Archive {
 public:
  Archive(const ByteSource& source, const TorchFileOptions& options) : source_(source), zip_(source), options_(options) {
    for (const ZipEntry& e : zip_.entries())
      if (e.name.ends_with("/data.pkl") && e.name.find('/') == e.name.size() - 9) {
        if (!root_.empty())
          throw Error(Code::bad_input, source.name(),
                      text("has 2 checkpoints in one archive, ", printable(root_), "data.pkl and ", printable(e.name),
                           "; must be 1. Hint: save them one by one."));
        root_ = e.name.substr(0, e.name.size() - 8);
      }
    if (root_.empty())
      throw Error(Code::unsupported, source.name(), "is a zip archive without data.pkl, so not one of torch.save.");
    for (const ZipEntry& e : zip_.entries())
      if (e.name == root_ + "constants.pkl" || e.name.starts_with(root_ + "code/"))
        throw Error(
            Code::unsupported, source.name(),
            "is a TorchScript program, whose code is not run. Hint: torch.save(torch.jit.load(path).state_dict(), new_path).");
    if (const ZipEntry* order = zip_.find(root_ + "byteorder"))
      if (const std::string words = read(*order, 16); words != "little")
        throw Error(
            Code::unsupported, source.name(),
            text("has byte order \"", printable(words), "\"; little is read. Hint: save it again on a little-endian machine."));
  }

  std::string read_pickle() const { return read(*zip_.find(root_ + "data.pkl"), options_.max_pickle_bytes); }
  /// Where the values of a storage lie.
  ChecksumBlock storage(std::string_view key, Index bytes) const {
    const ZipEntry* e = zip_.find(root_ + "data/" + std::string(key));
    if (e == nullptr)
      throw Error(Code::bad_input, source_.name(), text("has no entry data/", printable(key), ", which a tensor lies in."));
    if (e->bytes != bytes)
      throw Error(Code::bad_input, source_.name(),
                  text("entry data/", printable(key), " has ", e->bytes, " bytes; the pickle says ", bytes, "."));
    return zip_.locate(*e);
  }

 private:
  std::string read(const ZipEntry& e, Index most) const {
    const ChecksumBlock block = zip_.locate(e);
    if (block.bytes > most)
      throw Error(Code::bad_input, source_.name(),
                  text("entry ", printable(e.name), " has ", block.bytes, " bytes; the most is ", most, "."));
    if (options_.check_crc && block.crc != 0) check_block(source_, block);
    return source_.read(block.begin, block.bytes);
  }

  const ByteSource& source_;
  ZipDirectory zip_;
  const TorchFileOptions& options_;
  std::string root_;
};

/// Tensors repeat what lies in the file (tied weights, nnU-Net's second names), but not without end: 8 times, and 64 MB.
inline constexpr Index kRepeats = 8, kMoreBytes = Index{64} << 20;

/// Turns the tensors of a pickle into places in the file, each inside its storage.
class Filler {
 public:
  Filler(const Archive& archive, bool check_crc, TensorIndex& index)
      : archive_(archive), check_crc_(check_crc), index_(index) {}

  void add(std::string_view name, const pickle::Tensor& t) {
    if (!names_.insert(name).second)   // and so names are not longer than the pickle, however often it repeats one
      throw Error(Code::bad_input, index_.bytes.name(), text("has two tensors named ", printable(name), "."));
    const Index size = size_of(t.dtype);
    if (t.stored > std::numeric_limits<Index>::max() / size) refuse(name, t, "cannot be counted");
    const auto found = places_.emplace(t.storage, Place{}).first;
    if (found->second.begin < 0) found->second = place(t);
    TensorEntry e{.name = std::string(name), .dtype = t.dtype, .shape = t.shape, .strides = t.strides};
    const Index bytes = byte_count(e.shape, e.dtype), span = byte_span(e);
    if (bytes < 0 || span < 0 || t.stored * size != found->second.bytes) refuse(name, t, "cannot be counted");
    if (t.offset < 0 || t.offset > t.stored || span > (t.stored - t.offset) * size)
      refuse(name, t, "reaches out of its storage");
    e.begin = found->second.begin + t.offset * size;
    e.block = found->second.block;
    if (bytes == 0 || (span == bytes && is_packed(e))) e.strides.clear();
    const Index most = kRepeats * index_.bytes.size() + kMoreBytes;
    if (std::max(span, bytes) > most - total_)
      refuse(name, t, text("makes the tensors larger than ", most, " bytes, far more than the file"));
    total_ += std::max(span, bytes);
    index_.tensors.push_back(std::move(e));
  }

 private:
  struct Place {
    Index begin = -1, bytes = 0, block = -1;
  };
  [[noreturn]] void refuse(std::string_view name, const pickle::Tensor& t, const std::string& what) const {
    throw Error(Code::bad_input, index_.bytes.name(),
                text("tensor ", printable(name), " ", shape_text(t.shape), " with strides ", shape_text(t.strides),
                     " from value ", t.offset, " of ", t.stored, " ", what, "."));
  }
  Place place(const pickle::Tensor& t) {
    const ChecksumBlock block = archive_.storage(t.storage, t.stored * size_of(t.dtype));
    const bool checked = check_crc_ && block.crc != 0;
    if (checked) index_.blocks.push_back(block);
    return {.begin = block.begin, .bytes = block.bytes, .block = checked ? std::ssize(index_.blocks) - 1 : -1};
  }
  static bool is_packed(const TensorEntry& e) {
    Index step = 1;
    for (std::size_t d = e.shape.size(); d-- > 0; step *= e.shape[d])
      if (e.shape[d] > 1 && e.strides[d] != step) return false;
    return true;
  }

  const Archive& archive_;
  bool check_crc_;
  TensorIndex& index_;
  std::map<std::string_view, Place> places_;
  std::set<std::string_view> names_;
  Index total_ = 0;
};

}   // namespace torch_file

/// The tensors of a PyTorch checkpoint, without reading their values. They are looked for in `dictionary`; without that at the
/// top level if it holds tensors, else in the one of network_weights, state_dict, model_state_dict, model, net that does, else
/// in the only dictionary of the top level that does.
/// Errors    unsupported for anything that weights do not need, by name; bad_input for damage; nothing is ever executed.
template <class = void> TensorIndex index_torch_file(ByteSource source, const TorchFileOptions& options = {}) {
  torch_file::refuse_others(source);
  const torch_file::Archive archive(source, options);
  const std::string bytes = archive.read_pickle();
  const pickle::Document document = pickle::Machine(bytes, source.name()).run();
  const pickle::Value& from = torch_file::Selection(document, source).find(options.dictionary);
  TensorIndex index{.bytes = source};
  torch_file::Filler filler(archive, options.check_crc, index);
  for (std::size_t i = 0; i + 1 < from.items.size(); i += 2) {
    const pickle::Value &key = document.values[from.items[i]], &value = document.values[from.items[i + 1]];
    if (key.kind == pickle::Kind::words && value.kind == pickle::Kind::tensor)
      filler.add(key.words, document.tensors[static_cast<std::size_t>(value.number)]);
  }
  return index;
}

/// The tensors of a PyTorch checkpoint with their values.
template <class = void> TensorFile read_torch_file(const std::filesystem::path& path, const TorchFileOptions& options = {}) {
  return read_all(index_torch_file<>(ByteSource(path), options));
}

/// What load_weights reads .pth and .pt with: io::load_weights("net.pth", net, {.reader = io::torch_reader()}).
template <class = void> CheckpointReader torch_reader() {
  return {[](const ByteSource& source, const std::string& dictionary, bool check_crc) {
    return index_torch_file<>(source, {.dictionary = dictionary, .check_crc = check_crc});
  }};
}

}   // namespace ctseg::io
