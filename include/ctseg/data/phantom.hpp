// A synthetic CT with label maps: what examples, tests and demos use where there is no data. The same seed gives the same
// patient on any grid and the same bits for any number of threads. Muscle, liver, spleen, bowel and blood share their HU, so
// that no threshold finds the liver; place, shape and texture do.
#pragma once
#include "../core/finite.hpp"
#include "phantom_abdomen.hpp"
#include "phantom_chest.hpp"
#include "phantom_heart.hpp"
#include "phantom_spine.hpp"

namespace ctseg {

/// What the field of view shows. The heart is scanned with contrast agent in the arteries, everything else without.
enum class Region { thorax_abdomen, thorax, abdomen, whole_spine, heart };

struct PhantomOptions {
  std::uint64_t seed = 0;   // the patient: sizes, places, HU, tumours, tilt, table
  Region region = Region::thorax_abdomen;
  Xyz<Index> shape = {96, 96, 80};
  Xyz<double> spacing_mm = {0, 0, 0};   // 0: as wide as it takes to see the region
  double oblique_degrees = 0;           // turns the grid about an axis drawn by the seed
  double noise_hu = 15;                 // standard deviation
  double blur_mm = 0;                   // standard deviation of a Gaussian, before the noise
  int nodules = -1;                     // in the lungs; -1: 0 to 6, by seed
  int lesions = -1;                     // in the liver; -1: 0 to 4, by seed
};

struct PhantomNodule {
  Point<Ras> center;
  double diameter_mm;   // of a sphere as large
};

/// CT and labels on one grid. Voxels of `lesions`, `nodules` and `coronaries` are 0 or 1.
struct Phantom {
  Volume<float> ct;                 // whole HU, -1024 .. 3071
  Volume<std::uint8_t> organs;      // Organ
  Volume<std::uint8_t> vertebrae;   // 0, or 1 .. 25: C1 .. C7, T1 .. T12, L1 .. L5, sacrum
  Volume<std::uint8_t> lesions, nodules, coronaries;
  std::vector<PhantomNodule> nodule_list;   // those whose centre lies on the grid
};

/// 1 where an organ is, 0 elsewhere.
inline Volume<std::uint8_t> mask_of(const Phantom& phantom, Organ organ) {
  Volume<std::uint8_t> mask(phantom.organs.grid());
  for (std::size_t i = 0; i < mask.voxels().size(); ++i)
    mask.voxels()[i] = phantom.organs.voxels()[i] == static_cast<std::uint8_t>(organ);
  return mask;
}

namespace phantom {

inline Box region_box(const Patient& patient, Region region) {
  switch (region) {
    case Region::thorax:
      return box_around({0, -10, 68}, {200, 200, 150});
    case Region::abdomen:
      return box_around({0, -10, -92}, {200, 200, 146});
    case Region::heart:
      return box_around({-18, 24, 36 + 0.5 * patient.dome_mm}, {84, 84, 76});
    case Region::whole_spine: {
      const double low = sacrum_of(patient).bounds().min().z() - 6, high = vertebra_z(1) + 24;
      return {Vec{-150, -185, low}, Vec{150, 115, high}};
    }
    case Region::thorax_abdomen:
      break;
  }
  return box_around({0, -10, 8}, {200, 200, 206});
}

/// Patient's millimetres to world: size, tilt and where the scanner has its origin.
inline Eigen::Matrix4d world_from_patient(const Patient& patient, RandomStream random) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.topLeftCorner<3, 3>() = patient.scale * patient.tilt;
  m.topRightCorner<3, 1>() = Vec{random.uniform(-15, 15), random.uniform(-40, 40), random.uniform(-300, 300)};
  return m;
}

/// The grid: voxels run to the patient's left, back and head, as a scanner's do.
inline Grid scan_grid(const Patient& patient, const PhantomOptions& options, const Eigen::Matrix4d& to_world) {
  RandomStream random({.seed = options.seed, .op = 2});
  const Box box = region_box(patient, options.region);
  const Vec wide = patient.scale * box.sizes();
  const double across = random.uniform(1.0, 1.08), along = random.uniform(1.0, 1.05);
  const Vec shift{random.uniform(-8, 8), random.uniform(-8, 8), random.uniform(-6, 6)};
  const Vec axis = direction(random);
  const auto step_of = [](double wanted, double width, Index n) { return wanted > 0 ? wanted : width / double(n); };
  const Vec step{step_of(options.spacing_mm.x, across * wide.x(), options.shape.x),
                 step_of(options.spacing_mm.y, across * wide.y(), options.shape.y),
                 step_of(options.spacing_mm.z, along * wide.z(), options.shape.z)};
  const Vec middle = box.center() + (options.region == Region::whole_spine ? Vec{shift.x(), shift.y(), 0} : shift);
  const Vec last{double(options.shape.x - 1), double(options.shape.y - 1), double(options.shape.z - 1)};
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.topLeftCorner<3, 3>() = turn(options.oblique_degrees, axis) * Vec{-step.x(), -step.y(), step.z()}.asDiagonal();
  const Vec center = to_world.topLeftCorner<3, 3>() * middle + to_world.topRightCorner<3, 1>();
  m.topRightCorner<3, 1>() = center - 0.5 * (m.topLeftCorner<3, 3>() * last);
  return {options.shape, Affine<Ras>(m)};
}

/// The scanner's table: a thin-walled cradle under the back.
struct Table {
  double top_y;

