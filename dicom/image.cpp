// The header of an image file: every field is checked before it is used, and the first that is wrong is named.
#include "image.hpp"

#include <algorithm>

namespace ctseg::io::dicom {

namespace {

constexpr Index kMaxSide = 8192;

constexpr Field kImageType{0x00080008, "ImageType"}, kThickness{0x00180050, "SliceThickness"}, kRows{0x00280010, "Rows"},
    kColumns{0x00280011, "Columns"}, kSamples{0x00280002, "SamplesPerPixel"},
    kPhotometric{0x00280004, "PhotometricInterpretation"}, kFrames{0x00280008, "NumberOfFrames"},
    kSpacing{0x00280030, "PixelSpacing"}, kAllocated{0x00280100, "BitsAllocated"}, kStored{0x00280101, "BitsStored"},
    kHighBit{0x00280102, "HighBit"}, kSign{0x00280103, "PixelRepresentation"}, kPadding{0x00280120, "PixelPaddingValue"},
    kPaddingLimit{0x00280121, "PixelPaddingRangeLimit"}, kIntercept{0x00281052, "RescaleIntercept"},
    kSlope{0x00281053, "RescaleSlope"}, kModalityLut{0x00283000, "ModalityLUTSequence"},
    kPosition{0x00200032, "ImagePositionPatient"}, kOrientation{0x00200037, "ImageOrientationPatient"},
    kFrameType{0x00089007, "FrameType"}, kPixels{0x7fe00010, "PixelData"};
constexpr Tag kShared = 0x52009229, kPerFrame = 0x52009230, kFrameTypes = 0x00189329, kPositions = 0x00209113,
              kOrientations = 0x00209116, kMeasures = 0x00289110, kTransformations = 0x00289145;

/// Objects with pixels that are no scan: masks, label maps, doses, parametric maps.
constexpr std::string_view kNoScans[] = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7",
                                         "1.2.840.10008.5.1.4.1.1.481.2", "1.2.840.10008.5.1.4.1.1.30"};

/// Reads one file; throws what is wrong.
class Reading {
 public:
  Reading(const File& file, ImageFile& out) : file_(file), out_(out) {}

  void identity() {
    const auto either = [&](Tag tag, Tag meta) {   // some writers leave the data set's own empty
      const std::string own = value(tag);
      return own.empty() ? text_value(file_, file_.meta, meta) : own;
    };
    out_.sop_class = either(0x00080016, 0x00020002);
    out_.sop_instance = either(0x00080018, 0x00020003);
    out_.series_known = file_.dataset.find(0x0020000e) != nullptr;
    out_.series_uid = value(0x0020000e);
    out_.study_uid = value(0x0020000d);
    out_.frame_of_reference_uid = value(0x00200052);
    out_.modality = value(0x00080060);
    out_.description = value(0x0008103e);
    out_.localizer = says_localizer(file_.dataset, kImageType);
    out_.guessed_syntax = file_.guessed_syntax;
    out_.compressed = file_.syntax.codec != Codec::none;
    out_.bytes = static_cast<Index>(file_.bytes.size());
  }

  bool is_image() const {
    if (std::find(std::begin(kNoScans), std::end(kNoScans), out_.sop_class) != std::end(kNoScans)) return false;
    const auto has = [&](Field f) { return file_.dataset.find(f.tag) != nullptr; };
    return has(kPixels) || has(kRows) || has(kColumns) || has(kPosition);
  }

  void pixels() {
    if (file_.syntax.codec == Codec::unknown)
      throw Error(Code::unsupported, file_.path.string(),
                  text("TransferSyntaxUID (0002,0010) = ", file_.syntax_uid, "; this compression is not read."));
    PixelFormat& f = out_.format;
    f.rows = required_short(kRows);
    f.columns = required_short(kColumns);
    for (const auto& [field, side] : {std::pair(kRows, f.rows), std::pair(kColumns, f.columns)})
      if (side < 1 || side > kMaxSide) refuse(field, side, text("must be 1 to ", kMaxSide));
    const std::string colours = value(kPhotometric.tag);
    const int samples = unsigned_short(file_, file_.dataset, kSamples).value_or(1);
    if (samples != 1 || (colours != "MONOCHROME2" && !colours.empty()))
      throw Error(Code::unsupported, file_.path.string(),
                  text(kPhotometric, " = \"", colours, "\" with ", samples,
                       " sample(s) per pixel; a CT image is MONOCHROME2 with one. Hint: a screenshot or a projection?"));
    bits();
    frames();
  }

