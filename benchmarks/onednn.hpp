// One convolution in oneDNN, in the layouts that it likes best: what it costs to bring tensors there is not measured. The values
// are ctseg's own (channels last, weights [tap][in][out]), so that results can be compared.
#pragma once
#include <dlfcn.h>
#include <dnnl.hpp>

#include "layers.hpp"

namespace ctseg::bench {

/// Of the OpenMP library that oneDNN brought, whichever it is.
inline void set_onednn_threads(int threads) {
  if (void* set = dlsym(RTLD_DEFAULT, "omp_set_num_threads")) reinterpret_cast<void (*)(int)>(set)(threads);
}
inline std::string onednn_version() {
  const dnnl_version_t* v = dnnl_version();
  return ctseg::text(v->major, ".", v->minor, ".", v->patch);
}

/// oneDNN 3 has no descriptors beside the primitive's.
#if DNNL_VERSION_MAJOR >= 3
template <class P, class... A> auto describe(const dnnl::engine& e, const A&... a) {
  return typename P::primitive_desc(e, a...);
}
template <class P, class Hint, class... A> auto describe_backward(const dnnl::engine& e, const Hint& hint, const A&... a) {
  return typename P::primitive_desc(e, a..., hint);
}
#else
template <class P, class... A> auto describe(const dnnl::engine& e, const A&... a) {
  return typename P::primitive_desc(typename P::desc(a...), e);
}
template <class P, class Hint, class... A> auto describe_backward(const dnnl::engine& e, const Hint& hint, const A&... a) {
  return typename P::primitive_desc(typename P::desc(a...), e, hint);
}
#endif

struct ConvPrimitives {
  using Forward = dnnl::convolution_forward;
  using Data = dnnl::convolution_backward_data;
  using Weights = dnnl::convolution_backward_weights;
  static constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
};
struct DeconvPrimitives {
  using Forward = dnnl::deconvolution_forward;
  using Data = dnnl::deconvolution_backward_data;
  using Weights = dnnl::deconvolution_backward_weights;
  static constexpr auto kAlgorithm = dnnl::algorithm::deconvolution_direct;
};

class OneDnn {
 public:
  struct Buffers {
    float *x, *w, *y;   // the pass writes one of them, the gradient of the other two being what it reads
  };

  OneDnn(const Layer& layer, Pass pass, const Buffers& b) : pass_(pass), stream_(engine_) {
    layer.transposed ? make<DeconvPrimitives>(layer, b) : make<ConvPrimitives>(layer, b);
  }

  void run() {
    primitive_.execute(stream_, arguments_);
    stream_.wait();
  }
  /// Writes the result where Buffers said.
  void fetch() {
    const int r = result();
    dnnl::reorder(own_[at(r)], plain_[at(r)]).execute(stream_, own_[at(r)], plain_[at(r)]);
    stream_.wait();
  }
  const std::string& implementation() const { return implementation_; }

 private:
  int result() const { return pass_ == Pass::forward ? 2 : pass_ == Pass::data ? 0 : 1; }

  template <class P> void make(const Layer& l, const Buffers& b) {
    using dnnl::memory;
    using Tag = memory::format_tag;
    const auto axes = [&](const std::array<Index, 3>& a) { return memory::dims(a.end() - l.dim, a.end()); };
    const auto with = [&](Index first, Index second, const std::array<Index, 3>& a) {
      memory::dims all = axes(a);
      all.insert(all.begin(), {first, second});
      return all;
    };
    const std::array<memory::dims, 3> dims = {with(1, l.in, l.size), with(l.out, l.in, l.kernel),
                                              with(1, l.out, l.output_size())};
    const Tag image = l.dim == 3 ? Tag::ndhwc : Tag::nhwc, weights = l.dim == 3 ? Tag::dhwio : Tag::hwio;
    const auto desc = [&](std::size_t k, Tag tag) { return memory::desc(dims[k], memory::data_type::f32, tag); };
    const auto x = desc(0, Tag::any), w = desc(1, Tag::any), y = desc(2, Tag::any);
    std::array<Index, 3> right = l.padding;   // where a transposed convolution has output padding, less is cut off there
    for (std::size_t d = 0; d < 3; ++d) right[d] -= l.output_padding[d];
    const memory::dims strides = axes(l.stride), left = axes(l.padding), end = axes(right);
    const auto kind = pass_ == Pass::forward ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
    const auto forward = describe<typename P::Forward>(engine_, kind, P::kAlgorithm, x, w, y, strides, left, end);
    std::array<memory::desc, 3> likes;
    if (pass_ == Pass::forward) {
      likes = {forward.src_desc(), forward.weights_desc(), forward.dst_desc()};
      finish(typename P::Forward(forward), forward);
    } else if (pass_ == Pass::data) {
      const auto pd = describe_backward<typename P::Data>(engine_, forward, P::kAlgorithm, x, w, y, strides, left, end);
      likes = {pd.diff_src_desc(), pd.weights_desc(), pd.diff_dst_desc()};
      finish(typename P::Data(pd), pd);
    } else {
      const auto pd = describe_backward<typename P::Weights>(engine_, forward, P::kAlgorithm, x, w, y, strides, left, end);
      likes = {pd.src_desc(), pd.diff_weights_desc(), pd.diff_dst_desc()};
      finish(typename P::Weights(pd), pd);
    }
    const bool backward = pass_ != Pass::forward;
    const int names[] = {pass_ == Pass::data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC,
                         pass_ == Pass::weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
                         backward ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST};
    float* data[] = {b.x, b.w, b.y};
    for (std::size_t k = 0; k < 3; ++k) {
      plain_[k] = memory(desc(k, k == 1 ? weights : image), engine_, data[k]);
      own_[k] = memory(likes[k], engine_);
      dnnl::reorder(plain_[k], own_[k]).execute(stream_, plain_[k], own_[k]);
      arguments_.insert({names[k], own_[k]});
    }
    stream_.wait();
  }
  template <class Desc> void finish(const dnnl::primitive& p, const Desc& desc) {
    primitive_ = p;
    implementation_ = desc.impl_info_str();
  }

  Pass pass_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  std::array<dnnl::memory, 3> plain_, own_;   // x, w, y
  std::unordered_map<int, dnnl::memory> arguments_;
  std::string implementation_;
};

}   // namespace ctseg::bench
