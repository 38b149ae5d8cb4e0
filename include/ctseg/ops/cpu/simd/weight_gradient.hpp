// The weight gradient: for each tap a product of two tall matrices, x^T dy over the voxels that meet through that tap.
//
// A box of about 256 voxels is taken through all taps and channel tiles while it lies in the caches; a tile keeps up to 14 x 2
// vectors of dw in registers over the whole box. Where dw is small against the work, 16 slabs of rows sum into copies of it,
// which are added up in a fixed order; otherwise tasks own lines of taps and groups of channels, and there are no copies.
#pragma once
#include <cstring>

#include "../../../core/parallel.hpp"
#include "plan.hpp"

namespace ctseg::simd {

/// What one weight gradient reads, adds to (dw) and uses (scratch).
struct GradientBuffers {
  const float* x = nullptr;
  Index x_pitch = 0;
  const float* dy = nullptr;
  Index dy_pitch = 0;
  float* dw = nullptr;
  float* scratch = nullptr;
};

/// How the work becomes tasks: by shape alone.
struct GradientCut {
  static constexpr Index kBox = 256, kScratch = 16 << 20, kCopies = 16, kGroup = 64;
  Index rows, weights, copies, lines, groups;

  explicit GradientCut(const ConvPlan& plan) {
    const ConvWindow& w = plan.window;
    rows = plan.images * w.output[0] * w.output[1];
    weights = w.taps() * plan.from * plan.to;
    copies = std::min({kCopies, rows, ceil_div(rows * w.output[2], kBox), kScratch / (weights * Index{sizeof(float)})});
    const bool split = copies < kCopies / 2;
    if (split) copies = 1;
    lines = split ? w.kernel[0] * w.kernel[1] : 1;
    groups = split ? ceil_div(plan.from, kGroup) : 1;
  }
  Index tasks() const { return copies * lines * groups; }
};

inline Index weight_gradient_scratch_bytes(const ConvPlan& plan) {
  const GradientCut cut(plan);
  return cut.copies > 1 ? cut.copies * cut.weights * Index{sizeof(float)} : 0;
}

/// One task: some rows of the output side, some taps, some channels of x, all channels of dy.
class GradientTask {
 public:
  GradientTask(const ConvPlan& plan, const GradientBuffers& buffers, const GradientCut& cut, Index task)
      : plan_(plan),
        buffers_(buffers),
        table_(tiles(plan.isa, plan.to)),
        listed_(lists(plan, cut)),
        swapped_(plan.to <= 4 && plan.from >= tiles(plan.isa, plan.from).lanes && cut.groups == 1) {
    const Index copy = task / cut.groups / cut.lines, line = task / cut.groups % cut.lines, group = task % cut.groups;
    const Index taps_x = plan.window.kernel[2];
    first_row_ = cut.rows * copy / cut.copies, last_row_ = cut.rows * (copy + 1) / cut.copies;
    first_tap_ = cut.lines > 1 ? line * taps_x : 0, last_tap_ = cut.lines > 1 ? first_tap_ + taps_x : plan.window.taps();
    first_from_ = cut.groups > 1 ? group * cut.kGroup : 0;
    last_from_ = cut.groups > 1 ? std::min(plan.from, first_from_ + cut.kGroup) : plan.from;
    sums_ = buffers.dw;
    if (cut.copies > 1) {
      sums_ = buffers.scratch + copy * cut.weights;
      std::fill(sums_, sums_ + cut.weights, 0.0f);
    }
  }

  void run() {
    const auto& extent = plan_.window.output;
    const Index fit = std::max<Index>(1, GradientCut::kBox / extent[2]), height = extent[1];
    for (Index r = first_row_; r < last_row_;) {
      const Index y = r % height, z = r / height % extent[0], left = last_row_ - r;
      Box box{r / height / extent[0], {z, y, 0}, {z + 1, y, extent[2]}};
      if (y == 0 && height <= fit && height <= left) {
        box.last[0] = z + std::min({fit / height, left / height, extent[0] - z});
        box.last[1] = height;
      } else {
        box.last[1] = y + std::min({fit, left, height - y});
      }
      r += (box.last[0] - z) * (box.last[1] - y);
      for (; box.first[2] < extent[2]; box.first[2] = box.last[2]) {
        box.last[2] = std::min(extent[2], box.first[2] + GradientCut::kBox);
        listed_ ? add_listed(box) : add(box);
      }
    }
  }

 private:
  static constexpr Index kRows = 16, kWidth = 32, kPatch = 12288, kListed = 512;

  /// Voxels of the output side.
  struct Box {
    Index image;
    std::array<Index, 3> first, last;
  };
  /// One operand: where its voxels lie for a tap, as pointer and steps.
  struct Operand {
    const float* data;
    std::array<Index, 3> step;
  };

