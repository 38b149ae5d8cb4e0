// Parameters cut into pieces, one for each block of a launch, and numbers beside them that live on the card.
#pragma once
#include "../../nn/cuda/gradients.hpp"
#include "launch.hpp"

namespace ctseg::cuda {

/// Where the numbers of a set of parameters lie one after the other, each parameter's from a multiple of four on.
inline Index place_behind(Index place, Index size) { return place + (size + 3) / 4 * 4; }

/// The pieces of a set of parameters in device memory, made again when one of them, or the gradients, lie elsewhere.
template <AnySpec S> class PieceTable {
 public:
  /// Of values that are on the card now; gradients: null for pieces without, else parameters outside are left out.
  Pieces of(Context<Cuda>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>* gradients = nullptr) {
    std::vector<Piece> whole;
    Index place = 0;
    for (Parameter<S>& p : parameters) {
      const std::span<float> g = gradients ? gradients->of(p) : std::span<float>();
      const Weights<S> w = p;
      if (!gradients || !g.empty()) ctx.bring(w.residence);
      if (!gradients || !g.empty())
        whole.push_back({.values = const_cast<float*>(device_values(w)),
                         .gradient = g.data(),
                         .place = place,
                         .count = p.size(),
                         .average_rate = p.role() == Role::averaged ? static_cast<float>(p.average_rate()) : -1});
      place = place_behind(place, p.size());
    }
    if (!same(whole)) cut(ctx, std::move(whole));
    return {reinterpret_cast<const Piece*>(memory_.data()), count_};
  }
  /// Says that a launch has moved the values of such pieces.
  static void moved(Context<Cuda>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>* gradients = nullptr) {
    for (Parameter<S>& p : parameters)
      if (!gradients || !gradients->of(p).empty()) device_edit(ctx, Weights<S>(p));
  }

 private:
  bool same(const std::vector<Piece>& whole) const {
    return std::equal(whole.begin(), whole.end(), whole_.begin(), whole_.end(), [](const Piece& a, const Piece& b) {
      return a.values == b.values && a.gradient == b.gradient && a.place == b.place && a.count == b.count &&
             a.average_rate == b.average_rate;
    });
  }
  void cut(Context<Cuda>& ctx, std::vector<Piece> whole) {
    std::vector<Piece> pieces;
    for (const Piece& p : whole)
      for (Index first = 0; first < p.count; first += Piece::kMost) {
        Piece& piece = pieces.emplace_back(p);
        piece.values += first, piece.place += first;
        if (piece.gradient) piece.gradient += first;
        piece.count = std::min<Index>(Piece::kMost, p.count - first);
      }
    const Index bytes = std::ssize(pieces) * Index{sizeof(Piece)};
    synchronize(ctx.stream());   // a launch may still read the old ones
    memory_ = ctx.allocate(bytes);
    copy_to_device(ctx.stream(), memory_.data(), pieces.data(), bytes);
    whole_ = std::move(whole), count_ = std::ssize(pieces);
  }

  std::vector<Piece> whole_;   // uncut
  Memory<Cuda> memory_;
  Index count_ = 0;
};

/// Floats in device memory, with a copy on the host while somebody looks at it.
class Mirror {
 public:
  explicit Mirror(Index size = 0) : size_(size) {}

  /// What the host may have written goes up first; spans of host() end here.
  float* device(Context<Cuda>& ctx) {
    stream_ = ctx.stream();
    const Index bytes = size_ * Index{sizeof(float)};
    const bool fresh = memory_.bytes() == 0;
    if (fresh && bytes > 0) memory_ = ctx.allocate(bytes);
    if (!host_.empty())
      copy_to_device(stream_, memory_.data(), host_.data(), bytes), host_ = {};
    else if (fresh && bytes > 0)
      clear(stream_, memory_.data(), bytes);
    return reinterpret_cast<float*>(memory_.data());
  }
  /// To read or write: from here until device() these count.
  std::span<float> host() {
    if (host_.empty()) {
      host_.resize(static_cast<std::size_t>(size_));
      if (memory_.bytes() > 0) {
        copy_to_host(stream_, host_.data(), memory_.data(), size_ * Index{sizeof(float)});
        synchronize(stream_);
      }
    }
    return host_;
  }
  Index size() const { return size_; }

 private:
  Index size_;
  Memory<Cuda> memory_;
  std::vector<float> host_;
  Stream stream_ = nullptr;   // of the last context
};

}   // namespace ctseg::cuda
