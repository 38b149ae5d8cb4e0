// The project's own convolution kernels against plain loops in double: any window as a gathered product, and first layers.
#include "own_conv.hpp"

using namespace ctseg;
using test::OwnConvCase;
using test::OwnConvRun;

namespace {

template <class T> void check_gather(const OwnConvCase& c, double tolerance = 2e-6) {
  CAPTURE(c.in);
  CAPTURE(c.out);
  CAPTURE(c.transposed);
  OwnConvRun<T> run(c);
  REQUIRE(cuda::gather_supports(run.problem));
  cuda::gather_forward(nullptr, run.call(run.x, run.y));
  run.check_forward(tolerance);
  cuda::gather_data_gradient(nullptr, run.call(run.dx, run.dy));
  run.check_data_gradient(tolerance);
  Memory<Cuda> scratch(cuda::gather_gradient_scratch(run.problem));
  cuda::gather_weight_gradient(nullptr, run.call(run.x, run.dy), {run.dw.data(), run.db.data(), scratch.data()});
  run.check_weight_gradient(tolerance);
}

template <class T> void check_first_layer(const OwnConvCase& c, double tolerance = 2e-6) {
  CAPTURE(c.in);
  CAPTURE(c.kernel[2]);
  CAPTURE(c.stride[2]);
  OwnConvRun<T> run(c);
  REQUIRE(cuda::first_layer_supports(run.problem, cuda::device_facts(0).shared_bytes_per_block));
  cuda::first_layer_forward(nullptr, run.call(run.x, run.y));
  run.check_forward(tolerance);
  Memory<Cuda> scratch(cuda::first_layer_gradient_scratch(run.problem));
  cuda::first_layer_weight_gradient(nullptr, run.call(run.x, run.dy), {run.dw.data(), run.db.data(), scratch.data()});
  run.check_weight_gradient(tolerance);
}

constexpr int kShared = 227 << 10;   // of an H200
const std::array<Index, 3> kOne{1, 1, 1}, kNone{0, 0, 0};

OwnConvCase pointwise(Index in, Index out, Index n = 1, Index gap = 0) {
  return {.n = n, .in = in, .out = out, .space = {3, 5, 11}, .kernel = kOne, .padding = kNone, .gap = gap};
}
OwnConvCase doubling(Index in, Index out, Index n = 1, Index gap = 0) {   // k2s2
  return {.n = n,
          .in = in,
          .out = out,
          .space = {3, 2, 5},
          .kernel = {2, 2, 2},
          .stride = {2, 2, 2},
          .padding = kNone,
          .transposed = true,
          .gap = gap};
}
OwnConvCase residual_up(Index in, Index out) {   // k3s2
  return {.in = in, .out = out, .space = {3, 2, 4}, .stride = {2, 2, 2}, .transposed = true, .output_padding = 1, .gap = 8};
}

}   // namespace

TEST_CASE("1x1x1 convolutions of any numbers of channels") {
  for (const Index in : {1, 7, 16, 33})
    for (const Index out : {1, 2, 3, 8, 33}) check_gather<float>(pointwise(in, out));
  check_gather<float>(pointwise(32, 3, 2, 3));
  check_gather<bf16>(pointwise(32, 3, 2, 8));
  check_gather<bf16>(pointwise(33, 40, 2, 3));
  check_gather<half>(pointwise(16, 8));
}

TEST_CASE("transposed convolutions write into a range of a wider array") {
  check_gather<float>(doubling(8, 32, 2, 32));
  check_gather<float>(doubling(7, 3, 1, 5));
  check_gather<bf16>(doubling(40, 16, 1, 16));
  check_gather<half>(doubling(8, 8, 2, 8));
  check_gather<float>(residual_up(8, 5));
  check_gather<bf16>(residual_up(16, 8));
  check_gather<float>(
      {.in = 4, .out = 6, .space = {1, 4, 5}, .kernel = {1, 2, 2}, .stride = {1, 2, 2}, .padding = kNone, .transposed = true});
  check_gather<float>({.in = 4,
                       .out = 2,
                       .space = {1, 3, 4},
                       .kernel = {1, 3, 3},
                       .stride = {1, 2, 2},
                       .padding = {0, 1, 1},
                       .transposed = true,
                       .output_padding = 1});
}

