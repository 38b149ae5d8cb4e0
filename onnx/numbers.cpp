#include "numbers.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctseg/core/dtype.hpp>
#include <numeric>

namespace ctseg::onnx {
namespace {

Error bad(const std::string& message) { return {Code::bad_input, "constant", message}; }

constexpr double kFar = 4e18;   // what INT64_MAX in a slice means: the end

Index whole_of(double v) {
  if (std::isnan(v)) throw bad("a number that is not one stands for an integer.");
  return static_cast<Index>(std::clamp(v, -kFar, kFar));
}

template <class T> double read(const TensorData& t, std::size_t i) {
  T value;
  std::memcpy(&value, t.bytes.data() + i * sizeof(T), sizeof(T));
  if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bf16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

const Numbers& need(std::span<const Constant> inputs, std::size_t k) {
  if (k >= inputs.size() || !inputs[k]) throw bad(text("input ", k, " is missing."));
  return *inputs[k];
}
const Numbers* maybe(std::span<const Constant> inputs, std::size_t k) { return k < inputs.size() ? inputs[k].get() : nullptr; }

/// A result of `dims` whose value at every index comes from source(index).
template <class F> Numbers gathered(const std::vector<Index>& dims, bool whole, F source) {
  Numbers out{.dims = dims, .values = std::vector<double>(static_cast<std::size_t>(counted(dims))), .whole = whole};
  std::vector<Index> at(dims.size(), 0);
  for (double& value : out.values) {
    value = source(at);
    for (std::size_t d = dims.size(); d-- > 0;) {
      if (++at[d] < dims[d]) break;
      at[d] = 0;
    }
  }
  return out;
}

/// The flat place of an index in `dims`, where extents of 1 repeat and missing axes are left ones.
std::size_t place(const std::vector<Index>& dims, const std::vector<Index>& at) {
  std::size_t flat = 0, shift = at.size() - dims.size();
  for (std::size_t d = 0; d < dims.size(); ++d)
    flat = flat * static_cast<std::size_t>(dims[d]) + static_cast<std::size_t>(dims[d] == 1 ? 0 : at[d + shift]);
  return flat;
}

std::vector<Index> broadcast(const std::vector<Index>& a, const std::vector<Index>& b) {
  std::vector<Index> out(std::max(a.size(), b.size()), 1);
  for (const auto* dims : {&a, &b})
    for (std::size_t d = 0; d < dims->size(); ++d) {
      Index& e = out[out.size() - dims->size() + d];
      const Index own = (*dims)[d];
      if (e != 1 && own != 1 && e != own) throw bad(text("extents ", list(a), " and ", list(b), " do not fit together."));
      if (own != 1) e = own;
    }
  return out;
}

template <class F> Numbers pairwise(const Numbers& a, const Numbers& b, F f) {
  return gathered(broadcast(a.dims, b.dims), a.whole && b.whole,
                  [&](const std::vector<Index>& at) { return f(a.values[place(a.dims, at)], b.values[place(b.dims, at)]); });
}
template <class F> Numbers each(Numbers a, F f) {
  for (double& v : a.values) v = f(v);
  return a;
}

/// Min and Max take any number of inputs.
template <class F> Numbers all_of(std::span<const Constant> in, F f) {
  Numbers result = need(in, 0);
  for (std::size_t k = 1; k < in.size(); ++k) result = pairwise(result, need(in, k), f);
  return result;
}

std::optional<Numbers> arithmetic(const GraphNode& n, std::span<const Constant> in) {
  const std::string& op = n.op;
  if (op == "Add") return pairwise(need(in, 0), need(in, 1), [](double a, double b) { return a + b; });
  if (op == "Sub") return pairwise(need(in, 0), need(in, 1), [](double a, double b) { return a - b; });
  if (op == "Mul") return pairwise(need(in, 0), need(in, 1), [](double a, double b) { return a * b; });
  if (op == "Min") return all_of(in, [](double a, double b) { return std::min(a, b); });
  if (op == "Max") return all_of(in, [](double a, double b) { return std::max(a, b); });
  if (op == "Equal") return pairwise(need(in, 0), need(in, 1), [](double a, double b) { return double(a == b); });
  if (op == "Div") {
    const bool whole = need(in, 0).whole && need(in, 1).whole;
    return pairwise(need(in, 0), need(in, 1), [&](double a, double b) {
      if (whole && b == 0) throw bad("an integer is divided by 0.");
      return whole ? std::trunc(a / b) : a / b;
    });
  }
  if (op == "Mod") {
    const bool c_like = integer(n, "fmod", 0) != 0;
    return pairwise(need(in, 0), need(in, 1), [&](double a, double b) {
      if (b == 0) throw bad("a remainder of 0 is asked for.");
      return c_like ? std::fmod(a, b) : a - b * std::floor(a / b);
    });
  }
  if (op == "Neg") return each(need(in, 0), [](double v) { return -v; });
  if (op == "Floor") return each(need(in, 0), [](double v) { return std::floor(v); });
  if (op == "Ceil") return each(need(in, 0), [](double v) { return std::ceil(v); });
  if (op == "Sqrt") return each(need(in, 0), [](double v) { return std::sqrt(v); });
  if (op == "Cast") {
    Numbers out = need(in, 0);
    const auto to = static_cast<Element>(integer(n, "to", 1));
    out.whole = to == Element::i32 || to == Element::i64 || to == Element::boolean;
    if (size_of(to) == 0) throw bad(text("type ", integer(n, "to", 1), " is not known."));
    if (to == Element::boolean) return each(std::move(out), [](double v) { return double(v != 0); });
    if (out.whole) return each(std::move(out), [](double v) { return static_cast<double>(whole_of(v)); });
    return out;
  }
  if (op == "Where") {
    const Numbers &c = need(in, 0), &a = need(in, 1), &b = need(in, 2);
    return gathered(broadcast(c.dims, broadcast(a.dims, b.dims)), a.whole && b.whole, [&](const std::vector<Index>& at) {
      return c.values[place(c.dims, at)] != 0 ? a.values[place(a.dims, at)] : b.values[place(b.dims, at)];
    });
  }
  return {};
}

Numbers slice(const GraphNode& n, std::span<const Constant> in) {
  const Numbers& x = need(in, 0);
  const auto starts = integers(need(in, 1)), ends = integers(need(in, 2));
  std::vector<Index> axes(starts.size()), steps(starts.size(), 1);
  std::iota(axes.begin(), axes.end(), Index{0});
  if (const Numbers* given = maybe(in, 3)) axes = integers(*given);
  if (const Numbers* given = maybe(in, 4)) steps = integers(*given);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    throw bad(text(starts.size(), " starts, ", ends.size(), " ends, ", axes.size(), " axes, ", steps.size(), " steps."));
  std::vector<Cut> cuts;
  for (const Index e : x.dims) cuts.push_back({.count = e});
  for (std::size_t k = 0; k < starts.size(); ++k) {
    const std::size_t d = axis_of(axes[k], x.dims.size());
    cuts[d] = cut(x.dims[d], starts[k], ends[k], steps[k]);
  }
  std::vector<Index> dims;
  for (const Cut& c : cuts) dims.push_back(c.count);
  (void)n;
  return gathered(dims, x.whole, [&](std::vector<Index> at) {
    for (std::size_t d = 0; d < at.size(); ++d) at[d] = cuts[d].first + at[d] * cuts[d].step;
    return x.values[place(x.dims, at)];
  });
}

Numbers concat(const GraphNode& n, std::span<const Constant> in) {
  const std::size_t rank = need(in, 0).dims.size(), axis = axis_of(integer(n, "axis", 0), rank);
  std::vector<Index> dims = need(in, 0).dims;
  bool whole = true;
  dims[axis] = 0;
  for (std::size_t k = 0; k < in.size(); ++k) {
    const Numbers& x = need(in, k);
    if (x.dims.size() != rank) throw bad(text("joins ", list(need(in, 0).dims), " and ", list(x.dims), "."));
    for (std::size_t d = 0; d < rank; ++d)
      if (d != axis && x.dims[d] != dims[d]) throw bad(text("joins ", list(need(in, 0).dims), " and ", list(x.dims), "."));
    dims[axis] += x.dims[axis];
    whole = whole && x.whole;
  }
  return gathered(dims, whole, [&](std::vector<Index> at) {
    std::size_t k = 0;
    while (at[axis] >= in[k]->dims[axis]) at[axis] -= in[k++]->dims[axis];
    std::size_t flat = 0;
    for (std::size_t d = 0; d < rank; ++d)
      flat = flat * static_cast<std::size_t>(in[k]->dims[d]) + static_cast<std::size_t>(at[d]);
    return in[k]->values[flat];
  });
}

Numbers gather(const GraphNode& n, std::span<const Constant> in) {
  const Numbers &x = need(in, 0), &which = need(in, 1);
  const std::size_t axis = axis_of(integer(n, "axis", 0), x.dims.size()), extra = which.dims.size();
  std::vector<Index> dims = x.dims;
  dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
  dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(axis), which.dims.begin(), which.dims.end());
  return gathered(dims, x.whole, [&](const std::vector<Index>& at) {
    std::vector<Index> from(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(axis));
    const std::vector<Index> chosen(at.begin() + static_cast<std::ptrdiff_t>(axis),
                                    at.begin() + static_cast<std::ptrdiff_t>(axis + extra));
    Index i = whole_of(which.values[place(which.dims, chosen)]);
    if (i < 0) i += x.dims[axis];
    if (i < 0 || i >= x.dims[axis]) throw bad(text("index ", i, " of an axis of ", x.dims[axis], "."));
    from.push_back(i);
    from.insert(from.end(), at.begin() + static_cast<std::ptrdiff_t>(axis + extra), at.end());
    std::size_t flat = 0;
    for (std::size_t d = 0; d < from.size(); ++d)
      flat = flat * static_cast<std::size_t>(x.dims[d]) + static_cast<std::size_t>(from[d]);
    return x.values[flat];
  });
}

Numbers with_dims(Numbers x, std::vector<Index> dims) {
  if (counted(dims) != x.count()) throw bad(text("extents ", list(x.dims), " cannot become ", list(dims), "."));
  x.dims = std::move(dims);
  return x;
}

Numbers transpose(const GraphNode& n, std::span<const Constant> in) {
  const Numbers& x = need(in, 0);
  std::vector<Index> order = integers(n, "perm").value_or(std::vector<Index>{});
  if (order.empty()) {
    order.resize(x.dims.size());
    std::iota(order.rbegin(), order.rend(), Index{0});
  }
  std::vector<Index> dims, sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t d = 0; d < sorted.size(); ++d)
    if (sorted.size() != x.dims.size() || sorted[d] != static_cast<Index>(d))
      throw bad(text("perm ", list(order), " of extents ", list(x.dims), "."));
  for (const Index d : order) dims.push_back(x.dims[static_cast<std::size_t>(d)]);
  return gathered(dims, x.whole, [&](const std::vector<Index>& at) {
    std::vector<Index> from(at.size());
    for (std::size_t d = 0; d < at.size(); ++d) from[static_cast<std::size_t>(order[d])] = at[d];
    return x.values[place(x.dims, from)];
  });
}

Numbers tile(std::span<const Constant> in) {
  const Numbers& x = need(in, 0);
  const auto times = integers(need(in, 1));
  if (times.size() != x.dims.size()) throw bad(text("repeats ", list(times), " of extents ", list(x.dims), "."));
  std::vector<Index> dims = x.dims;
  for (std::size_t d = 0; d < dims.size(); ++d) {
    if (times[d] < 0 || times[d] > kMostNumbers) throw bad(text("repeats ", list(times), "."));
    dims[d] *= times[d];
  }
  return gathered(dims, x.whole, [&](std::vector<Index> at) {
    for (std::size_t d = 0; d < at.size(); ++d) at[d] %= x.dims[d];
    return x.values[place(x.dims, at)];
  });
}

Numbers filled(const GraphNode& n, std::span<const Constant> in) {
  Numbers value{.dims = {1}, .values = {0}, .whole = false};
  if (const auto it = n.attributes.find("value"); it != n.attributes.end())
    if (const auto* t = std::get_if<TensorData>(&it->second)) value = numbers_of(*t);
  if (value.count() != 1) throw bad("its value must be one number.");
  return gathered(integers(need(in, 0)), value.whole, [&](const std::vector<Index>&) { return value.values[0]; });
}

Numbers constant(const GraphNode& n) {
  for (const auto& [name, value] : n.attributes) {
    if (const auto* t = std::get_if<TensorData>(&value)) return numbers_of(*t);
    if (const auto* i = std::get_if<Index>(&value)) return {.values = {static_cast<double>(*i)}};
    if (const auto* f = std::get_if<float>(&value)) return {.values = {double{*f}}, .whole = false};
    if (const auto* all = std::get_if<std::vector<Index>>(&value))
      return {.dims = {std::ssize(*all)}, .values = {all->begin(), all->end()}};
    if (const auto* all = std::get_if<std::vector<float>>(&value))
      return {.dims = {std::ssize(*all)}, .values = {all->begin(), all->end()}, .whole = false};
  }
  throw bad("it has no value that is read: a tensor, numbers or a number.");
}

Numbers range(std::span<const Constant> in) {
  const Numbers &a = need(in, 0), &b = need(in, 1), &s = need(in, 2);
  if (a.count() != 1 || b.count() != 1 || s.count() != 1 || s.values[0] == 0) throw bad("a range needs three numbers.");
  const double count = std::max(0.0, std::ceil((b.values[0] - a.values[0]) / s.values[0]));
  return gathered({whole_of(count)}, a.whole && s.whole,
                  [&](const std::vector<Index>& at) { return a.values[0] + static_cast<double>(at[0]) * s.values[0]; });
}

Numbers shape_of(const GraphNode& n, const std::vector<Index>& dims) {
  const Index rank = std::ssize(dims);
  const auto bound = [&](Index i) { return std::clamp<Index>(i < 0 ? i + rank : i, 0, rank); };
  const Index first = bound(integer(n, "start", 0)), last = std::max(first, bound(integer(n, "end", rank)));
  return {.dims = {last - first}, .values = {dims.begin() + first, dims.begin() + last}};
}

constexpr std::string_view kFoldable[] = {"Add",        "Cast",    "Ceil",      "Concat",    "Constant", "ConstantOfShape",
                                          "Div",        "Equal",   "Expand",    "Floor",     "Gather",   "Identity",
                                          "Max",        "Min",     "Mod",       "Mul",       "Neg",      "Range",
                                          "ReduceProd", "Reshape", "Shape",     "Slice",     "Sqrt",     "Squeeze",
                                          "Sub",        "Tile",    "Transpose", "Unsqueeze", "Where"};

}   // namespace

