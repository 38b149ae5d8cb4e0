// A graph made ready to be recorded: sorted, without what no output needs, constants computed, weights told apart.
#pragma once
#include <ctseg/nn/parameter.hpp>

#include "numbers.hpp"

namespace ctseg::onnx {

/// One node; its inputs and outputs are numbers of values.
struct ProgramStep {
  GraphNode node{};
  std::vector<int> inputs{}, outputs{};   // -1: left out, or a weight
  std::vector<int> weights{};             // by input: number of the parameter, or -1
  std::vector<ProgramStep> behind{};      // a norm and an activation that are run with it, as one op
};

/// What becomes a parameter.
struct ProgramWeight {
  std::string name{};
  std::shared_ptr<const TensorData> tensor{};
  WeightLayout layout = WeightLayout::plain;
  Index groups = 1;
  Role role = Role::trained;
};

struct Program {
  std::string path{};
  Index opset = 0;
  std::vector<Index> input_extents{};
  std::vector<std::string> output_names{};
  std::map<std::string, std::string> metadata{};
  std::vector<ProgramStep> steps{};
  std::vector<Constant> values{};   // the constants; null for what the input decides
  int input = -1;
  std::vector<int> outputs{};
};

/// The total that constants of one graph may hold.
inline constexpr Index kMostConstants = Index{1} << 24;

/// Operators that are recorded rather than folded, in the order of Recorder's table (recorder.hpp).
bool is_operator(std::string_view op);

/// Checks and simplifies. `rank` is that of activations: N, C and space. Weights leave the program.
Program load(const std::filesystem::path& path, Index max_bytes, std::size_t rank, std::vector<ProgramWeight>& weights);

}   // namespace ctseg::onnx
