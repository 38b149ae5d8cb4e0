// Files that make_fixtures.py wrote, and a network held against one: values, gradients, running statistics.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include <ctseg/core/tensor.hpp>
#include <ctseg/io/safetensors.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adamw.hpp>

namespace ctseg::test {

/// sum(y * y) / 2, whose gradient is y: what the fixtures were made with. An op from outside of the library.
template <AnySpec S> struct HalfSquareOp {
  std::string_view name() const { return "HalfSquare"; }
  Inferred<S> infer(const Facts<S>&) const {
    Inferred<S> out{.dtype = dtype_of<typename S::Acc>(), .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const {
    double sum = 0;
    for (Index r = 0; r < f.x().rows(); ++r)
      for (Index c = 0; c < f.x().shape.c; ++c) sum += double(f.x().row(r)[c]) * double(f.x().row(r)[c]) / 2;
    f.output.template as<typename S::Acc>().data[0] = static_cast<typename S::Acc>(sum);
  }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Elementwise, S>::copy(b.ctx, b.x(), b.dx());
  }
};

class Fixture {
 public:
  explicit Fixture(const std::string& name) {
    const std::string path = std::string(CTSEG_SOURCE_DIR) + "/tests/parity/" + name + ".safetensors";
    io::TensorFile file = io::read_safetensors(path);
    for (auto& t : file.tensors) tensors_[t.name] = t;
    metadata_ = std::move(file.metadata);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : tensors_) all.push_back(name);
    return all;
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  bool has_any(const std::string& prefix) const {
    const auto next = tensors_.lower_bound(prefix);
    return next != tensors_.end() && next->first.starts_with(prefix);
  }
  std::string metadata(const std::string& key) const { return metadata_.contains(key) ? metadata_.at(key) : ""; }
  Dtype dtype(const std::string& name) const { return record(name).dtype; }
  const std::vector<Index>& extents(const std::string& name) const { return record(name).shape; }
  template <int Dim> Shape<Dim> shape(const std::string& name) const {
    const std::vector<Index>& e = extents(name);
    REQUIRE(std::ssize(e) == Dim + 2);
    Shape<Dim> shape{.n = e[0], .c = e[1]};
    std::copy(e.begin() + 2, e.end(), shape.space.begin());
    return shape;
  }
  std::vector<double> values(const std::string& name) const {
    const io::TensorRecord& t = record(name);
    switch (t.dtype) {
      case Dtype::f64:
        return all<double>(t);
      case Dtype::f32:
        return all<float>(t);
      case Dtype::f16:
        return all<half>(t);
      case Dtype::u8:
        return all<std::uint8_t>(t);
      case Dtype::u16:
        return all<std::uint16_t>(t);
      default:
        FAIL("fixtures have no values of ", text(t.dtype));
        return {};
    }
  }
  template <class T, int Dim> Tensor<T, Dim> tensor(const std::string& name) const {
    const Shape<Dim> shape = this->shape<Dim>(name);
    Tensor<T, Dim> out(shape);
    const std::vector<double> from = values(name);
    const Index voxels = shape.voxels();
    for (Index i = 0; i < shape.elements(); ++i)   // N, C, voxels to N, voxels, C
      out.view().at(i / voxels / shape.c, i % voxels)[i / voxels % shape.c] = static_cast<T>(from[static_cast<std::size_t>(i)]);
    return out;
  }

 private:
  const io::TensorRecord& record(const std::string& name) const {
    const auto found = tensors_.find(name);
    REQUIRE_MESSAGE(found != tensors_.end(), "the fixture has no ", name);
    return found->second;
  }
  template <class T> static std::vector<double> all(const io::TensorRecord& t) {
    std::vector<double> out;
    for (std::size_t at = 0; at < t.bytes.size(); at += sizeof(T)) {
      T value;
      std::memcpy(&value, t.bytes.data() + at, sizeof(T));
      if constexpr (std::is_same_v<T, half>)
        out.push_back(double{static_cast<float>(value)});
      else
        out.push_back(static_cast<double>(value));
    }
    return out;
  }
  std::map<std::string, io::TensorRecord> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Largest difference against the largest value; infinite if a value is not finite.
struct Apart {
  double apart = 0, largest = 0;
  void add(double a, double b) {
    apart = std::isfinite(a) ? std::max(apart, std::abs(a - b)) : std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(b));
  }
};

template <AnySpec S, class Net> void check_fixture(const std::string& name, Net net, double tolerance) {
  const Fixture fixture(name);
  CHECK(fixture.metadata("made_with").starts_with("torch "));
  visit(net, [&](const std::string& key, Parameter<S>& p) {
    const auto from = fixture.values(key);
    REQUIRE(std::ssize(from) == p.size());
    const auto to = p.edit();
    for_file_order(p, [&](Index memory, Index file) {
      to[static_cast<std::size_t>(memory)] = static_cast<typename S::Acc>(from[static_cast<std::size_t>(file)]);
    });
  });
  const auto x = fixture.template tensor<typename S::T, S::kDim>("x"),
             expected = fixture.template tensor<typename S::T, S::kDim>("y");
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::train, ctx);
  Var<S> y = tape.input(x.view());
  if constexpr (requires { net.forward(y); })
    y = net.forward(y);
  else
    y = net(y);
  REQUIRE(y.shape() == expected.shape());
  Apart values;
  for (Index r = 0; r < y.value().rows(); ++r)
    for (Index c = 0; c < y.shape().c; ++c) values.add(double(y.value().row(r)[c]), double(expected.view().row(r)[c]));
  INFO(name << ": y differs by " << values.apart << " of " << values.largest);
  CHECK(values.apart <= tolerance * values.largest);

  const auto parameters = parameters_of<S>(net);
  Gradients<S> gradients(parameters);
  tape.backward(tape.append(HalfSquareOp<S>{}, {y}), gradients);
  double largest = 0;   // of all gradients: those of a bias in front of a norm are noise
  for (const auto* p : parameters)
    if (p->role() == Role::trained)
      for (auto v : gradients.of(*p)) largest = std::max(largest, std::abs(double(v)));
  visit(net, [&](const std::string& key, Parameter<S>& p) {
    if (p.role() != Role::trained) return;
    const auto exact = fixture.values("grad." + key);
    Apart g;
    for_file_order(p, [&](Index memory, Index file) {
      g.add(double(gradients.of(p)[static_cast<std::size_t>(memory)]), exact[static_cast<std::size_t>(file)]);
    });
    INFO(name << ", gradient of " << key << " differs by " << g.apart << " of " << g.largest);
    CHECK(g.apart <= tolerance * std::max(g.largest, 1e-2 * largest));
  });
  AdamW<S> adam(parameters, {});
  adam.step(ctx, gradients);
  visit(net, [&](const std::string& key, Parameter<S>& p) {
    if (p.role() != Role::averaged) return;
    const auto after = fixture.values("after." + key);
    for (std::size_t i = 0; i < after.size(); ++i) CHECK(double(p.values()[i]) == doctest::Approx(after[i]).epsilon(tolerance));
  });
}

}   // namespace ctseg::test
