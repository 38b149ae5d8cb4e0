// Every pixel edge between label and not label is walked once, with the label on the right. Where two regions touch at a corner
// the walk turns right, so it stays with its region.
#include "contours.hpp"

namespace ctseg::io::dicom {

namespace {

constexpr int kStepX[] = {1, 0, -1, 0}, kStepY[] = {0, 1, 0, -1};   // right, down, left, up: turning right is +1

/// Edges that leave each corner, a bit for each direction.
class Edges {
 public:
  Edges(std::span<const std::uint8_t> slice, Index columns, std::uint8_t label)
      : slice_(slice),
        columns_(static_cast<int>(columns)),
        rows_(static_cast<int>(static_cast<Index>(slice.size()) / columns)),
        label_(label),
        out_(static_cast<std::size_t>((columns_ + 1) * (rows_ + 1))) {
    for (int y = 0; y < rows_; ++y)
      for (int x = 0; x < columns_; ++x) {
        if (!inside(x, y)) continue;
        if (!inside(x, y - 1)) at(x, y) |= 1;
        if (!inside(x + 1, y)) at(x + 1, y) |= 2;
        if (!inside(x, y + 1)) at(x + 1, y + 1) |= 4;
        if (!inside(x - 1, y)) at(x, y + 1) |= 8;
      }
  }

  int columns() const { return columns_; }
  int rows() const { return rows_; }
  bool take(int x, int y, int direction) {
    std::uint8_t& bits = at(x, y);
    const auto bit = static_cast<std::uint8_t>(1 << direction);
    const bool there = bits & bit;
    bits = static_cast<std::uint8_t>(bits & ~bit);
    return there;
  }

 private:
  bool inside(int x, int y) const {
    return x >= 0 && y >= 0 && x < columns_ && y < rows_ && slice_[static_cast<std::size_t>(y * columns_ + x)] == label_;
  }
  std::uint8_t& at(int x, int y) { return out_[static_cast<std::size_t>(y * (columns_ + 1) + x)]; }

  std::span<const std::uint8_t> slice_;
  int columns_, rows_;
  std::uint8_t label_;
  std::vector<std::uint8_t> out_;
};

/// Walks the outline whose edge to the right leaves (x, y); that edge is taken already.
Contour walk(Edges& edges, const int start_x, const int start_y) {
  Contour contour{{start_x, start_y}};
  int x = start_x, y = start_y, direction = 0;
  for (;;) {
    x += kStepX[direction];
    y += kStepY[direction];
    const bool home = x == start_x && y == start_y;
    int next = -1;
    for (const int turn : {1, 0, 3}) {
      const int way = (direction + turn) % 4;
      if (home && turn == 1 && way == 0) return contour;
      if (next < 0 && edges.take(x, y, way)) next = way;
    }
    if (next < 0) return contour;   // home by another way than a right turn
    if (next != direction) contour.push_back({x, y});
    direction = next;
  }
}

}   // namespace

std::vector<Contour> contours_of(std::span<const std::uint8_t> slice, Index columns, std::uint8_t label) {
  Edges edges(slice, columns, label);
  std::vector<Contour> contours;
  for (int y = 0; y <= edges.rows(); ++y)
    for (int x = 0; x <= edges.columns(); ++x)
      if (edges.take(x, y, 0)) contours.push_back(walk(edges, x, y));
  return contours;
}

}   // namespace ctseg::io::dicom
