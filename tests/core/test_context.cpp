// The context: which instruction set, whose threads, when to stop.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include <ctseg/core/context.hpp>

using namespace ctseg;

namespace {
/// Sets CTSEG_ISA for a scope.
class IsaVariable {
 public:
  explicit IsaVariable(const char* value) {
    if (const char* old = std::getenv("CTSEG_ISA")) old_ = old;
    setenv("CTSEG_ISA", value, 1);
  }
  ~IsaVariable() { old_ ? setenv("CTSEG_ISA", old_->c_str(), 1) : unsetenv("CTSEG_ISA"); }

 private:
  std::optional<std::string> old_;
};

/// Runs tasks last to first on the calling thread.
struct Backwards final : Executor {
  int calls = 0;
  int threads() const override { return 1; }
  void run(Index count, void (*task)(void*, Index), void* data) override {
    ++calls;
    for (Index i = count; i-- > 0;) task(data, i);
  }
};
}   // namespace

TEST_CASE("CTSEG_ISA chooses a path, refuses other names, and yields to the option") {
  {
    const IsaVariable set("scalar");
    CHECK(Context<Cpu>({.threads = 1}).traits().isa == Isa::scalar);
    CHECK(Context<Cpu>({.threads = 1, .isa = Isa::scalar16}).traits().isa == Isa::scalar16);
  }
  {
    const IsaVariable set("");
    CHECK(Context<Cpu>({.threads = 1}).traits().isa == detect_isa());
  }
  for (const char* wrong : {"AVX2", "sse", "avx512f", " scalar", "scalar1"}) {
    const IsaVariable set(wrong);
    try {
      Context<Cpu> ctx({.threads = 1});
      FAIL("expected an error");
    } catch (const Error& e) {
      CHECK(e.code() == Code::bad_argument);
      CHECK(std::string(e.what()) ==
            text("context: CTSEG_ISA=", wrong, "; must be one of scalar, scalar16, avx2, avx512, neon."));
    }
  }
}

TEST_CASE("every path has its name, and is chosen by it or refused where the processor lacks it") {
  int refused = 0;
  for (const Isa isa : kIsas) {
    CAPTURE(text(isa));
    const IsaVariable set(text(isa).c_str());
    for (const std::optional<Isa> option : {std::optional<Isa>(isa), std::optional<Isa>()}) {
      try {
        const Context<Cpu> ctx({.threads = 1, .isa = option});
        CHECK(ctx.traits().isa == isa);
        CHECK(available(isa));
      } catch (const Error& e) {
        ++refused;
        CHECK_FALSE(available(isa));
        CHECK(e.code() == Code::unsupported);
        CHECK(std::string(e.what()) == text("context: this processor has no ", isa, "; its best is ", detect_isa(), "."));
      }
    }
  }
  CHECK(refused >= 2);   // no processor is of both kinds
  CHECK(available(detect_isa()));
  CHECK(detect_isa() != Isa::scalar16);
}

TEST_CASE("threads: counted, refused when negative, or the caller's own") {
  CHECK(Context<Cpu>({.threads = 3}).executor().threads() == 3);
  CHECK(Context<Cpu>().executor().threads() >= 1);
  CHECK_THROWS_WITH_AS(Context<Cpu>({.threads = -2}), "context: threads = -2; must be 0 (all processors) to 1024.", Error);
  Backwards mine;
  Context<Cpu> ctx({.executor = &mine});
  CHECK(&ctx.executor() == &mine);
  std::string order;
  parallel_for(ctx.executor(), 3, [&](Index i) { order += text(i); });
  CHECK(order == "210");
  CHECK(mine.calls == 1);
}

TEST_CASE("a raised stop token is an error that says so") {
  std::stop_source source;
  Context<Cpu> ctx({.threads = 1, .cancel = source.get_token()});
  ctx.check_cancelled("test");
  CHECK_FALSE(ctx.cancelled());
  source.request_stop();
  CHECK(ctx.cancelled());
  try {
    ctx.check_cancelled("test");
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::cancelled);
    CHECK(std::string(e.what()) == "test: the caller asked to stop.");
  }
}

TEST_CASE("runs are numbered, and a resumed context draws what the straight one would") {
  Context<Cpu> straight({.threads = 1, .seed = 9}), resumed({.threads = 1, .seed = 9});
  straight.next_run(), straight.next_run();
  resumed.resume_at(straight.runs());
  const RandomKey a = straight.next_run(), b = resumed.next_run();
  CHECK(a.seed == 9);
  CHECK(a.run == 3);
  CHECK(a.words(0) == b.words(0));
}

TEST_CASE("the log goes to the caller's sink") {
  std::string lines;
  Context<Cpu> loud(
      {.threads = 1, .log = {[](void* user, std::string_view line) { *static_cast<std::string*>(user) += line; }, &lines}});
  loud.log("one.");
  loud.log("two.");
  Context<Cpu>({.threads = 1}).log("nobody hears");
  CHECK(lines == "one.two.");
}
