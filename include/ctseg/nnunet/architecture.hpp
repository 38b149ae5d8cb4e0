// The network that plans describe: PlainConvUNet and ResidualEncoderUNet by their arguments (nnU-Net 2.4 and later), or by the
// fewer numbers that older plans have. Everything else is refused by name: weights would fit nothing.
#pragma once
#include "../recipe/network_json.hpp"
#include "json_file.hpp"

namespace ctseg::nnunet {

/// What a network needs that its plans do not say.
struct NetworkChannels {
  Index in = 1, out = 2;
};

namespace architecture {

/// "PlainConvUNet" of "dynamic_network_architectures.architectures.unet.PlainConvUNet".
inline std::string last_name(const std::string& dotted) { return dotted.substr(dotted.rfind('.') + 1); }

/// Refuses a name, with the ones that are known.
[[noreturn]] inline void unknown(const json::Place& at, const std::string& what, std::string_view known) {
  throw Error(Code::unsupported, at.file,
              text(at.path, " is ", json::shown(Json(what)),
                   ", which is not among the networks that are known here: ", std::string(known), "."));
}

/// Arguments of a class: what is asked for is read; what is left over and not null is refused, it would change the network.
class Arguments {
 public:
  explicit Arguments(Members members) : members_(std::move(members)) {}

  const Members& members() const { return members_; }
  bool has(const char* key) { return known(key), members_.has(key); }
  template <class T> T get(const char* key, json::Range range = {}) { return known(key), members_.get<T>(key, range); }
  template <class T> T get_or(const char* key, T value, json::Range range = {}) {
    return known(key), members_.get_or<T>(key, value, range);
  }
  /// A list, or one number for all.
  template <class T> std::vector<T> list(const char* key, Index count, json::Range range) {
    known(key);
    const Json& j = members_.at(key);
    if (!j.is_array()) return std::vector<T>(static_cast<std::size_t>(count), members_.get<T>(key, range));
    auto values = members_.get<std::vector<T>>(key, range);
    if (std::ssize(values) != count) (members_.place() / key).fail(j, text("a list of ", count, " entries"));
    return values;
  }
  /// One of a few words, the last part of dotted names; null is "".
  std::string word(const char* key) {
    known(key);
    return members_.has(key) ? last_name(members_.get<std::string>(key)) : "";
  }
  void ignore(const char* key) { known(key); }
  void finish() const {
    for (const auto& [key, value] : members_.object().items())
      if (!value.is_null() && std::find(known_.begin(), known_.end(), key) == known_.end())
        throw Error(Code::unsupported, members_.place().file,
                    text(members_.place().path, " has ", json::shown(Json(key)), " = ", json::shown(value),
                         ", which is not known here; the network would be another one."));
  }

