// Convolutions for the card: which passes one consists of, and what happens around them. The passes themselves: pass.hpp.
#include "ctseg/ops/cuda/conv.hpp"

#include <algorithm>

#include "ctseg/ops/cuda/conv_own.hpp"
#include "layout.hpp"
#include "pass.hpp"

namespace ctseg::cuda {

namespace {

FilterOrder order_of(const ConvShape& s) {
  const ConvProblem& p = s.problem;
  return {s.taps(), p.in_channels, p.out_channels, p.y_side == Side::output, s.dtype};
}
Index voxels(const std::array<Index, 3>& e) { return e[0] * e[1] * e[2]; }
Index rows_of_y(const ConvProblem& p) {
  return p.images * voxels(p.y_side == Side::output ? p.window.output : p.window.input);
}

/// What a plan may ask for: as much as allowed, but for small problems some multiples of what they read and write. Beside that
/// the copies that cuDNN makes of values whose voxels are no multiple of 16 bytes: without them it would take an engine that
/// knows no tensor cores.
Index workspace_of(const ConvShape& s, const DeviceTraits<Cuda>& device) {
  const ConvProblem& p = s.problem;
  const bool gathers = p.y_side == Side::output;
  const Index read = p.images * voxels(gathers ? p.window.input : p.window.output);
  const Index pack = 16 / size_of(s.dtype);
  const auto padded = [&](Index rows, Index c) { return c % pack == 0 ? 0 : rows * ((c + pack - 1) / pack * 16); };
  const Index values = read * p.in_channels + rows_of_y(p) * p.out_channels;
  const Index weights = s.taps() * p.in_channels * p.out_channels;
  constexpr Index kFloat = sizeof(float), kLeast = 256 << 10;
  const Index most = std::min(device.workspace, (2 * values + 16 * weights) * kFloat + kLeast);
  return (most + padded(read, p.in_channels) + padded(rows_of_y(p), p.out_channels)) / 256 * 256;
}

/// Workspaces begin where memory of their own would: arenas keep 64 bytes only, and no engine was ever asked to do with less.
constexpr Index kBegin = 256;
std::byte* begin_of(void* workspace) {
  const auto at = reinterpret_cast<std::uintptr_t>(workspace);
  return reinterpret_cast<std::byte*>((at + kBegin - 1) / kBegin * kBegin);
}
Index room_of(const ConvShape& s, const DeviceTraits<Cuda>& device) { return workspace_of(s, device) + kBegin; }

/// The library takes packed values only. A channel range of a wider one goes through a copy in memory of the plans.
Index packed_bytes(const Array& a) { return !a || a.contiguous() ? 0 : bytes_of(a.dtype, a.elements()); }
Array packed(const Array& a, std::byte*& room) {
  if (packed_bytes(a) == 0) return a;
  Array copy = a;
  copy.pitch = a.c, copy.data = room;
  room += packed_bytes(a);
  return copy;
}
void copy(Stream stream, const Array& from, const Array& to) {
  if (from.data == to.data) return;   // was packed already
  const Index size = size_of(from.dtype);
  copy_rows(stream, {to.data, to.pitch * size, from.data, from.pitch * size, from.c * size, from.rows()});
}

void run_pass(Stream stream, const ConvRun& run, ConvPass::Kind kind, const PassBuffers& buffers) {
  const ConvProblem& p = run.shape.problem;
  const bool gathers = p.y_side == Side::output;
  const ConvPass pass{.kind = kind,
                      .window = p.window,
                      .images = p.images,
                      .input_channels = gathers ? p.in_channels : p.out_channels,
                      .output_channels = gathers ? p.out_channels : p.in_channels,
                      .dtype = run.shape.dtype,
                      .tf32 = run.device.tf32,
                      .deterministic = run.device.deterministic,
                      .workspace = workspace_of(run.shape, run.device)};
  run.plans->run(stream, pass, {buffers.input, buffers.filter, buffers.output, begin_of(buffers.workspace)});
}

}   // namespace

ConvEngine choose_engine(const ConvShape& s, const DeviceTraits<Cuda>& device) {
  const OwnEngine own = own_engine(s.problem, device.shared_bytes);
  if (own == OwnEngine::first_layer) return ConvEngine::first_layer;
  if (own == OwnEngine::gather) return s.problem.y_side == Side::input ? ConvEngine::transposed : ConvEngine::pointwise;
  return ConvEngine::cudnn;
}
std::string text(ConvEngine engine) {
  constexpr const char* names[] = {"cudnn", "first layer", "transposed", "pointwise"};
  return names[static_cast<std::size_t>(engine)];
}

Index conv_forward_scratch(const ConvShape& s, const DeviceTraits<Cuda>& device) {
  return choose_engine(s, device) == ConvEngine::cudnn ? room_of(s, device) : 0;
}
Index conv_backward_scratch(const ConvShape& s, const DeviceTraits<Cuda>& device) {
  const ConvEngine engine = choose_engine(s, device);
  if (engine == ConvEngine::first_layer) return std::max(first_layer_gradient_scratch(s.problem), room_of(s, device));
  if (engine != ConvEngine::cudnn) return gather_gradient_scratch(s.problem);
  return std::max(s.filter_bytes() + room_of(s, device), channel_sum_bytes(rows_of_y(s.problem), s.problem.out_channels));
}

Index conv_prepared_bytes(const ConvShape& s, ConvEngine engine) {
  return engine == ConvEngine::cudnn || engine == ConvEngine::first_layer ? s.filter_bytes() : 0;
}
void conv_prepare(Stream stream, const ConvShape& shape, const float* w, std::byte* prepared) {
  pack_filter(stream, order_of(shape), w, prepared);
}

void conv_forward(Stream stream, const ConvRun& run, const ConvForward& f) {
  const OwnConv own{run.shape.problem, f.x, f.y, f.w, f.bias, run.device.tf32};
  if (run.engine == ConvEngine::first_layer) return first_layer_forward(stream, own);
  if (run.engine != ConvEngine::cudnn) return gather_forward(stream, own);
  std::byte* room = run.plans->staging(packed_bytes(f.x) + packed_bytes(f.y));
  const Array x = packed(f.x, room), y = packed(f.y, room);
  copy(stream, f.x, x);
  auto* filter = const_cast<std::byte*>(run.prepared);
  if (run.shape.problem.y_side == Side::output)
    run_pass(stream, run, ConvPass::forward, {x.data, filter, y.data, run.scratch});
  else
    run_pass(stream, run, ConvPass::data, {y.data, filter, x.data, run.scratch});
  if (f.bias) add_bias(stream, y, f.bias);
  copy(stream, y, f.y);
}

namespace {

/// What own kernels do of it; the rest is the library's.
ConvBackward own_backward(Stream stream, const ConvRun& run, const ConvBackward& b) {
  if (run.engine == ConvEngine::cudnn) return b;
  OwnConv own{run.shape.problem, b.x, b.dy, b.w, nullptr, run.device.tf32};
  const OwnConvGradient to{b.dw, b.db, run.scratch};
  ConvBackward rest = b;
  rest.dw = rest.db = nullptr;
  if (run.engine == ConvEngine::first_layer) return first_layer_weight_gradient(stream, own, to), rest;
  gather_weight_gradient(stream, own, to);
  if (b.dx) own.x = b.dx, gather_data_gradient(stream, own);
  rest.dx = {};
  return rest;
}

}   // namespace

void conv_backward(Stream stream, const ConvRun& run, const ConvBackward& all) {
  const ConvBackward b = own_backward(stream, run, all);
  const bool gathers = run.shape.problem.y_side == Side::output;
  const Array wanted_x = b.dw ? b.x : Array{};
  std::byte* room = run.plans->staging(packed_bytes(wanted_x) + packed_bytes(b.dy) + packed_bytes(b.dx));
  const Array x = packed(wanted_x, room), dy = packed(b.dy, room), dx = packed(b.dx, room);
  if (b.dw || b.dx) copy(stream, b.dy, dy);
  if (b.dx) {
    auto* filter = const_cast<std::byte*>(run.prepared);
    if (gathers)
      run_pass(stream, run, ConvPass::data, {dx.data, filter, dy.data, run.scratch});
    else
      run_pass(stream, run, ConvPass::forward, {dy.data, filter, dx.data, run.scratch});
    copy(stream, dx, b.dx);
  }
  if (b.dw) {   // in the stored type and cuDNN's order, then added to the float master gradient
    copy(stream, b.x, x);
    const Array &input = gathers ? x : dy, &output = gathers ? dy : x;
    run_pass(stream, run, ConvPass::filter, {input.data, run.scratch, output.data, run.scratch + run.shape.filter_bytes()});
    add_filter_gradient(stream, order_of(run.shape), run.scratch, b.dw);
  }
  if (b.db) add_channel_sums(stream, b.dy, b.db, run.scratch);
}

Index conv_workspace(const ConvShape& s, const DeviceTraits<Cuda>& device) { return workspace_of(s, device); }

ConvPlans::~ConvPlans() {
  for (void* memory : staging_) release(memory);
}
std::byte* ConvPlans::staging(Index bytes) {
  if (bytes > staging_bytes_) {
    const Index more = std::max(bytes, 2 * staging_bytes_);
    staging_.push_back(allocate(more));
    staging_bytes_ = more;
  }
  return staging_.empty() ? nullptr : static_cast<std::byte*>(staging_.back());
}

}   // namespace ctseg::cuda
