// A training on the disk: everything that is needed to go on with the same bits, in one safetensors file with a checksum.
#pragma once
#include <charconv>
#include <cmath>
#include <optional>

#include "../io/safetensors.hpp"
#include "../optim/optimizer.hpp"
#include "../optim/weight_average.hpp"

namespace ctseg {

/// What a training knows beside weights and moments. Samples, dropout and schedule follow the number of the step and the seed.
struct TrainingState {
  Index step = 0;                                                     // steps done
  std::uint64_t seed = 0;                                             // of the context
  double loss_mean = 0, loss_weight = 0;                              // the running mean of the loss
  double epoch_loss = 0;                                              // sum over the steps of this epoch that were not skipped
  Index epoch_steps = 0, epoch_skipped = 0;                           // how many these are, and the others
  double loss_scale = 1;                                              // of the loss scaler
  Index scale_steps = 0;                                              // good ones since it changed
  double last_score = std::numeric_limits<double>::quiet_NaN();       // of the last validation
  double score = std::numeric_limits<double>::quiet_NaN();            // smoothed score of the validations
  double best_score = std::numeric_limits<double>::quiet_NaN();       // the best of these
  double patience_score = std::numeric_limits<double>::quiet_NaN();   // what the next must beat by min_delta
  Index best_step = -1, validations_since_better = 0;
  Index validated_step = -1;   // the last one that was judged
  Index skipped_in_a_row = 0;
  double seconds = 0, last_loss = 0;               // of all steps up to here; NaN where an older checkpoint did not say
  Index batch = 0, accumulate = 0;                 // which samples belong to which step
  std::map<std::string, std::string> settings{};   // what must be the same where a training goes on
  std::map<std::string, std::string> notes{};      // the caller's: configuration, labels, ...
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

  /// f(values) for each, to be written: weights count as changed.
  template <class F> void overwrite(F f) {
    for (const Place& place : places_) {
      if (place.values.data() == place.parameter.values().data()) place.parameter.edit();
      f(place.values);
    }
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
  f("epoch_loss", s.epoch_loss), f("epoch_steps", s.epoch_steps), f("epoch_skipped", s.epoch_skipped);
  f("loss_scale", s.loss_scale), f("scale_steps", s.scale_steps), f("last_score", s.last_score);
  f("best_score", s.best_score), f("best_step", s.best_step), f("patience_score", s.patience_score);
  f("validations_since_better", s.validations_since_better);
  f("validated_step", s.validated_step), f("skipped_in_a_row", s.skipped_in_a_row), f("batch", s.batch);
  f("accumulate", s.accumulate), f("seconds", s.seconds), f("last_loss", s.last_loss);
}
/// What checkpoints of version 2 did not say at first.
inline bool may_be_missing(const std::string& field) { return field == "seconds" || field == "last_loss"; }

/// The same; of the loss, which another processor may compute a little differently, the first digits.
inline bool same_setting(const std::string& name, const std::string& a, const std::string& b) {
  const auto number = [](const std::string& s, double& value) {
    const auto end = s.data() + s.size();
    const auto result = std::from_chars(s.data(), end, value);
    return result.ec == std::errc{} && result.ptr == end;
  };
  double x = 0, y = 0;
  if (a == b || !name.starts_with("loss (")) return a == b;
  return number(a, x) && number(b, y) && std::abs(x - y) <= 1e-4 * std::max(std::abs(x), std::abs(y));
}

/// "clip_norm = 12, here 1; average = 0.999, here none"; empty if all are the same, or one side knows none.
inline std::string differences(const std::map<std::string, std::string>& then, std::map<std::string, std::string> now) {
  std::string out;
  if (then.empty() || now.empty()) return out;
  const auto differ = [&](const std::string& name, const std::string& before, const std::string& here) {
    if (!same_setting(name, before, here))
      out += text(out.empty() ? "" : "; ", io::printable(name), " = ", io::printable(before), ", here ", io::printable(here));
  };
  for (const auto& [name, value] : then) {
    const auto at = now.find(name);
    differ(name, value, at == now.end() ? "unset" : at->second);
    if (at != now.end()) now.erase(at);
  }
  for (const auto& [name, value] : now) differ(name, "unset", value);
  return out;
}

}   // namespace detail

/// Writes a training whole or not at all: weights ("model."), the optimizer's moments, averages, state, a checksum.
/// Errors    io; the file that was there before is then untouched.
template <class Net, class Optimizer>
void save_checkpoint(const std::filesystem::path& path, const TrainingParts<Net, Optimizer>& parts, TrainingState state) {
  io::TensorFile file = detail::TrainingTensors<Net, Optimizer>(parts).to_file();
  file.metadata["ctseg.checkpoint"] = "2";
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
  for (const auto& [key, value] : state.settings) file.metadata["setting." + key] = value;
  file.metadata["ctseg.checksum"] = detail::checksum(file);
  io::write_safetensors(path, file);
}

/// Puts a training back as it was saved. Everything is checked before anything changes.
/// Errors    bad_input for a damaged file, one that is no checkpoint, or one of another network, optimizer or average;
///           bad_argument if seed, batch, accumulate or a setting are not those `expected`, where it says them.
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
  if (field("checkpoint") != "2")
    throw Error(Code::bad_input, path.string(),
                text("is a checkpoint of version ", io::printable(field("checkpoint")), "; this library reads version 2."));
  if (field("checksum") != detail::checksum(file))
    throw Error(Code::bad_input, path.string(), "has a wrong checksum. Hint: the file is damaged; use an earlier one.");
  const auto read = [&]<class T>(const char* name, T& value) {
    if (detail::may_be_missing(name) && !file.metadata.contains(std::string("ctseg.") + name))
      return void(value = std::numeric_limits<T>::quiet_NaN());
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
    if (key.starts_with("note."))
      state.notes[key.substr(5)] = value;
    else if (key.starts_with("setting."))
      state.settings[key.substr(8)] = value;
  if (field("optimizer") != parts.optimizer.name())
    throw Error(Code::bad_input, path.string(),
                text("is the checkpoint of another training: its optimizer is ", io::printable(field("optimizer")), ", here ",
                     parts.optimizer.name(), "."));
  if (expected && (state.seed != expected->seed || state.batch != expected->batch || state.accumulate != expected->accumulate))
    throw Error(Code::bad_argument, path.string(),
                text("was made with seed ", state.seed, " and ", state.accumulate, " batch(es) of ", state.batch,
                     " a step, this training has seed ", expected->seed, " and ", expected->accumulate, " of ", expected->batch,
                     ". Hint: the same seed, batch, accumulate and max_memory; or another folder."));
  if (const std::string changed = expected ? detail::differences(state.settings, expected->settings) : ""; !changed.empty())
    throw Error(
        Code::bad_argument, path.string(),
        text("was made with ", changed,
             ". Hint: the same options; CheckpointOptions::allow_changes = true goes on with these; or another folder."));
  detail::TrainingTensors<Net, Optimizer>(parts).from_file(path, file);
  parts.optimizer.set_steps(optimizer_steps);
  if (parts.average) parts.average->set_updates(average_updates);
  return state;
}

}   // namespace ctseg
