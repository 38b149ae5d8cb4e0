// Spec<float, 3, Cuda> and all that stands behind it on the host's side: the card's traits, memory, the copies of parameters
// there, and the context that owns a stream.
#pragma once
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "array.hpp"
#include "conv_plans.hpp"
#include "runtime.hpp"

namespace ctseg {

template <> inline constexpr bool kIncluded<Cuda> = true;

/// What plans for a card depend on; the defaults are an H200's, so that its plans can be made anywhere.
template <> struct DeviceTraits<Cuda> {
  int capability = 90;
  int multiprocessors = 132;
  bool tf32 = false;
  bool deterministic = true;
  Index workspace = Index{64} << 20;
  int shared_bytes = 227 << 10;   // that a block may have; 99 KB on sm_86 and sm_89
  bool operator==(const DeviceTraits&) const = default;
};
inline std::string text(const DeviceTraits<Cuda>& d) {
  return text("sm_", d.capability, ", ", d.multiprocessors, " multiprocessors", d.tf32 ? ", tf32" : "",
              d.deterministic ? "" : ", any order");
}

/// Owned memory of the current card, not initialised; its address survives a move.
template <> class Memory<Cuda> {
 public:
  static constexpr bool kOnHost = false;

  explicit Memory(Index bytes = 0) : bytes_(bytes_of<std::byte>(bytes)) {
    if (bytes_ > 0) data_.reset(static_cast<std::byte*>(cuda::allocate(bytes_)));
  }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  Index bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* p) const { cuda::release(p); }
  };
  Index bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

namespace cuda {

/// A stream for as long as somebody needs it: a parameter may have to wait for the one that wrote it.
class OwnedStream {
 public:
  /// On the current card, whose number it keeps.
  explicit OwnedStream(int device = 0) : device_(device), stream_(make_stream()) {}
  ~OwnedStream() { release_stream(stream_); }
  OwnedStream(const OwnedStream&) = delete;
  Stream get() const { return stream_; }
  int device() const { return device_; }

 private:
  int device_;
  Stream stream_;
};
using SharedStream = std::shared_ptr<const OwnedStream>;

/// Work that was recorded on a stream and can be played on one, again and again.
class Recording {
 public:
  Recording() = default;
  explicit Recording(CUgraphExec_st* graph) : graph_(graph) {}
  explicit operator bool() const { return graph_ != nullptr; }
  void play(Stream stream) const { launch_recording(stream, graph_.get()); }

 private:
  struct Free {
    void operator()(CUgraphExec_st* graph) const { release_recording(graph); }
  };
  std::unique_ptr<CUgraphExec_st, Free> graph_;
};

/// What a loss kernel leaves in place of the loss where a label is no class: it cannot throw.
inline constexpr std::uint32_t kBadLabel = 0x7fe00000;   // a quiet NaN; the label is in its lower 16 bits
/// The label that spoilt a loss, or none. Arithmetic on the card makes an ordinary NaN of it.
inline std::optional<Index> bad_label(const float& loss) {
  std::uint32_t bits;
  std::memcpy(&bits, &loss, sizeof bits);   // a NaN passed by value may lose its bits
  if ((bits & 0xffff0000u) != kBadLabel) return {};
  return Index{bits & 0xffffu};
}
/// Errors    bad_input where a label was not a class.
inline void refuse_bad_label(const float& loss) {
  if (const auto label = bad_label(loss))
    throw Error(Code::bad_input, "loss",
                text("a label is ", *label, ", which is no class of the logits. Hint: set out_channels = ", *label + 1,
                     " or more, map the labels, or set ignore_label."));
}

}   // namespace cuda

