#include "graph.hpp"

#include <algorithm>

namespace ctseg::cudnn {

namespace {
namespace at = attribute;

cudnnDataType_t type_of(Dtype dtype) {
  if (dtype == Dtype::f32) return CUDNN_DATA_FLOAT;
  if (dtype == Dtype::bf16) return CUDNN_DATA_BFLOAT16;
  if (dtype == Dtype::f16) return CUDNN_DATA_HALF;
  throw Error(Code::unsupported, "cudnn", text("tensors of ", dtype, "; must be f32, bf16 or f16."));
}

/// The first spatial axis that the convolution needs: two of them have faster engines than three.
std::size_t first_axis(const ConvWindow& w) {
  return w.input[0] == 1 && w.output[0] == 1 && w.kernel[0] == 1 && w.padding[0] == 0 ? 1 : 0;
}
std::vector<std::int64_t> axes(const std::array<Index, 3>& values, std::size_t first) {
  return {values.begin() + static_cast<std::ptrdiff_t>(first), values.end()};
}

/// Extents N, C, (D,) H, W whose channels lie next to each other.
Tensor channels_last(std::int64_t id, Dtype dtype, std::vector<std::int64_t> extents) {
  std::vector<std::int64_t> strides(extents.size());
  std::int64_t stride = extents[1];
  for (std::size_t d = extents.size(); d-- > 2;) strides[d] = stride, stride *= extents[d];
  strides[0] = stride, strides[1] = 1;
  return {id, dtype, std::move(extents), std::move(strides)};
}

/// What cuDNN adds behind the last voxel, so that it finds as many results as the window has.
Index padding_behind(const ConvWindow& w, std::size_t d) {
  const Index reach = w.dilation[d] * (w.kernel[d] - 1) + 1;
  const Index both = (w.output[d] - 1) * w.stride[d] + reach - w.input[d];
  const Index fits = w.input[d] + 2 * w.padding[d] - reach;
  return fits >= 0 && fits / w.stride[d] + 1 == w.output[d] ? w.padding[d] : both - w.padding[d];
}
/// The three operations differ in nothing but names.
struct Names {
  cudnnBackendDescriptorType_t type;
  const Attribute &convolution, &input, &filter, &output, &alpha, &beta;
};
const Names& names_of(cuda::ConvPass::Kind kind) {
  static constexpr Names names[] = {
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, at::OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
       at::OPERATION_CONVOLUTION_FORWARD_X, at::OPERATION_CONVOLUTION_FORWARD_W, at::OPERATION_CONVOLUTION_FORWARD_Y,
       at::OPERATION_CONVOLUTION_FORWARD_ALPHA, at::OPERATION_CONVOLUTION_FORWARD_BETA},
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, at::OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
       at::OPERATION_CONVOLUTION_BWD_DATA_DX, at::OPERATION_CONVOLUTION_BWD_DATA_W, at::OPERATION_CONVOLUTION_BWD_DATA_DY,
       at::OPERATION_CONVOLUTION_BWD_DATA_ALPHA, at::OPERATION_CONVOLUTION_BWD_DATA_BETA},
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, at::OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
       at::OPERATION_CONVOLUTION_BWD_FILTER_X, at::OPERATION_CONVOLUTION_BWD_FILTER_DW, at::OPERATION_CONVOLUTION_BWD_FILTER_DY,
       at::OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, at::OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
  return names[kind];
}
}   // namespace

Target::Target(const Library& library, std::string_view json)
    : library_(&library), properties_(Descriptor(library, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)) {
  properties_->set(at::DEVICEPROP_JSON_REPRESENTATION, json.data(), json.size()).finalize("the description of a card");
}
void Target::tell(Descriptor& d, const Attribute* handle, const Attribute* properties) const {
  if (handle_ && handle) d.set(*handle, handle_);
  if (properties_ && properties) d.set(*properties, *properties_);
}

