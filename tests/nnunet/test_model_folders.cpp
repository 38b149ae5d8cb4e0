// Folders that nnU-Net trained, against what nnU-Net makes of a scan with them: every stage, and the mask. See
// make_model_folders.py.
#include <doctest/doctest.h>

#include <ctseg/infer/sliding_window.hpp>
#include <ctseg/io/volume.hpp>
#include <ctseg/nnunet/cascade.hpp>

#include "parity/fixture_file.hpp"

using namespace ctseg;

template AnyModel ctseg::make_model<float, Cpu>(const NetworkConfig&);   // for all files of this program

namespace {

const std::string kModels = std::string(CTSEG_SOURCE_DIR) + "/tests/nnunet/models/";

/// A model folder, its scan, and what nnU-Net kept on the way.
struct Case {
  std::string name;
  test::Fixture stages;
  nnunet::Cascade model;
  std::vector<Volume<float>> scan{};
  std::optional<Volume<std::uint8_t>> previous{};   // what nnU-Net's first network of a cascade found

  Case(const std::string& dataset, const std::string& configuration)
      : name(dataset + "/" + configuration),
        stages("../nnunet/models/" + name + "/stages"),
        model(nnunet::load_cascade(kModels + name)) {
    for (const char* channel : {"/case_0000.nii.gz", "/case_0001.nii.gz"})
      if (std::filesystem::exists(kModels + dataset + channel))
        scan.push_back(io::read_volume<float>(kModels + dataset + channel));
    if (!recipe().previous_labels.empty())
      previous = io::read_volume<std::uint8_t>(kModels + name.substr(0, name.rfind("__")) + "__3d_lowres/mask.nii.gz");
  }
  const ModelRecipe& recipe() const { return model.folds[0].recipe; }
  const AnyModel& network() const { return model.folds[0].model; }
  SegmentInput input() const {
    SegmentInput in;
    for (const Volume<float>& v : scan) in.channels.push_back(&v);
    if (previous) in.previous = &*previous;
    return in;
  }
  std::vector<Index> shape(const std::string& stage) const {
    const auto n = stages.values<std::int64_t>(stage + ".shape");
    return {n.begin(), n.end()};
  }
  Volume<std::uint8_t> mask(const std::string& file = "mask.nii.gz") const {
    return io::read_volume<std::uint8_t>(kModels + name + "/" + file);
  }
};

/// Largest deviation of channels (all of one stage, in their order) from every stride-th value of nnU-Net's, as a share of the
/// largest of these; infinite where shapes differ.
double apart(const Case& c, const std::string& stage, const std::vector<Volume<float>>& found, std::size_t only = SIZE_MAX) {
  const std::vector<Index> shape = c.shape(stage);
  const auto stride = static_cast<Index>(std::stol(c.stages.metadata("stride")));
  const std::vector<float> want = c.stages.values<float>(stage);
  const Index voxels = shape[1] * shape[2] * shape[3];
  if (only == SIZE_MAX && std::ssize(found) != shape[0]) return std::numeric_limits<double>::infinity();
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const Index at = static_cast<Index>(i) * stride, channel = at / voxels;
    if (only != SIZE_MAX && channel != static_cast<Index>(only)) continue;
    const Volume<float>& v = found[only != SIZE_MAX ? 0 : static_cast<std::size_t>(channel)];
    if (!(v.shape() == Xyz<Index>{shape[3], shape[2], shape[1]})) return std::numeric_limits<double>::infinity();
    const double difference = std::abs(double{want[i]} - double{v.data()[at % voxels]});
    worst = difference <= worst ? worst : difference;   // NaN stays
    largest = std::max(largest, std::abs(double{want[i]}));
  }
  return worst / std::max(largest, 1.0);
}

template <class... Step> bool is_any(const PreprocessStep& step) { return (std::holds_alternative<Step>(step) || ...); }

std::vector<Volume<float>> channels_of(const Preprocessed& p) {
  std::vector<Volume<float>> all{p.image};
  all.insert(all.end(), p.more.begin(), p.more.end());
  return all;
}

