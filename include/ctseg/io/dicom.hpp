// CT series from DICOM files. Declarations only: the code is compiled once, in ctseg::dicom.
#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../core/context.hpp"
#include "../image/volume.hpp"

namespace ctseg::io {

struct DicomReadOptions {
  std::string series_uid{};           // which series, where a folder holds several
  int stack = -1;                     // which stack of that series, where its images do not share one grid
  bool single_file = false;           // read just the file named, not the series around it
  Index max_bytes = Index{1} << 34;   // of voxels in memory, and of any one file
  Index max_expansion = 1000;         // bytes of voxels to bytes of compressed files, beyond 64 MiB of voxels
  Executor* executor = nullptr;       // threads that parse and decode; without one the caller's alone. Same bits either way
  LogSink log{};                      // hears each warning as it comes up
};

/// What the files say of a stack of images that share one grid.
struct DicomSeries {
  std::string uid, study_uid, frame_of_reference_uid, modality, description;
  int stack = 0;   // counts the grids within one series; nearly always there is one
  Index images = 0;
  Xyz<Index> shape{};
  std::string problem{};                        // why it cannot be read; empty if nothing is known against it
  std::vector<std::filesystem::path> files{};   // of a volume: in the order of its slices; else by name
};

/// A volume with what was said about it.
template <class T> struct DicomVolume {
  Volume<T> volume;
  DicomSeries series;
  std::vector<std::string> warnings;
};

/// The series of a folder (of its subfolders where it holds no image itself), or those of the folder around a file.
/// Errors    io if the path cannot be read; bad_input if there is no DICOM image.
std::vector<DicomSeries> list_dicom_series(const std::filesystem::path& path, const DicomReadOptions& options = {});

namespace dicom {

/// What read_dicom_series does; ctseg::dicom has it for float and std::int16_t.
template <class T> DicomVolume<T> read_series(const std::filesystem::path& path, const DicomReadOptions& options);

/// True for a folder, a DICOMDIR and a file whose first bytes are those of DICOM.
bool is_dicom(const std::filesystem::path& path);

}   // namespace dicom

/// Reads a CT series from a folder, a DICOMDIR or one of its files, in HU. T is float or std::int16_t.
/// Geometry  slices in order of position along the normal, spacing from positions; a tilted gantry gives a sheared affine.
/// Numerics  slope and intercept of each slice in double, rounded once; padding becomes -1024; int16 takes exact values only.
/// Errors    bad_input or unsupported, naming file, field and value: several series, gaps, different images at one place.
template <class T> DicomVolume<T> read_dicom_series(const std::filesystem::path& path, const DicomReadOptions& options = {}) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, std::int16_t>,
                "ctseg: a DICOM series is read as float or std::int16_t; Hounsfield units are negative and have no other type");
  return dicom::read_series<T>(path, options);
}

namespace dicom {

/// What read_volume(path, dicom::reader()) reads DICOM with.
struct Reader {
  DicomReadOptions options{};

  bool reads(const std::filesystem::path& path) const { return is_dicom(path); }
  /// Errors    bad_argument for ReadOptions::affine: the files say themselves where their voxels are.
  template <class T, class Options> Volume<T> read(const std::filesystem::path& path, const Options& common) const {
    if (common.affine)
      throw Error(Code::bad_argument, path.string(),
                  "says itself where its voxels are; ReadOptions::affine is for .npy files. Hint: leave it out for DICOM.");
    DicomReadOptions own = options;
    own.max_bytes = std::min(own.max_bytes, common.max_bytes);
    if (common.log.write) own.log = common.log;
    return read_dicom_series<T>(path, own).volume;
  }
};
inline Reader reader(DicomReadOptions options = {}) { return {std::move(options)}; }

}   // namespace dicom
}   // namespace ctseg::io
