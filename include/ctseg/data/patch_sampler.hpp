// Patches for training: where to look is drawn by counter, so sample number n is the same on every machine and after every
// resume.
#pragma once
#include <span>

#include "../core/context.hpp"
#include "../core/finite.hpp"
#include "../core/parallel.hpp"
#include "../image/components.hpp"
#include "../ops/axes.hpp"
#include "augment/recipe.hpp"
#include "case.hpp"

namespace ctseg {

/// A patch is laid around a foreground voxel (label > 0) with probability positive / (positive + negative), else around a
/// background one: in its middle, unless the border of the volume is near.
template <int Dim> struct PatchSamplerOptions {
  Axes<Dim> patch = 96;   // z, y, x; a 2-D patch is a piece of an axial slice
  double positive = 1, negative = 1;
  // Of each label's class, background first, in place of positive and negative: how often it lies under the centre. What a case
  // lacks falls to the classes it has.
  std::vector<double> class_weights{};
  // Which foreground voxel: any, each as likely, so that what is large is seen most; or any of a connected component (in 3-D,
  // touching labels apart) that was drawn first, so that a lesion of 10 voxels, or a speck of one, counts like one of 10,000.
  bool by_component = false;
  // Whole voxels by which the patch may lie beside that, up to as many along each axis, the drawn voxel still in it: what is
  // always in the middle is soon looked for there alone. A move of RandAffine would do it too, but blur small things.
  Index off_centre = 0;
  float outside = 0;              // image value where a patch hangs over the border; the label there is 0
  AugmentOption augment{};        // what may happen to a patch; moves at its beginning read the case around the patch
  Executor* executor = nullptr;   // samples in parallel, with the same bits; unset: the calling thread
};

/// Draws patches from cases that it owns.
/// Errors    bad_argument without cases or with weights that are not probabilities; shape_mismatch if image and label differ;
///           fill: what a transform throws, with the name of the case.
template <AnySpec S> class PatchSampler {
 public:
  PatchSampler(std::vector<Case> cases, const PatchSamplerOptions<S::kDim>& options);

  Shape<S::kDim> shape(Index batch) const { return {batch, 1, options_.patch.value}; }
  const std::vector<Case>& cases() const { return cases_; }
  std::uint8_t largest_label() const {
    std::uint8_t most = 0;
    for (const Case& c : cases_) most = std::max(most, *std::max_element(c.label.voxels().begin(), c.label.voxels().end()));
    return most;
  }

  /// Its options and cases by name: what must be the same where a training goes on.
  std::vector<std::pair<std::string, std::string>> settings() const {
    std::string weights, names;
    for (const double w : options_.class_weights) weights += text(weights.empty() ? "" : " ", w);
    for (const Case& c : cases_) names += text(names.empty() ? "" : " ", c.name);
    if (names.size() > 80) {   // known by all of their letters (FNV-1a), told by the first
      std::uint64_t sum = 0xcbf29ce484222325;
      for (const char c : names) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3;
      names = names.substr(0, 60) + text(" ... #", sum);
    }
    std::vector<std::pair<std::string, std::string>> all{{"positive", text(options_.positive)},
                                                         {"negative", text(options_.negative)},
                                                         {"class_weights", weights.empty() ? "none" : weights},
                                                         {"outside", text(double{options_.outside})},
                                                         {"augment", options_.augment.names()},
                                                         {"cases", text(cases_.size(), ": ", names)}};
    // These only where they are in use: checkpoints of before do not say them.
    if (options_.by_component) all.emplace_back("by_component", "yes");
    if (options_.off_centre > 0) all.emplace_back("off_centre", text(options_.off_centre));
    return all;
  }

  using At = std::array<Index, 3>;   // z, y, x

  /// The case that sample `number` comes from, and where its patch begins there; that may be outside.
  struct Place {
    std::size_t index;
    At corner;
  };
  Place place(const RandomKey& key, Index number) const {
    RandomStream random({key.seed, static_cast<std::uint64_t>(number), kStream + key.op});
    const auto k = static_cast<std::size_t>(random.below(std::ssize(cases_)));
    At centre = draw_centre(k, random);
    if (options_.off_centre > 0)
      for (std::size_t d = 3 - S::kDim; d < 3; ++d) {
        const Index most = std::min(options_.off_centre, (patch()[d] - 1) / 2);
        centre[d] += random.below(2 * most + 1) - most;
      }
    return {k, corner_around(cases_[k], centre)};
  }
  const PatchSamplerOptions<S::kDim>& options() const { return options_; }

  /// Fills images [N, 1, patch] and labels with samples number first, first + 1, ...; returns the cases they came from.
  std::vector<std::size_t> fill(const RandomKey& key, Index first, Out<S> images, View<std::uint8_t, S::kDim> labels) const;

 private:
  static constexpr std::uint32_t kStream = 0x50415443;   // keeps these draws apart from every op's

  using Voxels = std::vector<std::uint32_t>;

  static Voxels foreground_of(const Volume<std::uint8_t>& label) {
    if (label.grid().voxels() > Index{0xffffffff})
      throw Error(Code::unsupported, "patch_sampler", text("a volume of ", label.shape(), " has more than 2^32 voxels."));
    Voxels at;
    for (std::size_t i = 0; i < label.voxels().size(); ++i)
      if (label.voxels()[i] > 0) at.push_back(static_cast<std::uint32_t>(i));
    return at;
  }

  /// Voxels as they are drawn from: each component's, or all as one.
  static std::vector<Voxels> pieces_of(Voxels voxels, const std::optional<Components>& components) {
    if (!components) return {std::move(voxels)};
    std::vector<Voxels> pieces(components->list.size());
    for (const std::uint32_t i : voxels) pieces[components->labels.voxels()[i] - 1].push_back(i);
    std::erase_if(pieces, [](const Voxels& piece) { return piece.empty(); });   // of other labels
    return pieces;
  }

  At draw_centre(std::size_t k, RandomStream& random) const {
    const Index at = options_.class_weights.empty() ? draw_by_sign(k, random) : draw_by_class(k, random);
    const auto& s = cases_[k].label.shape();
    return {at / (s.x * s.y), at / s.x % s.y, at % s.x};
  }

  Index draw_by_sign(std::size_t k, RandomStream& random) const {
    const Volume<std::uint8_t>& label = cases_[k].label;
    const auto& foreground = foreground_[k];
    const Index voxels = label.grid().voxels(), background = voxels - std::ssize(foreground);
    const bool want = random.uniform() * (options_.positive + options_.negative) < options_.positive;
    const bool positive = foreground.empty() ? false : background == 0 || want;   // falls back to the class there is
    if (!positive) return background_voxel(foreground, random.below(background));
    return pieces_.empty() ? one_of(foreground, random) : one_of(pieces_[k], random);
  }

  /// By weight among the classes that the case has; any voxel if it has none of those with a weight.
  Index draw_by_class(std::size_t k, RandomStream& random) const {
    const Index voxels = cases_[k].label.grid().voxels(), background = voxels - std::ssize(foreground_[k]);
    std::vector<double> weights = options_.class_weights;
    double sum = 0;
    for (std::size_t c = 0; c < weights.size(); ++c) {
      if (c == 0 ? background == 0 : by_class_[k][c].empty()) weights[c] = 0;
      sum += weights[c];
    }
    if (sum <= 0) return random.below(voxels);
    double at = random.uniform() * sum;
    std::size_t drawn = 0;
    for (std::size_t c = 0; c < weights.size() && at >= 0; ++c) {
      if (weights[c] > 0) drawn = c;
      at -= weights[c];
    }
    return drawn == 0 ? background_voxel(foreground_[k], random.below(background)) : one_of(by_class_[k][drawn], random);
  }
  static Index one_of(const Voxels& list, RandomStream& random) {
    return Index{list[static_cast<std::size_t>(random.below(std::ssize(list)))]};
  }
  static Index one_of(const std::vector<Voxels>& pieces, RandomStream& random) {
    return one_of(pieces.size() == 1 ? pieces[0] : pieces[static_cast<std::size_t>(random.below(std::ssize(pieces)))], random);
  }

  /// Voxel number `rank` among those that are not in the sorted list: before its k-th voxel there are list[k] - k others.
  static Index background_voxel(const Voxels& sorted, Index rank) {
    Index low = 0, high = std::ssize(sorted);
    while (low < high) {
      const Index k = (low + high) / 2;
      if (Index{sorted[static_cast<std::size_t>(k)]} - k > rank)
        high = k;
      else
        low = k + 1;
    }
    return rank + low;
  }

  At patch() const {
    At p = {1, 1, 1};
    std::copy(options_.patch.value.begin(), options_.patch.value.end(), p.end() - S::kDim);
    return p;
  }
  static At extent(const Case& c) { return {c.image.shape().z, c.image.shape().y, c.image.shape().x}; }

  /// The patch stays inside where it fits; a volume smaller than the patch sits in its middle.
  At corner_around(const Case& c, const At& centre) const {
    const At size = patch(), all = extent(c);
    At corner{};
    for (std::size_t d = 0; d < 3; ++d)
      corner[d] =
          size[d] >= all[d] ? -((size[d] - all[d]) / 2) : std::clamp<Index>(centre[d] - size[d] / 2, 0, all[d] - size[d]);
    return corner;
  }

  /// fill(address of the first voxel of a dense patch): sample n itself, where it is dense and of this type.
  template <class V, class To, class F> static void fill_sample(View<To, S::kDim> batch, Index n, F fill) {
    if constexpr (std::is_same_v<V, To>)
      if (batch.pitch == 1) return fill(batch.at(n, 0));
    std::vector<V> values(static_cast<std::size_t>(batch.shape.voxels()));
    fill(values.data());
    for (std::size_t i = 0; i < values.size(); ++i) batch.at(n, static_cast<Index>(i))[0] = To(values[i]);
  }

  void copy(const Case& c, const At& corner, Out<S> images, View<std::uint8_t, S::kDim> labels, Index n) const {
    const moves::BoxCut box{extent(c), corner, patch()};
    fill_sample<float>(images, n, [&](float* to) { moves::copy_box<float>(c.image.data(), box, options_.outside, to); });
    fill_sample<std::uint8_t>(
        labels, n, [&](std::uint8_t* to) { moves::copy_box<std::uint8_t>(c.label.data(), box, std::uint8_t{0}, to); });
  }

  /// Whatever a transform throws is told with the name of the case and the number of the sample.
  void augment(const Case& c, const At& corner, const RandomKey& key, Patch& p) const {
    p.size = patch();
    const PatchSource source{
        .image = c.image.data(), .label = c.label.data(), .size = extent(c), .corner = corner, .outside = options_.outside};
    const auto where = [&] { return text("case ", c.name, ", sample ", static_cast<std::size_t>(key.run)); };
    try {
      options_.augment(key, source, p);
    } catch (const Error& error) {
      throw Error(error.code(), where(), error.what());
    } catch (const std::bad_alloc&) {
      throw Error(Code::out_of_memory, where(), "no memory to augment it.");
    } catch (const std::exception& error) {
      throw Error(Code::bad_input, where(), text("a transform threw: ", error.what()));
    }
  }

  std::vector<Case> cases_;
  PatchSamplerOptions<S::kDim> options_;
  std::vector<Voxels> foreground_;                          // [case], sorted
  std::vector<std::vector<Voxels>> pieces_;                 // [case][component], with by_component
  std::vector<std::vector<std::vector<Voxels>>> by_class_;   // [case][label][component, or all as one], with class_weights
  std::shared_ptr<PatchPool> pool_ = std::make_shared<PatchPool>();
};

template <AnySpec S> PatchSampler<S>::PatchSampler(std::vector<Case> cases, const PatchSamplerOptions<S::kDim>& options)
    : cases_(std::move(cases)), options_(options) {
  if (cases_.empty()) throw Error(Code::bad_argument, "patch_sampler", "no cases to draw from.");
  const double sum = options.positive + options.negative;
  if (!is_finite(sum) || options.positive < 0 || options.negative < 0 || sum <= 0)
    throw Error(Code::bad_argument, "patch_sampler",
                text("positive = ", options.positive, ", negative = ", options.negative, "; both must be >= 0 and one > 0."));
  if (options.off_centre < 0)
    throw Error(Code::bad_argument, "patch_sampler", text("off_centre = ", options.off_centre, "; must be >= 0 voxels."));
  double of_classes = 0;
  for (const double w : options.class_weights) {
    of_classes += w;
    if (!is_finite(w) || w < 0)
      throw Error(Code::bad_argument, "patch_sampler", text("a class weight is ", w, "; all must be >= 0 and one > 0."));
  }
  if (!options.class_weights.empty() && !(is_finite(of_classes) && of_classes > 0))
    throw Error(Code::bad_argument, "patch_sampler", text("the class weights sum to ", of_classes, "; one must be > 0."));
  for (const Case& c : cases_) {
    if (!same_grid(c.image.grid(), c.label.grid()))
      throw Error(
          Code::shape_mismatch, "patch_sampler",
          text("case ", c.name, ": image is ", c.image.shape(), ", label ", c.label.shape(), "; both must lie on one grid."));
    foreground_.push_back(foreground_of(c.label));
    std::optional<Components> components;
    if (options.by_component) components = label_components(c.label, {.by_value = true, .executor = options.executor});
    if (options.class_weights.empty()) {
      if (components) pieces_.push_back(pieces_of(foreground_.back(), components));
      continue;
    }
    std::vector<Voxels> lists(options.class_weights.size());
    for (const std::uint32_t i : foreground_.back())
      if (const std::size_t label = c.label.voxels()[i]; label < lists.size()) lists[label].push_back(i);
    auto& by_label = by_class_.emplace_back(lists.size());
    for (std::size_t label = 0; label < lists.size(); ++label)
      if (!lists[label].empty()) by_label[label] = pieces_of(std::move(lists[label]), components);
  }
}

template <AnySpec S> std::vector<std::size_t> PatchSampler<S>::fill(const RandomKey& key, Index first, Out<S> images,
                                                                    View<std::uint8_t, S::kDim> labels) const {
  std::vector<std::size_t> used(static_cast<std::size_t>(images.shape.n));
  const auto one = [&](Index n) {
    const auto [k, corner] = place(key, first + n);
    used[static_cast<std::size_t>(n)] = k;
    if (options_.augment.empty()) {
      copy(cases_[k], corner, images, labels, n);
      return;
    }
    std::unique_ptr<Patch> p = pool_->take();
    augment(cases_[k], corner, {key.seed, static_cast<std::uint64_t>(first + n), key.op}, *p);
    fill_sample<float>(images, n, [&](float* to) { std::copy(p->image.begin(), p->image.end(), to); });
    fill_sample<std::uint8_t>(labels, n, [&](std::uint8_t* to) { std::copy(p->label.begin(), p->label.end(), to); });
    pool_->give(std::move(p));
  };
  if (options_.executor)
    parallel_for(*options_.executor, images.shape.n, one);
  else
    for (Index n = 0; n < images.shape.n; ++n) one(n);
  return used;
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class PatchSampler<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class PatchSampler<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