/// A parameter's copy on the card, made when first asked for. The parameter's version says which of the two is the newer one.
/// Threads may share a const model: each of these calls is whole.
template <> class Residence<Cuda> {
 public:
  using Link = Residence*;
  Link link() { return this; }
  void bind(std::vector<float>& values, std::uint64_t& version) { values_ = &values, version_ = &version; }

  /// Fetches what the card has changed, once all work that writes it is done.
  void to_host() {
    const std::lock_guard lock(mutex_);
    if (!newer_here_) return;
    cuda::copy_to_host(writer_->get(), values_->data(), memory_.data(), bytes());
    cuda::synchronize(writer_->get());
    newer_here_ = false;
  }
  /// Work of this stream reads today's values from now on.
  void bring(const cuda::SharedStream& stream) {
    const std::lock_guard lock(mutex_);
    bring_locked(stream);
  }
  /// To be written by work of this stream: counts as a change.
  void edit(const cuda::SharedStream& stream) {
    const std::lock_guard lock(mutex_);
    bring_locked(stream);
    here_ = ++*version_;
    newer_here_ = pending_ = true;
    writer_ = stream;
  }
  /// Where the card keeps the value that the host keeps at `host`.
  float* at(const float* host) {
    if (!memory_.data())
      throw Error(Code::bad_argument, "cuda", "these weights were never brought to the card. Hint: bring<S>(ctx, weights).");
    return reinterpret_cast<float*>(memory_.data()) + (host - values_->data());
  }

 private:
  Index bytes() const { return std::ssize(*values_) * Index{sizeof(float)}; }
  void bring_locked(const cuda::SharedStream& stream) {
    if (!memory_.data()) memory_ = Memory<Cuda>(bytes()), device_ = stream->device();
    if (device_ != stream->device())
      throw Error(Code::unsupported, "cuda",
                  text("these weights lie on card ", device_, ", the context is on card ", stream->device(),
                       ". Hint: a copy of the model for each card."));
    if (pending_ && writer_ != stream) {
      cuda::synchronize(writer_->get());
      pending_ = false;
    }
    if (newer_here_ || here_ == *version_) return;
    cuda::copy_to_device(stream->get(), memory_.data(), values_->data(), bytes());
    cuda::synchronize(stream->get());   // streams of other contexts may read it at once
    here_ = *version_;
  }

  std::mutex mutex_;
  std::vector<float>* values_ = nullptr;
  std::uint64_t* version_ = nullptr;
  std::uint64_t here_ = ~std::uint64_t{0};   // version of the card's copy
  bool newer_here_ = false, pending_ = false;
  int device_ = 0;   // of memory_
  cuda::SharedStream writer_;
  Memory<Cuda> memory_;
};

