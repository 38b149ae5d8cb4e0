// A prepared scan as windows are cut from it: all its channels, and those that the first network of a cascade gives.
#pragma once
#include "../core/view.hpp"
#include "../image/steps.hpp"

namespace ctseg {

/// What is segmented: a volume for each channel of the network, on one grid. Behind the first network of a cascade also the
/// mask that it made, on that grid.
struct SegmentInput {
  std::vector<const Volume<float>*> channels{};
  const Volume<std::uint8_t>* previous = nullptr;
};

/// A source for stream_windows. The mask of the first network, on the prepared grid, becomes a channel of ones and zeros for
/// each of its labels while a window is cut, so that no such volume exists.
template <AnySpec S> class PreparedImage {
 public:
  PreparedImage(const Preprocessed& prepared, const Volume<std::uint8_t>* previous, const std::vector<Index>& labels)
      : prepared_(&prepared), previous_(previous), labels_(&labels) {
    const auto space = prepared.image.tensor_shape().space;
    shape_ = {S::kDim == 2 ? space[0] : 1, std::ssize(prepared.more) + 1 + std::ssize(labels), {}};   // 2-D: axial slices
    std::copy_n(space.end() - S::kDim, S::kDim, shape_.space.begin());
  }

  const Shape<S::kDim>& shape() const { return shape_; }
  /// Windows that were cut.
  Index cut() const { return cut_; }

  /// Fills `to` with the box of its extents whose first voxel is z, y, x.
  void read(const std::array<Index, 3>& first, Out<S> to) {
    ++cut_;
    const auto size = to.shape.space;
    const Index rows = size[S::kDim - 2], columns = size[S::kDim - 1], channels = shape_.c;
    for (Index r = 0; r < to.shape.voxels() / columns; ++r) {
      const Index from = at(first[0] + r / rows, first[1] + r % rows, first[2]);
      float* const out = to.data + r * columns * channels;
      for (std::size_t c = 0; c <= prepared_->more.size(); ++c) spread(prepared_->channel(c).data() + from, columns, out + c);
      if (previous_) mark(previous_->data() + from, columns, out + prepared_->more.size() + 1);
    }
  }

 private:
  Index at(Index z, Index y, Index x) const { return (z * shape_.space[S::kDim - 2] + y) * shape_.space[S::kDim - 1] + x; }
  void spread(const float* from, Index columns, float* to) const {
    if (shape_.c == 1) return void(std::copy_n(from, columns, to));
    for (Index x = 0; x < columns; ++x) to[x * shape_.c] = from[x];
  }
  void mark(const std::uint8_t* from, Index columns, float* to) const {
    for (Index x = 0; x < columns; ++x)
      for (std::size_t l = 0; l < labels_->size(); ++l)
        to[x * shape_.c + static_cast<Index>(l)] = Index{from[x]} == (*labels_)[l] ? 1.f : 0.f;
  }

  const Preprocessed* prepared_;
  const Volume<std::uint8_t>* previous_;
  const std::vector<Index>* labels_;
  Shape<S::kDim> shape_{};
  Index cut_ = 0;
};

}   // namespace ctseg