  void planes() {
    const Element* groups = file_.dataset.find(kPerFrame);
    if (out_.format.frames == 1 && !groups) {
      out_.planes.push_back(plane({&file_.dataset}));
      return;
    }
    if (!groups || static_cast<Index>(groups->items.size()) != out_.format.frames)
      throw Error(Code::unsupported, file_.path.string(),
                  text(kFrames, " = ", out_.format.frames, " with ", groups ? groups->items.size() : 0,
                       " items of PerFrameFunctionalGroupsSequence (5200,9230); the place of each frame must be told there."));
    const Element* shared = file_.dataset.find(kShared);
    for (const Dataset& own : groups->items) {
      std::vector<const Dataset*> places{&own};
      if (shared && !shared->items.empty()) places.push_back(&shared->items[0]);
      out_.planes.push_back(plane(with_macros(places)));
    }
  }

 private:
  template <class Value> [[noreturn]] void refuse(Field field, const Value& value, std::string_view expected) const {
    throw Error(Code::bad_input, file_.path.string(), text(field, " = ", value, "; ", expected, "."));
  }
  [[noreturn]] void missing(Field field, std::string_view hint) const {
    throw Error(Code::bad_input, file_.path.string(), text(field, " is missing", hint));
  }
  std::string value(Tag tag) const { return text_value(file_, file_.dataset, tag); }
  int required_short(Field field) const {
    const auto value = unsigned_short(file_, file_.dataset, field);
    if (!value) missing(field, ".");
    return *value;
  }

  bool says_localizer(const Dataset& dataset, Field field) const {
    const auto words = text_values(file_, dataset, field.tag);
    return words.size() > 2 && words[2] == "LOCALIZER";
  }

  void bits() {
    PixelFormat& f = out_.format;
    f.bits_allocated = required_short(kAllocated);
    if (f.bits_allocated != 8 && f.bits_allocated != 16) refuse(kAllocated, f.bits_allocated, "must be 8 or 16");
    f.bits_stored = unsigned_short(file_, file_.dataset, kStored).value_or(f.bits_allocated);
    if (f.bits_stored < 1 || f.bits_stored > f.bits_allocated)
      refuse(kStored, f.bits_stored, text("must be 1 to BitsAllocated = ", f.bits_allocated));
    f.high_bit = unsigned_short(file_, file_.dataset, kHighBit).value_or(f.bits_stored - 1);
    if (f.high_bit < f.bits_stored - 1 || f.high_bit >= f.bits_allocated)
      refuse(kHighBit, f.high_bit, text("must be ", f.bits_stored - 1, " to ", f.bits_allocated - 1));
    const int sign = required_short(kSign);
    if (sign > 1) refuse(kSign, sign, "must be 0 (unsigned) or 1 (signed)");
    f.is_signed = sign == 1;
    const auto padding = unsigned_short(file_, file_.dataset, kPadding);
    if (!padding) return;
    const auto as_stored = [&](int v) { return f.is_signed && v > 0x7fff ? v - 0x10000 : v; };
    const int a = as_stored(*padding), b = as_stored(unsigned_short(file_, file_.dataset, kPaddingLimit).value_or(*padding));
    f.padding = {std::min(a, b), std::max(a, b)};
  }

  void frames() {
    PixelFormat& f = out_.format;
    if (const auto frames = decimals(file_, file_.dataset, kFrames, 1)) {
      if (!((*frames)[0] >= 1 && (*frames)[0] <= 65535) || (*frames)[0] != std::floor((*frames)[0]))
        refuse(kFrames, (*frames)[0], "must be 1 to 65535");
      f.frames = static_cast<Index>((*frames)[0]);
    }
    const Element* pixels = file_.dataset.find(kPixels.tag);
    if (!pixels) missing(kPixels, ".");
    const bool encapsulated = file_.syntax.codec != Codec::none;
    if (encapsulated != file_.fragments.has_value())
      throw Error(Code::bad_input, file_.path.string(),
                  text(kPixels, encapsulated ? " is not in fragments" : " is in fragments", ", and the transfer syntax is ",
                       file_.syntax.name, "."));
    const std::size_t need = static_cast<std::size_t>(f.frames) * f.frame_bytes(), have = pixels->value.length;
    if (!encapsulated && have != need && have != need + need % 2)
      throw Error(Code::bad_input, file_.path.string(),
                  text(kPixels, " has ", have, " bytes; ", f.frames, " x ", f.rows, " x ", f.columns, " pixels of ",
                       f.bits_allocated, " bits take ", need, "."));
  }

