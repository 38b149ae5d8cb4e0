// One picture to judge a segmentation by: axial slices through it, one coronal, one sagittal, in true proportions.
// Radiological convention: the patient's right is on the left of the picture, whatever way the voxels are stored.
#pragma once
#include <optional>
#include <string_view>

#include "../core/finite.hpp"
#include "../image/intensity.hpp"
#include "../image/orientation.hpp"
#include "png.hpp"

namespace ctseg::io {

/// Which way a slice is cut.
enum class View { axial, coronal, sagittal };

struct PreviewOptions {
  WindowHu window_hu{};
  double fill = 0.4;                             // opacity inside the outline
  int panel_pixels = 240;                        // longer side of an axial panel
  const Volume<std::uint8_t>* truth = nullptr;   // drawn as a white outline
};

namespace previewing {

struct Rgb {
  std::uint8_t r = 0, g = 0, b = 0;
};

/// Colours that stay apart for colour-blind readers: first Okabe and Ito's, then Tol's bright, muted and light ones. They
/// repeat after 26.
inline Rgb label_colour(int label) {
  static constexpr Rgb kPalette[26] = {
      {230, 159, 0},   {86, 180, 233}, {0, 158, 115},   {240, 228, 66},  {213, 94, 0},   {204, 121, 167}, {0, 114, 178},
      {238, 102, 119}, {34, 136, 51},  {204, 187, 68},  {102, 204, 238}, {170, 51, 119}, {68, 119, 170},  {136, 204, 238},
      {68, 170, 153},  {153, 153, 51}, {221, 204, 119}, {204, 102, 119}, {136, 34, 85},  {119, 170, 221}, {153, 221, 255},
      {68, 187, 153},  {187, 204, 51}, {238, 221, 136}, {238, 136, 102}, {255, 170, 187}};
  return kPalette[(label - 1) % 26];
}

/// Rows of a 5 x 7 letter, the highest of five bits on the left.
inline std::array<std::uint8_t, 7> glyph(char letter) {
  switch (letter) {
    case 'A':
      return {0x0E, 0x11, 0x11, 0x1F, 0x11, 0x11, 0x11};
    case 'L':
      return {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1F};
    case 'P':
      return {0x1E, 0x11, 0x11, 0x1E, 0x10, 0x10, 0x10};
    case 'R':
      return {0x1E, 0x11, 0x11, 0x1E, 0x14, 0x12, 0x11};
    default:
      return {};
  }
}

/// A rectangle of the picture.
struct Frame {
  int x = 0, y = 0, width = 0, height = 0;
};

struct Canvas {
  RgbImage image;

  Canvas(int width, int height)
      : image{width, height,
              std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)} {}
  void set(int x, int y, Rgb c) {
    if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
    std::uint8_t* p = image.rgb.data() +
                      3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) + static_cast<std::size_t>(x));
    p[0] = c.r, p[1] = c.g, p[2] = c.b;
  }
  /// A letter of double size on a black shadow, so that it shows on bone and on air.
  void letter(char which, int x, int y) {
    for (const bool shadow : {true, false})
      for (int row = 0; row < 14; ++row)
        for (int column = 0; column < 10; ++column)
          if (glyph(which)[static_cast<std::size_t>(row / 2)] >> (4 - column / 2) & 1)
            shadow ? set(x + column + 1, y + row + 1, {}) : set(x + column, y + row, {255, 255, 255});
  }
};

/// A plane of a volume stored L, P, S: which axes run right and down in the picture, and through which slice it goes.
struct Plane {
  int right = 0, down = 1, through = 2;
  bool feet_down = false;   // the axis that runs down is stored feet first
  Index slice = 0;
  char left_letter = 'R', right_letter = 'L';
};

inline Plane plane_of(View view, Index slice) {
  if (view == View::axial) return {.slice = slice};
  if (view == View::coronal) return {.right = 0, .down = 2, .through = 1, .feet_down = true, .slice = slice};
  return {.right = 1, .down = 2, .through = 0, .feet_down = true, .slice = slice, .left_letter = 'A', .right_letter = 'P'};
}

inline std::array<Index, 3> extents(Xyz<Index> shape) { return {shape.x, shape.y, shape.z}; }

