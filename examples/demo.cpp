// The whole way in one program: make patients, train a small network to find the liver, segment patients it has never seen,
// and write the mask, a picture and the numbers. With a scan as argument it segments that as well.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include <ctseg/ctseg.hpp>
#include <ctseg/data/phantom.hpp>

namespace cs = ctseg;
using cs::Index;
using S = cs::Spec<float, 3, cs::Cpu>;

namespace {

constexpr double kSpacingMm = 6;   // what the network sees; masks come back on the scan's own grid
constexpr Index kPatch = 48;       // voxels: 288 mm, enough to know where in the body one is
constexpr std::array<Index, 6> kFeatures{8, 16, 32, 64, 64, 8};
constexpr std::uint64_t kUnseen = 1000;   // seeds of the patients that are not trained on

struct Arguments {
  std::string scan, out = "demo_out";
  int threads = 0;
  Index steps = 240;
  std::uint64_t seed = 1;
  int patients = 24, unseen = 5;
};

[[noreturn]] void usage(const std::string& complaint) {
  std::fprintf(stderr,
               "ctseg_demo: %s\nusage: ctseg_demo [SCAN.nii.gz] [--out DIR] [--steps N] [--patients N] [--unseen N] [--threads "
               "N] [--seed N]\n",
               complaint.c_str());
  std::exit(2);
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      if (!a.scan.empty()) usage("two scans given: " + a.scan + " and " + word);
      a.scan = word;
      continue;
    }
    if (i + 1 == argc) usage(word + " needs a value");
    const std::string value = argv[++i];
    const auto number = [&](long low) {
      char* end = nullptr;
      const long n = std::strtol(value.c_str(), &end, 10);
      if (end == value.c_str() || *end != 0 || n < low || n > 1000000)
        usage(word + " " + value + ": must be a whole number from " + std::to_string(low));
      return n;
    };
    if (word == "--out")
      a.out = value;
    else if (word == "--steps")
      a.steps = number(1);
    else if (word == "--patients")
      a.patients = static_cast<int>(number(1));
    else if (word == "--unseen")
      a.unseen = static_cast<int>(number(1));
    else if (word == "--threads")
      a.threads = static_cast<int>(number(0));
    else if (word == "--seed")
      a.seed = static_cast<std::uint64_t>(number(0));
    else
      usage("unknown option " + word);
  }
  return a;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// What lies beside the weights: with it `ctseg segment` and `ctseg view` take them as a model (docs/recipes.md).
nlohmann::json recipe() {
  return {{"ctseg_recipe", 1},
          {"about", {{"name", "demo: liver, of phantoms only"}, {"training_data", "synthetic patients"}}},
          {"network", {{"network", "BasicUNet"}, {"dim", 3}, {"in_channels", 1}, {"out_channels", 2}, {"features", kFeatures}}},
          {"preprocess",
           {{{"step", "Reorient"}, {"codes", "RAS"}},
            {{"step", "Spacing"}, {"spacing_mm", {{"x", kSpacingMm}, {"y", kSpacingMm}, {"z", kSpacingMm}}}},
            {{"step", "WindowHu"}, {"low", -160}, {"high", 240}}}},
          {"sliding_window", {{"window", kPatch}}},
          {"labels", {{{"id", 0}, {"name", "background"}}, {{"id", 1}, {"name", "liver"}}}}};
}

cs::Volume<float> prepare(const cs::Volume<float>& ct) {
  return cs::preprocess(ct, {.spacing_mm = {.x = kSpacingMm, .y = kSpacingMm, .z = kSpacingMm}, .window_hu = {-160, 240}});
}

/// A patient to train on: the phantom's scan as the network sees it, with the liver as label 1.
cs::Case training_case(std::uint64_t seed, cs::Executor& executor) {
  const cs::Phantom phantom = cs::make_phantom({.seed = seed, .shape = {68, 68, 70}, .spacing_mm = {6, 6, 6}}, &executor);
  cs::Volume<float> image = prepare(phantom.ct);
  auto label = cs::resample_like(cs::mask_of(phantom, cs::Organ::liver), image);
  return {"phantom_" + std::to_string(seed), std::move(image), std::move(label)};
}

/// An unseen patient as a scanner might deliver it: thick slices, a turned grid.
cs::Phantom unseen_patient(std::uint64_t seed, cs::Executor& executor) {
  return cs::make_phantom({.seed = kUnseen + seed, .shape = {128, 128, 84}, .spacing_mm = {3.2, 3.2, 5}, .oblique_degrees = 5},
                          &executor);
}

