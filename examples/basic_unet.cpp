// MONAI's BasicUNet built by hand: five levels in a loop, odd sizes padded on the way up, names as in MONAI's checkpoints. It
// learns to find the liver of two made-up patients for a few steps; then its weights are handed over to ctseg::BasicUNet by
// name, which gives the same output to the bit.
#include <cstdio>
#include <cstring>
#include <map>

#include <ctseg/core/tensor.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/image/preprocess.hpp>
#include <ctseg/image/resample.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/nn/summary.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

namespace cs = ctseg;
using cs::Index;
using S = cs::Spec<float, 3, cs::Cpu>;   // <float, 2, cs::Cpu> makes all of this 2-D
using Value = cs::Var<S>;

/// Two times convolution 3, instance norm with gamma and beta, LeakyReLU 0.1.
class TwoConv {
 public:
  TwoConv(Index in, Index out) : first_(options(in, out)), second_(options(out, out)) {}
  Value operator()(Value x) const { return second_(first_(x)); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    cs::Block<S>::each(self.first_, prefix + "conv_0.", f);   // MONAI's names for what is inside: conv., adn.N.
    cs::Block<S>::each(self.second_, prefix + "conv_1.", f);
  }

 private:
  static cs::BlockOptions<3> options(Index in, Index out) {
    return {.conv = {.in_channels = in, .out_channels = out}, .activation = cs::leaky_relu(0.1f)};
  }
  cs::Block<S> first_, second_;
};

/// A network is its layers, what they do to a value, and their names.
class MyBasicUNet {
 public:
  using Spec = S;

  /// Five widths on the way down, and the one at the end.
  explicit MyBasicUNet(const std::array<Index, 6>& f) : last_({.in_channels = f[5], .out_channels = 2, .kernel = 1}) {
    for (std::size_t i = 0; i < 5; ++i) down_.emplace_back(i ? f[i - 1] : 1, f[i]);
    for (std::size_t i = 4; i > 0; --i) {
      const Index raised = i > 1 ? f[i] / 2 : f[i];   // the last one keeps its channels
      deconv_.push_back(
          cs::Conv<S>({.in_channels = f[i], .out_channels = raised, .kernel = 2, .stride = 2, .transposed = true}));
      up_.emplace_back(f[i - 1] + raised, i > 1 ? f[i - 1] : f[5]);
    }
  }

  /// Nobody writes the backward: every call leaves its op on the tape.
  Value forward(Value x) const {
    std::vector<Value> skip;
    for (const TwoConv& level : down_) skip.push_back(x = level(skip.empty() ? x : cs::max_pool(x)));
    for (std::size_t i = 0; i < 4; ++i) {
      const Value beside = skip[3 - i];
      x = deconv_[i](x);
      cs::PadOp<S> pads;   // one voxel where an odd size was halved
      for (std::size_t d = 0; d < 3; ++d) pads.high[d] = beside.shape().space[d] - x.shape().space[d];
      if (x.shape().space != beside.shape().space) x = cs::replicate_pad(x, pads);
      x = up_[i](cs::concat(beside, x));   // the skip first: swapped, weights would load and mean nothing
    }
    return last_(x);
  }

  /// f(name, parameter) for all parameters: optimizers, files and initialisation go through it.
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (std::size_t i = 0; i < 5; ++i)
      TwoConv::each(self.down_[i], prefix + (i ? "down_" + std::to_string(i) + ".convs." : "conv_0."), f);
    for (std::size_t i = 0; i < 4; ++i) {
      const std::string level = prefix + "upcat_" + std::to_string(4 - i) + ".";
      cs::Conv<S>::each(self.deconv_[i], level + "upsample.deconv.", f);
      TwoConv::each(self.up_[i], level + "convs.", f);
    }
    cs::Conv<S>::each(self.last_, prefix + "final_conv.", f);
  }

 private:
  std::vector<TwoConv> down_, up_;
  std::vector<cs::Conv<S>> deconv_;
  cs::Conv<S> last_;
};

/// A made-up patient at 8 mm, with the liver as label 1.
cs::Case patient(std::uint64_t seed) {
  const cs::Phantom p = cs::make_phantom({.seed = seed, .shape = {50, 50, 52}, .spacing_mm = {8, 8, 8}});
  cs::Volume<float> ct = cs::preprocess(p.ct, {.spacing_mm = {.x = 8, .y = 8, .z = 8}, .window_hu = {-160, 240}});
  auto liver = cs::resample_like(cs::mask_of(p, cs::Organ::liver), ct);
  return {"patient_" + std::to_string(seed), std::move(ct), std::move(liver)};
}

/// Values of one network for another one of the same names and sizes.
template <class From, class To> void copy_weights(const From& from, To& to) {
  std::map<std::string, std::vector<float>> values;
  cs::visit(from, [&](const std::string& name, const cs::Parameter<S>& p) {
    values[name].assign(p.values().begin(), p.values().end());
  });
  cs::visit(to, [&](const std::string& name, cs::Parameter<S>& p) {
    std::copy(values.at(name).begin(), values.at(name).end(), p.edit().begin());
    values.erase(name);
  });
  if (!values.empty()) throw cs::Error(cs::Code::bad_argument, "copy", "left over: " + values.begin()->first);
}

int main() try {
  cs::Context<cs::Cpu> ctx({.threads = 2, .seed = 1});
  const std::array<Index, 6> features = {6, 8, 12, 16, 16, 6};
  MyBasicUNet mine(features);
  cs::initialize_default(mine, ctx.seed());
  std::printf("%s\n", cs::text(cs::summarize(mine, {1, 1, {33, 32, 40}})).c_str());

  std::vector<cs::Case> patients;
  for (const std::uint64_t seed : {1, 2}) patients.push_back(patient(seed));
  const cs::PatchSampler<S> patches(std::move(patients), {.patch = {33, 32, 40}});
  cs::AdamW<S> adam(cs::parameters_of<S>(mine), {.learning_rate = 4e-3});
  const auto train = [&](Index first, Index last) {
    return cs::fit(ctx, mine, adam, patches, {.steps = last, .batch = 2, .first_step = first, .loss = cs::dice_ce()}).loss;
  };
  const double before = train(0, 1), after = train(1, 20);
  std::printf("loss %.3f, after 20 steps %.3f\n", before, after);

  cs::BasicUNet<S> model({.features = features});
  copy_weights(mine, model);
  cs::Predictor<MyBasicUNet> by_mine(ctx, mine, patches.shape(1));
  cs::Predictor<cs::BasicUNet<S>> by_model(ctx, model, patches.shape(1));
  cs::Tensor<float, 3> image(patches.shape(1));
  cs::Tensor<std::uint8_t, 3> labels(patches.shape(1));
  patches.fill({.seed = 9}, 0, image.view(), labels.view());
  const cs::View<const float, 3> x = image.view(), a = by_mine(x), b = by_model(x);
  const bool same = std::memcmp(a.data, b.data, sizeof(float) * static_cast<std::size_t>(a.shape.elements())) == 0;
  std::printf("ctseg::BasicUNet with these weights gives %s\n", same ? "the same output" : "ANOTHER output");
  return same && after < before ? 0 : 1;
} catch (const cs::Error& e) {
  std::printf("%s\n", e.what());
  return 1;
}
