// Convolutions for the card: which passes one consists of, and what happens around them. The passes themselves: pass.hpp.
#include "ctseg/ops/cuda/conv.hpp"

#include <algorithm>

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

/// What a plan may ask for: as much as allowed, but for small problems some multiples of what they read and write.
Index workspace_of(const ConvShape& s, const DeviceTraits<Cuda>& device) {
  const ConvProblem& p = s.problem;
  const bool gathers = p.y_side == Side::output;
  const Index values = p.images * (voxels(p.window.input) * (gathers ? p.in_channels : p.out_channels) +
                                   voxels(p.window.output) * (gathers ? p.out_channels : p.in_channels));
  const Index weights = s.taps() * p.in_channels * p.out_channels;
  constexpr Index kFloat = sizeof(float), kLeast = 256 << 10;
  return std::min(device.workspace, (2 * values + 16 * weights) * kFloat + kLeast) / 256 * 256;
}

/// The values of a pass: those of the side that a window reads, and of the side that it writes.
struct Sides {
  Array input, output;
};

/// Runs one pass. A value that is a channel range of a wider one goes as it is where the library has a way, else through a
/// packed copy: in the workspace if it is large enough, else in memory of the plans.
class PassRunner {
 public:
  PassRunner(Stream stream, const ConvRun& run) : stream_(stream), run_(run), workspace_(workspace_of(run.shape, run.device)) {}

  void operator()(ConvPass::Kind kind, const Sides& sides, std::byte* filter, std::byte* workspace) {
    ConvPass pass = pass_of(kind, sides);
    if (pass.packed() || (aligned(sides.input) && aligned(sides.output) && run_.plans->can(pass)))
      return run_.plans->run(stream_, pass, {sides.input.data, filter, sides.output.data, workspace});
    Sides packed = sides;
    packed.input.pitch = packed.input.c, packed.output.pitch = packed.output.c;
    const Index of_input = sides.input.contiguous() ? 0 : bytes_of(pass.dtype, sides.input.elements());
    const Index of_output = sides.output.contiguous() ? 0 : bytes_of(pass.dtype, sides.output.elements());
    std::byte* room = run_.plans->staging(of_input + of_output);
    if (of_input > 0) packed.input.data = room;
    if (of_output > 0) packed.output.data = room + of_input;
    if (kind != ConvPass::data && of_input > 0) copy(sides.input, packed.input);
    if (kind != ConvPass::forward && of_output > 0) copy(sides.output, packed.output);
    pass = pass_of(kind, packed);
    run_.plans->run(stream_, pass, {packed.input.data, filter, packed.output.data, workspace});
    if (kind == ConvPass::data && of_input > 0) copy(packed.input, sides.input);
    if (kind == ConvPass::forward && of_output > 0) copy(packed.output, sides.output);
  }

 private:
  ConvPass pass_of(ConvPass::Kind kind, const Sides& s) const {
    return {.kind = kind,
            .window = run_.shape.problem.window,
            .images = run_.shape.problem.images,
            .input_channels = s.input.c,
            .output_channels = s.output.c,
            .input_pitch = s.input.pitch,
            .output_pitch = s.output.pitch,
            .dtype = run_.shape.dtype,
            .tf32 = run_.device.tf32,
            .deterministic = run_.device.deterministic,
            .workspace = workspace_};
  }
  static bool aligned(const Array& a) {
    return reinterpret_cast<std::uintptr_t>(a.data) % 16 == 0 && a.pitch * size_of(a.dtype) % 16 == 0;
  }
  void copy(const Array& from, const Array& to) const {
    const Index size = size_of(from.dtype);
    copy_rows(stream_, {to.data, to.pitch * size, from.data, from.pitch * size, from.c * size, from.rows()});
  }

  Stream stream_;
  const ConvRun& run_;
  Index workspace_;
};

}   // namespace

ConvEngine choose_engine(const ConvShape&) { return ConvEngine::cudnn; }
std::string text(ConvEngine engine) {
  constexpr const char* names[] = {"cudnn", "first layer", "transposed", "pointwise"};
  return names[static_cast<std::size_t>(engine)];
}

Index conv_forward_scratch(const ConvShape& s, const DeviceTraits<Cuda>& device) { return workspace_of(s, device); }
Index conv_backward_scratch(const ConvShape& s, const DeviceTraits<Cuda>& device) {
  return std::max(s.filter_bytes() + workspace_of(s, device), channel_sum_bytes(rows_of_y(s.problem), s.problem.out_channels));
}

void conv_prepare(Stream stream, const ConvShape& shape, const float* w, std::byte* prepared) {
  pack_filter(stream, order_of(shape), w, prepared);
}

void conv_forward(Stream stream, const ConvRun& run, const ConvForward& f) {
  PassRunner pass(stream, run);
  auto* filter = const_cast<std::byte*>(run.prepared);
  if (run.shape.problem.y_side == Side::output)
    pass(ConvPass::forward, {f.x, f.y}, filter, run.scratch);
  else
    pass(ConvPass::data, {f.y, f.x}, filter, run.scratch);
  if (f.bias) add_bias(stream, f.y, f.bias);
}

void conv_backward(Stream stream, const ConvRun& run, const ConvBackward& b) {
  PassRunner pass(stream, run);
  const bool gathers = run.shape.problem.y_side == Side::output;
  if (b.dx) {
    auto* filter = const_cast<std::byte*>(run.prepared);
    if (gathers)
      pass(ConvPass::data, {b.dx, b.dy}, filter, run.scratch);
    else
      pass(ConvPass::forward, {b.dy, b.dx}, filter, run.scratch);
  }
  if (b.dw) {   // in the stored type and cuDNN's order, then added to the float master gradient
    std::byte* workspace = run.scratch + run.shape.filter_bytes();
    pass(ConvPass::filter, gathers ? Sides{b.x, b.dy} : Sides{b.dy, b.x}, run.scratch, workspace);
    add_filter_gradient(stream, order_of(run.shape), run.scratch, b.dw);
  }
  if (b.db) add_channel_sums(stream, b.dy, b.db, run.scratch);
}

ConvPlans::~ConvPlans() {
  for (void* memory : staging_) release(memory);
}
std::byte* ConvPlans::staging(Index bytes) {
  if (bytes > staging_bytes_) {
    const Index more = std::max(bytes, 2 * staging_bytes_);
    staging_.push_back(allocate(more));
    staging_bytes_ = more;
  }
  return static_cast<std::byte*>(staging_.back());
}

}   // namespace ctseg::cuda
