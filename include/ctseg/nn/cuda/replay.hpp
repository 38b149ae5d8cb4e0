// Dozens of launches as one: a network of many small layers is otherwise as slow as the host that starts them.
#pragma once
#include "../../ops/cuda/context.hpp"
#include "../replay.hpp"

namespace ctseg {

/// The first time the work is done as it comes, which lets libraries make their plans; the second time it is recorded and
/// played, from then on played. Work that cannot be recorded, because it waits for the card, is done as it comes for ever.
template <> class Replay<Cuda> {
 public:
  template <class F> void operator()(Context<Cuda>& ctx, const ReplayKey& key, F work) {
    if (!ctx.options().cuda.graphs || ctx.recording() || refused_) return work();
    if (key != key_ || ctx.stream() != stream_) recording_ = {}, warm_ = false, key_ = key, stream_ = ctx.stream();
    if (!std::exchange(warm_, true)) return work();
    if (!recording_ && !record(ctx, work)) return work();
    recording_.play(stream_);
  }
  bool recorded() const { return static_cast<bool>(recording_); }

 private:
  template <class F> bool record(Context<Cuda>& ctx, F work) {
    ctx.begin_recording();
    try {
      work();
      recording_ = ctx.end_recording();   // says what broke it, where that was told to nobody
      return true;
    } catch (const Error& error) {
      end(ctx);
      if (error.code() != Code::device) throw;
      ctx.log(text("cuda: not recorded: ", error.what()));
      refused_ = true;
      return false;
    } catch (...) {
      end(ctx);
      throw;
    }
  }
  static void end(Context<Cuda>& ctx) noexcept {
    if (!ctx.recording()) return;
    try {
      ctx.end_recording();
    } catch (const Error&) {   // what was recorded is broken, and not wanted
    }
  }

  cuda::Recording recording_;
  ReplayKey key_;
  cuda::Stream stream_ = nullptr;
  bool warm_ = false, refused_ = false;
};

}   // namespace ctseg