  double distance(const Vec& p) const {
    return std::max(std::abs(p.y() - top_y - p.x() * p.x() / 2200) - 7, std::abs(p.x()) - 215);
  }
  Box bounds() const { return {Vec{-216, top_y - 9, -600}, Vec{216, top_y + 32, 600}}; }
};

/// Everything that the organs lie in and on.
inline void paint_trunk(Canvas& canvas, const Patient& patient, RandomStream random) {
  const double back = -8 - (82 * patient.girth_y + 30 + 0.8 * patient.fat_mm);
  if (patient.table) canvas.paint(Table{back - 14}, {.hu = 20, .core_hu = -930, .shell_mm = 2, .organ = Organ::background});
  const double muscle_hu = patient.soft(random.uniform(48, 62));
  const Material muscle{.hu = muscle_hu, .texture_hu = 8, .texture_mm = 9};
  canvas.paint(Trunk{patient, Trunk::skin}, {.hu = 15, .core_hu = -104, .shell_mm = 2, .texture_hu = 5, .texture_mm = 20});
  canvas.paint(Trunk{patient, Trunk::muscle}, muscle);
  const Trunk cavity{patient, Trunk::cavity};
  canvas.paint(cavity, {.hu = -88, .texture_hu = 14, .texture_mm = 14});
  canvas.paint(Ellipsoid{{0, -14, 300}, {44, 48, 80}}, muscle);   // neck
  for (const double side : {1.0, -1.0}) {
    const auto beside = [&](double x, double y, double z) { return Vec{patient.spine(z) + Vec{side * x, y, 0}}; };
    const std::vector<Vec> psoas{beside(27, -4, -85), beside(38, 2, -160), beside(50, 12, -235), {side * 75, 15, -320}},
        erector{beside(26, -36, 190), beside(28, -40, 60), beside(30, -40, -80), beside(32, -42, -240)},
        quadratus{beside(62, -24, -110), beside(70, -22, -230)};
    paint_tube(canvas, {psoas, 9, 24}, muscle);
    paint_tube(canvas, {erector, 15, 22}, muscle);
    paint_tube(canvas, {quadratus, 11, 13}, muscle);
    const Ellipsoid pectoral{{side * 62, 86 * patient.girth_y, 115}, {52, 12, 55}, turn(side * -25, Vec::UnitZ())};
    canvas.paint(clipped(pectoral, Trunk{patient, Trunk::skin}, 0.4 * patient.fat_mm), muscle);
  }
  canvas.paint(Diaphragm{patient, cavity}, {.hu = muscle_hu});
}

/// Smooths along one axis with a Gaussian; the ends repeat.
inline void blur_axis(Volume<float>& ct, Index stride, Index count, double sigma_voxels) {
  const Index reach = static_cast<Index>(std::ceil(3 * sigma_voxels));
  if (!(sigma_voxels > 0.05)) return;
  std::vector<double> weights, line(static_cast<std::size_t>(count));
  double sum = 0;
  for (Index k = -reach; k <= reach; ++k)
    sum += weights.emplace_back(std::exp(-0.5 * double(k * k) / (sigma_voxels * sigma_voxels)));
  for (Index start = 0; start < ct.grid().voxels(); ++start) {
    if (start / stride % count != 0) continue;
    for (Index i = 0; i < count; ++i) {
      double value = 0;
      for (Index k = -reach; k <= reach; ++k)
        value += weights[static_cast<std::size_t>(k + reach)] *
                 double(ct.data()[start + std::clamp<Index>(i + k, 0, count - 1) * stride]);
      line[static_cast<std::size_t>(i)] = value / sum;
    }
    for (Index i = 0; i < count; ++i) ct.data()[start + i * stride] = static_cast<float>(line[static_cast<std::size_t>(i)]);
  }
}

/// Adds noise, a part of it smooth in the slice as reconstruction leaves it, and rounds to whole HU.
inline void add_noise(Volume<float>& ct, const PhantomOptions& options, Executor& executor) {
  const RandomKey key{.seed = options.seed, .op = 3};
  const Xyz<Index> n = ct.shape();
  const Index pairs = (n.x * n.y + 1) / 2;
  parallel_for(executor, n.z, [&](Index z) {
    std::vector<float> white(static_cast<std::size_t>(2 * pairs)), grain(white.size());
    for (Index i = 0; i < pairs; ++i) {
      const auto words = key.words(static_cast<std::uint64_t>(z * pairs + i));
      const auto two_normals = [&](std::size_t w, std::vector<float>& out) {
        const double r = std::sqrt(-2 * std::log((words[w] + 1.0) * 0x1p-32));
        const double angle = 6.283185307179586 * 0x1p-32 * words[w + 1];
        out[static_cast<std::size_t>(2 * i)] = static_cast<float>(r * std::cos(angle));
        out[static_cast<std::size_t>(2 * i + 1)] = static_cast<float>(r * std::sin(angle));
      };
      two_normals(0, white);
      two_normals(2, grain);
    }
    const auto grain_at = [&](Index y, Index x) {
      return double(grain[static_cast<std::size_t>(std::clamp<Index>(y, 0, n.y - 1) * n.x + std::clamp<Index>(x, 0, n.x - 1))]);
    };
    const auto row = [&](Index y, Index x) { return grain_at(y, x - 1) + 2 * grain_at(y, x) + grain_at(y, x + 1); };
    for (Index y = 0; y < n.y; ++y)
      for (Index x = 0; x < n.x; ++x) {   // the sum of 1-2-1 by 1-2-1 has a standard deviation of 6
        const double smooth = (row(y - 1, x) + 2 * row(y, x) + row(y + 1, x)) / 6;
        const double noise = 0.6 * double(white[static_cast<std::size_t>(y * n.x + x)]) + 0.8 * smooth;
        float& hu = ct(z, y, x);
        hu = static_cast<float>(std::clamp(std::round(double(hu) + options.noise_hu * noise), -1024.0, 3071.0));
      }
  });
}

inline std::vector<PlacedNodule> paint_patient(Canvas& canvas, const Patient& patient, const PhantomOptions& options) {
  const auto stream = [&](std::uint32_t op) { return RandomStream({.seed = options.seed, .op = op}); };
  RandomStream counts = stream(4), cardiac = stream(5);
  const int drawn_nodules = static_cast<int>(counts.below(7)), drawn_lesions = static_cast<int>(counts.below(5));
  const int nodules = options.nodules < 0 ? drawn_nodules : options.nodules;
  const int lesions = options.lesions < 0 ? drawn_lesions : options.lesions;
  const Heart heart(patient, options.region == Region::heart, cardiac);
  paint_trunk(canvas, patient, stream(10));
  paint_lung(canvas, {patient, 1}, heart.right_hu, stream(11));
  paint_lung(canvas, {patient, -1}, heart.right_hu, stream(12));
  paint_bowel(canvas, patient, stream(13));
  paint_chambers(canvas, patient, heart);
  paint_great_vessels(canvas, patient, heart);
  paint_airways(canvas, patient);
  paint_stomach(canvas, patient, stream(14));
  paint_liver(canvas, patient, lesions, options.seed);
  paint_back_organs(canvas, patient, stream(15));   // the kidney's fat dents the liver
  paint_gallbladder(canvas, patient, stream(16));
  paint_other_bones(canvas, patient);
  paint_ribs(canvas, patient);
  paint_vertebrae(canvas, patient, stream(17));
  paint_coronaries(canvas, heart, stream(18));
  const Ellipsoid around{heart.center, heart.radii, heart.axes};
  return paint_nodules(canvas, patient, {nodules, around, stream(19)});
}

}   // namespace phantom

