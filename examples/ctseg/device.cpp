#include "device.hpp"

namespace cli {

namespace {

/// What a card may refuse and the CPU may still do.
bool is_the_cards(cs::Code code) {
  return code == cs::Code::device || code == cs::Code::out_of_memory || code == cs::Code::unsupported;
}

}   // namespace

DeviceChoice device_named(const std::string& words) {
  if (words == "auto") return {};
  if (words == "cpu") return {.may_be_card = false};
  DeviceChoice choice{.must_be_card = true};
  if (words == "cuda") return choice;
  const std::string number = words.starts_with("cuda:") ? words.substr(5) : "";
  if (number.empty() || number.size() > 3 || number.find_first_not_of("0123456789") != number.npos)
    throw cs::Error(cs::Code::bad_argument, "--device", cs::text(words, "; must be auto, cpu, cuda or cuda:N."));
  choice.number = std::stoi(number);
  return choice;
}

cs::Accuracy accuracy_named(const std::string& words) {
  for (const cs::Accuracy a : {cs::Accuracy::strict, cs::Accuracy::standard, cs::Accuracy::fast})
    if (cs::text(a) == words) return a;
  throw cs::Error(cs::Code::bad_argument, "--accuracy", cs::text(words, "; must be strict, standard or fast."));
}

Device::Device(const DeviceChoice& choice, const cs::ContextOptions& options)
    : choice_(choice), threads_(options), host_(threads_.options()) {
  take_card();
}

void Device::begin(cs::ContextOptions options) {
  options.executor = &threads_.executor();
  host_ = cs::Context<cs::Cpu>(std::move(options));
  take_card();
}

void Device::take_card() {
  on_card_ = false, reason_.clear();
  if (!choice_.may_be_card) return;
  reason_ = why_no_card();
  if (!reason_.empty() && choice_.must_be_card)
    throw cs::Error(cs::Code::device, "--device", cs::text(reason_, " Hint: --device cpu, or auto."));
  if (!reason_.empty()) return;
  cs::ContextOptions of_card = host_.options();   // the host's threads
  of_card.cuda = {.device = choice_.number, .tf32 = of_card.accuracy == cs::Accuracy::fast};
  try {
    if (card_)
      card_->begin(of_card);
    else
      card_ = make_card(of_card);
    on_card_ = true;
  } catch (const cs::Error& refusal) {
    leave_card(refusal);
  }
}

void Device::leave_card(const cs::Error& refusal) {
  if (choice_.must_be_card || !is_the_cards(refusal.code())) throw refusal;
  reason_ = refusal.what();
  if (on_card_) host_.log(cs::text(card_->name(), " is not used: ", reason_));
  on_card_ = false;
  if (refusal.code() == cs::Code::device) card_.reset();   // a context that has failed is of no more use
}

cs::Segmentation Device::segment(const std::vector<const cs::LoadedModel*>& models, const cs::SegmentInput& input,
                                 const cs::SegmentOptions& options) {
  cs::Segmentation out;
  try {
    if (on_card_) out = card_->segment(models, input, options);
  } catch (const cs::Error& refusal) {
    leave_card(refusal);
  }
  if (!on_card_) out = cs::segment(host_, models, input, options);
  out.plan = cs::text("device    ", name(), reason_.empty() ? "" : "; no card: ", reason_, "\n", out.plan);
  return out;
}

}   // namespace cli
