// Networks that run from what torch.save wrote, file alone.
#include "parity/fixture.hpp"

#include <ctseg/io/torch_file.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/dynunet.hpp>
#include <ctseg/models/residual_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<float, 2, Cpu>;

/// NAME.pth, run on the input X of expected.safetensors.
template <class Net> static void check(const std::string& name, const std::string& x, Net net) {
  INFO(name);
  const Fixture expected("weights/expected");
  CHECK(expected.metadata("made_with").find("monai") != std::string::npos);
  const std::string path = std::string(CTSEG_SOURCE_DIR) + "/tests/parity/weights/" + name + ".pth";
  io::load_weights(path, net, {.reader = io::torch_reader()});
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::infer, ctx);
  const auto in = expected.tensor<float, 2>(x), exact = expected.tensor<float, 2>("y." + name);
  const Var<S> y = net.forward(tape.input(in.view()));
  REQUIRE(y.shape() == exact.shape());
  Apart apart;
  for (Index r = 0; r < y.value().rows(); ++r)
    for (Index c = 0; c < y.shape().c; ++c) apart.add(double(y.value().row(r)[c]), double(exact.view().row(r)[c]));
  MESSAGE(name << ": y differs by " << apart.apart << " of " << apart.largest);
  CHECK(apart.apart <= 1e-5 * apart.largest);
}

TEST_CASE("networks from .pth files: MONAI's output") {
  for (const std::string name : {"basic_unet", "checkpoint", "half", "bfloat16", "batch_norm"})
    check(name, "x",
          BasicUNet<S>({.features = {2, 2, 3, 3, 4, 2}, .norm = name == "batch_norm" ? NormKind::batch : NormKind::instance}));
  check("residual_unet", "x.even",
        ResidualUNet<S>({.channels = {4, 6, 8}, .strides = {2, 2}, .num_res_units = 2, .norm = NormKind::batch}));
  check("dynunet", "x.even", DynUNet<S>({.filters = {4, 4, 6, 6}, .deep_supervision = true, .deep_supr_num = 2}));
}