TEST_CASE("windows in general: borders, strides, dilation, two dimensions, 125 taps") {
  check_gather<float>({.n = 2, .in = 3, .out = 9, .space = {3, 5, 4}});
  check_gather<bf16>({.in = 16, .out = 33, .space = {3, 4, 5}});
  check_gather<float>({.in = 5, .out = 4, .space = {5, 4, 7}, .stride = {2, 2, 2}});
  check_gather<float>(
      {.in = 2, .out = 3, .space = {1, 9, 8}, .kernel = {1, 3, 3}, .padding = {0, 2, 2}, .dilation = {1, 2, 2}});
  check_gather<float>({.in = 2, .out = 2, .space = {3, 3, 4}, .kernel = {5, 5, 5}, .padding = {2, 2, 2}});
  check_gather<float>({.in = 4, .out = 8, .space = {4, 7, 4}, .kernel = {1, 3, 2}, .stride = {2, 1, 2}, .padding = {0, 1, 0}});
}

TEST_CASE("TF32 only where it is asked for") {
  OwnConvCase c = pointwise(16, 8);
  c.tf32 = true;
  check_gather<float>(c, 2e-3);
  OwnConvRun<float> exact(pointwise(16, 8)), rounded(c);
  cuda::gather_forward(nullptr, exact.call(exact.x, exact.y));
  cuda::gather_forward(nullptr, rounded.call(rounded.x, rounded.y));
  CHECK(exact.y.card.fetch() != rounded.y.card.fetch());
}

TEST_CASE("gradients of weights: more places than one block takes, the same bits each time") {
  OwnConvCase c = pointwise(3, 2, 2);
  c.space = {7, 13, 17};
  OwnConvRun<float> run(c), again(c);
  for (auto* r : {&run, &again}) {
    Memory<Cuda> scratch(cuda::gather_gradient_scratch(r->problem));
    cuda::gather_weight_gradient(nullptr, r->call(r->x, r->dy), {r->dw.data(), r->db.data(), scratch.data()});
  }
  run.check_weight_gradient(2e-6);
  CHECK(run.dw.fetch() == again.dw.fetch());
  CHECK(run.db.fetch() == again.db.fetch());
}

TEST_CASE("first layers: 1 to 4 channels, 3 and 5 taps, strides, two dimensions") {
  check_first_layer<float>({.n = 2, .in = 1, .out = 5, .space = {5, 3, 17}});
  check_first_layer<bf16>({.in = 1, .out = 32, .space = {3, 5, 19}, .gap = 8});
  check_first_layer<half>({.in = 2, .out = 33, .space = {4, 4, 5}});
  check_first_layer<float>({.in = 4, .out = 8, .space = {5, 6, 7}, .stride = {2, 2, 2}});
  check_first_layer<float>({.in = 1, .out = 16, .space = {3, 5, 6}, .kernel = {5, 5, 5}, .padding = {2, 2, 2}});
  check_first_layer<bf16>(
      {.in = 1, .out = 8, .space = {6, 5, 9}, .kernel = {5, 5, 5}, .stride = {2, 2, 2}, .padding = {2, 2, 2}});
  check_first_layer<float>({.n = 2, .in = 3, .out = 7, .space = {1, 18, 20}, .kernel = {1, 3, 3}, .padding = {0, 1, 1}});
  check_first_layer<bf16>(
      {.in = 1, .out = 8, .space = {1, 9, 33}, .kernel = {1, 5, 5}, .stride = {1, 2, 2}, .padding = {0, 2, 2}});
  check_first_layer<float>({.in = 1, .out = 2, .space = {5, 6, 7}, .padding = {0, 0, 0}});
  CHECK(!cuda::first_layer_supports(test::problem_of({.in = 5, .out = 8}), kShared));
  CHECK(!cuda::first_layer_supports(test::problem_of({.in = 1, .out = 8, .dilation = {2, 2, 2}}), kShared));
  CHECK(!cuda::first_layer_supports(test::problem_of(doubling(1, 8)), kShared));
  OwnConvRun<float> many({.in = 5, .out = 1, .space = {8, 8, 8}, .kernel = {6, 6, 6}});
  CHECK_THROWS_WITH(cuda::first_layer_forward(nullptr, many.call(many.x, many.y)),
                    doctest::Contains("5 channels, 216 taps; 1 to 4"));
  CHECK_THROWS_WITH(cuda::gather_forward(nullptr, many.call(many.x, many.y)),
                    doctest::Contains("216 taps, strides 1x1x1; at most 125"));
  CHECK_THROWS_WITH(cuda::gather_weight_gradient(nullptr, many.call(many.x, many.dy), {}), doctest::Contains("216 taps"));
}

