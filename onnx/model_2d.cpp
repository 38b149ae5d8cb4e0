#include "model.hpp"

namespace ctseg::onnx {
template class Model<Spec<float, 2, Cpu>>;
}   // namespace ctseg::onnx