  /// The items of functional groups that a plane is read from, the frame's own before the shared ones.
  std::vector<const Dataset*> with_macros(const std::vector<const Dataset*>& groups) const {
    std::vector<const Dataset*> found;
    for (const Dataset* group : groups)
      for (const Tag macro : {kPositions, kOrientations, kMeasures, kTransformations, kFrameTypes})
        if (const Element* e = group->find(macro); e && !e->items.empty()) found.push_back(&e->items[0]);
    found.push_back(&file_.dataset);
    return found;
  }

  std::optional<std::vector<double>> first_of(const std::vector<const Dataset*>& places, Field field, std::size_t count) const {
    for (const Dataset* place : places)
      if (auto numbers = decimals(file_, *place, field, count)) return numbers;
    return {};
  }

  Plane plane(const std::vector<const Dataset*>& places) const {
    Plane p;
    for (const Dataset* place : places) p.localizer = p.localizer || says_localizer(*place, kFrameType);
    const std::string_view hint = "; without it the voxels have no place in the patient.";
    const auto position = first_of(places, kPosition, 3);
    if (!position) missing(kPosition, hint);
    for (double x : *position)
      if (std::abs(x) > 1e6) refuse(kPosition, x, "must be less than 1e6 mm");
    p.position << (*position)[0], (*position)[1], (*position)[2];
    orientation(p, places, hint);
    const auto spacing = first_of(places, kSpacing, 2);
    if (!spacing) missing(kSpacing, hint);
    for (double mm : *spacing)
      if (!(mm > 1e-4 && mm <= 100)) refuse(kSpacing, mm, "must be > 0 and <= 100 mm");
    p.row_spacing = (*spacing)[0];
    p.column_spacing = (*spacing)[1];
    if (const auto thickness = first_of(places, kThickness, 1)) p.thickness = (*thickness)[0];
    rescale(p, places);
    return p;
  }

  void orientation(Plane& p, const std::vector<const Dataset*>& places, std::string_view hint) const {
    const auto o = first_of(places, kOrientation, 6);
    if (!o) missing(kOrientation, hint);
    p.along_row << (*o)[0], (*o)[1], (*o)[2];
    p.along_column << (*o)[3], (*o)[4], (*o)[5];
    const double a = p.along_row.norm(), b = p.along_column.norm(), dot = p.along_row.dot(p.along_column);
    if (!(std::abs(a - 1) < 1e-3 && std::abs(b - 1) < 1e-3 && std::abs(dot) < 1e-3))
      throw Error(Code::bad_input, file_.path.string(),
                  text(kOrientation, " has directions of length ", a, " and ", b, " with scalar product ", dot,
                       "; they must be unit vectors at right angles."));
    p.along_row /= a;
    p.along_column /= b;
  }

  void rescale(Plane& p, const std::vector<const Dataset*>& places) const {
    const auto slope = first_of(places, kSlope, 1), intercept = first_of(places, kIntercept, 1);
    if (!slope && !intercept && file_.dataset.find(kModalityLut.tag))
      throw Error(Code::unsupported, file_.path.string(),
                  text(kModalityLut, " maps the pixels to values; only RescaleSlope and RescaleIntercept are read."));
    p.rescaled = slope || intercept;
    p.slope = slope ? (*slope)[0] : 1;
    p.intercept = intercept ? (*intercept)[0] : 0;
    if (!(std::abs(p.slope) > 0 && std::abs(p.slope) <= 1e6)) refuse(kSlope, p.slope, "must not be 0 nor beyond 1e6");
    if (!(std::abs(p.intercept) <= 1e6)) refuse(kIntercept, p.intercept, "must be -1e6 to 1e6");
  }

  const File& file_;
  ImageFile& out_;
};

}   // namespace

ImageFile read_image(const std::filesystem::path& path, Index max_bytes) {
  const File file = load(path, max_bytes);
  ImageFile image{.path = path};
  Reading reading(file, image);
  reading.identity();
  image.problem = file.damage;
  image.is_image = reading.is_image();
  if (file.damage || !image.is_image) return image;
  try {
    reading.pixels();
    reading.planes();
  } catch (const Error& error) {
    image.problem = error;
  }
  return image;
}

std::vector<Plane> read_planes(const File& file, Index frames) {
  ImageFile image;
  image.format.frames = frames;
  Reading(file, image).planes();
  return std::move(image.planes);
}

}   // namespace ctseg::io::dicom
