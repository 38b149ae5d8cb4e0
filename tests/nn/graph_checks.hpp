// One random network, eagerly and as plans: the same bits in values, loss and gradients.
#pragma once
#include "support/plan_checks.hpp"
#include "support/random_graph.hpp"

namespace ctseg::test {

template <AnySpec S> class GraphCheck {
 public:
  explicit GraphCheck(std::uint64_t seed)
      : seed_(seed), random_({.seed = seed, .op = 11}), net_(seed), sample_(shape(), 3, seed) {}

  void all() {
    const auto parameters = parameters_of<S>(net_);
    Context<Cpu> ctx = context();
    Tape<S> eager(Mode::train, ctx), list(Mode::train, ctx.traits());
    const auto e = record(eager, eager.input(sample_.x.view()), eager.input(sample_.labels.view()));
    const auto p = record(list, list.input(sample_.x.shape()), list.input(sample_.labels.shape(), Dtype::u8));
    Gradients<S> expected(parameters);
    std::ranges::fill(expected.flat(), 1.f);   // a backward that assigns would show
    eager.backward(e.loss, expected);
    for (int variant = 0; variant < 4; ++variant) {
      PlanOptions<S> options{.loss = p.loss, .again = random_.below(4) > 0};
      std::vector<std::size_t> kept;
      for (std::size_t k = 0; k < p.values.size(); ++k)
        if (random_.below(6) == 0) options.outputs.push_back(p.values[k]), kept.push_back(k);
      if (variant > 0)
        for (int s = 0; s < 5; ++s) {
          const bool there =
              std::ranges::any_of(list.nodes(), [&](const auto& node) { return node.scope == "s" + std::to_string(s); });
          if (there && (variant == 3 || random_.below(2))) options.checkpoint.push_back("s" + std::to_string(s));
        }
      check_training(Plan<S>(list, options), p, e, kept, expected);
    }
    check_inference();
  }

 private:
  struct Recorded {
    Var<S> x, labels, loss;
    std::vector<Var<S>> values;
  };
  Shape<S::kDim> shape() {
    Shape<S::kDim> s{.n = 1 + random_.below(2), .c = net_.in_channels()};
    for (Index& e : s.space) e = 2 + random_.below(5);
    return s;
  }
  static Context<Cpu> context() { return Context<Cpu>({.threads = 1, .seed = 9}); }   // the same seed and run: the same dropout
  Recorded record(Tape<S>&, Var<S> x, Var<S> labels) const {
    Recorded r{x, labels, {}, net_.forward(x)};
    r.loss = add(dice_ce(r.values.back(), labels), dice_ce(r.values.back(), labels, {.dice_weight = 0}), typename S::Acc(0.5));
    return r;
  }

  void check_training(const Plan<S>& plan, const Recorded& p, const Recorded& e, const std::vector<std::size_t>& kept,
                      const Gradients<S>& expected) {
    INFO("graph " << seed_ << "\n" << plan.summary());
    REQUIRE(plan.live_bytes() <= plan.arena_bytes());
    Gradients<S> gradients(parameters_of<S>(net_));
    Context<Cpu> ctx = context();
    Run<S> run(plan, ctx);
    poison(run.arena());
    for (std::uint64_t repeat = 0; repeat < 2; ++repeat) {
      ctx.resume_at(0);
      sample_.fill(run, p.x, p.labels);
      run.forward();
      std::ranges::fill(gradients.flat(), 1.f);
      run.backward(gradients);
      REQUIRE(run.scalar(p.loss) == e.loss.scalar());
      for (std::size_t k : kept) REQUIRE(same_bits<S>(run.output(p.values[k]), e.values[k].value()));
      REQUIRE(same_bits(read_only(gradients).flat(), expected.flat()));
    }
  }
  void check_inference() {
    Context<Cpu> ctx = context();
    Tape<S> eager(Mode::infer, ctx), list(Mode::infer, ctx.traits());
    const auto e = net_.forward(eager.input(sample_.x.view()));
    const auto x = list.input(sample_.x.shape());
    const auto p = net_.forward(x);
    const Plan<S> plan(list, {.outputs = {p.back(), p[p.size() / 2]}});
    INFO("graph " << seed_ << "\n" << plan.summary());
    REQUIRE(plan.live_bytes() <= plan.arena_bytes());
    Run<S> run(plan, ctx);
    poison(run.arena());
    for (int repeat = 0; repeat < 2; ++repeat) {
      Sample<S>::copy(sample_.x, run.input(x));
      run.forward();
      REQUIRE(same_bits<S>(run.output(p.back()), e.back().value()));
      REQUIRE(same_bits<S>(run.output(p[p.size() / 2]), e[p.size() / 2].value()));
    }
  }

  std::uint64_t seed_;
  RandomStream random_;
  RandomNet<S> net_;
  Sample<S> sample_;
};

}   // namespace ctseg::test
