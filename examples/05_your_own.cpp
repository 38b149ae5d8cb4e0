// Lesson 5: your own layer, loss and transform, used like those of the library. An op is a struct that says its output's shape
// and has forward and backward; a layer is an op with its parameters; a loss is anything that can be called; a transform is
// what your sampler does to a patch. All three train together. (How to check a gradient: lesson 2.)
#include <cstdio>

#include <ctseg/ctseg.hpp>
#include <ctseg/data/phantom.hpp>

namespace cs = ctseg;
using cs::Index;

/// y[c] = scale[c] * x[c]. Backward assigns dx (nobody may want it) and adds to dw (frozen: empty).
template <cs::AnySpec S> struct ScaleOp {
  std::string_view name() const { return "Scale"; }
  cs::Inferred<S> infer(const cs::Facts<S>& f) const {   // every complaint belongs here: before anything has memory
    if (f.w[0].size() != f.x().c)
      throw cs::Error(cs::Code::shape_mismatch, "scale", cs::text(f.w[0].size(), " scales for ", f.x().c, " channels."));
    return {.shape = f.x(), .reads_inputs = true};
  }
  void forward(const cs::Forward<S>& f) const {
    cs::cpu::for_rows(f.ctx, f.x().rows(), [&](Index first, Index last) {   // rows are voxels; any thread may take some
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < f.x().shape.c; ++c) f.y().row(r)[c] = f.w[0][c] * f.x().row(r)[c];
    });
  }
  void backward(const cs::Backward<S>& b) const {
    const Index channels = b.x().shape.c;
    for (Index r = 0; r < b.x().rows(); ++r)   // one thread: sums over rows must have one order (cpu::sum_rows has it for many)
      for (Index c = 0; c < channels; ++c) {
        if (b.wants()) b.dx().row(r)[c] = b.w[0][c] * b.dy().row(r)[c];
        if (!b.dw[0].empty()) b.dw[0][static_cast<std::size_t>(c)] += b.dy().row(r)[c] * b.x().row(r)[c];
      }
  }
};

template <cs::AnySpec S> class Scale {
 public:
  explicit Scale(Index channels) : scale({.shape = {channels}, .fill = 1}) {}
  cs::Var<S> operator()(cs::Var<S> x) const { return x.tape->append(ScaleOp<S>{}, {x}, {scale}); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    f(prefix + "scale", self.scale);   // the name in files; optimizers and initialisation find it here as well
  }
  cs::Parameter<S> scale;
};

/// The mean of squared logits: large ones are certainty that nobody asked for.
template <cs::AnySpec S> struct MeanSquareOp {
  std::string_view name() const { return "MeanSquare"; }
  cs::Inferred<S> infer(const cs::Facts<S>&) const {   // losses are one number, in the type that sums have
    cs::Inferred<S> out{.dtype = cs::dtype_of<typename S::Acc>(), .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const cs::Forward<S>& f) const {
    double sum = 0;
    for (Index i = 0; i < f.x().shape.elements(); ++i) sum += double(f.x().data[i]) * double(f.x().data[i]);
    f.output.template as<typename S::Acc>().data[0] = typename S::Acc(sum / double(f.x().shape.elements()));
  }
  void backward(const cs::Backward<S>& b) const {
    const auto dy = b.output_gradient.template as<const typename S::Acc>().data[0];
    const auto share = 2 * dy / typename S::Acc(b.x().shape.elements());
    for (Index i = 0; b.wants() && i < b.x().shape.elements(); ++i) b.dx().data[i] = share * b.x().data[i];
  }
};
/// Dice and cross entropy, and a little of that.
struct ModestLoss {
  template <cs::AnySpec S> cs::Var<S> operator()(cs::Var<S> logits, cs::Var<S> labels) const {
    return cs::add(cs::dice_ce(logits, labels), logits.tape->append(MeanSquareOp<S>{}, {logits}), 0.001f);
  }
};

using S = cs::Spec<float, 3, cs::Cpu>;

/// fit() draws from any class that has what PatchSampler has. This one lays streaks over its patches, as metal does.
struct StreakSampler : cs::PatchSampler<S> {
  using cs::PatchSampler<S>::PatchSampler;
  std::vector<std::size_t> fill(const cs::RandomKey& key, Index first, cs::Out<S> x, cs::View<std::uint8_t, 3> labels) const {
    auto used = PatchSampler::fill(key, first, x, labels);
    for (Index n = 0; n < x.shape.n; ++n) {
      cs::RandomStream random({key.seed, static_cast<std::uint64_t>(first + n), 0x5354});   // the sample's number draws
      const Index begin = random.below(x.shape.voxels() - 24);
      for (Index i = 0; i < 24; ++i) x.at(n, begin + i)[0] = 1;
    }
    return used;
  }
};

struct Net {
  using Spec = S;
  cs::Block<S> first{{.conv = {.in_channels = 1, .out_channels = 8}}}, second{{.conv = {.in_channels = 8, .out_channels = 8}}};
  Scale<S> scale{8};
  cs::Conv<S> head{{.in_channels = 8, .out_channels = 2, .kernel = 1}};
  cs::Var<S> forward(cs::Var<S> x) const { return head(scale(second(first(x)))); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    cs::Block<S>::each(self.first, prefix + "first.", f), cs::Block<S>::each(self.second, prefix + "second.", f);
    Scale<S>::each(self.scale, prefix, f), cs::Conv<S>::each(self.head, prefix + "head.", f);
  }
};

int main() try {
  cs::Context<cs::Cpu> ctx({.threads = 2, .seed = 1});
  const cs::Phantom p = cs::make_phantom({.seed = 1, .shape = {50, 50, 52}, .spacing_mm = {8, 8, 8}}, &ctx.executor());
  const cs::Volume<float> ct = cs::preprocess(p.ct, {.window_hu = {-160, 240}});
  const StreakSampler patches({{"patient", ct, cs::resample_like(cs::mask_of(p, cs::Organ::liver), ct)}}, {.patch = 24});
  Net net;
  cs::initialize_default(net, ctx.seed());
  cs::AdamW<S> adam(cs::parameters_of<S>(net), {.learning_rate = 1e-2});
  const auto train = [&](Index first, Index last) {
    return cs::fit(ctx, net, adam, patches, {.steps = last, .first_step = first, .loss = ModestLoss{}}).loss;
  };
  const double before = train(0, 1), after = train(1, 40);
  std::printf("loss %.3f, after 40 steps %.3f; the first scale went from 1 to %.3f\n", before, after,
              double{net.scale.scale.values()[0]});
  return after < before && net.scale.scale.values()[0] != 1 ? 0 : 1;
} catch (const cs::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
