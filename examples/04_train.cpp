// Lesson 4: train and watch. The four lines that every training is made of; then `fit`, which adds what they lack: a learning
// rate that moves, validation on whole scans, a table, a curve. The network learns to find the liver of made-up patients at
// 8 mm; at the end it sees one that it has not seen before.
//
// A whole scan is too large to train on, so patches are cut out of it; later the network goes over the scan window by window. The
// loss is cross entropy, which judges each voxel, plus 1 - Dice, where Dice = 2 |A and B| / (|A| + |B|) says how well the mask A
// and the true one B overlap, however small they are.
#include <cstdio>

#include <ctseg/ctseg.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/train/log.hpp>
#include <ctseg/train/validate.hpp>

namespace cs = ctseg;
using cs::Index;
using S = cs::Spec<float, 3, cs::Cpu>;
using Net = cs::BasicUNet<S>;

/// What the network sees of a patient: 8 mm voxels, -160 .. 240 HU as 0 .. 1, and the liver as label 1.
cs::Case patient(std::uint64_t seed, cs::Context<cs::Cpu>& ctx) {
  const cs::Phantom p = cs::make_phantom({.seed = seed, .shape = {50, 50, 52}, .spacing_mm = {8, 8, 8}}, &ctx.executor());
  cs::Volume<float> image = cs::preprocess(p.ct, {.spacing_mm = {.x = 8, .y = 8, .z = 8}, .window_hu = {-160, 240}});
  auto liver = cs::resample_like(cs::mask_of(p, cs::Organ::liver), image);
  return {"patient_" + std::to_string(seed), std::move(image), std::move(liver)};
}

/// A loop of one's own. Everything is there to be looked at, changed, or left out.
double train_by_hand(cs::Context<cs::Cpu>& ctx, Net& net, const cs::PatchSampler<S>& patches, Index steps) {
  cs::Tensor<float, 3> images(patches.shape(2));   // two patches: N, C, D, H, W = 2, 1, 32, 32, 32
  cs::Tensor<std::uint8_t, 3> labels(patches.shape(2));
  cs::AdamW<S> adam(net.parameters(), {.learning_rate = 4e-3});
  cs::Gradients<S> gradients(net.parameters());
  double last = 0;
  for (Index step = 0; step < steps; ++step) {
    patches.fill({ctx.seed(), 0, 0}, step * 2, images, labels);   // samples are numbered: the same on every run
    gradients.zero();
    cs::Tape<S> tape(cs::Mode::train, ctx);
    const auto logits = net.forward(tape.input(images.view()));         // 1. forward
    const auto loss = cs::dice_ce(logits, tape.input(labels.view()));   // 2. loss
    tape.backward(loss, gradients);                                     // 3. backward
    adam.step(ctx, gradients);                                          // 4. step
    last = loss.scalar();
  }
  return last;
}

int main(int count, char** words) try {
  const Index steps = count > 1 ? std::atoi(words[1]) : 80;
  cs::Context<cs::Cpu> ctx({.threads = 2, .seed = 42});
  std::vector<cs::Case> known, held_out;
  for (const std::uint64_t seed : {1, 2, 3, 4}) known.push_back(patient(seed, ctx));
  held_out.push_back(patient(100, ctx));
  const cs::PatchSampler<S> patches(known, {.patch = 32, .positive = 1, .negative = 1});

  const cs::BasicUNetOptions shape{.in_channels = 1, .out_channels = 2, .features = {8, 8, 16, 32, 32, 8}};
  Net first(shape), net(shape);
  first.initialize(ctx);
  std::printf("by hand: loss %.3f after 5 steps\n", train_by_hand(ctx, first, patches, 5));

  // Observers are told what happens; one of them judges. Derive from FitObserver for anything else.
  auto line = cs::on_step([](const cs::FitProgress& p) {
    if (p.step % 20 == 0) std::printf("%s\n", text(p).c_str());
  });
  cs::TextLog table("04_train.csv", cs::TextLogFormat::csv);
  cs::LearningCurve curve;
  cs::DiceValidation<Net> dice(ctx, net, held_out, {.window = 32});   // whole scans, window after window
  cs::FitObservers all({&line, &table, &curve, &dice});

  net.initialize(ctx);
  cs::AdamW<S> adam(net.parameters(), {.learning_rate = 1e-2, .weight_decay = 1e-4});
  const cs::FitResult result = cs::fit(ctx, net, adam, patches,
                                       {.steps = steps,
                                        .batch = 2,
                                        .loss = cs::dice_ce(),
                                        .schedule = {.kind = cs::ScheduleKind::cosine, .warm_up = 4},
                                        .clip_norm = 12,
                                        .validate_every = 40,
                                        .observer = &all});
  curve.write("04_train.svg");   // .checkpoints = {.folder = "run", .every = 500} would make it a training that resumes
  cs::io::save_weights("04_train.safetensors", net);

  const cs::Volume<std::uint8_t> found = cs::sliding_window_labels(ctx, net, held_out[0].image, {.window = 32});
  std::printf("loss %.3f, best mean Dice %.3f; a patient it never trained on: Dice %.3f, %.0f ml of %.0f\n", result.loss,
              result.best_score, cs::overlap(found, held_out[0].label).dice(), cs::volume_ml(found),
              cs::volume_ml(held_out[0].label));
  std::printf("watched in 04_train.csv and 04_train.svg, learnt is 04_train.safetensors\n");
  return result.steps == steps && (steps < 80 || result.best_score > 0.5) ? 0 : 1;
} catch (const cs::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
