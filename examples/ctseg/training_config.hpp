// How a network is trained, as configuration files say it: those of `ctseg train` and of the systems' programs. docs/training.md
// has the table.
#pragma once
#include <ctseg/data/augment/recipe.hpp>
#include <ctseg/optim/schedule.hpp>
#include <ctseg/recipe/json.hpp>
#include <ctseg/recipe/network.hpp>

namespace cli {

namespace cs = ctseg;
using cs::Index;

/// A sum of losses by their weights; 0 leaves one out. Of a network of one channel all are binary.
struct LossConfig {
  double dice = 1, ce = 1, smooth = 1e-5;
  bool background = true;                // in Dice, Tversky and clDice
  std::vector<double> class_weights{};   // of Dice and cross entropy, one a channel
  double focal = 0, gamma = 2;
  double tversky = 0, alpha = 0.3, beta = 0.7;   // what false positives and false negatives cost
  double boundary = 0;                           // beside others: a hundredth of them
  double cldice = 0;
  Index iterations = 3;   // of clDice's skeleton
};

struct TrainingConfig {
  Index steps = 1000, epochs = 0;      // epochs above 0 count instead of steps
  Index steps_per_epoch = 0;           // 0: as many as it takes to draw one sample per case
  Index batch = 2;                     // patches a step
  std::vector<Index> patch{};          // z, y, x, or y, x; unset: the recipe's window
  double positive = 1, negative = 1;   // share of patches around foreground and background
  std::vector<double> sampling{};      // in their place: how often each class lies under the centre
  bool by_component = false;           // large and small connected pieces of foreground alike, in place of voxels alike
  Index off_centre = 0;                // voxels that a patch may then be moved by: else what is sought lies in its middle
  std::string augment = "none";        // augmentation() knows the others
  LossConfig loss{};
  std::string optimizer = "adamw";   // adam, adamw
  double learning_rate = 1e-3, weight_decay = 1e-4, clip_norm = 0;
  std::string schedule = "cosine";   // constant, cosine, poly, exponential, step
  double factor = 0.95;              // of exponential and step
  Index every = 1;                   // of exponential and step: epochs from one move to the next
  Index warm_up = 0;                 // epochs for exponential and step, else steps
  Index max_memory_mb = 0;           // above 0: stages are computed again in backward, then batches halved, to fit
  Index workers = 0, patience = 0;   // threads that draw samples ahead; validations without a better score, 0: any number
  Index validate_every = 0;          // steps; 0: at the end
  Index checkpoint_every = 0;        // steps; 0: 500
};

template <class F> void fields(LossConfig& l, F& f) {
  f("dice", l.dice, cs::json::Range{0, 100});
  f("ce", l.ce, cs::json::Range{0, 100});
  f("smooth", l.smooth, cs::json::Range{0, 100});
  f("background", l.background);
  f("class_weights", l.class_weights, cs::json::Range{0, 1e6});
  f("focal", l.focal, cs::json::Range{0, 100});
  f("gamma", l.gamma, cs::json::Range{0, 10});
  f("tversky", l.tversky, cs::json::Range{0, 100});
  f("alpha", l.alpha, cs::json::Range{0, 1});
  f("beta", l.beta, cs::json::Range{0, 1});
  f("boundary", l.boundary, cs::json::Range{0, 100});
  f("cldice", l.cldice, cs::json::Range{0, 100});
  f("iterations", l.iterations, cs::json::Range{0, 100});
}
template <class F> void fields(TrainingConfig& t, F& f) {
  f("steps", t.steps, cs::json::Range{1, 1e8});
  f("epochs", t.epochs, cs::json::Range{0, 1e6});
  f("steps_per_epoch", t.steps_per_epoch, cs::json::Range{0, 1e6});
  f("batch", t.batch, cs::json::Range{1, 1024});
  f("patch", t.patch, cs::json::Range{1, 4096});
  f("positive", t.positive, cs::json::Range{0, 1e6});
  f("negative", t.negative, cs::json::Range{0, 1e6});
  f("sampling", t.sampling, cs::json::Range{0, 1e6});
  f("by_component", t.by_component);
  f("off_centre", t.off_centre, cs::json::Range{0, 4096});
  f("augment", t.augment);
  f("loss", t.loss);
  f("optimizer", t.optimizer);
  f("learning_rate", t.learning_rate, cs::json::Range{0, 100});
  f("weight_decay", t.weight_decay, cs::json::Range{0, 100});
  f("clip_norm", t.clip_norm, cs::json::Range{0, 1e9});
  f("schedule", t.schedule);
  f("factor", t.factor, cs::json::Range{0, 1});
  f("every", t.every, cs::json::Range{1, 1e8});
  f("warm_up", t.warm_up, cs::json::Range{0, 1e8});
  f("max_memory_mb", t.max_memory_mb, cs::json::Range{0, 1e9});
  f("workers", t.workers, cs::json::Range{0, 256});
  f("patience", t.patience, cs::json::Range{0, 1e6});
  f("validate_every", t.validate_every, cs::json::Range{0, 1e8});
  f("checkpoint_every", t.checkpoint_every, cs::json::Range{0, 1e8});
}

/// What a configuration says of augmentation and learning rate.
cs::Recipe augmentation(const TrainingConfig& t);
cs::Schedule schedule_of(const TrainingConfig& t);
/// Before anything is read that takes time.
/// Errors    bad_input with file, key and value for names that are not known, and lists that do not fit the network.
void check(const TrainingConfig& t, const cs::NetworkConfig& network, const std::string& file);

}   // namespace cli