/// The scan up to and with the last of some steps.
template <class... Step> Preprocessed until(const Case& c) {
  const std::vector<PreprocessStep>& steps = c.recipe().preprocess;
  std::size_t end = steps.size();
  while (end > 0 && !is_any<Step...>(steps[end - 1])) --end;
  REQUIRE(end > 0);
  return apply_steps(c.scan, {steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(end)});
}

/// Mean logits of folds, mirror images and windows, a volume for each channel.
template <AnySpec S> std::vector<Volume<float>> logits_of(const Case& c, const std::vector<Volume<float>>& image) {
  Context<Cpu> ctx{{.threads = 1, .accuracy = Accuracy::strict}};
  std::vector<const AnyNetwork<S>*> nets;
  for (const LoadedModel& m : c.model.folds)
    m.model.visit([&]<class Net>(const Net& net) {
      if constexpr (std::is_same_v<Net, AnyNetwork<S>>) nets.push_back(&net);
    });
  Looks<S> looks(ctx, nets, {.mirror = c.recipe().mirror});
  Shape<S::kDim> shape{S::kDim == 2 ? image[0].shape().z : 1, std::ssize(image), {}};
  std::copy_n(image[0].tensor_shape().space.end() - S::kDim, S::kDim, shape.space.begin());
  Tensor<float, S::kDim> x(shape);
  for (Index i = 0; i < x.shape().elements(); ++i)
    x.data()[i] = image[static_cast<std::size_t>(i % shape.c)].data()[i / shape.c];
  const auto y = sliding_window<S>(ctx, looks, x.view(), std::get<SlidingWindowOptions<S::kDim>>(c.recipe().sliding_window));
  std::vector<Volume<float>> all;
  for (Index channel = 0; channel < y.shape().c; ++channel) {
    all.emplace_back(image[0].grid());
    for (Index i = 0; i < image[0].grid().voxels(); ++i) all.back().data()[i] = y.data()[i * y.shape().c + channel];
  }
  return all;
}

/// A channel for each label that the first network of a cascade found.
void add_previous(const Case& c, const Preprocessed& prepared, std::vector<Volume<float>>& image) {
  const auto mask = prepared.to_prepared(*c.previous, {.interpolation = Interpolation::label_most});
  for (const Index label : c.recipe().previous_labels) {
    image.emplace_back(mask.grid());
    for (Index i = 0; i < mask.grid().voxels(); ++i) image.back().data()[i] = mask.data()[i] == label ? 1.f : 0.f;
  }
}

void check_stages(const Case& c) {
  const Preprocessed cropped = until<CropNonzero>(c);
  const double crop = apart(c, "crop", channels_of(cropped));
  const double normalized = apart(c, "normalized", channels_of(until<CtNormalization, ZScore, PerChannel>(c)));
  const Preprocessed whole = apply_steps(c.scan, c.recipe().preprocess);
  std::vector<Volume<float>> image = channels_of(whole);
  if (!c.recipe().previous_labels.empty()) add_previous(c, whole, image);
  const double prepared = apart(c, "prepared", image);
  const auto logits = c.network().dim() == 3 ? logits_of<Spec<float, 3, Cpu>>(c, image)
                                                   : logits_of<Spec<float, 2, Cpu>>(c, image);
  const double network = apart(c, "logits", logits);
  GridPath path(cropped.image.grid());
  if (!same_grid(whole.image.grid(), cropped.image.grid())) path.resampled_to(whole.image.grid(), SizeRule::nnunet);
  std::vector<Volume<float>> back;
  for (const Volume<float>& v : logits) back.push_back(path.to_original(v));
  const double resampled = apart(c, "resampled", back);
  MESSAGE(c.name << ": crop " << crop << ", normalized " << normalized << ", prepared " << prepared << ", logits " << network
                 << ", resampled " << resampled);
  CHECK(crop == 0);
  CHECK(normalized <= 1e-4);
  CHECK(prepared <= 1e-4);
  CHECK(network <= 1e-4);
  CHECK(resampled <= 1e-4);
}

double least_dice(const Volume<std::uint8_t>& a, const Volume<std::uint8_t>& b) {
  std::array<double, 256> both{}, either{};
  for (std::size_t i = 0; i < a.voxels().size(); ++i) {
    ++either[a.voxels()[i]], ++either[b.voxels()[i]];
    if (a.voxels()[i] == b.voxels()[i]) both[a.voxels()[i]] += 2;
  }
  double least = 1;
  for (std::size_t label = 0; label < 256; ++label)
    if (either[label] > 0) least = std::min(least, both[label] / either[label]);
  return least;
}

