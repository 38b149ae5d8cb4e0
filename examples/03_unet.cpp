// Lesson 3: a U-Net from blocks: layers, how they are called, and what they are named. It learns to find the liver of two
// made-up patients for a few steps; then its weights are handed over to ctseg::UNet by name, which gives the same output to the
// bit. basic_unet.cpp and vnet.cpp beside this file build MONAI's BasicUNet and V-Net in the same way.
//
// Why this shape: on the way down the image shrinks and channels grow, so that a voxel sees more and more of the body around
// it; on the way up it grows back, and at each level `concat` adds what the way down had there, the details: the skip
// connection. ctseg/models/unet.hpp has a drawing.
#include <cstdio>
#include <map>

#include <ctseg/ctseg.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/nn/summary.hpp>

namespace cs = ctseg;
using cs::Index;
using S = cs::Spec<float, 3, cs::Cpu>;   // <float, 2, cs::Cpu> makes all of this 2-D
using Value = cs::Var<S>;

/// Convolution 3, batch norm, ReLU: one op with one backward.
cs::Block<S> block(Index in, Index out) {
  return cs::Block<S>(
      {.conv = {.in_channels = in, .out_channels = out}, .norm = cs::NormKind::batch, .activation = cs::relu()});
}
cs::Conv<S> up_conv(Index in, Index out) {
  return cs::Conv<S>({.in_channels = in, .out_channels = out, .kernel = 2, .stride = 2, .transposed = true});
}

/// Three levels. A network is its layers, what they do to a value, and their names.
class MyUNet {
 public:
  using Spec = S;

  MyUNet()
      : fine_{block(1, 8), block(8, 8)},
        middle_{block(8, 16), block(16, 16)},
        bottom_{block(16, 32), block(32, 32)},
        middle_again_{block(32, 16), block(16, 16)},   // half of what comes in is the skip
        fine_again_{block(16, 8), block(8, 8)},
        up_to_middle_(up_conv(32, 16)),
        up_to_fine_(up_conv(16, 8)),
        head_({.in_channels = 8, .out_channels = 2, .kernel = 1}) {}

  /// Nobody writes the backward: every call leaves its op on the tape.
  Value forward(Value x) const {
    const Value fine = run(fine_, x);
    const Value middle = run(middle_, cs::max_pool(fine));
    const Value bottom = run(bottom_, cs::max_pool(middle));
    const Value back = run(middle_again_, cs::concat(middle, up_to_middle_(bottom)));
    return head_(run(fine_again_, cs::concat(fine, up_to_fine_(back))));
  }

  /// f(name, parameter) for all parameters: optimizers, files and initialisation go through it.
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    const auto level = [&](auto& pair, const std::string& name) {
      for (std::size_t k = 0; k < 2; ++k) {
        const std::string own = prefix + name + ".conv_" + std::to_string(k) + ".";
        cs::Block<S>::each(pair[k], cs::BlockNames{own + "conv.", own + "norm.", own + "activation."}, f);
      }
    };
    level(self.fine_, "encoder_0"), level(self.middle_, "encoder_1"), level(self.bottom_, "encoder_2");
    cs::Conv<S>::each(self.up_to_middle_, prefix + "up_1.", f);
    level(self.middle_again_, "decoder_1");
    cs::Conv<S>::each(self.up_to_fine_, prefix + "up_0.", f);
    level(self.fine_again_, "decoder_0");
    cs::Conv<S>::each(self.head_, prefix + "head.", f);
  }

 private:
  using Pair = std::array<cs::Block<S>, 2>;
  static Value run(const Pair& pair, Value x) { return pair[1](pair[0](x)); }

  Pair fine_, middle_, bottom_, middle_again_, fine_again_;
  cs::Conv<S> up_to_middle_, up_to_fine_, head_;
};

/// A made-up patient at 8 mm, with the liver as label 1.
cs::Case patient(std::uint64_t seed) {
  const cs::Phantom p = cs::make_phantom({.seed = seed, .shape = {50, 50, 52}, .spacing_mm = {8, 8, 8}});
  cs::Volume<float> ct = cs::preprocess(p.ct, {.spacing_mm = {.x = 8, .y = 8, .z = 8}, .window_hu = {-160, 240}});
  auto liver = cs::resample_like(cs::mask_of(p, cs::Organ::liver), ct);
  return {"patient_" + std::to_string(seed), std::move(ct), std::move(liver)};
}

int main() try {
  cs::Context<cs::Cpu> ctx({.threads = 2, .seed = 1});
  MyUNet mine;
  cs::initialize_default(mine, ctx.seed());
  std::printf("%s\n", cs::text(cs::summarize(mine, {1, 1, {32, 32, 32}})).c_str());

  std::vector<cs::Case> patients;
  for (const std::uint64_t seed : {1, 2}) patients.push_back(patient(seed));
  const cs::PatchSampler<S> patches(std::move(patients), {.patch = 32});
  cs::AdamW<S> adam(cs::parameters_of<S>(mine), {.learning_rate = 4e-3});
  const auto train = [&](Index first, Index last) {
    return cs::fit(ctx, mine, adam, patches, {.steps = last, .batch = 2, .first_step = first, .loss = cs::dice_ce()}).loss;
  };
  const double before = train(0, 1), after = train(1, 20);
  std::printf("loss %.3f, after 20 steps %.3f\n", before, after);

  cs::UNet<S> model({.out_channels = 2, .features = {8, 16, 32}});
  std::map<std::string, cs::Parameter<S>*> named;
  cs::visit(model, [&](const std::string& name, cs::Parameter<S>& p) { named[name] = &p; });
  cs::visit(mine, [&](const std::string& name, const cs::Parameter<S>& p) { *named.at(name) = p; });
  cs::Predictor<MyUNet> by_mine(ctx, mine, patches.shape(1));
  cs::Predictor<cs::UNet<S>> by_model(ctx, model, patches.shape(1));
  cs::Tensor<float, 3> image(patches.shape(1));
  cs::Tensor<std::uint8_t, 3> labels(patches.shape(1));
  patches.fill({.seed = 9}, 0, image.view(), labels.view());
  const cs::View<const float, 3> x = image.view(), a = by_mine(x), b = by_model(x);
  const bool same = std::equal(a.data, a.data + a.shape.elements(), b.data);
  std::printf("ctseg::UNet with these weights gives %s\n", same ? "the same output" : "ANOTHER output");
  return same && after < before ? 0 : 1;
} catch (const cs::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