 private:
  void known(const char* key) { known_.push_back(key); }
  Members members_;
  std::vector<std::string> known_;
};

inline constexpr json::Range kStages{1, 64}, kWidth{1, 65536}, kSide{1, 64};

template <class Options> void read_style(Arguments& a, Options& o) {
  const std::string norm = a.word("norm_op"), activation = a.word("nonlin");
  const auto refuse = [&](const char* key, std::string_view known) {
    const json::Place at = a.members().place() / key;
    throw Error(Code::unsupported, at.file,
                text(at.path, " is ", json::shown(a.members().at(key)), "; known here are ", std::string(known), "."));
  };
  if (norm.starts_with("InstanceNorm"))
    o.norm = NormKind::instance;
  else if (norm.starts_with("BatchNorm"))
    o.norm = NormKind::batch;
  else if (norm.empty())
    o.norm = NormKind::none;
  else
    refuse("norm_op", "InstanceNorm, BatchNorm and null");
  o.affine = o.norm == NormKind::batch;   // PyTorch's default
  if (a.has("norm_op_kwargs")) {
    Arguments n(a.members().child("norm_op_kwargs"));
    o.eps = n.get_or("eps", o.eps, {0, 1});
    o.affine = n.get_or("affine", o.affine);
    n.ignore("momentum");
    const bool running = o.norm == NormKind::batch;   // statistics of training serve inference
    if (n.get_or("track_running_stats", running) != running)
      (n.members().place() / "track_running_stats").fail(!running, running ? "true" : "false");
    n.finish();
  }
  if (activation == "LeakyReLU")
    o.activation = leaky_relu();
  else if (activation == "ReLU")
    o.activation = {ActivationKind::relu};
  else
    refuse("nonlin", "LeakyReLU and ReLU");
  if (a.has("nonlin_kwargs")) {
    Arguments n(a.members().child("nonlin_kwargs"));
    if (activation == "LeakyReLU") o.activation.parameter = n.get_or("negative_slope", o.activation.parameter, {0, 1});
    n.ignore("inplace");
    n.finish();
  }
  o.conv_bias = a.get_or("conv_bias", false);
  for (const char* key : {"dropout_op", "dropout_op_kwargs", "deep_supervision"}) a.ignore(key);   // nothing without training
  if (a.get_or("nonlin_first", false)) refuse("nonlin_first", "false");
}

template <int Dim, class Options> NetworkOptions<Dim> read_network(Arguments& a, const NetworkChannels& channels) {
  Options o{.in_channels = channels.in, .out_channels = channels.out};
  const auto stages = a.get<Index>("n_stages", kStages);
  const std::string conv = a.word("conv_op");
  if (conv != text("Conv", Dim, "d"))
    (a.members().place() / "conv_op").fail(a.members().at("conv_op"), text("Conv", Dim, "d, as the patch has ", Dim, " axes"));
  o.features_per_stage = a.list<Index>("features_per_stage", stages, kWidth);
  o.kernel_sizes = a.list<Axes<Dim>>("kernel_sizes", stages, kSide);
  o.strides = a.list<Axes<Dim>>("strides", stages, kSide);
  if constexpr (requires { o.n_blocks_per_stage; }) {
    o.n_blocks_per_stage = a.list<Index>("n_blocks_per_stage", stages, kStages);
    o.stem_channels = a.get_or<Index>("stem_channels", 0, kWidth);
    if (a.get_or("squeeze_excitation", false)) (a.members().place() / "squeeze_excitation").fail(true, "false");
    a.ignore("squeeze_excitation_reduction_ratio");
    a.ignore("stochastic_depth_p");   // nothing without training
  } else {
    o.n_conv_per_stage = a.list<Index>("n_conv_per_stage", stages, kStages);
  }
  o.n_conv_per_stage_decoder = a.list<Index>("n_conv_per_stage_decoder", stages - 1, kStages);
  read_style(a, o);
  a.finish();
  return o;
}

/// Plans of nnU-Net 2.0 to 2.3, in the words of later ones.
inline Json of_older(const Members& c, Index dim) {
  const std::string name = c.get<std::string>("UNet_class_name");
  const auto stages = std::ssize(c.get<std::vector<Index>>("n_conv_per_stage_encoder", kStages));
  const Index base = c.get<Index>("UNet_base_num_features", kWidth), most = c.get<Index>("unet_max_num_features", kWidth);
  Json features = Json::array();
  for (Index i = 0, width = base; i < stages; ++i, width = std::min(2 * width, most)) features.push_back(std::min(width, most));
  return {{"network_class_name", name},
          {"arch_kwargs",
           {{"n_stages", stages},
            {"features_per_stage", features},
            {"conv_op", text("Conv", dim, "d")},
            {"kernel_sizes", c.at("conv_kernel_sizes")},
            {"strides", c.at("pool_op_kernel_sizes")},
            {name == "ResidualEncoderUNet" ? "n_blocks_per_stage" : "n_conv_per_stage", c.at("n_conv_per_stage_encoder")},
            {"n_conv_per_stage_decoder", c.at("n_conv_per_stage_decoder")},
            {"conv_bias", true},
            {"norm_op", text("InstanceNorm", dim, "d")},
            {"norm_op_kwargs", {{"eps", 1e-5}, {"affine", true}}},
            {"nonlin", "LeakyReLU"},
            {"nonlin_kwargs", {{"inplace", true}}}}}};
}

}   // namespace architecture

/// The network of one configuration, with a batch norm instead of its norm where the trainer puts one.
/// Errors    unsupported for networks, norms, activations and arguments that are not known here, by name; bad_input for what is
///           missing or out of range.
template <int Dim>
NetworkOptions<Dim> network_of(const Members& configuration, const NetworkChannels& channels, std::string_view trainer = "") {
  const bool newer = configuration.has("architecture");
  const Json older = newer ? Json() : architecture::of_older(configuration, Dim);
  const Members m = newer ? configuration.child("architecture") : Members(older, configuration.place());
  const auto dotted = m.get<std::string>("network_class_name");
  const std::string name = architecture::last_name(dotted);
  architecture::Arguments a(m.child("arch_kwargs"));
  NetworkOptions<Dim> network;
  if (name == "PlainConvUNet")
    network = architecture::read_network<Dim, PlainConvUNetOptions<Dim>>(a, channels);
  else if (name == "ResidualEncoderUNet")
    network = architecture::read_network<Dim, ResidualEncoderUNetOptions<Dim>>(a, channels);
  else
    architecture::unknown(newer ? m.place() / "network_class_name" : m.place() / "UNet_class_name", dotted,
                          "PlainConvUNet, ResidualEncoderUNet");
  if (trainer == "nnUNetTrainerBN")
    std::visit(
        [](auto& o) {
          if constexpr (requires {
                          o.eps;
                          o.norm;
                        })
            o.norm = NormKind::batch, o.eps = 1e-5f, o.affine = true;
        },
        network);
  return network;
}

}   // namespace ctseg::nnunet
