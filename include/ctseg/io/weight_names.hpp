// Which tensor of a file belongs to which parameter of a network: names are changed as asked, second names of one tensor are
// found, and whatever is missing, left over or of another shape is one error that lists it.
#pragma once
#include "second_names.hpp"
#include "tensor_file.hpp"

namespace ctseg::io {

struct NameChange {
  std::string from, to;
};

/// What reads checkpoints of torch.save: torch_reader() of torch_file.hpp. A value, so that others need not compile it.
struct CheckpointReader {
  TensorIndex (*index)(const ByteSource& source, const std::string& dictionary, bool check_crc) = nullptr;
};

/// A name in a list stands for itself; "head.*" for all that begin with "head.".
struct LoadOptions {
  CheckpointReader reader{};            // torch_reader(): .pth and .pt too
  std::string dictionary{};             // of those: where the weights are, as "model" or "nets.student"; empty: found
  bool check_crc = true;                // of those: compare checksums
  std::vector<NameChange> names{};      // whole names in the file -> names in the network
  std::vector<NameChange> prefixes{};   // beginnings of other names; the first that fits is used
  std::vector<std::string> ignore{};    // in the file: not loaded
  std::vector<std::string> keep{};      // in the network: may be missing in the file, and then keep their values
};

namespace weights {

/// What a network asks for, and how it is read: looked at only, or kept too.
struct Wanted {
  std::string name;
  std::vector<Index> shape{};
  void* parameter = nullptr;
  void (*read)(void* parameter, const TensorIndex& index, const TensorEntry& t, bool keep) = nullptr;
};

inline bool listed(const std::vector<std::string>& list, std::string_view name) {
  for (const std::string& entry : list)
    if (entry.ends_with('*') ? name.starts_with(std::string_view(entry).substr(0, entry.size() - 1)) : name == entry)
      return true;
  return false;
}

/// Without what DistributedDataParallel and torch.compile put in front.
inline std::string_view bare(std::string_view name) {
  for (std::string_view front : {"module.", "_orig_mod.", "module."})
    if (name.starts_with(front)) name.remove_prefix(front.size());
  return name;
}

inline std::string changed(std::string_view name, const LoadOptions& options) {
  for (const NameChange& c : options.names)
    if (name == c.from) return c.to;
  for (const NameChange& c : options.prefixes)
    if (name.starts_with(c.from)) return c.to + std::string(name.substr(c.from.size()));
  return std::string(name);
}

/// A list for an error: the first eight, and how many.
class Listing {
 public:
  void add(const std::string& line) {
    if (++count_ <= 8) lines_ += (count_ > 1 ? ", " : "") + line;
  }
  int count() const { return count_; }
  std::string text() const { return lines_ + (count_ > 8 ? ctseg::text(", ... (", count_, " in all)") : ""); }

 private:
  std::string lines_;
  int count_ = 0;
};

/// Finds for every wanted tensor its entry in the index; null for those that keep their values.
class Matcher {
 public:
  Matcher(const TensorIndex& index, const LoadOptions& options) : index_(index), options_(options) {}

  std::vector<const TensorEntry*> match(const std::vector<Wanted>& wanted) {
    std::map<std::string_view, const Wanted*> names;
    bool wrapped = false;   // the network itself has such names
    for (const Wanted& w : wanted) {
      names[w.name] = &w;
      wrapped = wrapped || bare(w.name) != w.name;
    }
    name_all(wrapped, names);
    Listing missing, left, shapes;
    std::vector<const TensorEntry*> out;
    for (const Wanted& w : wanted) {
      const auto found = found_.find(w.name);
      out.push_back(found == found_.end() ? nullptr : found->second);
      if (out.back() != nullptr) check(w, *out.back(), shapes);
      if (out.back() == nullptr && !listed(options_.keep, w.name)) missing.add(w.name + " " + shape_text(w.shape));
    }
    const SecondNames seconds([&](const std::string& name) { return names.contains(name); });
    for (const auto& [name, t] : found_)
      if (!names.contains(name) && !is_second(name, *t, seconds)) left.add(printable(name) + " " + shape_text(t->shape));
    complain(missing, left, shapes);
    return out;
  }

