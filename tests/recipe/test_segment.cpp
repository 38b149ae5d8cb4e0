#include "recipe/segment_cases.hpp"

using namespace segment_cases;

namespace {

LoadedModel regions(std::vector<PreprocessStep> steps, double threshold = 0.5) {
  return {{.network = line_config<3>(2),
           .preprocess = std::move(steps),
           .sliding_window = SlidingWindowOptions<3>{.window = 16},
           .labels = {{0, "background"}, {1, "whole"}, {2, "core"}},
           .decision = {.kind = Decide::threshold, .threshold = threshold, .regions_order = {1, 2}}},
          line_network<3>({{10, -3}, {10, -6}})};
}
template <class F> Volume<std::uint8_t> labelled(const Volume<float>& v, F f) {
  Volume<std::uint8_t> out(v.grid());
  std::transform(v.voxels().begin(), v.voxels().end(), out.voxels().begin(), f);
  return out;
}

}   // namespace

TEST_CASE("without a resampling the labels are exactly those of the scan's own voxels") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  for (const auto& steps :
       {std::vector<PreprocessStep>{WindowHu{-160, 240}},
        std::vector<PreprocessStep>{Reorient{"LPI"}, CropForeground{.threshold = -500}, WindowHu{-160, 240}}})
    for (const WayBack way : {WayBack::logits, WayBack::probabilities, WayBack::labels}) {
      const Segmentation s = segment(ctx, two_classes(steps, way), ct);
      REQUIRE(s.labels);
      const auto wanted = labelled(ct, [](float v) { return static_cast<std::uint8_t>(v > 40 ? 7 : 0); });
      CHECK(differing(*s.labels, wanted) == 0);
      CHECK(s.windows >= 8);
      CHECK(s.seconds.total >= s.seconds.preprocess + s.seconds.network + s.seconds.stitch + s.seconds.resample);
      CHECK(s.seconds.network > 0);
      CHECK(s.peak_memory > s.planned_memory);
    }
}

TEST_CASE("what was cropped away is the first channel's where no label is 0, on every way back") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  for (const WayBack way : {WayBack::logits, WayBack::probabilities, WayBack::labels}) {
    LoadedModel model = two_classes({CropForeground{.threshold = -500}, WindowHu{-160, 240}}, way);
    model.recipe.labels[0].id = 5;
    const auto wanted = labelled(ct, [](float v) { return static_cast<std::uint8_t>(v > 40 ? 7 : 5); });
    CHECK(differing(*segment(ctx, model, ct).labels, wanted) == 0);
  }
}

TEST_CASE("the ways back decide where they say they do") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  const Preprocessed prepared = apply_steps(ct, kSteps);
  const auto bright = [](float v) { return static_cast<std::uint8_t>(v > 0.5f ? 7 : 0); };
  const auto logits = labelled(prepared.to_original(prepared.image, {.outside = -1.0}), bright);
  CHECK(differing(*segment(ctx, two_classes(kSteps, WayBack::logits), ct).labels, logits) <= 2);   // rounding at 0.5
  const auto nearest = prepared.to_original(labelled(prepared.image, bright));
  CHECK(differing(*segment(ctx, two_classes(kSteps, WayBack::labels), ct).labels, nearest) <= 2);
  CHECK(differing(logits, nearest) > 50);
  Volume<float> probability = prepared.image;   // of the bright class
  for (float& v : probability.voxels()) v = 1 / (1 + std::exp(-8 * (v - 0.5f)));
  const auto probabilities = labelled(prepared.to_original(probability, {.outside = 0.0}), bright);
  CHECK(differing(*segment(ctx, two_classes(kSteps, WayBack::probabilities), ct).labels, probabilities) <= 2);
}

