// Training on real CT beside MONAI: prepares the scans for both, writes the initial weights for both, and trains and judges
// the arm of ctseg. real_ct_monai.py is the other arm, with the same recipe; real_ct.sh runs them and makes the table.
//   ctseg_bench_real_ct prepare DATA FOLDER           DATA has verse/ and lung_tumour/ (see tests: CTSEG_TEST_DATA)
//   ctseg_bench_real_ct init FOLDER SEED              FOLDER/init_SEED.safetensors
//   ctseg_bench_real_ct train FOLDER TASK SEED STEPS  prints a line of JSON; TASK is one of kTasks
//   ctseg_bench_real_ct judge FOLDER TASK WEIGHTS     Dice of weights that either arm wrote
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <ctseg/data/augment/recipe.hpp>
#include <ctseg/image/preprocess.hpp>
#include <ctseg/infer/sliding_window.hpp>
#include <ctseg/io/nifti.hpp>
#include <ctseg/io/npy.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/metrics/overlap.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

namespace cs = ctseg;
using S = cs::Spec<float, 3, cs::Cpu>;
using Path = std::filesystem::path;

namespace {

struct Task {
  const char *name, *test;
  std::vector<const char*> train;
};
const Task kTasks[] = {{"spine_005_007", "verse007", {"verse005"}},
                       {"spine_007_005", "verse005", {"verse007"}},
                       {"lung_12_3", "lung3", {"lung1", "lung2"}}};

// The recipe, as in real_ct_monai.py.
constexpr cs::Index kPatch = 48;
constexpr double kSpacingMm = 2, kLearningRate = 2e-3, kWeightDecay = 1e-5;
const cs::BasicUNetOptions kNetwork{.features = {16, 16, 32, 64, 128, 16}};
cs::Recipe recipe() {
  return {{
      cs::RandFlip{.probability = 0.5, .axes = {.x = true}},
      cs::RandAffine{.probability = 0.5, .degrees = cs::all_axes(cs::symmetric(15)), .scale = cs::all_axes(cs::symmetric(0.1))},
      cs::RandScaleIntensity{.probability = 0.5, .factor = cs::symmetric(0.1)},
      cs::RandGaussianNoise{.probability = 0.3, .std = 0.05},
  }};
}

/// One scan at 2 mm, its window between 0 and 1, and what is looked for as label 1.
void prepare(const Path& ct, const Path& labels, cs::WindowHu window, const Path& to) {
  const auto scan = cs::io::read_nifti<float>(ct);
  auto mask = cs::io::read_nifti<std::uint8_t>(labels);
  for (auto& v : mask.voxels()) v = v > 0;
  const auto x = cs::preprocess(scan, {.spacing_mm = {.x = kSpacingMm, .y = kSpacingMm, .z = kSpacingMm}, .window_hu = window});
  const auto y = cs::resample_like(mask, x);
  cs::io::write_npy_volume(to.string() + "_image.npy", x);
  cs::io::write_npy_volume(to.string() + "_label.npy", y);
  std::printf("%s: %s voxels, %lld of them foreground\n", to.filename().c_str(), cs::text(x.shape()).c_str(),
              static_cast<long long>(cs::overlap(y, y).tp));
}

void prepare_all(const Path& data, const Path& folder) {
  std::filesystem::create_directories(folder);
  for (const char* number : {"005", "007"}) {
    const std::string stem = (data / "verse/sub-verse").string() + number;
    prepare(stem + "_ct.nii.gz", stem + "_seg-vert_msk.nii.gz", {-200, 800}, folder / (std::string("verse") + number));
  }
  for (const char* number : {"1", "2", "3"}) {
    const std::string stem = (data / "lung_tumour/lungpat").string() + number;
    prepare(stem + "_ct.nii.gz", stem + "_gtv.nii.gz", {-1000, 400}, folder / (std::string("lung") + number));
  }
}

cs::Case read_case(const Path& folder, const std::string& name) {
  const cs::io::ReadOptions options{.affine = cs::io::affine_of_spacing({kSpacingMm, kSpacingMm, kSpacingMm})};
  return {name, cs::io::read_npy_volume<float>(folder / (name + "_image.npy"), options),
          cs::io::read_npy_volume<std::uint8_t>(folder / (name + "_label.npy"), options)};
}

const Task& task_of(const std::string& name) {
  for (const Task& t : kTasks)
    if (name == t.name) return t;
  throw cs::Error(cs::Code::bad_argument, "real_ct",
                  cs::text("no task ", name, "; there are ", kTasks[0].name, ", ", kTasks[1].name, ", ", kTasks[2].name, "."));
}

double judge(cs::Context<cs::Cpu>& ctx, const cs::BasicUNet<S>& net, const cs::Case& c) {
  return cs::overlap(cs::sliding_window_labels(ctx, net, c.image, {.window = kPatch}), c.label).dice();
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}
/// Linux's figures, in MB.
double resident(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::atof(line.c_str() + key.size() + 1) * 1024 / 1e6;
  return 0;
}

/// Numbers of JSON, three digits each.
std::string list(const std::vector<double>& values) {
  std::string all;
  for (const double v : values) {
    char one[32];
    std::snprintf(one, sizeof one, "%s%.4f", all.empty() ? "" : ", ", v);
    all += one;
  }
  return "[" + all + "]";
}

void train(const Path& folder, const Task& task, std::uint64_t seed, cs::Index steps) {
  constexpr cs::Index kParts = 25;   // of the loss curve
  const double idle = resident("VmRSS");
  cs::Context<cs::Cpu> ctx{{.threads = 2, .seed = seed}};
  cs::BasicUNet<S> net{kNetwork};
  cs::io::load_weights(folder / cs::text("init_", seed, ".safetensors"), net);
  std::vector<cs::Case> cases;
  for (const char* name : task.train) cases.push_back(read_case(folder, name));
  const cs::PatchSampler<S> patches(std::move(cases), {.patch = kPatch, .augment = recipe()});
  cs::AdamW<S> adam(net.parameters(), {.learning_rate = kLearningRate, .weight_decay = kWeightDecay});
  std::vector<double> curve;
  double sum = 0;
  auto watch = cs::on_step([&](const cs::FitProgress& p) {
    sum += p.last_loss;
    if (const cs::Index part = std::max<cs::Index>(steps / kParts, 1); p.step % part == 0) {
      curve.push_back(sum / static_cast<double>(part)), sum = 0;
      std::fprintf(stderr, "%s\n", cs::text(p).c_str());
    }
  });
  const double start = now(), cpu_start = cpu_seconds();
  cs::fit(ctx, net, adam, patches, {.steps = steps, .schedule = {.kind = cs::ScheduleKind::cosine}, .observer = &watch});
  const double wall = now() - start, cpu = cpu_seconds() - cpu_start, memory = resident("VmHWM") - idle;
  cs::io::save_weights(folder / cs::text(task.name, "_", seed, "_ctseg.safetensors"), net);
  const double judge_start = now(), dice = judge(ctx, net, read_case(folder, task.test)), judge_seconds = now() - judge_start;
  std::vector<double> seen;
  for (const cs::Case& c : patches.cases()) seen.push_back(judge(ctx, net, c));
  std::printf(R"({"task": "%s", "arm": "ctseg", "seed": %llu, "steps": %lld, "dice": %.4f, "dice_seen": %s, )"
              R"("seconds": %.1f, "cpu_seconds": %.1f, "memory_mb": %.0f, "judge_seconds": %.2f, "loss": %s})"
              "\n",
              task.name, static_cast<unsigned long long>(seed), static_cast<long long>(steps), dice, list(seen).c_str(), wall,
              cpu, memory, judge_seconds, list(curve).c_str());
}

}   // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> a(argv + 1, argv + argc);
  if (a.size() == 3 && a[0] == "prepare") {
    prepare_all(a[1], a[2]);
  } else if (a.size() == 3 && a[0] == "init") {
    cs::BasicUNet<S> net{kNetwork};
    cs::initialize_default(net, std::stoull(a[2]));
    cs::io::save_weights(Path(a[1]) / ("init_" + a[2] + ".safetensors"), net);
  } else if (a.size() == 5 && a[0] == "train") {
    train(a[1], task_of(a[2]), std::stoull(a[3]), std::stoll(a[4]));
  } else if (a.size() == 4 && a[0] == "judge") {
    cs::Context<cs::Cpu> ctx{{.threads = 2}};
    cs::BasicUNet<S> net{kNetwork};
    cs::io::load_weights(a[3], net);
    std::printf("%.4f\n", judge(ctx, net, read_case(a[1], task_of(a[2]).test)));
  } else {
    std::puts(
        "usage: ctseg_bench_real_ct prepare DATA FOLDER | init FOLDER SEED | train FOLDER TASK SEED STEPS |\n"
        "                           judge FOLDER TASK WEIGHTS");
    return 2;
  }
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