Tensor tensor_of(const cuda::ConvPass& pass, Id id) {
  const ConvWindow& w = pass.window;
  const std::size_t first = first_axis(w);
  if (id == kFilter) {
    std::vector<std::int64_t> extents = axes(w.kernel, first);
    extents.insert(extents.begin(), {pass.output_channels, pass.input_channels});
    return channels_last(id, pass.dtype, std::move(extents));
  }
  std::vector<std::int64_t> extents = axes(id == kInput ? w.input : w.output, first);
  extents.insert(extents.begin(), {pass.images, id == kInput ? pass.input_channels : pass.output_channels});
  return channels_last(id, pass.dtype, std::move(extents));
}
Tensor per_channel(const Tensor& like, std::int64_t id) {
  std::vector<std::int64_t> extents(like.extents.size(), 1);
  extents[1] = like.extents[1];
  return channels_last(id, Dtype::f32, std::move(extents));
}

Descriptor Graph::tensor(const Tensor& t) const {
  Descriptor d(target_->library(), CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(at::TENSOR_UNIQUE_ID, t.id)
      .set(at::TENSOR_DATA_TYPE, t.dtype == Dtype::u8 ? CUDNN_DATA_BOOLEAN : type_of(t.dtype))
      .set(at::TENSOR_DIMENSIONS, t.extents)
      .set(at::TENSOR_STRIDES, t.strides)
      .set(at::TENSOR_BYTE_ALIGNMENT, std::int64_t{16})
      .set(at::TENSOR_IS_VIRTUAL, t.is_virtual);
  d.finalize("a tensor");
  return d;
}

void Graph::convolution(const cuda::ConvPass& pass, const Tensor& input, const Tensor& filter, const Tensor& output) {
  const ConvWindow& w = pass.window;
  const std::size_t first = first_axis(w);
  std::array<Index, 3> behind{};
  for (std::size_t d = 0; d < 3; ++d) behind[d] = padding_behind(w, d);
  Descriptor c(target_->library(), CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  c.set(at::CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(at::CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(at::CONVOLUTION_SPATIAL_DIMS, static_cast<std::int64_t>(3 - first))
      .set(at::CONVOLUTION_DILATIONS, axes(w.dilation, first))
      .set(at::CONVOLUTION_FILTER_STRIDES, axes(w.stride, first))
      .set(at::CONVOLUTION_PRE_PADDINGS, axes(w.padding, first))
      .set(at::CONVOLUTION_POST_PADDINGS, axes(behind, first))
      .finalize("a convolution");
  const Names& names = names_of(pass.kind);
  Descriptor operation(target_->library(), names.type);
  operation.set(names.convolution, c)
      .set(names.input, tensor(input))
      .set(names.filter, tensor(filter))
      .set(names.output, tensor(output))
      .set(names.alpha, 1.f)
      .set(names.beta, 0.f)
      .finalize("the operation of a convolution");
  operations_.push_back(std::move(operation));
}

void Graph::pointwise(const Pointwise& p) {
  Descriptor math(target_->library(), CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  math.set(at::POINTWISE_MODE, p.mode).set(at::POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  if (p.slope) math.set(at::POINTWISE_RELU_LOWER_CLIP_SLOPE, *p.slope);
  math.finalize("pointwise arithmetic");
  Descriptor operation(target_->library(), CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(at::OPERATION_POINTWISE_PW_DESCRIPTOR, math).set(at::OPERATION_POINTWISE_XDESC, tensor(*p.x));
  if (p.b) operation.set(at::OPERATION_POINTWISE_BDESC, tensor(*p.b));
  if (p.t) operation.set(at::OPERATION_POINTWISE_TDESC, tensor(*p.t));
  operation.set(at::OPERATION_POINTWISE_YDESC, tensor(*p.y)).finalize("a pointwise operation");
  operations_.push_back(std::move(operation));
}

void Graph::add_up(const Tensor& x, const Tensor& y) {
  Descriptor math(target_->library(), CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  math.set(at::REDUCTION_OPERATOR, CUDNN_REDUCE_TENSOR_ADD).set(at::REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT).finalize("a sum");
  Descriptor operation(target_->library(), CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(at::OPERATION_REDUCTION_DESC, math)
      .set(at::OPERATION_REDUCTION_XDESC, tensor(x))
      .set(at::OPERATION_REDUCTION_YDESC, tensor(y))
      .finalize("the operation of a sum");
  operations_.push_back(std::move(operation));
}

Descriptor Graph::finish() const {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& d : operations_) raw.push_back(d.raw());
  Descriptor graph(target_->library(), CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  target_->tell(graph, &at::OPERATIONGRAPH_HANDLE, nullptr);
  graph.set(at::OPERATIONGRAPH_OPS, raw).finalize("a graph");
  return graph;
}

Descriptor convolution_graph(const Target& target, const cuda::ConvPass& pass) {
  Graph graph(target);
  graph.convolution(pass, tensor_of(pass, kInput), tensor_of(pass, kFilter), tensor_of(pass, kOutput));
  return graph.finish();
}

Descriptor biased_graph(const Target& target, const cuda::ConvPass& pass, std::optional<double> slope) {
  Graph graph(target);
  const Tensor y = tensor_of(pass, kOutput), bias = per_channel(y, kBias);
  Tensor raw = y, sum = y;
  raw.id = kInner, raw.dtype = Dtype::f32, raw.is_virtual = true;
  if (slope) sum.id = kInner + 1, sum.dtype = Dtype::f32, sum.is_virtual = true;
  graph.convolution(pass, tensor_of(pass, kInput), tensor_of(pass, kFilter), raw);
  graph.pointwise({.mode = CUDNN_POINTWISE_ADD, .x = &raw, .b = &bias, .y = &sum});
  if (slope) graph.pointwise({.mode = CUDNN_POINTWISE_RELU_FWD, .x = &sum, .y = &y, .slope = slope});
  return graph.finish();
}

Descriptor block_graph(const Target& target, const cuda::ConvPass& pass, std::optional<double> slope) {
  Graph graph(target);
  const Tensor x = tensor_of(pass, kInput), y = tensor_of(pass, kOutput);
  std::int64_t next = kInner;
  const auto inner = [&](const Tensor& like, Dtype dtype) {
    Tensor t = like;
    t.id = next++, t.dtype = dtype, t.is_virtual = true;
    return t;
  };
  const Tensor scale = per_channel(x, kScale), shift = per_channel(x, kShift), slopes = per_channel(x, kSlope);
  const Tensor scaled = inner(x, Dtype::f32), shifted = inner(x, Dtype::f32);
  const Tensor activated = inner(x, pass.dtype);   // of the stored type, else no engine takes it
  graph.pointwise({.mode = CUDNN_POINTWISE_MUL, .x = &x, .b = &scale, .y = &scaled});
  graph.pointwise({.mode = CUDNN_POINTWISE_ADD, .x = &scaled, .b = &shift, .y = &shifted});
  if (slope) {
    graph.pointwise({.mode = CUDNN_POINTWISE_RELU_FWD, .x = &shifted, .y = &activated, .slope = slope});
  } else {   // cuDNN has no PReLU
    const Tensor falling = inner(x, Dtype::f32), positive = inner(x, Dtype::u8);
    const Tensor zero = per_channel(x, kZero);
    graph.pointwise({.mode = CUDNN_POINTWISE_MUL, .x = &shifted, .b = &slopes, .y = &falling});
    graph.pointwise({.mode = CUDNN_POINTWISE_CMP_GT, .x = &shifted, .b = &zero, .y = &positive});
    graph.pointwise({.mode = CUDNN_POINTWISE_BINARY_SELECT, .x = &shifted, .b = &falling, .t = &positive, .y = &activated});
  }
  graph.convolution(pass, activated, tensor_of(pass, kFilter), y);
  const Tensor squares = inner(y, Dtype::f32);
  graph.add_up(y, per_channel(y, kSum));
  graph.pointwise({.mode = CUDNN_POINTWISE_MUL, .x = &y, .b = &y, .y = &squares});
  graph.add_up(squares, per_channel(y, kSquares));
  return graph.finish();
}

}   // namespace ctseg::cudnn