TEST_CASE("regions are written in their order, above their threshold, and not where the scan was cropped away") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  const std::vector<PreprocessStep> steps = {CropForeground{.threshold = -500}, WindowHu{-160, 240}};
  for (const double threshold : {0.5, 0.02}) {
    const float shift = static_cast<float>(std::log(threshold / (1 - threshold)) / 10);
    const auto wanted = labelled(ct, [&](float hu) {
      const float v = std::clamp((hu + 160) / 400, 0.f, 1.f);
      return static_cast<std::uint8_t>(hu == -1000 ? 0 : v > 0.6f + shift ? 2 : v > 0.3f + shift ? 1 : 0);
    });
    CHECK(differing(*segment(ctx, regions(steps, threshold), ct).labels, wanted) == 0);
  }
}

TEST_CASE("the rules of post-processing come last, on the scan's grid") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  LoadedModel model = two_classes(kSteps);
  const auto plain = *segment(ctx, model, ct).labels;
  model.recipe.postprocess = {RemoveSmall{.labels = {7}, .min_mm3 = 150}, Relabel{{7}, 3}};
  const auto wanted = apply_rules(plain, model.recipe.postprocess);
  CHECK(differing(*segment(ctx, model, ct).labels, wanted) == 0);
  CHECK(std::count(wanted.voxels().begin(), wanted.voxels().end(), 3) > 100);
}

TEST_CASE("a 2-D network segments the axial slices") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  const LoadedModel model{{.network = line_config<2>(1),
                           .preprocess = {WindowHu{-160, 240}},
                           .sliding_window = SlidingWindowOptions<2>{.window = 16},
                           .labels = {{0, "background"}, {1, "bright"}},
                           .decision = {.kind = Decide::threshold, .regions_order = {1}}},
                          line_network<2>({{4, -2}})};
  const Segmentation s = segment(ctx, model, ct, {.mirror = {.x = true, .y = true, .z = true}});
  CHECK(differing(*s.labels, labelled(ct, [](float v) { return static_cast<std::uint8_t>(v > 40); })) == 0);
  CHECK(s.windows == 22 * 3 * 3 * 4);   // slices, windows, mirrored along x and y
}

TEST_CASE("threads, overlap and mirroring do not change what must not change") {
  const Volume<float> ct = scan();
  Context<Cpu> one{{.threads = 1}}, four{{.threads = 4}};
  const LoadedModel model = two_classes(kSteps);
  const Segmentation s = segment(one, model, ct);
  CHECK(differing(*segment(four, model, ct).labels, *s.labels) == 0);
  const Segmentation few = segment(one, model, ct, {.overlap = 0.0});
  CHECK(few.windows < s.windows);
  CHECK(differing(*few.labels, *s.labels) <= 2);
  const Segmentation mirrored = segment(one, model, ct, {.accuracy = Accuracy::fast, .mirror = {.x = true, .z = true}});
  CHECK(mirrored.windows == 4 * s.windows);
  CHECK(differing(*mirrored.labels, *s.labels) <= 2);
}

TEST_CASE("a mirrored network sees the image mirrored, and its logits come back") {
  Context<Cpu> ctx{{.threads = 1}};
  LoadedModel model = two_classes({WindowHu{0, 1}});
  visit(model.model, [](const std::string& name, auto& p) {   // looks at the voxel before, along x
    const auto values = p.edit();
    if (name == "encoder_0.conv_0.conv.weight") values[13] = 0, values[12] = 1;
  });
  Volume<float> ct(Grid{{.x = 16, .y = 16, .z = 16}, Affine<Ras>(Eigen::Matrix4d::Identity())});
  for (Index z = 0; z < 16; ++z)
    for (Index y = 0; y < 16; ++y) ct(z, y, 7) = 1.f;
  const auto lit = [&](const SegmentOptions& o) {
    const Segmentation s = segment(ctx, model, ct, o);
    std::vector<int> columns;
    for (Index x = 0; x < 16; ++x)
      if ((*s.labels)(8, 8, x) != 0) columns.push_back(int(x));
    return columns;
  };
  CHECK(lit({}) == std::vector<int>{8});
  CHECK(lit({.mirror = {.y = true, .z = true}}) == std::vector<int>{8});
  CHECK(lit({.mirror = {.x = true}}).empty());   // half a vote for 8, half for 6: neither is above the other class
}