Index differing(const Volume<std::uint8_t>& a, const Volume<std::uint8_t>& b) {
  Index count = 0;
  for (std::size_t i = 0; i < a.voxels().size(); ++i) count += a.voxels()[i] != b.voxels()[i];
  return count;
}

void check_masks(const Case& c) {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<std::uint8_t> wanted = c.mask("mask_float_sums.nii.gz"), half = c.mask();
  const LabelRule& rule = c.recipe().decision;
  double worst = 0, least = 1;
  Index differ = 0;
  const std::size_t channels = static_cast<std::size_t>(c.network().out_channels());
  for (std::size_t channel = 0; channel < channels; ++channel) {
    const Index id = rule.kind == Decide::argmax ? c.recipe().labels[channel].id : rule.regions_order[channel];
    const Segmentation found = nnunet::segment(ctx, c.model, c.input(), {.probability_of = id});
    CHECK(same_grid(found.labels->grid(), wanted.grid()));
    worst = std::max(worst, apart(c, "probabilities", {*found.probability}, channel));
    least = std::min(least, least_dice(*found.labels, wanted));
    differ = differing(*found.labels, half);
  }
  MESSAGE(c.name << ": probabilities " << worst << ", Dice " << least << "; " << differ
                 << " voxels differ where nnU-Net sums windows in half precision, Dice " << least_dice(half, wanted));
  CHECK(worst <= 1e-3);
  CHECK(least >= 0.999);
  CHECK(differ <= std::stol(c.stages.metadata("voxels_that_half_changes")) + 1);
}

}   // namespace

TEST_CASE("nnU-Net folders give nnU-Net's stages, probabilities and masks") {
  for (const auto& [dataset, configuration] : {std::pair{"Dataset901_Even", "nnUNetTrainer__nnUNetPlans__3d_fullres"},
                                               {"Dataset901_Even", "nnUNetTrainer__nnUNetPlans__2d"},
                                               {"Dataset902_Thick", "nnUNetTrainer__nnUNetResEncUNetPlans__3d_fullres"},
                                               {"Dataset902_Thick", "nnUNetTrainer__nnUNetResEncUNetPlans__2d"},
                                               {"Dataset903_Regions", "nnUNetTrainer__nnUNetPlans__3d_fullres"},
                                               {"Dataset903_Regions", "nnUNetTrainer__nnUNetPlans__2d"},
                                               {"Dataset904_Cascade", "nnUNetTrainer__nnUNetPlans__3d_lowres"},
                                               {"Dataset904_Cascade", "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"}}) {
    const Case c(dataset, configuration);
    check_stages(c);
    check_masks(c);
  }
}

TEST_CASE("both networks of a cascade in one call") {
  const Case c("Dataset904_Cascade", "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres");
  Context<Cpu> ctx{{.threads = 2}};
  const Segmentation found = nnunet::segment(ctx, c.model, c.scan[0]);
  const double least = least_dice(*found.labels, c.mask("mask_float_sums.nii.gz"));
  MESSAGE("Dice " << least << " with a first mask of float sums");   // nnU-Net's second network saw one of half sums
  CHECK(least >= 0.998);
}

TEST_CASE("nnU-Net's postprocessing files do what nnU-Net does with them") {
  const std::string folder = kModels + "Dataset901_Even/nnUNetTrainer__nnUNetPlans__3d_fullres/";
  const auto before = io::read_volume<std::uint8_t>(folder + "mask.nii.gz");
  const auto wanted = io::read_volume<std::uint8_t>(folder + "mask_postprocessed.nii.gz");
  for (const char* file : {"postprocessing.json", "postprocessing.pkl"}) {
    const auto rules = nnunet::read_postprocessing(folder + "crossval_results_folds_0_1/" + file);
    MESSAGE(rules.size() << " rules change " << differing(before, wanted) << " voxels");
    CHECK(differing(apply_rules(before, rules), wanted) == 0);
  }
}