/// Continuous voxel coordinates of a pixel centre along both axes of the plane, kept on the volume.
struct Spot {
  double right, down;
};
inline Spot spot(const Plane& plane, const Frame& frame, const std::array<Index, 3>& n, int i, int j) {
  const auto coordinate = [](int pixel, int pixels, Index voxels) {
    return std::clamp((pixel + 0.5) * static_cast<double>(voxels) / pixels - 0.5, 0.0, static_cast<double>(voxels - 1));
  };
  const Index rows = n[static_cast<std::size_t>(plane.down)];
  const double down = coordinate(j, frame.height, rows);
  return {coordinate(i, frame.width, n[static_cast<std::size_t>(plane.right)]),
          plane.feet_down ? static_cast<double>(rows - 1) - down : down};
}

template <class T> T voxel(const Volume<T>& volume, const Plane& plane, Index right, Index down) {
  std::array<Index, 3> at{};
  at[static_cast<std::size_t>(plane.right)] = right;
  at[static_cast<std::size_t>(plane.down)] = down;
  at[static_cast<std::size_t>(plane.through)] = plane.slice;
  return volume(at[2], at[1], at[0]);
}

/// The CT at a spot, linear in the plane, as gray.
inline double gray_at(const Volume<float>& ct, const Plane& plane, Spot s, const WindowHu& window) {
  const auto n = extents(ct.shape());
  const Index r0 = static_cast<Index>(s.right), d0 = static_cast<Index>(s.down);
  const Index r1 = std::min(r0 + 1, n[static_cast<std::size_t>(plane.right)] - 1),
              d1 = std::min(d0 + 1, n[static_cast<std::size_t>(plane.down)] - 1);
  const auto shade = [&](Index r, Index d) {
    const double v = voxel(ct, plane, r, d);
    return v > window.low ? std::min((v - window.low) / (window.high - window.low), 1.0) : 0.0;
  };
  const double fr = s.right - static_cast<double>(r0), fd = s.down - static_cast<double>(d0);
  const double top = shade(r0, d0) * (1 - fr) + shade(r1, d0) * fr, bottom = shade(r0, d1) * (1 - fr) + shade(r1, d1) * fr;
  return 255 * (top * (1 - fd) + bottom * fd);
}

/// The label under each pixel of a frame.
inline std::vector<int> labels_in(const Volume<std::uint8_t>& mask, const Plane& plane, const Frame& frame) {
  std::vector<int> out;
  const auto n = extents(mask.shape());
  for (int j = 0; j < frame.height; ++j)
    for (int i = 0; i < frame.width; ++i) {
      const Spot s = spot(plane, frame, n, i, j);
      out.push_back(voxel(mask, plane, static_cast<Index>(std::lround(s.right)), static_cast<Index>(std::lround(s.down))));
    }
  return out;
}

/// A pixel of a label whose neighbour above, below, left or right has another one.
inline bool on_outline(const std::vector<int>& labels, const Frame& frame, int i, int j) {
  const auto at = [&](int x, int y) {
    x = std::clamp(x, 0, frame.width - 1), y = std::clamp(y, 0, frame.height - 1);
    return labels[static_cast<std::size_t>(y) * static_cast<std::size_t>(frame.width) + static_cast<std::size_t>(x)];
  };
  const int own = at(i, j);
  return own > 0 && (at(i - 1, j) != own || at(i + 1, j) != own || at(i, j - 1) != own || at(i, j + 1) != own);
}

/// What is drawn, all stored L, P, S.
struct Scene {
  Volume<float> ct;
  Volume<std::uint8_t> mask;
  std::optional<Volume<std::uint8_t>> truth;
};

