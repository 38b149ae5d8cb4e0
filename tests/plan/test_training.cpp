// What training makes of a plan: the recipe that its files say, nnU-Net's preset, and its folds.
#include <ctseg/nnunet/model_recipe.hpp>
#include <ctseg/nnunet/plan_training.hpp>
#include <ctseg/ops/cpu.hpp>

#include "../io/temp_folder.hpp"
#include "plan_fixtures.hpp"

using namespace ctseg;
using namespace ctseg::nnunet;

TEST_CASE("every plan is read again as the network, the patch and the normalisation that it planned") {
  int read = 0;
  for (const plan_fixtures::Planned& p : plan_fixtures::all_planned()) {
    if (p.facts.image_reader_writer != "SimpleITKIO") continue;   // pictures are planned, not read
    for (const Json& planned : p.plans) {
      INFO(p.facts.name << " " << planned["preset"]);
      const ExperimentPlan plan = plan_experiment(p.fingerprint, p.facts, plan_fixtures::options_of(planned));
      const TrainedPlans plans = plans_from_json(json::parse(to_json(plan).dump(), "plans"), "plans");
      CHECK(plans.intensities.size() == p.facts.channel_names.size());
      for (const auto* wanted : {&plan.plan_2d, &plan.plan_3d_lowres, &plan.plan_3d_fullres}) {
        if (!*wanted) continue;
        const TrainedConfiguration found = plans.configuration((*wanted)->name);
        CHECK(found.patch_size == (*wanted)->network.patch_size);
        CHECK(found.spacing == (*wanted)->spacing);
        CHECK(found.normalization == plan.normalization_schemes);
        CHECK(found.members().get<Index>("batch_size") == (*wanted)->batch_size);
        const NetworkConfig network = found.network({std::ssize(p.facts.channel_names), p.facts.labels}, "nnUNetTrainer");
        CHECK(name_of(network) == (planned["preset"] == "default" ? "PlainConvUNet" : "ResidualEncoderUNet"));
        CHECK(dim_of(network) == found.dim());
        ++read;
      }
      if (plan.plan_3d_lowres) CHECK(plans.configuration("3d_cascade_fullres").previous_stage == "3d_lowres");
    }
  }
  CHECK(read >= 70);
}

TEST_CASE("folds keep the cases that nnU-Net's keep") {
  const Json all = plan_fixtures::read_json(plan_fixtures::folder() / "plans.json");
  for (const auto& [cases, folds] : all["validation"].items())
    CHECK(Json(validation_folds(static_cast<std::size_t>(std::stoi(cases)))) == folds);
  CHECK(error_of([] { validation_folds(4); }).find("4 cases for 5 folds") != std::string::npos);
}

TEST_CASE("the preset: nnU-Net's numbers") {
  using S = Spec<float, 3, Cpu>;
  CHECK(oversampled_share(2) == 0.5);
  CHECK(oversampled_share(12) == 4. / 12);
  CHECK(oversampled_share(3) == 1. / 3);
  const TrainingPreset preset{.batch = 2, .classes = 3, .batch_dice = true, .epochs = 10};
  const FitOptions<S> fit = training_options<S>(preset);
  CHECK(fit.batch == 2);
  CHECK(fit.epochs * fit.steps_per_epoch == 2500);
  CHECK(fit.clip_norm == 12);
  CHECK(fit.loss.takes_heads());
  const auto rate = [&](Index step) { return schedule_factor(fit.schedule, {step, 2500, 250}); };
  CHECK(rate(249) == 1);
  CHECK(rate(250) == doctest::Approx(std::pow(0.9, 0.9)));
  CHECK(rate(2499) == doctest::Approx(std::pow(0.1, 0.9)));
  CHECK(training_sgd().momentum == 0.99);
  CHECK(training_sgd().nesterov);
  const auto sampling = training_sampling(preset, Axes<3>({20, 256, 224}));
  CHECK(sampling.class_weights == std::vector<double>{0.5, 0.25, 0.25});
  CHECK(sampling.patch.value == std::array<Index, 3>{20, 256, 224});
  CHECK(sampling.augment.names() == AugmentOption(nnunet_recipe({20, 256, 224})).names());
  CHECK(training_sampling(preset, Axes<2>({64, 48})).class_weights[0] == 0.5);
}