  void add(const Box& box) {
    const std::array<Index, 3>& k = plan_.window.kernel;
    alignas(64) float full[GradientCut::kBox * kWidth];   // what add_tap reads of dy, if it would be no whole vector
    for (Index channel = 0; channel < plan_.to; channel += table_.block()) {
      const Index real = plan_.to - channel, lanes = table_.lanes;
      if (real < lanes && plan_.side == Side::output && !swapped_) {
        Operand dy = operand({buffers_.dy + channel, buffers_.dy_pitch, plan_.window.output}, box.image, box.first, {1, 1, 1});
        fill_vectors(dy, {full, real, lanes}, count_of(box));
      }
      for (Index tap = first_tap_; tap < last_tap_; ++tap)
        add_tap(box, {tap / k[2] / k[1], tap / k[2] % k[1], tap % k[2]}, channel, full);
    }
  }
  static std::array<Index, 3> count_of(const Box& b) {
    return {b.last[0] - b.first[0], b.last[1] - b.first[1], b.last[2] - b.first[2]};
  }

  void add_tap(const Box& box, const std::array<Index, 3>& tap, Index channel, float* full) const {
    const ConvWindow& w = plan_.window;
    std::array<Index, 3> first{}, partner{}, count{};
    for (std::size_t d = 0; d < 3; ++d) {
      const Index shift = tap[d] * w.dilation[d] - w.padding[d];   // the partner is o * stride + shift
      const Index top = w.input[d] - 1 - shift;
      first[d] = std::max(box.first[d], shift < 0 ? ceil_div(-shift, w.stride[d]) : 0);
      count[d] = top < 0 ? 0 : std::min(box.last[d], top / w.stride[d] + 1) - first[d];
      partner[d] = first[d] * w.stride[d] + shift;
      if (count[d] <= 0) return;
    }
    const bool convolution = plan_.side == Side::output;
    const Index x_pitch = buffers_.x_pitch, dy_pitch = buffers_.dy_pitch;
    const Operand x = convolution ? operand({buffers_.x, x_pitch, w.input}, box.image, partner, w.stride)
                                  : operand({buffers_.x, x_pitch, w.output}, box.image, first, {1, 1, 1});
    Operand dy = convolution ? operand({buffers_.dy, dy_pitch, w.output}, box.image, first, {1, 1, 1})
                             : operand({buffers_.dy, dy_pitch, w.input}, box.image, partner, w.stride);
    if (swapped_)
      return add_swapped(x, dy, count,
                         sums_ + ((tap[0] * w.kernel[1] + tap[1]) * w.kernel[2] + tap[2]) * plan_.from * plan_.to);
    dy.data += channel;
    const Index real = std::min(table_.block(), plan_.to - channel), vectors = ceil_div(real, table_.lanes);
    if (real < table_.lanes && convolution) {
      const std::array<Index, 3> size = count_of(box),
                                 step{size[1] * size[2] * table_.lanes, size[2] * table_.lanes, table_.lanes};
      dy = {full, step};
      for (std::size_t d = 0; d < 3; ++d) dy.data += (first[d] - box.first[d]) * step[d];
    } else if (real < table_.lanes) {
      fill_vectors(dy, {full, real, table_.lanes}, count);
    }
    float* sums = sums_ + ((tap[0] * w.kernel[1] + tap[1]) * w.kernel[2] + tap[2]) * plan_.from * plan_.to + channel;
    const TileSet& set = table_.wide(vectors);
    const TileShape& best = set.best(last_from_ - first_from_, vectors);
    for (Index c = first_from_; c < last_from_;) {
      const TileShape& shape = last_from_ - c >= best.rows ? best : set.within(last_from_ - c);
      GradientTile t{};
      t.x = x.data + c, t.x_z = x.step[0], t.x_y = x.step[1], t.x_x = x.step[2];
      t.dy = dy.data, t.dy_z = dy.step[0], t.dy_y = dy.step[1], t.dy_x = dy.step[2];
      t.count_z = count[0], t.count_y = count[1], t.count_x = count[2];
      add_tile(shape, t, sums + c * plan_.to, real);
      c += shape.rows;
    }
  }