struct Segmentation {
  cs::Volume<std::uint8_t> mask;
  double seconds;
};

/// The mask on the scan's own grid: logits are made at the network's spacing, resampled, and decided there.
Segmentation segment(cs::Context<cs::Cpu>& ctx, const cs::BasicUNet<S>& net, const cs::Volume<float>& ct) {
  const double start = now();
  const cs::Volume<float> x = prepare(ct);
  cs::Predictor<cs::BasicUNet<S>> predict(ctx, net, {1, 1, {kPatch, kPatch, kPatch}});
  const auto logits = cs::sliding_window<S>(ctx, predict, {x.data(), x.tensor_shape(), 1}, {.window = kPatch});
  cs::Volume<float> margin(x.grid());
  for (Index v = 0; v < x.grid().voxels(); ++v) margin.data()[v] = logits.data()[2 * v + 1] - logits.data()[2 * v];
  const cs::Volume<float> fine = cs::resample_like(margin, ct, {.outside = -1, .executor = &ctx.executor()});
  cs::Volume<std::uint8_t> mask(ct.grid());
  for (std::size_t v = 0; v < mask.voxels().size(); ++v) mask.voxels()[v] = fine.voxels()[v] > 0;
  return {std::move(mask), now() - start};
}

void show_progress(const cs::FitProgress& p) {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal)
    std::fprintf(stderr, "\r%s   %s", cs::text(p).c_str(), p.step == p.steps ? "\n" : "");
  else if (p.step % 40 == 0 || p.step == p.steps)
    std::fprintf(stderr, "%s\n", cs::text(p).c_str());
}

struct Score {
  double dice, iou, threshold_dice, volume_ml, true_ml;
};

void print_row(const std::string& name, const Score& s) {
  std::printf("  %-12s %6.3f %6.3f   %9.3f   %8.0f %8.0f\n", name.c_str(), s.dice, s.iou, s.threshold_dice, s.volume_ml,
              s.true_ml);
}

