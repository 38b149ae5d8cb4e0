// The part of Python's pickle that tensors are saved with, run by a machine that only ever builds values (pickle.hpp): it knows
// no call, no import and no file. What is not on its list ends the reading, by name.
#pragma once
#include "pickle.hpp"
#include "tensor_file.hpp"

namespace ctseg::io::pickle {

struct MachineOptions {
  std::size_t max_values = 2'000'000;   // also of the memo and the stack
  std::size_t max_tensors = 100'000;
  std::span<const Allowed> more{};   // globals that may be named beside kAllowed; they are values like all others
};

/// Runs one pickle of protocol 2 to 5.
/// Errors    unsupported for a global or an opcode that is not allowed, by name; bad_input for anything else that is wrong.
class Machine {
 public:
  Machine(std::string_view bytes, std::string_view where, const MachineOptions& options = {})
      : bytes_(bytes), where_(where), options_(options) {}

  Document run() {
    if (byte() != 0x80) refuse("does not begin as a pickle of protocol 2 to 5");
    if (const unsigned protocol = byte(); protocol < 2 || protocol > 5)
      refuse(text("is of protocol ", int(protocol), "; known are 2 to 5"));
    for (;;) {
      const unsigned char code = byte();
      if (code == '.') break;
      if (push_plain(code) || push_words(code) || use_memo(code) || close_container(code) || use_global(code)) continue;
      throw Error(Code::unsupported, where_,
                  text("uses ", name_of(code), at_text(), ", which no tensor needs; it is not run.", kHint));
    }
    if (stack_.size() != 1 || !marks_.empty())
      refuse(text("ends with ", stack_.size(), " values and ", marks_.size(), " marks; must be 1 and 0"));
    document_.top = stack_[0];
    return std::move(document_);
  }

 private:
  static constexpr const char* kHint =
      " Hint: nothing of a file is ever executed; in Python save the weights alone: torch.save(net.state_dict(), path).";

  static std::string name_of(unsigned char code) {
    constexpr std::pair<unsigned char, const char*> kNames[] = {
        {'i', "INST"},  {'o', "OBJ"},      {'P', "PERSID"},     {0x81, "NEWOBJ"},      {0x82, "EXT1"},
        {0x83, "EXT2"}, {0x84, "EXT4"},    {0x92, "NEWOBJ_EX"}, {0x97, "NEXT_BUFFER"}, {0x96, "BYTEARRAY8"},
        {'0', "POP"},   {'1', "POP_MARK"}, {'2', "DUP"}};
    for (const auto& [known, name] : kNames)
      if (code == known) return text("the pickle opcode ", name);
    return text("the pickle opcode number ", int{code});
  }
  std::string at_text() const { return text(" at byte ", at_ - 1); }
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(Code::bad_input, where_, text("the pickle ", std::string(what), " (byte ", at_, ")."));
  }