  /// With few channels of dy they are the rows, and vectors hold channels of x; the sums are turned over as they are added.
  void add_swapped(const Operand& x, const Operand& dy, const std::array<Index, 3>& count, float* sums) const {
    const TileTable& table = tiles(plan_.isa, plan_.from);
    const Index from = plan_.from, to = plan_.to;
    for (Index c = 0; c < from; c += table.block()) {
      const Index real = std::min(table.block(), from - c), vectors = ceil_div(real, table.lanes);
      const Index start = vectors == 1 ? std::min(c, from - table.lanes) : c;   // a vector stays within its voxel
      for (Index row = 0; row < to;) {
        const TileShape& shape = table.wide(vectors).within(to - row);
        alignas(64) float buffer[kRows * kWidth] = {};
        GradientTile t{};
        t.x = dy.data + row, t.x_z = dy.step[0], t.x_y = dy.step[1], t.x_x = dy.step[2];
        t.dy = x.data + start, t.dy_z = x.step[0], t.dy_y = x.step[1], t.dy_x = x.step[2];
        t.count_z = count[0], t.count_y = count[1], t.count_x = count[2];
        t.rows = shape.rows, t.width = vectors * table.lanes, t.overlap = vectors == 2 ? t.width - real : 0;
        t.out = buffer, t.out_step = kWidth;
        shape.gradient(t);
        for (Index i = 0; i < shape.rows; ++i)
          for (Index k = 0; k < real; ++k) sums[(c + k) * to + row + i] += buffer[i * kWidth + c - start + k];
        row += shape.rows;
      }
    }
  }

  /// sums += tile, writing only the channels that exist and `rows` rows.
  void add_tile(const TileShape& shape, GradientTile& t, float* sums, Index real, Index rows = kRows) const {
    const Index width = ceil_div(real, table_.lanes) * table_.lanes;
    t.rows = shape.rows, t.width = width, t.overlap = width > table_.lanes ? width - real : 0;
    const auto run = listed_ ? shape.gradient_list : shape.gradient;
    rows = std::min(rows, shape.rows);
    if (real == width - t.overlap && rows == shape.rows) {
      t.out = sums, t.out_step = plan_.to;
      return run(t);
    }
    alignas(64) float buffer[kRows * kWidth] = {};
    t.out = buffer, t.out_step = width;
    run(t);
    for (Index i = 0; i < rows; ++i)
      for (Index c = 0; c < real; ++c) sums[i * plan_.to + c] += buffer[i * width + c];
  }

  /// With few channels of x a tap would fill few rows of a tile: then taps and channels together are the rows. Lines of x that a
  /// piece of a row of dy meets are copied with zeros where x has none, so that all voxels meet all taps.
  static bool lists(const ConvPlan& plan, const GradientCut& cut) {
    const ConvWindow& w = plan.window;
    const bool few = plan.from <= 3 || (plan.from <= 8 && plan.to < tiles(plan.isa, plan.to).lanes);
    return plan.side == Side::output && few && w.taps() > 1 && cut.lines == 1 && cut.groups == 1 &&
           w.taps() * plan.from <= kListed && lines_floats(plan, 16) <= kPatch;
  }
  static Index lines_floats(const ConvPlan& plan, Index voxels) {
    const ConvWindow& w = plan.window;
    return w.kernel[0] * w.kernel[1] * ((voxels - 1) * w.stride[2] + (w.kernel[2] - 1) * w.dilation[2] + 1) * plan.from;
  }

  void add_listed(const Box& box) {
    Index piece = GradientCut::kBox;
    while (lines_floats(plan_, piece) > kPatch) piece /= 2;
    for (Index z = box.first[0]; z < box.last[0]; ++z)
      for (Index y = box.first[1]; y < box.last[1]; ++y)
        for (Index x = box.first[2]; x < box.last[2]; x += piece)
          add_piece({box.image, {z, y, x}, {z + 1, y + 1, std::min(x + piece, box.last[2])}});
  }

  void add_piece(const Box& box) {
    const ConvWindow& w = plan_.window;
    const Index from = plan_.from, voxels = box.last[2] - box.first[2], taps = w.taps() * from;
    const Index line = lines_floats(plan_, voxels) / w.kernel[0] / w.kernel[1];
    alignas(64) float patch[kPatch];
    for (Index i = 0; i < w.kernel[0] * w.kernel[1]; ++i) copy_line(patch + i * line, i, box);
    Index at[kListed + kRows] = {}, row = 0;
    for (Index i = 0; i < w.kernel[0] * w.kernel[1]; ++i)
      for (Index j = 0; j < w.kernel[2]; ++j)
        for (Index c = 0; c < from; ++c) at[row++] = i * line + j * w.dilation[2] * from + c;
    for (Index channel = 0; channel < plan_.to; channel += table_.block()) {
      Operand dy = operand({buffers_.dy, buffers_.dy_pitch, w.output}, box.image, box.first, {1, 1, 1});
      dy.data += channel;
      const Index real = std::min(table_.block(), plan_.to - channel), vectors = ceil_div(real, table_.lanes);
      alignas(64) float full[GradientCut::kBox * kWidth];
      if (real < table_.lanes) fill_vectors(dy, {full, real, table_.lanes}, {1, 1, voxels});
      const TileSet& set = table_.wide(vectors);
      const TileShape& best = set.best(taps, vectors);
      for (Index first = 0; first < taps;) {
        const TileShape& shape = taps - first >= best.rows ? best : set.covering(taps - first);
        GradientTile t{};
        t.x = patch, t.x_x = w.stride[2] * from, t.dy = dy.data, t.dy_x = dy.step[2];
        t.count_z = t.count_y = 1, t.count_x = voxels, t.at = at + first;
        add_tile(shape, t, sums_ + first * plan_.to + channel, real, taps - first);
        first += shape.rows;
      }
    }
  }

