// A model folder from scan to mask, both networks of a cascade where it is the second one.
#pragma once
#include "../recipe/segment.hpp"
#include "model_folder.hpp"

namespace ctseg::nnunet {

/// All that a model folder needs to segment.
struct Cascade {
  std::vector<LoadedModel> folds{};
  std::vector<LoadedModel> first{};   // of the network before it; empty: there is none
};

namespace cascade {

inline std::vector<const LoadedModel*> pointers(const std::vector<LoadedModel>& models) {
  std::vector<const LoadedModel*> out;
  for (const LoadedModel& m : models) out.push_back(&m);
  return out;
}

/// Progress of one of two halves.
struct Half {
  ProgressSink all{};
  double begin = 0;
  static void tell(void* user, double fraction) {
    const Half& half = *static_cast<const Half*>(user);
    half.all.tell(half.all.user, half.begin + fraction / 2);
  }
};

}   // namespace cascade

/// The folder of the network before this one: beside it, of the same trainer and plans.
/// Errors    bad_input if it is not there.
template <class = void> std::filesystem::path folder_of_previous(const ModelFolder& f) {
  const Json plans = read_json(f.path / "plans.json");
  const TrainedPlans read = plans_from_json(plans, (f.path / "plans.json").string());
  const TrainedConfiguration c = read.configuration(read_checkpoint(f.checkpoints[0]).configuration);
  if (c.previous_stage.empty()) return {};
  const std::filesystem::path whole = std::filesystem::absolute(f.path).lexically_normal();
  const std::filesystem::path own = whole.has_filename() ? whole : whole.parent_path();
  const std::string name = own.filename().string();
  const std::size_t last = name.rfind("__");
  const std::filesystem::path previous =
      own.parent_path() / ((last == name.npos ? "" : name.substr(0, last + 2)) + c.previous_stage);
  if (!model_folder::is_there(previous / "plans.json"))
    throw Error(Code::bad_input, f.path.string(),
                text("is the second network of a cascade; the first one, ", c.previous_stage,
                     ", is not beside it: ", previous.string(), " has no plans.json."));
  return previous;
}

/// load_folder(), and for the second network of a cascade the first one too, with the same folds if they were chosen.
/// Errors    those of load_folder(); bad_input if the first network is not there.
template <class = void> Cascade load_cascade(const std::filesystem::path& path, const FolderOptions& o = {}) {
  Cascade all;
  const ModelFolder f = find_folder(path, o);
  const std::filesystem::path previous = folder_of_previous(f);
  if (!previous.empty()) all.first = load_folder(previous, {.folds = o.folds, .checkpoint = o.checkpoint});
  all.folds = load_folder(path, o);
  return all;
}

/// A scan and what is wanted of it.
struct CascadeInput {
  SegmentInput scan{};
  SegmentOptions options{};
};

/// The labels of a scan by a model folder, each of its networks wherever the caller wants it: run(models, input, options) is
/// segment() there. The first network of a cascade, then the second one with the first one's mask.
/// Errors    those of segment(); probability_of is the last network's alone.
template <class Run> Segmentation segment_by(const Cascade& model, const CascadeInput& wanted, Run run) {
  SegmentInput input = wanted.scan;
  const SegmentOptions& o = wanted.options;
  if (model.first.empty() || input.previous != nullptr) return run(cascade::pointers(model.folds), input, o);
  cascade::Half half{o.progress, 0};
  SegmentOptions part = o;
  if (o.progress.tell) part.progress = {cascade::Half::tell, &half};
  part.probability_of.reset();
  Segmentation first = run(cascade::pointers(model.first), input, part);
  if (o.dry_run) first.labels.emplace(input.channels[0]->grid());   // a plan does not depend on values
  half.begin = 0.5;
  input.previous = &*first.labels;
  part.probability_of = o.probability_of;
  Segmentation second = run(cascade::pointers(model.folds), input, part);
  second.plan = first.plan + second.plan;
  for (const auto member :
       {&SegmentSeconds::preprocess, &SegmentSeconds::network, &SegmentSeconds::stitch, &SegmentSeconds::resample,
        &SegmentSeconds::postprocess, &SegmentSeconds::total, &SegmentSeconds::spill})
    second.seconds.*member += first.seconds.*member;
  second.windows += first.windows, second.skipped += first.skipped, second.spilled += first.spilled;
  second.planned_memory = std::max(second.planned_memory, first.planned_memory);
  return second;
}

/// The same on the CPU.
template <class = void>
Segmentation segment(Context<Cpu>& ctx, const Cascade& model, const SegmentInput& input, const SegmentOptions& o = {}) {
  return segment_by(model, {input, o}, [&](const auto& models, const SegmentInput& scan, const SegmentOptions& part) {
    return ctseg::segment(ctx, models, scan, part);
  });
}
template <class = void>
Segmentation segment(Context<Cpu>& ctx, const Cascade& model, const Volume<float>& scan, const SegmentOptions& o = {}) {
  return segment(ctx, model, SegmentInput{.channels = {&scan}}, o);
}

}   // namespace ctseg::nnunet
