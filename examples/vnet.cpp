// V-Net from layers: write a network as a class of your own, train it briefly, and see that it is ctseg::VNet, bit for bit.
#include <cstdio>
#include <map>

#include <ctseg/ctseg.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/models/vnet.hpp>

namespace cs = ctseg;
using cs::Index;
using S = cs::Spec<float, 3, cs::Cpu>;
using Var = cs::Var<S>;   // a value: what layers are called on and what they return

namespace {

/// 5^3 convolution (or another one), batch norm, ELU.
cs::Block<S> block(const cs::ConvOptions<3>& conv) {
  return cs::Block<S>({.conv = conv, .norm = cs::NormKind::batch, .activation = cs::elu()});
}

/// Some 5^3 convolutions around which the input goes: y = elu(convolutions(x) + shortcut).
struct Residual {
  std::vector<cs::Block<S>> convs;
  Residual(Index channels, int count) {
    for (int i = 0; i < count; ++i)
      convs.push_back(block({.in_channels = channels, .out_channels = channels, .kernel = 5, .bias = false}));
  }
  Var operator()(Var x, Var shortcut) const {
    for (const auto& conv : convs) x = conv(x);
    return cs::elu(cs::add(x, shortcut));
  }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (std::size_t i = 0; i < self.convs.size(); ++i) {
      const std::string name = cs::text(prefix, "ops.", i, ".conv_block.");
      cs::Block<S>::each(self.convs[i], {name + "conv.", name + "adn.N.", ""}, f);
    }
  }
};

struct Down {   // half the size, twice the channels
  cs::Block<S> halve;
  Residual residual;
  float dropout;
  Down(Index in, int convs, float p)
      : halve(block({.in_channels = in, .out_channels = 2 * in, .kernel = 2, .stride = 2, .bias = false})),
        residual(2 * in, convs),
        dropout(p) {}
  Var operator()(Var x) const {
    x = halve(x);
    return residual(dropout > 0 ? cs::channel_dropout(x, dropout) : x, x);
  }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    cs::Block<S>::each(self.halve, {prefix + "down_conv.", prefix + "bn1.", ""}, f);
    Residual::each(self.residual, prefix, f);
  }
};

struct Up {   // twice the size; half of its channels come from below, half from the skip connection
  cs::Block<S> dbl;
  Residual residual;
  bool drops_input;
  Up(Index in, Index out, int convs, bool drops)
      : dbl(block({.in_channels = in, .out_channels = out / 2, .kernel = 2, .stride = 2, .transposed = true})),
        residual(out, convs),
        drops_input(drops) {}
  Var operator()(Var x, Var skip) const {
    x = dbl(drops_input ? cs::channel_dropout(x, 0.5f) : x);
    x = cs::concat(x, cs::channel_dropout(skip, 0.5f));   // [up, skip]: the other order would be another network
    return residual(x, x);
  }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    cs::Block<S>::each(self.dbl, {prefix + "up_conv.", prefix + "bn1.", ""}, f);
    Residual::each(self.residual, prefix, f);
  }
};

/// A network is layers, a forward function, and the names of its parameters. Backward follows from forward.
struct MyVNet {
  using Spec = S;
  cs::Block<S> first;
  std::vector<Down> down;
  std::vector<Up> up;
  cs::Block<S> head;
  cs::Conv<S> logits;

  MyVNet(Index w, Index classes)   // w: 16 in the paper
      : first(block({.out_channels = w, .kernel = 5, .bias = false})),
        down{{w, 1, 0}, {2 * w, 2, 0}, {4 * w, 3, 0.5f}, {8 * w, 2, 0.5f}},
        up{{16 * w, 16 * w, 2, true}, {16 * w, 8 * w, 2, true}, {8 * w, 4 * w, 1, false}, {4 * w, 2 * w, 1, false}},
        head(block({.in_channels = 2 * w, .out_channels = classes, .kernel = 5, .bias = false})),
        logits({.in_channels = classes, .out_channels = classes, .kernel = 1}) {}

  Var forward(Var x) const {
    Var wide = x;   // the input again and again, to be added to the first convolution
    while (wide.shape().c < first.conv.op().out_channels) wide = cs::concat(wide, wide);
    std::vector<Var> skip = {first(x, wide)};
    for (const Down& stage : down) skip.push_back(stage(skip.back()));
    x = skip[4];
    for (std::size_t i = 0; i < 4; ++i) x = up[i](x, skip[3 - i]);
    return logits(head(x));
  }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {   // MONAI's names
    cs::Block<S>::each(self.first, {prefix + "in_tr.conv_block.conv.", prefix + "in_tr.conv_block.adn.N.", ""}, f);
    for (std::size_t i = 0; i < 4; ++i) Down::each(self.down[i], cs::text(prefix, "down_tr", 32 << i, "."), f);
    for (std::size_t i = 0; i < 4; ++i) Up::each(self.up[i], cs::text(prefix, "up_tr", 256 >> i, "."), f);
    cs::Block<S>::each(self.head, {prefix + "out_tr.conv_block.conv.", prefix + "out_tr.conv_block.adn.N.", ""}, f);
    cs::Conv<S>::each(self.logits, prefix + "out_tr.conv2.", f);
  }
};

}   // namespace

int main() try {
  cs::Context<cs::Cpu> ctx{{.seed = 1}};
  cs::Phantom patient = cs::make_phantom({.seed = 1, .shape = {48, 48, 48}}, &ctx.executor());
  for (auto& label : patient.vertebrae.voxels()) label = label > 0;   // the spine, without its levels
  const cs::Volume<float> ct = cs::preprocess(patient.ct, {.window_hu = {-160, 240}});
  const cs::PatchSampler<S> patches{{{"patient", ct, cs::resample_like(patient.vertebrae, ct)}}, {.patch = 32}};

  MyVNet mine(4, 2);
  cs::initialize_default(mine, ctx.seed());
  cs::AdamW<S> adam{cs::parameters_of<S>(mine), {.learning_rate = 3e-3}};
  auto show = cs::on_step([](const cs::FitProgress& p) { std::printf("%s\n", cs::text(p).c_str()); });
  const cs::FitResult fitted = cs::fit(ctx, mine, adam, patches, {.steps = 12, .observer = &show});

  cs::VNet<S> theirs({.width = 4});
  std::map<std::string, cs::Parameter<S>*> named;
  cs::visit(theirs, [&](const std::string& name, cs::Parameter<S>& p) { named[name] = &p; });
  std::size_t copied = 0;
  cs::visit(mine, [&](const std::string& name, const cs::Parameter<S>& p) { *named.at(name) = p, ++copied; });

  cs::Predictor a(ctx, mine, {1, 1, {48, 48, 48}});
  cs::Predictor b(ctx, theirs, {1, 1, {48, 48, 48}});
  const cs::View<const float, 3> x{ct.data(), ct.tensor_shape(), 1};
  const cs::In<S> y = a(x), z = b(x);
  const bool same = copied == named.size() && std::equal(y.data, y.data + y.shape.elements(), z.data);
  std::printf("%zu parameters copied by name, outputs are %s\n", copied, same ? "identical" : "NOT identical");
  return same && fitted.steps == 12 ? 0 : 1;
} catch (const cs::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
