// Cards through ctseg::cuda.
#include <ctseg/cuda.hpp>
#include <ctseg/recipe/cuda/segment.hpp>

#include "device.hpp"

template ctseg::AnyModelOf<float, ctseg::Cuda> ctseg::make_model<float, ctseg::Cuda>(const ctseg::NetworkConfig&);

namespace cli {

namespace {

class CudaCard final : public Card {
 public:
  explicit CudaCard(const cs::ContextOptions& options) : ctx_(options) {}

  std::string name() const override {
    const int number = ctx_.options().cuda.device;
    return cs::text("cuda:", number, ", ", cs::cuda::device_facts(number).name);
  }
  cs::Context<cs::Cuda>& context() override { return ctx_; }
  void begin(const cs::ContextOptions& options) override {
    if (options.cuda.tf32 == ctx_.traits().tf32)
      ctx_.host() = cs::Context<cs::Cpu>(options);   // stream and plans of convolutions stay
    else
      ctx_ = cs::Context<cs::Cuda>(options);
  }
  cs::Segmentation segment(const std::vector<const cs::LoadedModel*>& models, const cs::SegmentInput& input,
                           const cs::SegmentOptions& options) override {
    std::vector<cs::AnyModelOf<float, cs::Cuda>> networks;
    for (const cs::LoadedModel* model : models) networks.push_back(cs::for_card(*model));
    std::vector<cs::CardModel<>> on_card;
    for (std::size_t i = 0; i < models.size(); ++i) on_card.push_back({models[i], &networks[i]});
    return cs::segment(ctx_, on_card, input, options);
  }

 private:
  cs::Context<cs::Cuda> ctx_;
};

}   // namespace

std::string why_no_card() { return cs::cuda::why_no_device(); }
std::unique_ptr<Card> make_card(const cs::ContextOptions& options) { return std::make_unique<CudaCard>(options); }

}   // namespace cli
