// The commands: what each may be told, and the function that does it. arguments.cpp fills these from the command line.
#pragma once
#include "volumes.hpp"

namespace cli {

struct InfoArguments {
  CaseOptions input{};
};
struct EvaluateArguments {
  std::string predictions{}, truths{}, images{}, output{};
  std::vector<double> spacing_mm{};
  std::vector<int> labels{};
  std::vector<std::string> names{};   // of labels 0, 1, ...
  std::string empty = "nan", empty_surface = "infinite", skip = "nan";
  double tolerance_mm = 1;
  bool surfaces = true, centerlines = false, common_only = false;
  std::vector<double> window_hu{-160, 240};
};
struct ExportArguments {
  CaseOptions input{};
  std::string output{}, format{}, dicom{};   // dicom: the series that a DICOM mask belongs to
  std::vector<int> labels{};
  std::vector<std::string> names{};
  int smooth = 15;
  double keep = 1;   // share of the triangles
  bool ras = false;
};
struct PreviewArguments {
  CaseOptions input{};
  std::string mask{}, truth{}, output{};
  std::vector<double> window_hu{-160, 240};
  int panel_pixels = 240;
  double fill = 0.4;
};
struct PhantomArguments {
  std::string kind{}, output{}, mask = "organs";
  std::uint64_t seed = 0;
  int count = 0;   // 0: one patient with all masks; else a data set
  std::vector<Index> shape{96, 96, 80};
  std::vector<double> spacing_mm{};
  double noise_hu = 15, blur_mm = 0, oblique_degrees = 0;
};
/// Which part of a model of nnU-Net.
struct NnunetArguments {
  std::string path{}, configuration{}, checkpoint = "checkpoint_final.pth", postprocessing{};
  std::vector<std::string> folds{};
};
struct SegmentArguments {
  CaseOptions input{};
  std::vector<std::string> channels{};   // behind the first one
  std::string previous{};                // mask of the first network of a cascade
  NnunetArguments nnunet{};
  bool mirroring = true;   // that of the model
  double step_size = 0;    // 0: the recipe's overlap
  std::vector<std::string> models{};
  std::string recipe{}, output{}, accuracy = "standard", max_memory{}, mirror{},
                                  average = "logits";   // mirror: letters of axes
  std::vector<double> window_hu{-160, 240}, scales{};
  double overlap = -1;   // below 0: the recipe's
  std::optional<double> skip_air{};
  std::optional<Index> nodules{};   // the label whose components are listed
  bool dry_run = false;
  std::string device = "auto";
};
struct ConvertArguments {
  std::string input{}, recipe{}, output{};
  NnunetArguments nnunet{};
};
struct TrainArguments {
  std::string config{}, output{};
  std::string plan{}, data{}, configuration = "3d_fullres", fold = "0";   // in place of config
  Index epochs = 1000, steps_per_epoch = 250;                              // of a plan
  std::string device = "auto", accuracy = "standard";
  std::uint64_t seed = 0;
  bool resume = false;
};
struct PlanArguments {
  std::string dataset{}, output{}, preset = "default", fingerprint{}, name{};
  double gpu_memory_gb = 0;           // 0: the preset's
  std::vector<double> spacing_mm{};   // x, y, z of 3d_fullres
};
struct BenchArguments {
  std::string name{};
  std::vector<Index> shape{512, 512, 512};   // x, y, z
  Index classes = 26;
  std::string max_memory{}, network = "stand-in", how = "blocks";
};
struct ViewArguments {
  CaseOptions input{};
  std::vector<std::string> models{};
  std::string mask{}, store{}, token_file{}, max_upload = "2G", device = "auto";
  int port = 0;
};

void info(const InfoArguments&, Console&);
void evaluate(const EvaluateArguments&, Console&);
void export_mask(const ExportArguments&, Console&);
void preview(const PreviewArguments&, Console&);
void phantom(const PhantomArguments&, Console&);
void segment(const SegmentArguments&, Console&);
void convert(const ConvertArguments&, Console&);
void train(const TrainArguments&, Console&);
void plan(const PlanArguments&, Console&);
void bench(const BenchArguments&, Console&);
void view(const ViewArguments&, Console&);

}   // namespace cli
