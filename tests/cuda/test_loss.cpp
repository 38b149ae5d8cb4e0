// Losses made of sums over voxels on the card against the CPU's in double.
#include <doctest/doctest.h>

#include <ctseg/ops/cuda/segmentation_loss.hpp>
#include <ctseg/ops/dice_ce.hpp>

#include "op_numbers.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

struct LossCase {
  Shape<3> x{2, 3, {4, 3, 5}};
  bool wide = false;   // a channel of labels for every channel of the logits
  Dtype labels = Dtype::u8;
  Index pitch = 0;
  Index ignored = -1;   // a third of the voxels have it
};

Numbers random_labels(const LossCase& c) {
  const Index count = c.x.n * c.x.voxels() * (c.wide ? c.x.c : 1), classes = c.wide || c.x.c == 1 ? 2 : c.x.c;
  Numbers out;
  for (const double v : random_numbers<double>(count, 9, 0, 1)) {
    const double part = v * 3 - std::floor(v * 3);
    out.push_back(c.ignored >= 0 && v < 1. / 3 ? static_cast<double>(c.ignored)
                                               : std::floor(part * static_cast<double>(classes)));
  }
  return out;
}
template <class T> NumbersCase numbers_of(const LossCase& c) {
  return {.inputs = {{c.x, random_numbers<T>(c.x.elements(), 1, -3, 3), c.pitch},
                     {c.x.with_channels(c.wide ? c.x.c : 1), random_labels(c), 0, false, c.labels}},
          .dy = {2.5}};
}
template <class T>
void compare(const SegmentationLossOptions& o, const LossCase& c, double loss = 2e-6, double gradient = 2e-6) {
  static Context<Cpu> cpu({.threads = 1});
  static Context<Cuda> card;
  const NumbersCase numbers = numbers_of<T>(c);
  const NumbersResult wanted = OpNumbers<Spec<double, 3, Cpu>>(cpu)(SegmentationLossOp<Spec<double, 3, Cpu>>{o}, numbers);
  const NumbersResult got = OpNumbers<Spec<T, 3, Cuda>>(card)(SegmentationLossOp<Spec<T, 3, Cuda>>{o}, numbers);
  INFO(text(c.x, c.wide ? " wide" : "", " ignored ", c.ignored, " loss ", wanted.y[0], ", not ", got.y[0]));
  CHECK(distance(got.y, wanted.y) < loss);
  CHECK(distance(got.dx[0], wanted.dx[0]) < gradient);
}
SegmentationLossOptions with_weights(SegmentationLossOptions o, Index classes) {
  for (Index c = 0; c < classes; ++c) {
    o.overlap.class_weights.push_back(0.5 + 0.1 * static_cast<double>(c % 7));
    o.voxel.positive.push_back(1.5 - 0.2 * static_cast<double>(c % 5));
    o.voxel.negative.push_back(0.7 + 0.3 * static_cast<double>(c % 3));
  }
  return o;
}
SegmentationLossOptions plain() { return segmentation_loss(DiceCeOptions{}, 0); }

}   // namespace

TEST_CASE("Dice and cross entropy of any number of classes") {
  for (const Index classes : {1, 2, 3, 4, 5, 8, 14, 33, 130}) {
    const LossCase c{.x = {2, classes, {4, 3, 5}}};
    compare<float>(plain(), c);
    compare<float>(with_weights(plain(), classes), c);
    compare<bf16>(plain(), c, 1e-5, 5e-3);
  }
  compare<half>(plain(), {.x = {1, 2, {4, 3, 5}}}, 1e-5, 1e-3);
  compare<float>(plain(), {.x = {1, 512, {2, 2, 2}}, .labels = Dtype::u16});
  compare<float>(plain(), {.x = {3, 2, {13, 12, 10}}});   // several blocks an image
}

TEST_CASE("options of the overlap") {
  for (const Index classes : {1, 3, 6})
    for (const bool sigmoid : {false, true})
      for (const VolumeWeight volumes :
           {VolumeWeight::none, VolumeWeight::square, VolumeWeight::simple, VolumeWeight::uniform}) {
        SegmentationLossOptions o{.overlap = {.weight = 0.7, .sigmoid = sigmoid, .volume_weight = volumes}};
        compare<float>(o, {.x = {2, classes, {3, 3, 4}}}, 2e-6, 1e-5);
        o.overlap.batch = true, o.overlap.include_background = false, o.overlap.squared_pred = true;
        compare<float>(o, {.x = {2, classes, {3, 3, 4}}}, 2e-6, 1e-5);
      }
  compare<float>({.overlap = {.weight = 1, .negative = true, .ratio = {2, -2, 2, 2}, .least_denominator = 50}}, {}, 2e-6, 1e-5);
  SegmentationLossOptions o = with_weights(plain(), 3);
  o.overlap.include_background = false, o.overlap.batch = true;
  compare<float>(o, {});
}