template <class = void>
void draw(Canvas& canvas, const Scene& scene, const Plane& plane, const Frame& frame, const PreviewOptions& options) {
  const std::vector<int> labels = labels_in(scene.mask, plane, frame);
  const std::vector<int> truth = scene.truth ? labels_in(*scene.truth, plane, frame) : std::vector<int>{};
  const auto n = extents(scene.ct.shape());
  const auto byte = [](double v) { return static_cast<std::uint8_t>(std::lround(v)); };
  for (int j = 0; j < frame.height; ++j)
    for (int i = 0; i < frame.width; ++i) {
      const double gray = gray_at(scene.ct, plane, spot(plane, frame, n, i, j), options.window_hu);
      Rgb pixel{byte(gray), byte(gray), byte(gray)};
      const int label =
          labels[static_cast<std::size_t>(j) * static_cast<std::size_t>(frame.width) + static_cast<std::size_t>(i)];
      if (label > 0) {
        const Rgb c = label_colour(label);
        const double a = on_outline(labels, frame, i, j) ? 1 : options.fill;
        pixel = {byte(gray + a * (c.r - gray)), byte(gray + a * (c.g - gray)), byte(gray + a * (c.b - gray))};
      }
      if (!truth.empty() && on_outline(truth, frame, i, j)) pixel = {255, 255, 255};
      canvas.set(frame.x + i, frame.y + j, pixel);
    }
  canvas.letter(plane.left_letter, frame.x + 3, frame.y + frame.height / 2 - 7);
  canvas.letter(plane.right_letter, frame.x + frame.width - 14, frame.y + frame.height / 2 - 7);
}

/// Mask voxels in each plane across one axis.
inline std::vector<Index> profile(const Volume<std::uint8_t>& mask, int axis) {
  const auto n = extents(mask.shape());
  std::vector<Index> counts(static_cast<std::size_t>(n[static_cast<std::size_t>(axis)]));
  for (Index z = 0; z < n[2]; ++z)
    for (Index y = 0; y < n[1]; ++y)
      for (Index x = 0; x < n[0]; ++x)
        if (mask(z, y, x)) ++counts[static_cast<std::size_t>(axis == 0 ? x : axis == 1 ? y : z)];
  return counts;
}
/// The plane with the most mask, or the middle one.
inline Index fullest(const std::vector<Index>& counts) {
  const auto most = std::max_element(counts.begin(), counts.end());
  return *most > 0 ? most - counts.begin() : static_cast<Index>(counts.size()) / 2;
}
/// Up to 15 slices from head to feet over the mask's extent, or over the whole volume.
inline std::vector<Index> axial_slices(const std::vector<Index>& counts) {
  Index first = 0, last = static_cast<Index>(counts.size()) - 1;
  if (*std::max_element(counts.begin(), counts.end()) > 0) {
    while (counts[static_cast<std::size_t>(first)] == 0) ++first;
    while (counts[static_cast<std::size_t>(last)] == 0) --last;
  }
  std::vector<Index> out;
  for (Index k = 0; k < 15; ++k) {
    const Index slice = last - ((last - first) * k + 7) / 14;
    if (out.empty() || out.back() != slice) out.push_back(slice);
  }
  return out;
}

template <class = void> void check(const Volume<float>& ct, const Volume<std::uint8_t>& mask, const PreviewOptions& options) {
  ctseg::check(options.window_hu);
  if (options.panel_pixels < 32 || options.panel_pixels > 2000)
    throw Error(Code::bad_argument, "preview", text("panel_pixels = ", options.panel_pixels, "; must be 32 to 2000."));
  if (!is_finite(options.fill) || options.fill < 0 || options.fill > 1)
    throw Error(Code::bad_argument, "preview", text("fill = ", options.fill, "; must be 0 to 1."));
  for (const Volume<std::uint8_t>* labels : {&mask, options.truth})
    if (labels && !same_grid(labels->grid(), ct.grid()))
      throw Error(Code::shape_mismatch, "preview",
                  text(labels == &mask ? "the mask" : "the truth", " (", labels->shape(), ") is on another grid than the CT (",
                       ct.shape(), "). Hint: resample_like(mask, ct)."));
}

}   // namespace previewing