/// Makes a phantom. The patient follows from the seed alone: another grid, spacing or noise shows the same one.
/// Units     HU; mm.     Cost  about 1 us a voxel on one core.
/// Errors    shape_mismatch if an extent is below 1; bad_argument for negative or infinite spacing, noise or blur.
/// A template, though nothing varies: with ctseg::prebuilt it is not compiled again.
template <class = void> Phantom make_phantom(const PhantomOptions& options = {}, Executor* executor = nullptr) {
  const Xyz<Index> n = options.shape;
  checked(Shape<3>{1, 1, {n.z, n.y, n.x}}, "make_phantom");
  const auto check = [](double value, const char* name) {
    if (!is_finite(value) || value < 0 || value >= 1e4)
      throw Error(Code::bad_argument, "make_phantom", text(name, " is ", value, "; it must be at least 0 and below 10000."));
  };
  check(options.spacing_mm.x, "spacing_mm.x");
  check(options.spacing_mm.y, "spacing_mm.y");
  check(options.spacing_mm.z, "spacing_mm.z");
  check(options.noise_hu, "noise_hu");
  check(options.blur_mm, "blur_mm");
  check(std::abs(options.oblique_degrees), "the size of oblique_degrees");
  ThreadPool alone(1);
  Executor& where = executor ? *executor : alone;

  const phantom::Patient patient(RandomStream({.seed = options.seed, .op = 1}));
  const Eigen::Matrix4d to_world = phantom::world_from_patient(patient, RandomStream({.seed = options.seed, .op = 6}));
  phantom::Canvas canvas(phantom::scan_grid(patient, options, to_world), inverse_of(to_world), patient.lattice, where);
  const std::vector<phantom::PlacedNodule> placed = phantom::paint_patient(canvas, patient, options);
  const Xyz<double> step = canvas.ct.spacing_mm();
  phantom::blur_axis(canvas.ct, 1, n.x, options.blur_mm / step.x);
  phantom::blur_axis(canvas.ct, n.x, n.y, options.blur_mm / step.y);
  phantom::blur_axis(canvas.ct, n.x * n.y, n.z, options.blur_mm / step.z);
  phantom::add_noise(canvas.ct, options, where);

  std::vector<PhantomNodule> list;
  for (const auto& [center, diameter_mm] : placed) {
    const Eigen::Vector4d world = to_world * center.homogeneous();
    list.push_back({{world[0], world[1], world[2]}, patient.scale * diameter_mm});
  }
  return {std::move(canvas.ct),
          std::move(canvas.organs),
          std::move(canvas.vertebrae),
          std::move(canvas.lesions),
          std::move(canvas.nodules),
          std::move(canvas.coronaries),
          std::move(list)};
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds this
CTSEG_PREBUILT template Phantom make_phantom<void>(const PhantomOptions&, Executor*);
#endif

}   // namespace ctseg
