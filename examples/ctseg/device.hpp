// Where networks run: the CPU, or a card where the program was built with ctseg::cuda and the machine has one.
#pragma once
#include <ctseg/recipe/segment.hpp>

namespace cli {

namespace cs = ctseg;

/// Segments on a card; device_on.cpp has the only one.
class Card {
 public:
  virtual ~Card() = default;
  virtual std::string name() const = 0;   // "cuda:0, NVIDIA H200"
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

/// What a choice comes to on this machine. With auto, whatever a card refuses (no driver, not enough memory) the CPU does.
class Device {
 public:
  /// Errors    device where the choice must be a card and there is none.
  Device(const DeviceChoice& choice, const cs::ContextOptions& options);

  /// The CPU: what is beside the networks, and the networks if there is no card.
  cs::Context<cs::Cpu>& host() { return host_; }
  /// Where networks run: "cpu", or a card's name.
  std::string name() const { return card_ ? card_->name() : "cpu"; }
  /// Why not on a card; empty where they do, or where nobody asked for one.
  const std::string& reason() const { return reason_; }

  /// As cs::segment; the plan begins with the device.
  cs::Segmentation segment(const std::vector<const cs::LoadedModel*>& models, const cs::SegmentInput& input,
                           const cs::SegmentOptions& options);

 private:
  cs::Context<cs::Cpu> host_;
  bool must_be_card_;
  std::unique_ptr<Card> card_;
  std::string reason_;
};

}   // namespace cli