/// A montage of 3 x 5 axial slices over the mask's extent, with one coronal and one sagittal beside them.
/// Units     all panels in true millimetre proportions; one scale for the axial ones, one for the other two
/// Errors    shape_mismatch if a mask is not on the CT's grid; bad_argument for options out of range.
template <class = void>
RgbImage preview(const Volume<float>& ct, const Volume<std::uint8_t>& mask, const PreviewOptions& options = {}) {
  using namespace previewing;
  previewing::check(ct, mask, options);
  Scene scene{reorient(ct, "LPS"), reorient(mask, "LPS"), {}};
  if (options.truth) scene.truth = reorient(*options.truth, "LPS");
  const Xyz<Index> n = scene.ct.shape();
  const Xyz<double> spacing = scene.ct.spacing_mm();
  const double width = static_cast<double>(n.x) * spacing.x, depth = static_cast<double>(n.y) * spacing.y,
               height = static_cast<double>(n.z) * spacing.z;
  const auto pixels = [](double mm, double scale) { return std::max(static_cast<int>(std::lround(mm * scale)), 1); };
  constexpr int kGap = 4;

  const double axial = options.panel_pixels / std::max(width, depth);
  const Frame panel{0, 0, pixels(width, axial), pixels(depth, axial)};
  const int grid_width = 5 * (panel.width + kGap), grid_height = 3 * (panel.height + kGap);
  const double side = std::min((grid_height / 2 - kGap) / height, 2.0 * options.panel_pixels / std::max(width, depth));
  const Frame coronal{grid_width + kGap, 0, pixels(width, side), pixels(height, side)};
  const Frame sagittal{grid_width + kGap, grid_height / 2, pixels(depth, side), coronal.height};

  Canvas canvas(coronal.x + std::max(coronal.width, sagittal.width), std::max(grid_height, sagittal.y + sagittal.height));
  const std::vector<Index> slices = axial_slices(profile(scene.mask, 2));
  for (std::size_t k = 0; k < slices.size(); ++k) {
    const int column = static_cast<int>(k) % 5, row = static_cast<int>(k) / 5;
    draw(canvas, scene, {.slice = slices[k]},
         {column * (panel.width + kGap), row * (panel.height + kGap), panel.width, panel.height}, options);
  }
  draw(canvas, scene, plane_of(View::coronal, fullest(profile(scene.mask, 1))), coronal, options);
  draw(canvas, scene, plane_of(View::sagittal, fullest(profile(scene.mask, 0))), sagittal, options);
  return std::move(canvas.image);
}

struct OverlayOptions {
  View view = View::axial;
  std::optional<Index> slice{};   // counted from the patient's right, front or feet; unset: with the most of truth, else mask
  PreviewOptions look{};          // panel_pixels: the picture's longer side
};

/// One slice with the mask over it, in true millimetre proportions.
/// Errors    those of preview; bad_argument for a slice that is not there.
template <class = void>
RgbImage overlay(const Volume<float>& ct, const Volume<std::uint8_t>& mask, const OverlayOptions& options = {}) {
  using namespace previewing;
  previewing::check(ct, mask, options.look);
  Scene scene{reorient(ct, "LPS"), reorient(mask, "LPS"), {}};
  if (options.look.truth) scene.truth = reorient(*options.look.truth, "LPS");
  Plane plane = plane_of(options.view, 0);
  const auto n = extents(scene.ct.shape());
  const Index slices = n[static_cast<std::size_t>(plane.through)];
  const Volume<std::uint8_t>& shown = scene.truth ? *scene.truth : scene.mask;
  plane.slice = options.slice ? *options.slice : fullest(profile(shown, plane.through));
  if (plane.slice < 0 || plane.slice >= slices)
    throw Error(Code::bad_argument, "overlay", text("slice = ", plane.slice, "; there are ", slices, ", counted from 0."));
  const Xyz<double> mm = scene.ct.spacing_mm();
  const double spacing[] = {mm.x, mm.y, mm.z};
  const auto length = [&](int axis) { return static_cast<double>(n[static_cast<std::size_t>(axis)]) * spacing[axis]; };
  const double scale = options.look.panel_pixels / std::max(length(plane.right), length(plane.down));
  const auto pixels = [&](int axis) { return std::max(static_cast<int>(std::lround(length(axis) * scale)), 1); };
  Canvas canvas(pixels(plane.right), pixels(plane.down));
  draw(canvas, scene, plane, {0, 0, canvas.image.width, canvas.image.height}, options.look);
  return std::move(canvas.image);
}

}   // namespace ctseg::io