  /// Line i of taps along z and y, as far as it exists.
  void copy_line(float* to, Index i, const Box& box) const {
    const ConvWindow& w = plan_.window;
    const Index z = box.first[0] * w.stride[0] + i / w.kernel[1] * w.dilation[0] - w.padding[0];
    const Index y = box.first[1] * w.stride[1] + i % w.kernel[1] * w.dilation[1] - w.padding[1];
    const Index left = box.first[2] * w.stride[2] - w.padding[2], from = plan_.from, pitch = buffers_.x_pitch;
    const Index span = (box.last[2] - box.first[2] - 1) * w.stride[2] + (w.kernel[2] - 1) * w.dilation[2] + 1;
    const bool exists = z >= 0 && y >= 0 && z < w.input[0] && y < w.input[1];
    const Index before = exists ? std::clamp<Index>(-left, 0, span) : span;
    const Index inside = exists ? std::clamp<Index>(w.input[2] - (left + before), 0, span - before) : 0;
    std::fill(to, to + before * from, 0.0f);
    to += before * from;
    const float* x = buffers_.x + (((box.image * w.input[0] + z) * w.input[1] + y) * w.input[2] + left + before) * pitch;
    if (pitch == from && inside > 0) {
      std::memcpy(to, x, static_cast<std::size_t>(inside * from) * sizeof(float));
    } else {
      for (Index v = 0; v < inside; ++v)
        for (Index c = 0; c < from; ++c) to[v * from + c] = x[v * pitch + c];
    }
    std::fill(to + inside * from, to + (span - before) * from, 0.0f);
  }

  struct Image {
    const float* data;
    Index pitch;
    const std::array<Index, 3>& extent;
  };
  static Operand operand(const Image& a, Index image, const std::array<Index, 3>& at, const std::array<Index, 3>& step) {
    const Index row = ((image * a.extent[0] + at[0]) * a.extent[1] + at[1]) * a.extent[2] + at[2];
    const Index x = a.pitch, y = x * a.extent[2], z = y * a.extent[1];
    return {a.data + row * a.pitch, {step[0] * z, step[1] * y, step[2] * x}};
  }

  struct Vectors {
    float* data;
    Index real, width;
  };
  /// Voxels whose channels do not fill whole vectors are copied with zeros behind them: nothing is read past the last channel.
  static void fill_vectors(Operand& dy, const Vectors& to, const std::array<Index, 3>& count) {
    float* out = to.data;
    for (Index z = 0; z < count[0]; ++z)
      for (Index y = 0; y < count[1]; ++y)
        for (Index x = 0; x < count[2]; ++x, out += to.width) {
          const float* in = dy.data + z * dy.step[0] + y * dy.step[1] + x * dy.step[2];
          for (Index c = 0; c < to.real; ++c) out[c] = in[c];
          std::fill(out + to.real, out + to.width, 0.0f);
        }
    dy = {to.data, {count[1] * count[2] * to.width, count[2] * to.width, to.width}};
  }

  const ConvPlan& plan_;
  const GradientBuffers& buffers_;
  const TileTable& table_;
  Index first_row_, last_row_, first_tap_, last_tap_, first_from_, last_from_;
  float* sums_;
  bool listed_, swapped_;
};

/// dw[tap][ci][co] += sum over meeting voxels of x[u][ci] dy[v][co]; plan.from counts channels of x, plan.to those of dy.
/// Numerics  float; the order of the sum depends on the plan only.
inline void weight_gradient(Executor& executor, const ConvPlan& plan, const GradientBuffers& buffers) {
  const GradientCut cut(plan);
  parallel_for(executor, cut.tasks(), [&](Index task) { GradientTask(plan, buffers, cut, task).run(); });
  if (cut.copies == 1) return;
  const TileTable& table = tiles(plan.isa, plan.to);
  parallel_blocks(executor, cut.weights, Index{16} << 10, [&](Index first, Index last) {
    for (Index copy = 0; copy < cut.copies; ++copy)
      table.add(buffers.scratch + copy * cut.weights + first, buffers.dw + first, last - first);
  });
}

}   // namespace ctseg::simd
