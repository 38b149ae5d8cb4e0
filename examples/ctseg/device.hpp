// Where networks run: the CPU, or a card where the program was built with ctseg::cuda and the machine has one.
#pragma once
#include <ctseg/recipe/segment.hpp>

namespace cli {

namespace cs = ctseg;

/// A card with its context; device_on.cpp has the only one.
class Card {
 public:
  virtual ~Card() = default;
  virtual std::string name() const = 0;   // "cuda:0, NVIDIA H200"
  /// For those who include <ctseg/cuda.hpp>.
  virtual cs::Context<cs::Cuda>& context() = 0;
  /// Other work, of other options, in the same context.
  virtual void begin(const cs::ContextOptions& options) = 0;
  virtual cs::Segmentation segment(const std::vector<const cs::LoadedModel*>& models, const cs::SegmentInput& input,
                                   const cs::SegmentOptions& options) = 0;
};
/// Why there is none; empty: there is one.
std::string why_no_card();
/// Errors    device where there is none.
std::unique_ptr<Card> make_card(const cs::ContextOptions& options);

/// Of --device.
struct DeviceChoice {
  bool may_be_card = true, must_be_card = false;
  int number = 0;
};
/// auto, cpu, cuda or cuda:N.
/// Errors    bad_argument for anything else.
DeviceChoice device_named(const std::string& words);
/// Of --accuracy: strict, standard or fast.
/// Errors    bad_argument for anything else.
cs::Accuracy accuracy_named(const std::string& words);

/// What a choice comes to on this machine. With auto, whatever a card refuses (no driver, not enough memory) the CPU does.
/// Between two calls the card keeps its context and what that knows of convolutions, and nothing else. One thread at a time.
class Device {
 public:
  /// Errors    device where the choice must be a card and there is none.
  Device(const DeviceChoice& choice, const cs::ContextOptions& options);

  /// Other work from here on, with its own stop token, log, seed and accuracy; threads and the card's context stay. A card that
  /// refused what came before is asked again.
  void begin(cs::ContextOptions options);

  /// The CPU: what is beside the networks, and the networks if there is no card.
  cs::Context<cs::Cpu>& host() { return host_; }
  /// The card's context; null where networks run on the CPU.
  cs::Context<cs::Cuda>* card() { return on_card_ ? &card_->context() : nullptr; }
  /// Where networks run: "cpu", or a card's name.
  std::string name() const { return on_card_ ? card_->name() : "cpu"; }
  /// Why not on a card; empty where they do, or where nobody asked for one.
  const std::string& reason() const { return reason_; }
  /// What the card has refused the CPU is to do, and all that comes after.
  /// Errors    the error itself, where the choice must be a card or no other device would do better.
  void leave_card(const cs::Error& refusal);

  /// As cs::segment; the plan begins with the device.
  cs::Segmentation segment(const std::vector<const cs::LoadedModel*>& models, const cs::SegmentInput& input,
                           const cs::SegmentOptions& options);

 private:
  void take_card();

  DeviceChoice choice_;
  cs::Context<cs::Cpu> threads_;   // host_ is renewed, these stay
  cs::Context<cs::Cpu> host_;
  std::unique_ptr<Card> card_;
  bool on_card_ = false;
  std::string reason_;
};

}   // namespace cli
