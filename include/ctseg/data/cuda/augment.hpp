// Augmentation on the card. Recipes are drawn on the host by the code that draws them for the CPU (data/augment); here the drawn
// steps become launches, all of them: moves join into one gather pass, intensity steps ride on it.
#pragma once
#include "../../ops/cuda/context.hpp"
#include "../augment/recipe.hpp"
#include "launchers.hpp"

namespace ctseg::cuda {

/// Memory that grows.
class Room {
 public:
  template <class V> V* at_least(Context<Cuda>& ctx, Index count) {
    if (memory_.bytes() < count * Index{sizeof(V)}) {
      ctx.synchronize();   // work may still read what was there
      memory_ = ctx.allocate(count * Index{sizeof(V)});
    }
    return data<V>();
  }
  template <class V> V* data() { return reinterpret_cast<V*>(memory_.data()); }

 private:
  Memory<Cuda> memory_;
};

/// ctseg::Patch on the card; a patch that is used again allocates nothing.
struct DevicePatch {
  Extent size{};
  Index channels = 1;
  bool labelled = false;
  Room image{}, label{}, spare_image{}, spare_label{}, offsets{}, scratch{}, numbers{}, table{};
  bool ready = false;   // scratch is zero

  Index voxels() const { return voxels_of(size); }
  Index values() const { return voxels() * channels; }
};

/// The case on the card that a patch is cut from.
struct DevicePatchSource {
  const float* image = nullptr;
  const std::uint8_t* label = nullptr;
  Extent size{};
  Extent corner{};
  Index channels = 1;
  float outside = 0;
};

/// Does to a patch on the card what augment::Pipeline does to one of the host.
class Augmenter {
 public:
  Augmenter(Context<Cuda>& ctx, DevicePatch& patch, const DevicePatchSource& source)
      : ctx_(&ctx), patch_(&patch), source_(source) {
    patch.channels = source.channels;
    patch.labelled = source.label != nullptr;
  }

  void operator()(const augment::AffineStep& step) {
    begin_move();
    (elastic_ ? warp_.after : warp_.before) = (elastic_ ? warp_.after : warp_.before) * step.matrix;
    if (step.resamples) warp_.border = step.border, warp_.labels = step.labels;
    waiting_ = true;
  }
  void operator()(const augment::ElasticStep& step) {
    if (elastic_) flush();
    (*this)(step.affine);
    make_offsets(step);
    elastic_ = true;
  }
  void operator()(const augment::LinearStep& step) {
    ValueOp op = op_of(ValueOp::Kind::linear, step.channel);
    set_linear(op, step.scale, step.shift);
    push(op);
  }
  void operator()(const augment::NoiseStep& step) {
    ValueOp op = op_of(ValueOp::Kind::normal, -1);
    op.at[0] = static_cast<float>(step.mean), op.at[1] = static_cast<float>(step.std);
    std::copy(step.key.begin(), step.key.end(), op.key);
    push(op);
  }
  void operator()(const augment::ContrastStep& step) {
    flush();
    ValueOp op = op_of(ValueOp::Kind::linear, step.channel);
    op.numbers = decide({.what = StatisticsJob::What::contrast, .flag = step.preserve_range, .parameter = step.factor}, op);
    push(op);
  }
  void operator()(const augment::GammaStep& step) {
    flush();
    ValueOp op = op_of(ValueOp::Kind::power, step.channel);
    float* const numbers = decide({.what = StatisticsJob::What::gamma, .flag = step.invert, .parameter = step.gamma}, op);
    op.numbers = numbers;
    push(op);
    op.kind = ValueOp::Kind::linear;
    if (step.retain_statistics) {
      flush();
      op.numbers = decide({.what = StatisticsJob::What::retain, .flag = step.invert}, op);
      push(op);
    } else if (step.invert) {
      op.numbers = numbers + ValueOp::kNumbers;
      push(op);
    }
  }
  void operator()(const augment::SmoothStep& step) {
    flush();
    std::array<augment::AxisTaps, 3> taps;
    for (std::size_t d = 0; d < 3; ++d) {
      const std::vector<float> kernel =
          step.mirror ? augment::sampled_kernel(step.sigma_voxels[d]) : augment::erf_kernel(step.sigma_voxels[d], 4);
      taps[d] = d == 0 && augment::flat(patch_->size) ? augment::identity_taps(1)
                                                      : augment::kernel_taps(kernel, patch_->size[d], step.mirror);
    }
    filter_image(taps, step.channel);
  }
  void operator()(const augment::LowResolutionStep& step) {
    flush();
    std::array<augment::AxisTaps, 3> taps;
    for (std::size_t d = 0; d < 3; ++d) {
      const double m = std::nearbyint(static_cast<double>(patch_->size[d]) * step.scale[d]);
      taps[d] = augment::low_resolution_taps(patch_->size[d], std::max<Index>(static_cast<Index>(m), 1));
    }
    filter_image(taps, step.channel);
  }
  void operator()(const augment::ZoomStep& step) {
    flush();
    std::array<augment::AxisTaps, 3> taps;
    std::vector<int> table;
    for (std::size_t d = 0; d < 3; ++d) {
      const bool stays = d == 0 && augment::flat(patch_->size);
      taps[d] = stays ? augment::identity_taps(1) : augment::area_zoom_taps(patch_->size[d], step.zoom);
      for (const Index i : augment::nearest_zoom(patch_->size[d], stays ? 1 : step.zoom)) table.push_back(static_cast<int>(i));
    }
    filter_image(taps, -1);
    if (!patch_->labelled) return;
    PickJob job{.from = patch_->label.data<std::uint8_t>(),
                .to = patch_->spare_label.at_least<std::uint8_t>(*ctx_, patch_->voxels()),
                .table = upload<int>(table, {})};
    set(job.size, patch_->size);
    pick_labels(ctx_->stream(), job);
    std::swap(patch_->label, patch_->spare_label);
  }

