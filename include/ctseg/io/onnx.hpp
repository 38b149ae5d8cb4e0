// Networks to and from ONNX files. Declarations only: the code is compiled once, in ctseg::onnx, for float networks.
#pragma once
#include <filesystem>
#include <map>
#include <type_traits>
#include <utility>

#include "../nn/tape.hpp"

namespace ctseg::onnx {

/// What the compiled part holds.
template <class S> inline constexpr bool kCompiled = false;
template <> inline constexpr bool kCompiled<Spec<float, 2, Cpu>> = true;
template <> inline constexpr bool kCompiled<Spec<float, 3, Cpu>> = true;

template <int Dim> struct ExportOptions {
  Shape<Dim> shape{};          // an input that the network accepts; {.n = 1, .c = 1, .space = {96, 96, 96}}
  bool dynamic_batch = true;   // the file takes any number of images; false: shape.n
  bool dynamic_size = false;   // the file takes any size that the network takes; false: shape.space
  std::string input = "input", output = "output";   // further outputs: output_1, output_2 ...
  std::map<std::string, std::string> metadata{};    // whatever the caller wants to find in the file again
};

/// A network as the compiled part sees it: a way to record it, and its parameters with their names.
template <AnySpec S> struct ExportedNet {
  const void* net;
  std::vector<Var<S>> (*forward)(const void* net, Var<S> x);
  std::vector<std::pair<std::string, const Parameter<S>*>> parameters;
};
template <AnySpec S>
void export_net(const ExportedNet<S>& net, const ExportOptions<S::kDim>& options, const std::filesystem::path& path);

/// Writes net.forward, recorded for inference, as an ONNX file of opset 17. Weights keep the names that `visit` gives them.
/// Numerics  the operators of the file are those of the ops; ONNX Runtime differs by rounding only.
/// Errors    unsupported for an op without ONNX form, a dynamic size whose graph depends on the size, and more than 2 GB;
///           each names the op. Errors of the network for options.shape. io; a file that was there before then stays.
/// PyTorch   torch.onnx.export(net, x, path, dynamic_axes=...)
template <class Net>
void export_model(const Net& net, const ExportOptions<Net::Spec::kDim>& options, const std::filesystem::path& path) {
  using S = typename Net::Spec;
  static_assert(kCompiled<S>, "ctseg: ONNX export is for networks of Spec<float, 2, Cpu> and Spec<float, 3, Cpu>");
  ExportedNet<S> view{.net = &net,
                      .forward = [](const void* any, Var<S> x) -> std::vector<Var<S>> {
                        auto y = static_cast<const Net*>(any)->forward(x);
                        if constexpr (std::is_same_v<decltype(y), Var<S>>)
                          return {y};
                        else
                          return {y.begin(), y.end()};
                      },
                      .parameters = {}};
  visit(net, [&](const std::string& name, const Parameter<S>& p) { view.parameters.emplace_back(name, &p); });
  export_net<S>(view, options, path);
}

struct ImportOptions {
  Index max_bytes = Index{1} << 31;   // of the file; protobuf itself reads no more than 2 GB
};

/// The metadata_props of a file, without making a network of its graph.
/// Errors    io; bad_input for a file that holds no ONNX model.
std::map<std::string, std::string> read_metadata(const std::filesystem::path& path, const ImportOptions& options = {});

/// The operators that Model knows, sorted; docs/onnx.md says under which conditions.
std::vector<std::string_view> operators();

struct Program;   // the graph of a file, checked and simplified

/// An ONNX graph as a network for inference: it is recorded anew for every shape, so that Predictor, Plan and sliding windows
/// take it like any other network.
/// Shapes    one input of N, C and S::kDim axes of space; where the file fixes an extent, no other is taken.
/// Numerics  those of the ops; constants and shape arithmetic in double and 64-bit integers.
/// Errors    of the constructor: io; bad_input for a damaged file or graph; unsupported, naming operator and node, for what
///           ctseg does not run. Of forward: shape_mismatch for another shape, bad_argument for a tape that trains.
/// Source    github.com/onnx/onnx, docs/Operators.md, opsets 13 to 23.
template <AnySpec S> class Model {
 public:
  static_assert(kCompiled<S>, "ctseg: ONNX import is for Spec<float, 2, Cpu> and Spec<float, 3, Cpu>");
  using Spec = S;
  explicit Model(const std::filesystem::path& path, const ImportOptions& options = {});

  /// The first output of the graph, as logits or whatever the graph makes.
  Var<S> forward(Var<S> x) const { return forward_all(x).front(); }
  /// All outputs, in the order of the file.
  std::vector<Var<S>> forward_all(Var<S> x) const;

  const std::vector<std::string>& output_names() const;
  /// Extents N, C, ... as the file fixes them; 0 where it takes any.
  const std::vector<Index>& input_extents() const;
  /// The file's metadata_props.
  const std::map<std::string, std::string>& metadata() const;

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (auto& [name, parameter] : self.parameters_) f(prefix + name, parameter);
  }

 private:
  std::shared_ptr<const Program> program_;
  std::vector<std::pair<std::string, Parameter<S>>> parameters_;
};

extern template class Model<Spec<float, 2, Cpu>>;
extern template class Model<Spec<float, 3, Cpu>>;

}   // namespace ctseg::onnx