double value_at(const TensorData& t, std::size_t i) {
  switch (t.element) {
    case Element::f32:
      return read<float>(t, i);
    case Element::f64:
      return read<double>(t, i);
    case Element::f16:
      return read<half>(t, i);
    case Element::bf16:
      return read<bf16>(t, i);
    case Element::i32:
      return read<std::int32_t>(t, i);
    case Element::i64:
      return read<std::int64_t>(t, i);
    default:
      return read<std::uint8_t>(t, i);
  }
}

Numbers numbers_of(const TensorData& t) {
  Numbers out{.dims = t.dims, .values = std::vector<double>(static_cast<std::size_t>(counted(t.dims)))};
  out.whole = t.element == Element::i32 || t.element == Element::i64 || t.element == Element::boolean;
  for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] = value_at(t, i);
  return out;
}

std::vector<Index> integers(const Numbers& n) {
  std::vector<Index> out;
  if (n.dims.size() > 1) throw bad(text("extents ", list(n.dims), " where a list of integers must be."));
  for (const double v : n.values) out.push_back(whole_of(v));
  return out;
}

std::span<const std::string_view> foldable() { return kFoldable; }

std::optional<Numbers> fold(const GraphNode& n, std::span<const Constant> in) {
  if (!n.domain.empty()) return {};
  const std::string& op = n.op;
  if (op == "Constant") return constant(n);
  if (op == "Identity") return need(in, 0);
  if (op == "Shape") return shape_of(n, need(in, 0).dims);
  if (op == "ConstantOfShape") return filled(n, in);
  if (op == "Concat") return concat(n, in);
  if (op == "Slice") return slice(n, in);
  if (op == "Gather") return gather(n, in);
  if (op == "Squeeze" || op == "Unsqueeze") return with_dims(need(in, 0), squeezed(n, need(in, 0).dims, maybe(in, 1)));
  if (op == "Transpose") return transpose(n, in);
  if (op == "Tile") return tile(in);
  if (op == "Range") return range(in);
  if (op == "Reshape")
    return with_dims(need(in, 0), reshaped(need(in, 0).dims, integers(need(in, 1)), integer(n, "allowzero", 0) == 0));
  if (op == "Expand") {
    const Numbers& x = need(in, 0);
    return gathered(broadcast(x.dims, integers(need(in, 1))), x.whole,
                    [&](const std::vector<Index>& at) { return x.values[place(x.dims, at)]; });
  }
  if (op == "ReduceProd") {
    const Numbers& x = need(in, 0);
    if (x.dims.size() > 1) throw bad(text("multiplies extents ", list(x.dims), "; only lists are."));
    double product = 1;
    for (const double v : x.values) product *= v;
    return Numbers{.dims = integer(n, "keepdims", 1) ? std::vector<Index>(x.dims.size(), 1) : std::vector<Index>{},
                   .values = std::vector<double>(1, product),
                   .whole = x.whole};
  }
  return arithmetic(n, in);
}

}   // namespace ctseg::onnx