TEST_CASE("first layers read int16 in Hounsfield units; padding is 0 after the window") {
  const OwnConvCase c{.in = 1, .out = 8, .space = {3, 4, 18}};
  OwnConvRun<float> run(c);
  std::vector<std::int16_t> hu;
  for (std::size_t i = 0; i < run.x.card.values.size(); ++i) {
    hu.push_back(static_cast<std::int16_t>(i * 37 % 2000 - 1000));
    run.x.card.values[i] = (std::min(std::max(static_cast<float>(hu[i]), -160.f), 240.f) + 160.f) / 400.f;
  }
  test::OnCard<std::int16_t> raw(hu);
  cuda::OwnConv call = run.call(run.x, run.y);
  call.x.data = reinterpret_cast<std::byte*>(raw.data()), call.x.dtype = Dtype::i16;
  cuda::first_layer_forward(nullptr, call, {-160, 240});
  run.check_forward(2e-6);
  call.y = run.dy.array;
  Memory<Cuda> scratch(cuda::first_layer_gradient_scratch(run.problem));
  cuda::first_layer_weight_gradient(nullptr, call, {run.dw.data(), run.db.data(), scratch.data()}, {-160, 240});
  run.check_weight_gradient(2e-6);
}

TEST_CASE("which engine is expected to be the faster one") {
  using cuda::OwnEngine;
  const auto engine = [](const OwnConvCase& c) { return cuda::own_engine(test::problem_of(c), kShared); };
  CHECK(engine({.in = 1, .out = 32}) == OwnEngine::first_layer);
  CHECK(engine(doubling(64, 32)) == OwnEngine::gather);
  CHECK(engine(residual_up(64, 32)) == OwnEngine::gather);
  CHECK(engine(pointwise(32, 3)) == OwnEngine::gather);
  CHECK(engine(pointwise(256, 256)) == OwnEngine::none);
  CHECK(engine({.in = 32, .out = 32}) == OwnEngine::none);
}

TEST_CASE("a card with less shared memory takes another engine for first layers that need more") {
  const int small = 99 << 10;   // sm_86, sm_89
  const OwnConvCase large{
      .in = 4, .out = 3, .space = {5, 6, 7}, .kernel = {5, 5, 5}, .stride = {2, 2, 2}, .padding = {2, 2, 2}};
  CHECK(cuda::first_layer_supports(test::problem_of(large), kShared));
  CHECK(!cuda::first_layer_supports(test::problem_of(large), small));
  CHECK(cuda::own_engine(test::problem_of({.in = 1, .out = 32}), small) == cuda::OwnEngine::first_layer);
  const cuda::ConvShape shape{test::problem_of(large), Dtype::f32};
  CHECK(cuda::choose_engine(shape, {}) == cuda::ConvEngine::first_layer);
  CHECK(cuda::choose_engine(shape, {.shared_bytes = small}) == cuda::ConvEngine::cudnn);
  if (!cuda::emulated()) return;

  ::setenv("CTSEG_EMULATED_SHARED", std::to_string(small).c_str(), 1);
  CHECK(Context<Cuda>().traits().shared_bytes == small);
  OwnConvRun<float> run(large);
  std::string refused;
  try {
    cuda::first_layer_forward(nullptr, run.call(run.x, run.y));
  } catch (const Error& e) {
    refused = e.what();
  }
  ::unsetenv("CTSEG_EMULATED_SHARED");
  CAPTURE(refused);
  CHECK(refused.find("kernel first_layer: ") != refused.npos);
  CHECK(refused.find("at most 101376") != refused.npos);
}