TEST_CASE("options of the voxel term") {
  for (const Index classes : {1, 2, 5})
    for (const bool sigmoid : {false, true})
      for (const double gamma : {0., 1., 2., 1.7})
        for (const bool background : {false, true}) {
          SegmentationLossOptions o{
              .voxel = {.weight = 1.3, .sigmoid = sigmoid, .include_background = background, .gamma = gamma}};
          compare<float>(o, {.x = {2, classes, {3, 3, 4}}}, 5e-6, 1e-5);
          o.voxel.label_smoothing = 0.1, o.voxel.weighted_mean = true, o.overlap.weight = 1, o.overlap.sigmoid = !sigmoid;
          compare<float>(with_weights(o, classes), {.x = {2, classes, {3, 3, 4}}}, 5e-6, 1e-5);
        }
}

TEST_CASE("ignored voxels, labels of every channel, ranges of channels") {
  for (const Index classes : {1, 2, 3, 9}) {
    SegmentationLossOptions o = plain();
    o.ignore_label = 255;
    compare<float>(o, {.x = {2, classes, {3, 3, 4}}, .ignored = 255});
    o.ignore_label = 1000;
    compare<float>(o, {.x = {2, classes, {3, 3, 4}}, .labels = Dtype::u16, .pitch = classes + 3, .ignored = 1000});
    if (classes == 1) continue;
    o.overlap.sigmoid = o.voxel.sigmoid = true;
    for (const Dtype type : {Dtype::u8, Dtype::u16}) {
      o.ignore_label = 200;
      compare<float>(o, {.x = {2, classes, {3, 3, 4}}, .wide = true, .labels = type, .ignored = 200});
      compare<float>(with_weights(o, classes), {.x = {1, classes, {3, 3, 4}}, .wide = true, .labels = type});
    }
  }
}

TEST_CASE("nothing but ignored voxels is no loss") {
  Context<Cuda> card;
  SegmentationLossOptions o{.voxel = {.weight = 1, .weighted_mean = true}, .ignore_label = 3};
  NumbersCase c = numbers_of<float>({});
  c.inputs[1].values.assign(c.inputs[1].values.size(), 3);
  c.inputs[0].values[4] = std::nan("");   // nobody looks at it
  const NumbersResult got = OpNumbers<Spec<float, 3, Cuda>>(card)(SegmentationLossOp<Spec<float, 3, Cuda>>{o}, c);
  CHECK(got.y[0] == 0);
  CHECK(got.dx[0] == Numbers(c.inputs[0].values.size(), 0.0));
}

TEST_CASE("a label that is no class spoils the loss, which says so") {
  Context<Cuda> card;
  using S = Spec<float, 3, Cuda>;
  const SegmentationLossOptions o = plain();
  for (const Index classes : {1, 3, 40}) {
    const Shape<3> x{2, classes, {4, 3, 5}};
    const auto make = [&](const std::vector<std::uint8_t>& labels) {
      Memory<Cuda> logits = card.allocate(bytes_of<float>(x.elements())), on_card = card.allocate(120), loss = card.allocate(4);
      cuda::clear(card.stream(), logits.data(), bytes_of<float>(x.elements()));
      cuda::copy_to_device(card.stream(), on_card.data(), labels.data(), 120);
      const SegmentationLossOp<S> op{o};
      const std::vector<ValueInfo<3>> infos{{x, Dtype::f32}, {x.with_channels(1), Dtype::u8}};
      const Inferred<S> info = op.infer({.inputs = infos, .w = {}});
      Memory<Cuda> saved = card.allocate(info.saved), scratch = card.allocate(info.forward_scratch);
      const std::vector<AnyView<3>> in{{logits.data(), infos[0], classes}, {on_card.data(), infos[1], 1}};
      op.forward({.ctx = card,
                  .mode = Mode::train,
                  .choice = 0,
                  .inputs = in,
                  .w = {},
                  .output = {loss.data(), {{1, 1, {1, 1, 1}}, Dtype::f32}, 1},
                  .saved = {saved.data()},
                  .scratch = {scratch.data()},
                  .prepared = {},
                  .key = {}});
      float got;
      cuda::copy_to_host(card.stream(), &got, loss.data(), 4);
      card.synchronize();
      return std::bit_cast<std::uint32_t>(got);
    };
    std::vector<std::uint8_t> labels(120, 1);
    CHECK(!cuda::bad_label(std::bit_cast<float>(make(labels))));
    labels[77] = 200;
    const float spoilt = std::bit_cast<float>(make(labels));
    CHECK(std::isnan(spoilt));
    CHECK(cuda::bad_label(spoilt) == 200);
    try {
      cuda::refuse_bad_label(spoilt);
      FAIL("not refused");
    } catch (const Error& e) {
      CHECK(e.code() == Code::bad_input);
      CHECK(std::string(e.what()).find("a label is 200") != std::string::npos);
    }
  }
  CHECK(!cuda::bad_label(std::numeric_limits<float>::quiet_NaN()));
  CHECK(!cuda::bad_label(1.5f));
}