  /// Runs what waits: one pass. At the end, and before whatever needs the patch in memory.
  void flush() {
    const ValueProgram program = std::exchange(program_, ValueProgram());
    if (waiting_ || source_)
      move(program);
    else
      change_values(ctx_->stream(), {patch_->image.data<float>(), patch_->values(), program});
    source_.reset();
    warp_ = {};
    waiting_ = elastic_ = false;
  }

 private:
  template <class V> static void set(V (&to)[3], const Extent& from) {
    for (std::size_t d = 0; d < 3; ++d) to[d] = static_cast<V>(from[d]);
  }
  static void set_linear(ValueOp& op, double scale, double shift) {
    const augment::LinearJob none;
    op.at[0] = static_cast<float>(scale), op.at[1] = static_cast<float>(shift), op.at[2] = none.low, op.at[3] = none.high;
  }
  /// Moves behind values that wait need these in memory: the patch is resampled as it is by then.
  void begin_move() {
    if (program_.count > 0) flush();
  }
  ValueOp op_of(ValueOp::Kind kind, Index channel) const {
    if (channel >= patch_->channels)
      throw Error(Code::shape_mismatch, "augment",
                  ctseg::text("a step for channel ", channel, ", but the patch has ", patch_->channels,
                              ". Hint: draw for this patch."));
    const Index n = patch_->voxels();
    ValueOp op{
        .first = channel < 0 ? 0 : channel * n, .last = channel < 0 ? patch_->values() : (channel + 1) * n, .kind = kind};
    return op;
  }
  void push(const ValueOp& op) {
    if (program_.count == ValueProgram::kMost) flush();
    program_.ops[program_.count++] = op;
  }
  /// The numbers that the values of `op` decide: in places of their own, for several steps may wait.
  float* decide(StatisticsJob job, const ValueOp& op) {
    constexpr Index kSlots = 64, kSlot = 2 * ValueOp::kNumbers;
    float* const numbers = patch_->numbers.at_least<float>(*ctx_, kSlots * kSlot) + slot_++ % kSlots * kSlot;
    job.values = patch_->image.data<float>() + op.first, job.count = op.last - op.first;
    job.scratch = patch_->scratch.at_least<std::byte>(*ctx_, StatisticsJob::kScratch);
    if (!std::exchange(patch_->ready, true)) clear(ctx_->stream(), job.scratch, StatisticsJob::kScratch);
    job.numbers = numbers;
    decide_numbers(ctx_->stream(), job);
    return numbers;
  }
  /// Two tables, one behind the other.
  template <class V> const V* upload(const std::vector<V>& first, const std::vector<float>& second) {
    const Index bytes = std::ssize(first) * Index{sizeof(V)}, more = std::ssize(second) * Index{sizeof(float)};
    std::byte* const to = patch_->table.at_least<std::byte>(*ctx_, bytes + more);
    copy_to_device(ctx_->stream(), to, first.data(), bytes);
    if (more > 0) copy_to_device(ctx_->stream(), to + bytes, second.data(), more);
    return reinterpret_cast<const V*>(to);
  }

