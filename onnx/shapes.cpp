// Attributes, and what operators do with extents.
#include <algorithm>

#include "numbers.hpp"

namespace ctseg::onnx {
namespace {

Error bad(const std::string& message) { return {Code::bad_input, "constant", message}; }

template <class T> const T* attribute(const GraphNode& n, const std::string& name) {
  const auto it = n.attributes.find(name);
  if (it == n.attributes.end()) return nullptr;
  if (const T* value = std::get_if<T>(&it->second)) return value;
  throw Error(Code::bad_input, "attribute", text(name, " is of the wrong kind."));
}

}   // namespace

Index integer(const GraphNode& n, const std::string& name, Index otherwise) {
  const auto* v = attribute<Index>(n, name);
  return v ? *v : otherwise;
}
float number(const GraphNode& n, const std::string& name, float otherwise) {
  const auto* v = attribute<float>(n, name);
  return v ? *v : otherwise;
}
std::string word(const GraphNode& n, const std::string& name, const std::string& otherwise) {
  const auto* v = attribute<std::string>(n, name);
  return v ? *v : otherwise;
}
std::optional<std::vector<Index>> integers(const GraphNode& n, const std::string& name) {
  const auto* v = attribute<std::vector<Index>>(n, name);
  return v ? std::optional(*v) : std::nullopt;
}

std::size_t axis_of(Index axis, std::size_t rank) {
  const Index n = static_cast<Index>(rank), at = axis < 0 ? axis + n : axis;
  if (at < 0 || at >= n) throw bad(text("axis ", axis, " of ", rank, "."));
  return static_cast<std::size_t>(at);
}

std::vector<Index> reshaped(const std::vector<Index>& from, std::vector<Index> to, bool zero_copies) {
  Index total = 1, known = 1, open = -1;
  for (const Index e : from) total *= e;
  for (std::size_t d = 0; d < to.size(); ++d) {
    if (to[d] == 0 && zero_copies) {
      if (d >= from.size()) throw bad(text("extents ", list(from), " cannot become ", list(to), "."));
      to[d] = from[d];
    }
    if (to[d] < -1 || (to[d] == -1 && open >= 0)) throw bad(text("extents ", list(from), " cannot become ", list(to), "."));
    if (to[d] == -1)
      open = static_cast<Index>(d);
    else if (to[d] > 0 && known > total / to[d])
      throw bad(text("extents ", list(from), " cannot become ", list(to), "."));
    else
      known *= to[d];
  }
  if (open >= 0) to[static_cast<std::size_t>(open)] = known > 0 ? total / known : 0;
  if (open >= 0 ? known <= 0 || total % known != 0 : known != total)
    throw bad(text("extents ", list(from), " cannot become ", list(to), "."));
  return to;
}

std::vector<Index> squeezed(const GraphNode& n, const std::vector<Index>& dims, const Numbers* given) {
  const auto axes = given ? integers(*given) : integers(n, "axes").value_or(std::vector<Index>{});
  const bool removes = n.op == "Squeeze";
  const std::size_t rank = dims.size() + (removes ? 0 : axes.size());
  std::vector<bool> marked(rank, false);
  for (const Index a : axes) marked[axis_of(a, rank)] = true;
  std::vector<Index> out;
  auto next = dims.begin();
  for (std::size_t d = 0; d < rank; ++d) {
    if (!removes) {
      out.push_back(marked[d] || next == dims.end() ? 1 : *next++);
    } else if (axes.empty() ? dims[d] != 1 : !marked[d]) {
      out.push_back(dims[d]);
    } else if (dims[d] != 1) {
      throw bad(text("axis ", d, " of extents ", list(dims), " is not 1."));
    }
  }
  return out;
}

Cut cut(Index extent, Index start, Index end, Index step) {
  if (step == 0) throw bad("a slice has a step of 0.");
  const auto bound = [&](Index i, Index low, Index high) { return std::clamp<Index>(i < 0 ? i + extent : i, low, high); };
  if (step > 0) {
    const Index first = bound(start, 0, extent), last = bound(end, 0, extent);
    return {first, step, std::max<Index>(0, (last - first) / step + ((last - first) % step != 0))};
  }
  const Index first = bound(start, -1, extent - 1), last = bound(end, -1, extent - 1);
  const Index back = step < -extent ? -extent - 1 : step;
  return {first, back, first > last ? (last - first) / back + ((last - first) % back != 0) : 0};
}

Index counted(const std::vector<Index>& dims) {
  Index count = 1;
  for (const Index e : dims) {
    if (e < 0 || (e > 0 && count > kMostNumbers / e))
      throw bad(text("extents ", list(dims), "; must be 0 or more, and at most ", kMostNumbers, " values together."));
    count *= e;
  }
  return count;
}

}   // namespace ctseg::onnx
