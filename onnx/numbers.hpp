// Constants of a graph, and the arithmetic that graphs do with shapes: small arrays in double, which holds every integer of a
// shape exactly.
#pragma once
#include <memory>
#include <optional>
#include <span>

#include "graph.hpp"

namespace ctseg::onnx {

struct Numbers {
  std::vector<Index> dims{};   // empty: one number
  std::vector<double> values{};
  bool whole = true;   // integers: division rounds toward zero

  Index count() const { return std::ssize(values); }
};
using Constant = std::shared_ptr<const Numbers>;

/// More than shapes and vectors of channels ever need; larger tensors are weights.
inline constexpr Index kMostNumbers = Index{1} << 20;

/// The product of extents, or an error if it is more than kMostNumbers.
Index counted(const std::vector<Index>& dims);
/// The values of a tensor. bad_input for one that is too large.
Numbers numbers_of(const TensorData& t);
/// Value i of a tensor of any type that is read.
double value_at(const TensorData& t, std::size_t i);

/// A list of integers, as attributes and shapes are.
std::vector<Index> integers(const Numbers& n);

// Attributes with their defaults; a wrong kind is bad_input.
Index integer(const GraphNode& n, const std::string& name, Index otherwise);
float number(const GraphNode& n, const std::string& name, float otherwise);
std::string word(const GraphNode& n, const std::string& name, const std::string& otherwise);
std::optional<std::vector<Index>> integers(const GraphNode& n, const std::string& name);

/// Extents with -1 and 0 filled in, as Reshape does.
std::vector<Index> reshaped(const std::vector<Index>& from, std::vector<Index> to, bool zero_copies);
/// Extents without, or with more, axes of 1, as Squeeze and Unsqueeze leave them; `axes` as input or as attribute.
std::vector<Index> squeezed(const GraphNode& n, const std::vector<Index>& dims, const Numbers* axes);
/// A negative axis counted from the end; bad_input outside of rank.
std::size_t axis_of(Index axis, std::size_t rank);

/// Where a slice along one axis of `extent` starts, steps and how many it takes.
struct Cut {
  Index first = 0, step = 1, count = 0;
};
Cut cut(Index extent, Index start, Index end, Index step);

/// The result of an operator on constants; nothing if it is not one of those that shapes are computed with.
/// Inputs that are left out are null.
std::optional<Numbers> fold(const GraphNode& n, std::span<const Constant> inputs);
/// The operators that fold knows.
std::span<const std::string_view> foldable();

}   // namespace ctseg::onnx