  /// One channel through the tables of three axes; returns where the result is: one of the two buffers, or `from` if no axis does
  /// anything.
  const float* filter(const float* from, const std::array<augment::AxisTaps, 3>& taps, std::array<float*, 2> buffers) {
    for (std::size_t d = 0; d < 3; ++d) {
      if (taps[d].identity()) continue;
      const std::vector<int> index(taps[d].index.begin(), taps[d].index.end());
      const int* const table = upload<int>(index, taps[d].weight);
      FilterJob job{.from = from,
                    .to = from == buffers[0] ? buffers[1] : buffers[0],
                    .axis = static_cast<int>(d),
                    .taps = taps[d].count,
                    .index = table,
                    .weight = reinterpret_cast<const float*>(table + index.size())};
      set(job.size, patch_->size);
      filter_axis(ctx_->stream(), job);
      from = job.to;
    }
    return from;
  }
  void filter_image(const std::array<augment::AxisTaps, 3>& taps, Index channel) {
    const Index n = patch_->voxels();
    float* const spare =
        patch_->spare_image.at_least<float>(*ctx_, patch_->values() + n);   // the last channel: a second buffer
    for (Index c = 0; c < patch_->channels; ++c) {
      if (channel >= 0 && c != channel) continue;
      float* const own = patch_->image.data<float>() + c * n;
      const float* const done = filter(own, taps, {spare, spare + n});
      if (done != own) copy_on_device(ctx_->stream(), own, done, n * Index{sizeof(float)});
    }
  }

  void make_offsets(const augment::ElasticStep& step) {
    const Index n = patch_->voxels();
    float* const offsets = patch_->offsets.at_least<float>(*ctx_, 5 * n);   // the last two are scratch
    clear(ctx_->stream(), offsets, 3 * n * Index{sizeof(float)});
    const std::vector<float> kernel = augment::erf_kernel(step.sigma_voxels, 3);
    const bool flat = augment::flat(patch_->size);
    std::array<augment::AxisTaps, 3> taps;
    for (std::size_t d = 0; d < 3; ++d)
      taps[d] = d == 0 && flat ? augment::identity_taps(1) : augment::kernel_taps(kernel, patch_->size[d], false);
    for (Index d = flat ? 1 : 0; d < 3; ++d) {
      float *const to = offsets + d * n, *const scratch = offsets + 3 * n;
      ValuesJob job{to, n, {.count = 1}};
      job.program.ops[0] = {.last = n, .kind = ValueOp::Kind::uniform, .at = {0, static_cast<float>(step.magnitude_voxels)}};
      std::copy(step.key.begin(), step.key.end(), job.program.ops[0].key);
      job.program.ops[0].key[3] ^= static_cast<std::uint32_t>(d);
      change_values(ctx_->stream(), job);
      const float* const done = filter(to, taps, {scratch, scratch + n});
      if (done != to) copy_on_device(ctx_->stream(), to, done, n * Index{sizeof(float)});
    }
  }