  // ---- bytes
  unsigned char byte() { return static_cast<unsigned char>(take(1)[0]); }
  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) refuse(text("ends ", count - (bytes_.size() - at_), " bytes too early"));
    const std::string_view part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }
  /// A little-endian number without sign, of up to 8 bytes.
  std::size_t length(std::size_t size) {
    std::uint64_t value = 0;
    std::memcpy(&value, take(size).data(), size);
    return value;
  }
  /// One with sign.
  Index integer(std::size_t size) {
    const auto shift = 64 - 8 * size;
    return size == 0 ? 0 : static_cast<Index>(length(size) << shift) >> shift;
  }
  std::string_view line() {
    const std::size_t end = bytes_.substr(at_, 256).find('\n');
    if (end == std::string_view::npos) refuse("has a global without a name that ends");
    const std::string_view words = take(end);
    ++at_;
    return words;
  }

  // ---- the stack
  Value& value(Id id) { return document_.values[id]; }
  void push(Value made) {
    if (document_.values.size() == options_.max_values) refuse(text("builds more than ", options_.max_values, " values"));
    document_.values.push_back(std::move(made));
    push_id(static_cast<Id>(document_.values.size() - 1));
  }
  void push_id(Id id) {
    if (stack_.size() == options_.max_values) refuse(text("stacks more than ", options_.max_values, " values"));
    stack_.push_back(id);
  }
  Id top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("takes a value that is not there");
    return stack_.back();
  }
  Id pop() {
    const Id id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<Id> pop(std::size_t count) {
    std::vector<Id> out(count);
    while (count-- > 0) out[count] = pop();
    return out;
  }
  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) refuse("closes a container that was not opened");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Id> out(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return out;
  }
  void push_sequence(std::vector<Id> items) { push({.kind = Kind::sequence, .items = std::move(items)}); }

  // ---- opcodes: each function runs those it knows and says whether it did
  bool push_plain(unsigned char code) {
    const auto push_integer = [&](Index number) { push({.kind = Kind::integer, .number = number}); };
    const auto push_long = [&](std::size_t size) {   // beyond 64 bits it is no extent
      if (size <= 8) return push_integer(integer(size));
      take(size);
      push({});
    };
    switch (code) {
      case 'N':
        return push({}), true;
      case 0x88:
        return push_integer(1), true;
      case 0x89:
        return push_integer(0), true;
      case 'K':
        return push_integer(static_cast<Index>(length(1))), true;
      case 'M':
        return push_integer(static_cast<Index>(length(2))), true;
      case 'J':
        return push_integer(integer(4)), true;
      case 0x8a:
        return push_long(length(1)), true;
      case 0x8b:
        return push_long(length(4)), true;
      case 'G':
        take(8);
        push({});
        return true;
      case '}':
        return push({.kind = Kind::dictionary}), true;
      case ']':
      case ')':
      case 0x8f:
        return push_sequence({}), true;
      case 0x95:
        return take(8), true;   // a frame: tells streams how much to load
      default:
        return false;
    }
  }
  bool push_words(unsigned char code) {
    const auto push_string = [&](std::size_t size) { push({.kind = Kind::words, .words = take(size)}); };
    const auto push_bytes = [&](std::size_t size) { push({.words = take(size)}); };
    switch (code) {
      case 'X':
        return push_string(length(4)), true;
      case 0x8c:
        return push_string(length(1)), true;
      case 0x8d:
        return push_string(length(8)), true;
      case 'B':
        return push_bytes(length(4)), true;
      case 'C':
        return push_bytes(length(1)), true;
      case 0x8e:
        return push_bytes(length(8)), true;
      default:
        return false;
    }
  }
  bool use_memo(unsigned char code) {
    const auto put = [&](std::size_t place) {
      if (place >= options_.max_values) refuse(text("keeps value ", place, " in its memo; the most is ", options_.max_values));
      if (place >= memo_.size()) memo_.resize(place + 1, kNone);
      memo_[place] = top();
    };
    const auto get = [&](std::size_t place) {
      if (place >= memo_.size() || memo_[place] == kNone)
        refuse(text("asks for value ", place, " of its memo, which is not there"));
      push_id(memo_[place]);
    };
    switch (code) {
      case 'q':
        return put(length(1)), true;
      case 'r':
        return put(length(4)), true;
      case 0x94:
        return put(memo_.size()), true;
      case 'h':
        return get(length(1)), true;
      case 'j':
        return get(length(4)), true;
      default:
        return false;
    }
  }
  bool close_container(unsigned char code) {
    switch (code) {
      case '(':
        if (marks_.size() == options_.max_values) refuse(text("opens more than ", options_.max_values, " containers"));
        return marks_.push_back(stack_.size()), true;
      case 't':
      case 0x91:
        return push_sequence(pop_to_mark()), true;
      case 0x85:
      case 0x86:
      case 0x87:
        return push_sequence(pop(code - 0x84u)), true;
      case 'a':
        return append(pop(1), Kind::sequence), true;
      case 'e':
      case 0x90:
        return append(pop_to_mark(), Kind::sequence), true;
      case 's':
        return append(pop(2), Kind::dictionary), true;
      case 'u':
        return append(pop_to_mark(), Kind::dictionary), true;
      default:
        return false;
    }
  }
  void append(const std::vector<Id>& items, Kind kind) {
    Value& to = value(top());
    if (to.kind == Kind::opaque) return;   // a Counter, say
    if (to.kind != kind || (kind == Kind::dictionary && items.size() % 2 != 0)) refuse("adds to a value that does not take it");
    to.items.insert(to.items.end(), items.begin(), items.end());
  }

  bool use_global(unsigned char code) {
    switch (code) {
      case 'c': {
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case 0x93: {
        const Id name = pop(), module = pop();
        if (value(name).kind != Kind::words || value(module).kind != Kind::words)
          refuse("names a global by something that is no string");
        push_global(value(module).words, value(name).words);
        return true;
      }
      case 'R':
        return call(), true;
      case 'b': {   // attributes: _metadata of a state dictionary, the insides of a NumPy dtype
        pop();
        const Kind kind = value(top()).kind;
        if (kind != Kind::dictionary && kind != Kind::opaque) refuse("gives attributes to a value that has none");
        return true;
      }
      case 'Q':
        return push_storage(), true;
      default:
        return false;
    }
  }
  void push_global(std::string_view module, std::string_view name) {
    const std::string whole = std::string(module) + "." + std::string(name);
    for (const std::span<const Allowed> list : {std::span<const Allowed>(kAllowed), options_.more})
      for (const Allowed& a : list)
        if (a.name == whole) return push({.kind = Kind::global, .builds = a.builds, .dtype = a.dtype, .words = a.name});
    throw Error(
        Code::unsupported, where_,
        text("names ", printable(whole), at_text(), ", which is not among what tensors are built of; it is not run.", kHint));
  }
  /// ('storage', torch.FloatStorage, key, place, values): the bytes lie beside the pickle, under that key.
  void push_storage() {
    const Value& id = value(pop());
    const auto part = [&](std::size_t i, Kind kind) -> const Value& {
      if (id.kind != Kind::sequence || id.items.size() != 5 || value(id.items[i]).kind != kind)
        refuse("has a persistent value that is not ('storage', type, key, place, values)");
      return value(id.items[i]);
    };
    const Value& type = part(1, Kind::global);
    const Index count = part(4, Kind::integer).number;
    if (part(0, Kind::words).words != "storage" || type.builds != Builds::storage || count < 0)
      refuse("has a persistent value that is not ('storage', type, key, place, values)");
    push({.kind = Kind::storage, .dtype = type.dtype, .number = count, .words = part(2, Kind::words).words});
  }

  void call() {
    const Id arguments = pop(), function = pop();
    if (value(arguments).kind != Kind::sequence) refuse("calls something with arguments that are no tuple");
    const Builds builds = value(function).kind == Kind::global ? value(function).builds : Builds::nothing;
    const std::vector<Id>& given = value(arguments).items;
    switch (builds) {
      case Builds::dictionary:
        if (!given.empty()) refuse("fills an OrderedDict in a way that torch.save does not");
        return push({.kind = Kind::dictionary});
      case Builds::size:
        if (given.size() != 1 || value(given[0]).kind != Kind::sequence)
          refuse("makes a torch.Size of something that is no tuple");
        return push_id(given[0]);
      case Builds::parameter:
        if (given.empty() || value(given[0]).kind != Kind::tensor) refuse("makes a parameter of something that is no tensor");
        return push_id(given[0]);
      case Builds::tensor:
        return push_tensor(given);
      case Builds::numpy_dtype:
        return push({.words = given.empty() ? std::string_view() : value(given[0]).words});
      case Builds::numpy_scalar:
        return push_numpy_scalar(given);
      case Builds::opaque:
        return push({});
      default:
        refuse("calls a value that cannot be called");
    }
  }
  /// (dtype, bytes): a number where it is a whole one with sign.
  void push_numpy_scalar(const std::vector<Id>& given) {
    if (given.size() == 2)
      for (const auto& [name, size] : {std::pair("i8", 8u), std::pair("i4", 4u), std::pair("i2", 2u), std::pair("i1", 1u)})
        if (const std::string_view bytes = value(given[1]).words; value(given[0]).words == name && bytes.size() == size) {
          std::uint64_t number = 0;
          std::memcpy(&number, bytes.data(), size);
          const auto shift = 64 - 8 * size;
          return push({.kind = Kind::integer, .number = static_cast<Index>(number << shift) >> shift});
        }
    push({});
  }
  /// (storage, offset, shape, strides, requires_grad, hooks, ...)
  void push_tensor(const std::vector<Id>& given) {
    if (document_.tensors.size() == options_.max_tensors) refuse(text("builds more than ", options_.max_tensors, " tensors"));
    if (given.size() < 4 || value(given[0]).kind != Kind::storage || value(given[1]).kind != Kind::integer)
      refuse("builds a tensor of something that is not (storage, offset, shape, strides)");
    const Value& storage = value(given[0]);
    Tensor t{.storage = storage.words, .dtype = storage.dtype, .stored = storage.number, .offset = value(given[1]).number};
    t.shape = extents(given[2]);
    t.strides = extents(given[3]);
    if (t.shape.size() != t.strides.size())
      refuse(text("builds a tensor of ", t.shape.size(), " axes with ", t.strides.size(), " strides"));
    document_.tensors.push_back(std::move(t));
    push({.kind = Kind::tensor, .number = std::ssize(document_.tensors) - 1});
  }
  std::vector<Index> extents(Id id) {
    const Value& list = value(id);
    if (list.kind != Kind::sequence || list.items.size() > 32)
      refuse("builds a tensor with extents that are no tuple of up to 32 numbers");
    std::vector<Index> out;
    for (Id item : list.items) {
      if (value(item).kind != Kind::integer || value(item).number < 0)
        refuse("builds a tensor with an extent or stride below 0");
      out.push_back(value(item).number);
    }
    return out;
  }

  static constexpr Id kNone = ~Id{0};
  std::string_view bytes_, where_;
  MachineOptions options_;
  std::size_t at_ = 0;
  std::vector<Id> stack_, memo_;
  std::vector<std::size_t> marks_;
  Document document_;
};

}   // namespace ctseg::io::pickle
