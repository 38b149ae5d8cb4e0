// In the place of this folder where ctseg::cuda was built without cuDNN's headers.
#include "../conv/pass.hpp"

namespace ctseg::cuda {

namespace {
class NoPlans final : public ConvPlans {
 public:
  void run(Stream, const ConvPass&, const PassBuffers&) override {
    throw Error(Code::unsupported, "cudnn",
                "ctseg::cuda was built without cuDNN. Hint: install the headers of cuDNN 9 and build it again.");
  }
};
}   // namespace

std::shared_ptr<ConvPlans> make_conv_plans(int) { return std::make_shared<NoPlans>(); }

}   // namespace ctseg::cuda
