// The passes of convolutions by cuDNN: a plan for every shape, made once, kept in memory and, where it can be, on disk.
#include <map>
#include <mutex>

#include "../conv/pass.hpp"
#include "graph.hpp"
#include "plan_file.hpp"

namespace ctseg::cuda {

namespace {

std::string text(const std::array<Index, 3>& e) { return ctseg::text(e[0], "x", e[1], "x", e[2]); }
/// All that a plan depends on beside the card and cuDNN's version.
std::string text(const ConvPass& p) {
  constexpr const char* kinds[] = {"forward", "data gradient", "weight gradient"};
  const ConvWindow& w = p.window;
  return ctseg::text(kinds[p.kind], " of ", p.images, " images ", text(w.input), " x ", p.input_channels, " -> ",
                     text(w.output), " x ", p.output_channels, ", kernel ", text(w.kernel), ", stride ", text(w.stride),
                     ", padding ", text(w.padding), ", dilation ", text(w.dilation), ", ", p.dtype, p.tf32 ? ", tf32" : "",
                     p.deterministic ? "" : ", any order", ", workspace ", p.workspace);
}
/// The same as numbers, to look up.
using Key = std::array<Index, 26>;
Key key_of(const ConvPass& p) {
  Key key{};
  std::size_t next = 0;
  for (const auto* axes :
       {&p.window.input, &p.window.output, &p.window.kernel, &p.window.stride, &p.window.padding, &p.window.dilation})
    for (const Index v : *axes) key[next++] = v;
  for (const Index v : {Index{p.kind}, p.images, p.input_channels, p.output_channels, static_cast<Index>(p.dtype),
                        Index{p.tf32}, Index{p.deterministic}, p.workspace})
    key[next++] = v;
  return key;
}

/// cuDNN opened, with a handle for the current card.
struct Session {
  cudnn::Library library = cudnn::open_library();
  cudnnHandle_t handle = [this] {
    cudnnHandle_t h = nullptr;
    check(library, library.create(&h), "opening cuDNN on this card");
    return h;
  }();
  cudnn::Target target{library, handle};

  Session() = default;
  Session(const Session&) = delete;
  ~Session() { library.destroy(handle); }
};

class CudnnPlans final : public ConvPlans {
 public:
  explicit CudnnPlans(int device) : device_(device) {}

  void run(Stream stream, const ConvPass& pass, const PassBuffers& b) override {
    const std::lock_guard lock(mutex_);
    const Entry& entry = plan(pass);
    if (!entry.plan)
      throw Error(
          Code::unsupported, "cudnn",
          ctseg::text("no plan for the ", text(pass), ": ", entry.why, ". Hint: a larger ContextOptions::cuda.workspace, ",
                      "cuda.tf32 or cuda.deterministic = false may allow one."));
    const cudnn::Library& library = session_->library;
    check(library, library.set_stream(session_->handle, stream), "choosing the stream");
    const std::vector<std::int64_t> ids = {cudnn::kInput, cudnn::kFilter, cudnn::kOutput};
    const std::vector<void*> pointers = {b.input, b.filter, b.output};
    cudnn::Descriptor pack(library, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(cudnn::attribute::VARIANT_PACK_UNIQUE_IDS, ids)
        .set(cudnn::attribute::VARIANT_PACK_DATA_POINTERS, pointers)
        .set(cudnn::attribute::VARIANT_PACK_WORKSPACE, b.workspace)
        .finalize("the pointers of a pass");
    if (const auto status = library.execute(session_->handle, entry.plan->descriptor.raw(), pack.raw());
        status != CUDNN_STATUS_SUCCESS)   // its words are many, and made for a failure only
      check(library, status, text(pass));
  }

 private:
  struct Entry {
    std::optional<cudnn::Plan> plan;
    std::string why;   // there is none
  };
  const Entry& plan(const ConvPass& pass) {
    const Key key = key_of(pass);
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
    if (!session_) {
      session_ = std::make_unique<Session>();
      const DeviceFacts facts = device_facts(device_);
      files_ = cudnn::PlanFiles(ctseg::text(session_->library.version, "-", facts.name, "-sm", facts.capability));
    }
    Entry entry;
    const std::string name = text(pass);
    if (const auto json = files_.read(name)) entry.plan = cudnn::from_json(session_->target, *json);
    if (!entry.plan || entry.plan->workspace > pass.workspace) {
      const cudnn::PlanLimits limits{.workspace = pass.workspace,
                                     .tensor_cores = pass.tf32 || pass.dtype != Dtype::f32,
                                     .deterministic = pass.deterministic};
      entry.plan = choose_plan(session_->target, convolution_graph(session_->target, pass), limits, &entry.why);
      if (entry.plan)
        if (const auto json = to_json(*entry.plan)) files_.write(name, *json);
    }
    return plans_.emplace(key, std::move(entry)).first->second;
  }

  int device_;
  std::mutex mutex_;
  std::unique_ptr<Session> session_;
  cudnn::PlanFiles files_;
  std::map<Key, Entry> plans_;   // ends before the session
};

}   // namespace

std::shared_ptr<ConvPlans> make_conv_plans(int device) { return std::make_shared<CudnnPlans>(device); }

}   // namespace ctseg::cuda