/// A card, a stream on it, and the threads of the host beside. As Context<Cpu>; what it is asked to do is done when
/// synchronize() returns, or a copy to the host.
template <> class Context<Cuda> {
 public:
  explicit Context(ContextOptions options = {}) : host_(std::move(options)) {
    const CudaOptions& o = host_.options().cuda;
    const int count = cuda::device_count();
    if (count == 0) throw Error(Code::device, "context", cuda::why_no_device());
    if (o.device < 0 || o.device >= count)
      throw Error(Code::bad_argument, "context", text("cuda.device = ", o.device, "; there are ", count, ", numbered from 0."));
    if (o.workspace < 0)
      throw Error(Code::bad_argument, "context", text("cuda.workspace = ", o.workspace, " bytes; must be 0 or more."));
    cuda::use_device(o.device);
    const cuda::DeviceFacts facts = cuda::device_facts(o.device);
    const Index workspace = cuda::emulated() ? std::min(o.workspace, Index{1} << 20) : o.workspace;   // nobody uses it there
    traits_ = {facts.capability, facts.multiprocessors, o.tf32, o.deterministic, workspace, facts.shared_bytes_per_block};
    stream_ = std::make_shared<cuda::OwnedStream>(o.device);
  }
  Context(Context&&) = default;
  Context& operator=(Context&&) = default;
  ~Context() {
    if (!stream_) return;
    try {
      synchronize();   // nobody's memory is given back under work
    } catch (const Error&) {
    }
  }

  /// For work on the host: the same threads, seed, group, log and stop token.
  Context<Cpu>& host() { return host_; }
  Executor& executor() { return host_.executor(); }
  const DeviceTraits<Cuda>& traits() const { return traits_; }
  std::uint64_t seed() const { return host_.seed(); }
  const ContextOptions& options() const { return host_.options(); }
  ProcessGroup* group() const { return host_.group(); }
  ProcessGroup* statistics_group() const { return host_.statistics_group(); }
  bool cancelled() const { return host_.cancelled(); }
  void check_cancelled(std::string_view where) const { host_.check_cancelled(where); }
  void log(std::string_view line) const { host_.log(line); }

  /// The queue that all its work goes to. Makes its card the calling thread's.
  cuda::Stream stream() const {
    cuda::use_device(host_.options().cuda.device);
    return stream_->get();
  }
  void synchronize() const { cuda::synchronize(stream()); }
  /// ContextOptions::memory is the host's, and not asked.
  Memory<Cuda> allocate(Index bytes) const {
    cuda::use_device(host_.options().cuda.device);
    return Memory<Cuda>(bytes);
  }

  /// What convolutions keep; made when first asked for.
  cuda::ConvPlans& conv_plans() {
    if (!conv_plans_) conv_plans_ = cuda::make_conv_plans(options().cuda.device);
    return *conv_plans_;
  }

  RandomKey next_run() {
    const RandomKey key = host_.next_run();
    if (key_.data() && !recording_) cuda::copy_to_device(stream(), key_.data(), &key, sizeof key);
    return key;
  }
  std::uint64_t runs() const { return host_.runs(); }
  void resume_at(std::uint64_t runs) { host_.resume_at(runs); }
  /// The key of the latest run, in device memory; what is recorded draws from it, so that each play of it is another run.
  const RandomKey* device_key() {
    if (!key_.data()) {
      key_ = allocate(sizeof(RandomKey));
      const RandomKey key{host_.seed(), host_.runs(), 0};
      cuda::copy_to_device(stream(), key_.data(), &key, sizeof key);
    }
    return reinterpret_cast<const RandomKey*>(key_.data());
  }
  /// For kernels that draw.
  cuda::Key key(const RandomKey& of_op) { return {of_op, recording_ ? device_key() : nullptr}; }

  /// From here to end_recording() work is not done but recorded. To play it: next_run(), then play(stream()).
  void begin_recording() {
    device_key();
    cuda::begin_recording(stream());
    recording_ = true;
  }
  cuda::Recording end_recording() {
    recording_ = false;
    return cuda::Recording(cuda::end_recording(stream()));
  }
  bool recording() const { return recording_; }

  /// One value in device memory, when all work before is done.
  /// Errors    bad_input for a loss with a label that was not a class.
  template <class T> T read(const T* at) const {
    T value;
    cuda::copy_to_host(stream(), &value, at, sizeof value);
    cuda::synchronize(stream());
    if constexpr (std::is_same_v<T, float>) cuda::refuse_bad_label(value);
    return value;
  }
  /// Host to device, and back; both may be channel ranges.
  template <class T, int Dim> void upload(View<const T, Dim> from, View<T, Dim> to) const {
    cuda::upload(stream(), rows(from, to));
  }
  template <class T, int Dim> void download(View<const T, Dim> from, View<T, Dim> to) const {
    cuda::download(stream(), rows(from, to));
  }
  /// See ctseg::bring and cuda::device_edit.
  void bring(Residence<Cuda>* residence) const {
    if (residence) stream(), residence->bring(stream_);   // memory is taken from this thread's card
  }
  void edit(Residence<Cuda>* residence) const {
    if (residence) stream(), residence->edit(stream_);
  }

 private:
  template <class T, int Dim> static cuda::RowCopy rows(const View<const T, Dim>& from, const View<T, Dim>& to) {
    if (from.shape != to.shape)
      throw Error(Code::shape_mismatch, "copy", text("cannot copy ", from.shape, " to ", to.shape, "; both must be the same."));
    constexpr Index size = sizeof(T);
    return {to.data, to.pitch * size, from.data, from.pitch * size, to.shape.c * size, to.rows()};
  }

  Context<Cpu> host_;
  DeviceTraits<Cuda> traits_;
  cuda::SharedStream stream_;
  Memory<Cuda> key_;
  std::shared_ptr<cuda::ConvPlans> conv_plans_;
  bool recording_ = false;
};

namespace cuda {

/// The card's copy of a parameter, or of the part of one that `w` is; null where it is empty. It is there after bring().
template <AnySpec S> const float* device_values(const Weights<S>& w) {
  return w.empty() ? nullptr : w.residence->at(w.values);
}
/// The same to write by work of the context's stream: counts as a change, and the host fetches it when it is read there.
template <AnySpec S> float* device_edit(Context<Cuda>& ctx, const Weights<S>& w) {
  if (w.empty()) return nullptr;
  ctx.edit(w.residence);
  return w.residence->at(w.values);
}

}   // namespace cuda
}   // namespace ctseg