TEST_CASE("a dry run plans, memory is limited before any window") {
  Context<Cpu> ctx{{.threads = 1}};
  const Volume<float> ct = scan();
  const LoadedModel model = two_classes(kSteps);
  const Segmentation dry = segment(ctx, model, ct, {.mirror = {.x = true}, .dry_run = true});
  CHECK(!dry.labels);
  CHECK(dry.windows == 0);
  CHECK(dry.plan.find(text("network   UNet, 3-D, 1 -> 2 channels, ", model.model.parameter_count(), " parameters\n")) == 0);
  CHECK(dry.plan.find("voxels of 0.7 x 0.8 x 1.5 mm -> ") != std::string::npos);
  CHECK(dry.plan.find("windows   ") != std::string::npos);
  CHECK(dry.plan.find(" of 16x16x16, overlap 0.5, each 2 times mirrored\n") != std::string::npos);
  CHECK(dry.planned_memory > 0);
  CHECK(segment(ctx, model, ct, {.max_memory = dry.planned_memory}).spilled == 0);
  const ProgressSink early{[](void*, double fraction) { REQUIRE(fraction == 0); }};
  const auto refused = [&](Index limit) {
    try {
      segment(ctx, model, ct, {.max_memory = limit, .progress = early});
    } catch (const Error& e) {
      CHECK(e.code() == Code::out_of_memory);
      return std::string(e.what());
    }
    return std::string("was not refused");
  };
  CHECK(refused(150000).find("segment: max_memory = 150000, but preparing a scan of 31 x 26 x 22 voxels takes ") == 0);
  CHECK(refused(dry.planned_memory / 2).find("stream_windows: max_memory = 1 MB, but ") == 0);
}

TEST_CASE("progress rises to 1, and a stop ends the segmentation between windows") {
  struct Watch {
    std::vector<double> told;
    std::stop_source stop;
    std::size_t at = 0;   // stops when it was told so often
  } watch;
  const ProgressSink progress{[](void* user, double fraction) {
                                auto& w = *static_cast<Watch*>(user);
                                w.told.push_back(fraction);
                                if (w.told.size() == w.at) w.stop.request_stop();
                              },
                              &watch};
  Context<Cpu> ctx{{.threads = 1, .cancel = watch.stop.get_token()}};
  const LoadedModel model = two_classes(kSteps);
  const Segmentation s = segment(ctx, model, scan(), {.progress = progress});
  CHECK(std::ssize(watch.told) == s.windows + 4);
  CHECK(std::is_sorted(watch.told.begin(), watch.told.end()));
  CHECK(watch.told.front() == 0);
  CHECK(watch.told.back() == 1);
  watch.told.clear();
  watch.at = 5;
  try {
    segment(ctx, model, scan(), {.progress = progress});
    FAIL("it was stopped");
  } catch (const Error& e) {
    CHECK(e.code() == Code::cancelled);
  }
  CHECK(watch.told.size() == 5);
}

TEST_CASE("what cannot be segmented is refused before work") {
  Context<Cpu> ctx{{.threads = 1}};
  LoadedModel model = two_classes(kSteps);
  model.recipe.labels.pop_back();
  CHECK_THROWS_WITH_AS(segment(ctx, model, scan()),
                       "recipe: 1 labels for 2 channels of the network; argmax needs one each, in their order.", Error);
  model = two_classes(kSteps);
  model.recipe.network = NetworkOptions<3>(UNetOptions{.in_channels = 2, .out_channels = 2, .features = {1, 1}});
  model.model = make_model(model.recipe.network);
  CHECK_THROWS_WITH_AS(segment(ctx, model, scan()),
                       "segment: the network takes 2 channels, the scan has 1. Hint: SegmentInput::channels holds a volume for "
                       "each, in the order of training.",
                       Error);
}
