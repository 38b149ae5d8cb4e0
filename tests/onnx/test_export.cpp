// What is refused on export, and networks of several outputs.
#include "nets.hpp"

using namespace onnx_test;

namespace {

template <class F> std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}
void check(const std::string& error, const std::string& words) {
  INFO(error);
  CHECK(error.find(words) != std::string::npos);
}

template <AnySpec S> struct Lambda {   // a network of one line
  using Spec = S;
  Var<S> (*run)(Var<S>);
  Var<S> forward(Var<S> x) const { return run(x); }
  template <class Self, class F> static void each(Self&, const std::string&, F) {}
};

struct Two {
  using Spec = F2;
  std::vector<Var<F2>> forward(Var<F2> x) const {
    const auto y = relu(x);
    return {y, max_pool(y), y, x};
  }
  template <class F> static void each(const Two&, const std::string&, F) {}
};

}   // namespace

TEST_CASE("onnx: what cannot be exported is named") {
  const TempFolder folder;
  const auto path = folder / "net.onnx";
  const auto refused = [&](auto run, const onnx::ExportOptions<2>& options) {
    return error_of([&] { onnx::export_model(Lambda<F2>{run}, options, path); });
  };
  using V = Var<F2>;
  check(refused([](V x) { return adaptive_average_pool(x, 3); }, {.shape = {1, 1, {8, 9}}}),
        "AdaptiveAveragePool of [1,1,8,9] to 3x3 has windows of several sizes");
  check(
      refused([](V x) { return adaptive_average_pool(x, 4); }, {.shape = {1, 1, {8, 8}}, .dynamic_size = true}),
      "with dynamic_size the graph must not depend on the size, but for inputs [1,1,8,8] and [1,1,16,16] its AveragePool node");
  check(refused(
            [](V x) {
              return upsample(max_pool(x), {.size = x.shape().space});   // nothing says which value has that size
            },
            {.shape = {1, 1, {8, 8}}, .dynamic_size = true}),
        "with dynamic_size");
  check(refused(
            [](V x) {
              return dice_ce(softmax(x), x.tape->input({1, 1, {8, 8}}, Dtype::u8));
            },
            {.shape = {1, 2, {8, 8}}}),
        "has no ONNX form here");
  check(refused([](V x) { return max_pool(x); }, {.shape = {1, 1, {8, 0}}}), "[1,1,8,0] has an extent of 0");
  check(refused([](V x) { return max_pool(x); }, {.shape = {1, 1, {8, 1}}}), "shorter than the window");
  check(refused([](V x) { return relu(x); }, {.shape = {1, 1, {8, 8}}, .input = "x", .output = "x"}), "they need two names");
  CHECK_FALSE(std::filesystem::exists(path));
  check(error_of([&] {
          onnx::export_model(Lambda<F2>{[](V x) { return relu(x); }}, {.shape = {1, 1, {8, 8}}}, folder / "no/net");
        }),
        "No such file");
}

namespace {
/// Two parameters whose names are up to the test.
struct Named {
  using Spec = F2;
  Conv<F2> first{{.bias = false}}, second{{.bias = false}};
  std::array<std::string, 2> name;
  Var<F2> forward(Var<F2> x) const { return second(first(x)); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    f(prefix + self.name[0], self.first.weight), f(prefix + self.name[1], self.second.weight);
  }
};
}   // namespace

TEST_CASE("onnx: names of parameters that meet other names, or have odd characters") {
  const TempFolder folder;
  Named net;
  scramble(net);
  const auto x = random_input(Shape<2>{1, 1, {5, 6}});
  const auto y = output_of(net, x);
  for (const auto& [first, second] : {std::pair{"w", "w"}, {"", "/\n\"\xff"}, {"w_", "w"}}) {
    net.name = {first, second};
    onnx::export_model(net, {.shape = x.shape()}, folder / "net.onnx");
    CHECK(difference(y, output_of(onnx::Model<F2>(folder / "net.onnx"), x)) <= 1e-6);
  }
  for (const char* taken : {"input", "output", "Conv_1"}) {
    net.name = {taken, "w"};
    check(error_of([&] { onnx::export_model(net, {.shape = x.shape()}, folder / "net.onnx"); }),
          text("\"", taken, "\" would be the name of two things in the file"));
  }
}

TEST_CASE("onnx: several outputs, an output twice, and the input as one") {
  const TempFolder folder;
  onnx::export_model(Two{}, {.shape = {1, 1, {4, 4}}, .output = "y"}, folder / "two.onnx");
  const onnx::Model<F2> model(folder / "two.onnx");
  CHECK(model.output_names() == std::vector<std::string>{"y", "y_1", "y_2", "y_3"});
  Context<Cpu> ctx{{.threads = 1}};
  Tape<F2> tape(Mode::infer, ctx);
  const auto x = random_input(Shape<2>{1, 1, {4, 4}});
  const auto all = model.forward_all(tape.input(x.view()));
  REQUIRE(all.size() == 4);
  CHECK(all[1].shape() == Shape<2>{1, 1, {2, 2}});
  CHECK(all[3].value().row(3)[0] == x.view().row(3)[0]);
  CHECK(all[2].value().row(3)[0] == std::max(x.view().row(3)[0], 0.f));
}