  /// The patch from the source or from itself, warped, with values changed on their way out.
  void move(const ValueProgram& program) {
    const DevicePatchSource source = source_
                                         ? *source_
                                         : DevicePatchSource{patch_->image.data<float>(),
                                                             patch_->labelled ? patch_->label.data<std::uint8_t>() : nullptr,
                                                             patch_->size,
                                                             {},
                                                             patch_->channels,
                                                             0};
    const auto map = [&](const Extent& corner) {
      return augment::index_map(warp_, patch_->size, PatchSource{.size = source.size, .corner = corner});
    };
    if (!waiting_) return cut(source, program);
    const augment::Permutation p =
        elastic_ ? augment::Permutation{} : augment::permutation_of(map(source.corner), patch_->size, source.size);
    if (p.exact) return permute(source, p, program);
    if (!elastic_ && warp_.border == Border::zeros && augment::permutation_of(map({}), patch_->size, patch_->size).exact) {
      cut(source, ValueProgram());   // the patch hangs over the border
      source_.reset();
      return move(program);
    }
    if (source.size[2] < 2)
      throw Error(Code::unsupported, "augment",
                  ctseg::text("resampling needs two voxels along x or more; the source has ", augment::list(source.size),
                              ". Hint: flips and quarter turns need no more than one."));
    warp(source, map(source.corner), program);
  }
  PatchFrom from_of(const DevicePatchSource& source) const {
    PatchFrom from{source.image, source.label, {}, static_cast<int>(source.channels), source.outside};
    set(from.size, source.size);
    return from;
  }
  PatchTo to_spare(const ValueProgram& program) {
    PatchTo to{patch_->spare_image.at_least<float>(*ctx_, patch_->values() + patch_->voxels()),
               patch_->labelled ? patch_->spare_label.at_least<std::uint8_t>(*ctx_, patch_->voxels()) : nullptr,
               {},
               static_cast<int>(patch_->channels),
               program};
    set(to.size, patch_->size);
    return to;
  }
  void show_spare() {
    std::swap(patch_->image, patch_->spare_image);
    std::swap(patch_->label, patch_->spare_label);
  }
  void cut(const DevicePatchSource& source, const ValueProgram& program) {
    CutJob job{from_of(source), to_spare(program), {}};
    set(job.corner, source.corner);
    cut_patch(ctx_->stream(), job);
    show_spare();
  }
  void permute(const DevicePatchSource& source, const augment::Permutation& p, const ValueProgram& program) {
    permute_patch(ctx_->stream(),
                  {from_of(source), to_spare(program), p.first, {p.steps.step[0], p.steps.step[1], p.steps.step[2]}});
    show_spare();
  }
  void warp(const DevicePatchSource& source, const augment::Move& map, const ValueProgram& program) {
    WarpJob job{.from = from_of(source), .to = to_spare(program)};
    for (int r = 0; r < 3; ++r) {
      for (int c = 0; c < 4; ++c) job.map[r][c] = map(r, c);
      for (int c = 0; c < 3; ++c) job.before[r][c] = warp_.before(r, c);
    }
    if (elastic_) job.offsets = patch_->offsets.data<float>();
    job.border = static_cast<WarpJob::Border>(warp_.border);
    if (warp_.labels == LabelSampling::linear) job.labels = WarpJob::Labels::vote;
    warp_patch(ctx_->stream(), job);
    show_spare();
  }

  Context<Cuda>* ctx_;
  DevicePatch* patch_;
  std::optional<DevicePatchSource> source_;
  augment::Warp warp_{};
  ValueProgram program_{};
  Index slot_ = 0;
  bool waiting_ = false, elastic_ = false;
};

}   // namespace ctseg::cuda

namespace ctseg {

/// A patch on the card, cut from a case there, and what was drawn for it: ctseg::cut_and_apply of the same steps, voxels that only
/// move, coordinates and sums bit for bit, values behind noise, gamma and contrast within 1e-5 of them.
/// Errors    those of the CPU's.
template <class = void> void cut_and_apply(Context<Cuda>& ctx, const Augmentation& drawn, const cuda::DevicePatchSource& source,
                                           cuda::DevicePatch& patch) {
  augment::check(PatchSource{.image = source.image, .size = source.size, .channels = source.channels}, patch.size);
  cuda::Augmenter run(ctx, patch, source);
  for (const DrawnStep& step : drawn.steps) std::visit(run, step);
  run.flush();
}

}   // namespace ctseg
