// The members of Model, for the files that compile it, one per dimension: each holds all ops.
#pragma once
#include <ctseg/core/finite.hpp>
#include <ctseg/io/onnx.hpp>
#include <ctseg/ops/cpu.hpp>

#include "operators_layers.hpp"
#include "operators_values.hpp"

namespace ctseg::onnx {

template <AnySpec S> Parameter<S> parameter_of(const ProgramWeight& w, const std::string& path) {
  const TensorData& t = *w.tensor;
  const std::string where = text(path, ": weights \"", w.name, "\"");
  try {
    std::vector<Index> dims = t.dims;
    if (dims.empty()) dims = {1};
    Parameter<S> p({.shape = dims, .layout = w.layout, .groups = w.groups, .role = w.role});
    const auto values = p.edit();
    for_file_order(p, [&](Index memory, Index file) {
      const auto v = static_cast<typename S::Acc>(value_at(t, static_cast<std::size_t>(file)));
      if (!is_finite(v)) throw Error(Code::bad_input, where, text("value ", file, " is not finite."));
      values[static_cast<std::size_t>(memory)] = v;
    });
    return p;
  } catch (const Error& e) {
    throw Error(Code::bad_input, where, e.what());
  }
}

template <AnySpec S> Model<S>::Model(const std::filesystem::path& path, const ImportOptions& options) {
  std::vector<ProgramWeight> weights;
  program_ = std::make_shared<const Program>(load(path, options.max_bytes, S::kDim + 2, weights));
  for (ProgramWeight& w : weights) {
    if (w.layout != WeightLayout::plain && w.tensor->dims.size() != S::kDim + 2)
      throw Error(Code::bad_input, path.string(),
                  text("weights \"", w.name, "\" have extents ", list(w.tensor->dims), "; a convolution here has ", S::kDim + 2,
                       " axes."));
    parameters_.emplace_back(w.name, parameter_of<S>(w, path.string()));
    w.tensor = nullptr;
  }
}

template <AnySpec S> std::vector<Var<S>> Model<S>::forward_all(Var<S> x) const {
  return Recorder<S>(*program_, parameters_).run(x);
}
template <AnySpec S> const std::vector<std::string>& Model<S>::output_names() const { return program_->output_names; }
template <AnySpec S> const std::vector<Index>& Model<S>::input_extents() const { return program_->input_extents; }
template <AnySpec S> const std::map<std::string, std::string>& Model<S>::metadata() const { return program_->metadata; }

}   // namespace ctseg::onnx
