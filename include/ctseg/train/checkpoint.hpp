// A training on the disk: everything that is needed to go on with the same bits, in one safetensors file with a checksum.
#pragma once
#include <signal.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "../io/safetensors.hpp"
#include "../optim/optimizer.hpp"
#include "../optim/weight_average.hpp"

namespace ctseg {

/// What a training knows beside weights and moments. Samples, dropout and schedule follow the number of the step and the seed.
struct TrainingState {
  Index step = 0;                                                 // steps done
  std::uint64_t seed = 0;                                         // of the context
  double loss_mean = 0, loss_weight = 0;                          // the running mean of the loss
  double score = std::numeric_limits<double>::quiet_NaN();        // smoothed score of the validations
  double best_score = std::numeric_limits<double>::quiet_NaN();   // the best of these
  Index best_step = -1, validations_since_best = 0;
  Index validated_step = -1;   // the last one that was judged
  Index skipped_in_a_row = 0;
  Index batch = 0, accumulate = 0;              // which samples belong to which step
  std::map<std::string, std::string> notes{};   // the caller's: configuration, labels, ...
};

/// What is saved and loaded: a network, its optimizer, and the average of its weights if there is one.
template <class Net, class Optimizer> struct TrainingParts {
  Net& net;
  Optimizer& optimizer;
  WeightAverage<typename Net::Spec>* average = nullptr;
};

namespace detail {

/// A double as text and back, every bit kept.
inline std::string exact(double value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

/// The tensors of a training by name, filled in either direction.
template <class Net, class Optimizer> class TrainingTensors {
  using S = typename Net::Spec;
  using Acc = typename S::Acc;

 public:
  explicit TrainingTensors(const TrainingParts<Net, Optimizer>& parts) {
    visit(parts.net, [&](const std::string& name, Parameter<S>& p) {
      add("model." + name, p, {const_cast<Acc*>(p.values().data()), p.values().size()});   // written by from_file alone
    });
    const auto name_of = [&](const Parameter<S>& p, std::size_t k) {
      std::string found = text("#", k);   // not of this network
      visit(parts.net, [&](const std::string& name, const Parameter<S>& own) {
        if (own.values().data() == p.values().data()) found = name;
      });
      return found;
    };
    const auto owned = parts.optimizer.parameters();
    parts.optimizer.each_moment([&](std::size_t m, std::size_t k, std::span<Acc> values) {
      add(text("optimizer.", m, ".") + name_of(*owned[k], k), *owned[k], values);
    });
    if (!parts.average) return;
    auto& averaged = parts.average->parameters();
    for (std::size_t k = 0; k < averaged.size(); ++k)
      add("average." + name_of(averaged[k], k), averaged[k], parts.average->averages()[k]);
  }

  io::TensorFile to_file() const {
    io::TensorFile file;
    for (const Place& place : places_) {
      io::TensorRecord record{.name = place.name, .dtype = dtype_of<Acc>(), .shape = place.parameter.shape()};
      record.bytes.resize(place.values.size() * sizeof(Acc));
      for_file_order(place.parameter, [&](Index memory, Index at) {
        std::memcpy(record.bytes.data() + static_cast<std::size_t>(at) * sizeof(Acc),
                    &place.values[static_cast<std::size_t>(memory)], sizeof(Acc));
      });
      file.tensors.push_back(std::move(record));
    }
    return file;
  }

  /// Errors    bad_input if a tensor is missing, left over or of another shape; nothing has changed then.
  void from_file(const std::filesystem::path& path, const io::TensorFile& file) {
    std::map<std::string, const io::TensorRecord*> found;
    for (const auto& record : file.tensors) found[record.name] = &record;
    const auto refuse = [&](const std::string& what) {
      throw Error(Code::bad_input, path.string(), text("is the checkpoint of another training: ", what, "."));
    };
    for (const Place& place : places_) {
      const auto at = found.find(place.name);
      if (at == found.end()) refuse(text("it has no ", io::printable(place.name)));
      if (at->second->shape != place.parameter.shape() || at->second->dtype != dtype_of<Acc>())
        refuse(text(io::printable(place.name), " is ", io::shape_text(at->second->shape), " of ", at->second->dtype, ", here ",
                    io::shape_text(place.parameter.shape()), " of ", dtype_of<Acc>()));
    }
    if (found.size() != places_.size()) refuse(text("it has ", found.size(), " tensors, here are ", places_.size()));
    for (const Place& place : places_) {
      const auto& bytes = found[place.name]->bytes;
      if (place.values.data() == place.parameter.values().data()) place.parameter.edit();   // counts as a change
      for_file_order(place.parameter, [&](Index memory, Index at) {
        std::memcpy(&place.values[static_cast<std::size_t>(memory)], bytes.data() + static_cast<std::size_t>(at) * sizeof(Acc),
                    sizeof(Acc));
      });
    }
  }

 private:
  struct Place {
    std::string name;
    Parameter<S>& parameter;   // shape and order
    std::span<Acc> values;
  };
  void add(std::string name, Parameter<S>& p, std::span<Acc> values) { places_.push_back({std::move(name), p, values}); }
  std::vector<Place> places_;
};

/// Over all tensors in the order of their names, and over what is said about them.
inline std::string checksum(const io::TensorFile& file) {
  std::map<std::string, const io::TensorRecord*> sorted;
  for (const auto& record : file.tensors) sorted[record.name] = &record;
  auto sum = ::crc32_z(0, nullptr, 0);
  const auto add = [&](const void* data, std::size_t bytes) { sum = ::crc32_z(sum, static_cast<const Bytef*>(data), bytes); };
  for (const auto& [name, record] : sorted) add(name.data(), name.size()), add(record->bytes.data(), record->bytes.size());
  for (const auto& [key, value] : file.metadata)
    if (key != "ctseg.checksum") add(key.data(), key.size()), add(value.data(), value.size());
  return text(static_cast<std::uint64_t>(sum));
}

/// One field of the state as metadata, in either direction.
template <class F> void each_field(TrainingState& s, F f) {
  f("step", s.step), f("seed", s.seed), f("loss_mean", s.loss_mean), f("loss_weight", s.loss_weight), f("score", s.score);
  f("best_score", s.best_score), f("best_step", s.best_step), f("validations_since_best", s.validations_since_best);
  f("validated_step", s.validated_step), f("skipped_in_a_row", s.skipped_in_a_row), f("batch", s.batch);
  f("accumulate", s.accumulate);
}

}   // namespace detail

/// Writes a training whole or not at all: weights ("model."), the optimizer's moments, averages, state, a checksum.
/// Errors    io; the file that was there before is then untouched.
template <class Net, class Optimizer>
void save_checkpoint(const std::filesystem::path& path, const TrainingParts<Net, Optimizer>& parts, TrainingState state) {
  io::TensorFile file = detail::TrainingTensors<Net, Optimizer>(parts).to_file();
  file.metadata["ctseg.checkpoint"] = "1";
  detail::each_field(state, [&]<class T>(const char* name, T& value) {
    if constexpr (std::is_same_v<T, double>)
      file.metadata[std::string("ctseg.") + name] = detail::exact(value);
    else
      file.metadata[std::string("ctseg.") + name] = text(value);
  });
  file.metadata["ctseg.optimizer"] = parts.optimizer.name();
  file.metadata["ctseg.optimizer_steps"] = text(parts.optimizer.steps());
  file.metadata["ctseg.average_updates"] = text(parts.average ? parts.average->updates() : Index{0});
  for (const auto& [key, value] : state.notes) file.metadata["note." + key] = value;
  file.metadata["ctseg.checksum"] = detail::checksum(file);
  io::write_safetensors(path, file);
}

/// Puts a training back as it was saved. Everything is checked before anything changes.
/// Errors    bad_input for a damaged file, one that is no checkpoint, or one of another network, optimizer or average;
///           bad_argument if seed, batch or accumulate are not those `expected`, where it says them.
template <class Net, class Optimizer> TrainingState load_checkpoint(const std::filesystem::path& path,
                                                                    const TrainingParts<Net, Optimizer>& parts,
                                                                    const std::optional<TrainingState>& expected = {}) {
  const io::TensorFile file = io::read_safetensors(path);
  const auto field = [&](const std::string& name) -> const std::string& {
    const auto at = file.metadata.find("ctseg." + name);
    if (at == file.metadata.end())
      throw Error(Code::bad_input, path.string(), text("is no checkpoint: it does not say ctseg.", name, "."));
    return at->second;
  };
  if (field("checkpoint") != "1" || field("checksum") != detail::checksum(file))
    throw Error(Code::bad_input, path.string(), "has a wrong checksum. Hint: the file is damaged; use an earlier one.");
  const auto read = [&]<class T>(const char* name, T& value) {
    const std::string& digits = field(name);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ec != std::errc{} || result.ptr != digits.data() + digits.size())
      throw Error(Code::bad_input, path.string(),
                  text("says ctseg.", name, " = ", io::printable(digits), "; must be a number."));
  };
  TrainingState state;
  Index optimizer_steps = 0, average_updates = 0;
  detail::each_field(state, read);
  read("optimizer_steps", optimizer_steps), read("average_updates", average_updates);
  for (const auto& [key, value] : file.metadata)
    if (key.starts_with("note.")) state.notes[key.substr(5)] = value;
  if (field("optimizer") != parts.optimizer.name())
    throw Error(Code::bad_input, path.string(),
                text("is the checkpoint of another training: its optimizer is ", io::printable(field("optimizer")), ", here ",
                     parts.optimizer.name(), "."));
  if (expected && (state.seed != expected->seed || state.batch != expected->batch || state.accumulate != expected->accumulate))
    throw Error(Code::bad_argument, path.string(),
                text("was made with seed ", state.seed, " and ", state.accumulate, " batch(es) of ", state.batch,
                     " a step, this training has seed ", expected->seed, " and ", expected->accumulate, " of ", expected->batch,
                     ". Hint: the same seed, batch, accumulate and max_memory; or another folder."));
  detail::TrainingTensors<Net, Optimizer>(parts).from_file(path, file);
  parts.optimizer.set_steps(optimizer_steps);
  if (parts.average) parts.average->set_updates(average_updates);
  return state;
}

struct CheckpointOptions {
  std::filesystem::path folder{};   // empty: none are written
  Index every = 500;                // steps; also at the end, when cancelled, and before an error ends the training
  Index keep = 2;                   // the newest ones; best.safetensors stays beside them
  bool resume = true;               // go on from the newest one in the folder that is whole; else the folder must have none
};

/// The checkpoints of one training: step_000001200.safetensors.
class CheckpointFolder {
 public:
  /// Errors    io if the folder cannot be made; bad_argument for options out of range.
  explicit CheckpointFolder(const CheckpointOptions& options) : options_(options) {
    if (options.every < 1 || options.keep < 1)
      throw Error(Code::bad_argument, "checkpoints",
                  text("every = ", options.every, ", keep = ", options.keep, "; both must be 1 or more."));
    std::error_code error;
    std::filesystem::create_directories(options_.folder, error);
    if (error) throw Error(Code::io, options_.folder.string(), text("cannot be made: ", error.message(), "."));
    for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error)) {   // what a killed one was writing
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(".ctseg-") || !name.ends_with(".tmp")) continue;
      const auto writer = static_cast<::pid_t>(std::atoll(name.c_str() + 7));
      if (writer > 0 && ::kill(writer, 0) != 0 && errno == ESRCH) std::filesystem::remove(entry.path(), error);
    }
  }

  /// Oldest first.
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> all;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error))
      if (step_of(entry.path()) >= 0) all.push_back(entry.path());
    if (error) throw Error(Code::io, options_.folder.string(), text("cannot be listed: ", error.message(), "."));
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return step_of(a) < step_of(b); });
    return all;
  }

  template <class Net, class Optimizer>
  void save(const TrainingParts<Net, Optimizer>& parts, const TrainingState& state) const {
    char name[40];
    std::snprintf(name, sizeof name, "step_%09lld.safetensors", static_cast<long long>(state.step));
    save_checkpoint(options_.folder / name, parts, state);
    auto all = files();
    std::error_code ignored;   // what cannot be removed costs space, not the training
    for (; step_of(all.back()) > state.step; all.pop_back()) std::filesystem::remove(all.back(), ignored);   // damaged ones
    for (std::size_t k = 0; k + static_cast<std::size_t>(options_.keep) < all.size(); ++k)
      std::filesystem::remove(all[k], ignored);
  }

  /// The newest checkpoint that is whole; damaged ones are named to `log`. None: nothing to go on from.
  /// Errors    bad_input if there are checkpoints and none of them can be used; bad_argument if there are some and
  ///           CheckpointOptions::resume forbids to go on.
  template <class Net, class Optimizer> std::optional<TrainingState> resume(const TrainingParts<Net, Optimizer>& parts,
                                                                            const TrainingState& expected,
                                                                            const LogSink& log) const {
    const auto all = files();
    if (all.empty()) return std::nullopt;
    if (!options_.resume)
      throw Error(Code::bad_argument, options_.folder.string(),
                  text("holds ", all.size(),
                       " checkpoint(s) of an earlier training. Hint: CheckpointOptions::resume = true "
                       "goes on with it; or name another folder."));
    std::string reasons;
    for (std::size_t k = all.size(); k-- > 0;) {
      try {
        return load_checkpoint(all[k], parts, expected);
      } catch (const Error& error) {
        if (error.code() == Code::bad_argument) throw;
        reasons.append(" ").append(error.what());
        if (log.write) log.write(log.user, text("fit: not resumed: ", error.what()));
      }
    }
    throw Error(Code::bad_input, options_.folder.string(), "none of its checkpoints can be used:" + reasons);
  }

  std::filesystem::path best() const { return options_.folder / "best.safetensors"; }
  const CheckpointOptions& options() const { return options_; }

 private:
  /// -1: not the name of a checkpoint.
  static Index step_of(const std::filesystem::path& path) {
    const std::string name = path.filename().string(), end = ".safetensors";
    if (!name.starts_with("step_") || !name.ends_with(end) || name.size() <= 5 + end.size()) return -1;
    Index step = 0;
    const char *first = name.data() + 5, *last = name.data() + name.size() - end.size();
    const auto result = std::from_chars(first, last, step);
    return result.ec == std::errc{} && result.ptr == last && step >= 0 ? step : -1;
  }

  CheckpointOptions options_;
};

}   // namespace ctseg
