// Networks that run from what torch.save wrote, file alone.
#include "parity/fixture.hpp"

#include <ctseg/io/torch_file.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<float, 2, Cpu>;

TEST_CASE("MONAI's BasicUNet from .pth files: MONAI's output") {
  const Fixture expected("weights/expected");
  CHECK(expected.metadata("made_with").find("monai") != std::string::npos);
  const auto x = expected.tensor<float, 2>("x");
  for (const std::string name : {"basic_unet", "checkpoint", "half", "bfloat16", "batch_norm"}) {
    BasicUNet<S> net({.features = {2, 2, 3, 3, 4, 2}, .norm = name == "batch_norm" ? NormKind::batch : NormKind::instance});
    const std::string path = std::string(CTSEG_SOURCE_DIR) + "/tests/parity/weights/" + name + ".pth";
    io::load_weights(path, net, {.reader = io::torch_reader()});
    Context<Cpu> ctx({.threads = 1});
    Tape<S> tape(Mode::infer, ctx);
    const Var<S> y = net.forward(tape.input(x.view()));
    const auto exact = expected.tensor<float, 2>("y." + name);
    REQUIRE(y.shape() == exact.shape());
    Apart apart;
    for (Index r = 0; r < y.value().rows(); ++r)
      for (Index c = 0; c < y.shape().c; ++c) apart.add(double(y.value().row(r)[c]), double(exact.view().row(r)[c]));
    MESSAGE(name << ": y differs by " << apart.apart << " of " << apart.largest);
    CHECK(apart.apart <= 1e-5 * apart.largest);
  }
}