 private:
  void name_all(bool wrapped, const std::map<std::string_view, const Wanted*>& wanted) {
    for (const TensorEntry& t : index_.tensors) {
      const std::string_view name = wrapped ? std::string_view(t.name) : bare(t.name);
      if (listed(options_.ignore, name) || listed(options_.ignore, t.name)) continue;
      const std::string to = changed(name, options_);
      // PyTorch counts batch norm's batches; nothing here needs the count.
      if ((to == "num_batches_tracked" || to.ends_with(".num_batches_tracked")) && !wanted.contains(to)) continue;
      const auto [at, added] = found_.emplace(to, &t);
      if (!added)
        throw Error(Code::bad_input, index_.bytes.name(),
                    text("tensors ", printable(at->second->name), " and ", printable(t.name), " are both named ", printable(to),
                         ". Hint: put the one that is not wanted into the option ignore."));
    }
  }

  void check(const Wanted& w, const TensorEntry& t, Listing& shapes) const {
    const std::string other = t.name == w.name ? "" : text(" (", printable(t.name), " in the file)");
    if (t.shape != w.shape)
      return shapes.add(
          text("tensor ", w.name, other, " is ", shape_text(t.shape), ", the network's is ", shape_text(w.shape)));
    if (t.dtype != Dtype::f64 && t.dtype != Dtype::f32 && t.dtype != Dtype::f16 && t.dtype != Dtype::bf16)
      throw Error(Code::bad_input, index_.bytes.name(),
                  text("tensor ", w.name, other, " is ", t.dtype, "; weights are f64, f32, f16 or bf16."));
  }

  bool is_second(const std::string& name, const TensorEntry& t, const SecondNames& seconds) const {
    std::string different;
    for (const std::string& first : seconds.firsts(name)) {
      if (listed(options_.ignore, first)) return true;
      const auto found = found_.find(first);
      if (found == found_.end()) continue;
      if (same(t, *found->second)) return true;
      different = first;
    }
    if (different.empty()) return false;
    throw Error(Code::bad_input, index_.bytes.name(),
                text("tensor ", printable(name), " is another name of ", printable(different), ", but its values differ."));
  }
  bool same(const TensorEntry& a, const TensorEntry& b) const {
    if (a.dtype != b.dtype || a.shape != b.shape) return false;
    return (a.begin == b.begin && a.strides == b.strides) || read_tensor(index_, a) == read_tensor(index_, b);
  }

  void complain(const Listing& missing, const Listing& left, const Listing& shapes) const {
    if (missing.count() + left.count() + shapes.count() == 0) return;
    std::string message;
    const auto sentence = [&](const std::string& words) { message += (message.empty() ? "" : " ") + words + "."; };
    if (shapes.count() > 0) sentence(shapes.text());
    if (missing.count() > 0)
      sentence(text("The file has no tensor for ", missing.count(), " of the network's: ", missing.text()));
    if (left.count() > 0) sentence(text("The network has no place for ", left.count(), " of the file's: ", left.text()));
    throw Error(Code::bad_input, index_.bytes.name(),
                message + (shapes.count() > 0 || missing.count() == 0 || left.count() == 0
                               ? " Hint: it was saved from another network or other options."
                               : " Hint: if only names differ, map them by the options prefixes and names."));
  }

  const TensorIndex& index_;
  const LoadOptions& options_;
  std::map<std::string, const TensorEntry*> found_;   // by name in the network
};

/// Checks all that a network asks for, then reads it.
inline void load(const TensorIndex& index, const std::vector<Wanted>& wanted, const LoadOptions& options) {
  const std::vector<const TensorEntry*> from = Matcher(index, options).match(wanted);
  std::vector<bool> checked(index.blocks.size());
  for (const TensorEntry* t : from) {
    if (t == nullptr || t->block < 0 || checked[static_cast<std::size_t>(t->block)]) continue;
    check_block(index.bytes, index.blocks[static_cast<std::size_t>(t->block)]);
    checked[static_cast<std::size_t>(t->block)] = true;
  }
  for (const bool keep : {false, true})
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (from[i] != nullptr) wanted[i].read(wanted[i].parameter, index, *from[i], keep);
}

}   // namespace weights

}   // namespace ctseg::io