int run(const Arguments& a) {
  const double start = now();
  cs::Context<cs::Cpu> ctx{{.threads = a.threads, .seed = a.seed, .log = {[](void*, std::string_view line) {
                                                                    std::fprintf(stderr, "%.*s\n",
                                                                                 static_cast<int>(line.size()), line.data());
                                                                  }}}};
  // Read the user's scan first: a bad file must not cost a training.
  std::optional<cs::Volume<float>> scan;
  if (!a.scan.empty()) scan = cs::io::read_volume<float>(a.scan);

  const std::filesystem::path out = a.out;
  std::filesystem::create_directories(out);
  cs::io::write_file(out / "run.json", {});   // a folder that cannot be written to must not cost one either

  std::fprintf(stderr, "making %d patients ...\n", a.patients);
  std::vector<cs::Case> cases;
  for (int k = 0; k < a.patients; ++k) cases.push_back(training_case(static_cast<std::uint64_t>(k), ctx.executor()));
  const cs::PatchSampler<S> patches{std::move(cases), {.patch = kPatch, .positive = 2, .negative = 1}};

  cs::BasicUNet<S> net{{.in_channels = 1, .out_channels = 2, .features = kFeatures}};
  net.initialize(ctx);
  cs::AdamW<S> adam{net.parameters(), {.learning_rate = 4e-3, .weight_decay = 1e-4}};
  std::fprintf(stderr, "training a BasicUNet of %lld parameters on %d threads (%s) ...\n",
               static_cast<long long>(cs::parameter_count(net)), ctx.executor().threads(), cs::text(ctx.traits().isa).c_str());
  auto observer = cs::on_step(show_progress);
  const cs::FitResult fitted = cs::fit(ctx, net, adam, patches,
                                       {.steps = a.steps,
                                        .batch = 2,
                                        .loss = cs::dice_ce(),
                                        .schedule = {.kind = cs::ScheduleKind::cosine, .warm_up = 10},
                                        .observer = &observer});

  const auto write_result = [&](const cs::Volume<float>& ct, const Segmentation& s) {
    cs::io::write_nifti(out / "mask.nii.gz", s.mask);
    cs::io::write_png(out / "preview.png", cs::io::preview(ct, s.mask, {.window_hu = {-160, 240}}));
  };
  std::printf("\n  patient        Dice    IoU   threshold  volume/ml  true/ml\n");
  Score mean{};
  double segment_seconds = 0;
  nlohmann::json rows = nlohmann::json::array();
  for (int k = 0; k < a.unseen; ++k) {
    const cs::Phantom patient = unseen_patient(static_cast<std::uint64_t>(k), ctx.executor());
    const auto truth = cs::mask_of(patient, cs::Organ::liver);
    const Segmentation s = segment(ctx, net, patient.ct);
    const cs::Overlap o = cs::overlap(s.mask, truth);
    const Score score{o.dice(), o.iou(), cs::best_threshold_dice(patient.ct, truth).dice, cs::volume_ml(s.mask),
                      cs::volume_ml(truth)};
    print_row("unseen " + std::to_string(k), score);
    rows.push_back({{"dice", score.dice},
                    {"iou", score.iou},
                    {"threshold_dice", score.threshold_dice},
                    {"volume_ml", score.volume_ml},
                    {"true_volume_ml", score.true_ml}});
    mean.dice += score.dice / a.unseen;
    mean.iou += score.iou / a.unseen;
    mean.threshold_dice += score.threshold_dice / a.unseen;
    segment_seconds += s.seconds;
    if (k == 0 && !scan) {
      write_result(patient.ct, s);
      cs::io::write_nifti(out / "ct.nii.gz", patient.ct);
    }
  }
  std::printf("  %-12s %6.3f %6.3f   %9.3f\n", "mean", mean.dice, mean.iou, mean.threshold_dice);

  nlohmann::json report = {{"schema", 1},
                           {"tool", "ctseg_demo"},
                           {"version", cs::kVersion},
                           {"threads", ctx.executor().threads()},
                           {"isa", cs::text(ctx.traits().isa)},
                           {"seed", a.seed},
                           {"steps", fitted.steps},
                           {"loss", fitted.loss},
                           {"parameters", cs::parameter_count(net)},
                           {"unseen", rows}};
  report["metrics"] = {{"dice", mean.dice}, {"iou", mean.iou}, {"threshold_dice", mean.threshold_dice}};
  if (scan) {
    const Segmentation s = segment(ctx, net, *scan);
    write_result(*scan, s);
    report["case"] = {{"input", a.scan}, {"volume_ml", cs::volume_ml(s.mask)}, {"seconds", s.seconds}};
    std::printf(
        "\n  %s: %.0f ml marked in %.1f s. The network has seen synthetic patients only: on a real scan this shows the way, "
        "not a result.\n",
        a.scan.c_str(), cs::volume_ml(s.mask), s.seconds);
    segment_seconds += s.seconds;
  }
  cs::io::save_weights(out / "weights.safetensors", net);
  const std::string words = recipe().dump(2) + "\n";
  cs::io::write_file(out / "recipe.json", std::as_bytes(std::span(words)));
  report["seconds"] = {{"train", fitted.seconds}, {"segment", segment_seconds}, {"total", now() - start}};
  report["peak_memory_mb"] = peak_memory_mb();
  report["outputs"] = {"mask.nii.gz", "preview.png", "weights.safetensors", "recipe.json", "run.json"};
  const std::string json = report.dump(2) + "\n";
  cs::io::write_file(out / "run.json", std::as_bytes(std::span(json)));

  std::printf("\n  trained %.0f s, segmented %.1f s, all %.0f s, %.0f MB at most\n", fitted.seconds, segment_seconds,
              now() - start, peak_memory_mb());
  for (const char* name : {"mask.nii.gz", "preview.png", "run.json", "weights.safetensors", "recipe.json"})
    std::printf("  %s\n", (out / name).c_str());
  const std::string seen = scan ? a.scan : (out / "ct.nii.gz").string();
  std::printf("\n  to look at it:  ./run ctseg view %s --mask %s -m %s\n", seen.c_str(), (out / "mask.nii.gz").c_str(),
              (out / "weights.safetensors").c_str());
  return 0;
}

}   // namespace

int main(int argc, char** argv) try { return run(parse(argc, argv)); } catch (const cs::Error& e) {
  std::fprintf(stderr, "ctseg_demo: error: %s\n", e.what());
  return e.code() == cs::Code::out_of_memory ? 4 : e.code() == cs::Code::cancelled ? 130 : 3;
} catch (const std::exception& e) {
  std::fprintf(stderr, "ctseg_demo: error: %s\n", e.what());
  return 1;
}
