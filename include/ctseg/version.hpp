// The version of ctseg, written here and nowhere else: CMake reads these three numbers.
#pragma once

namespace ctseg {

inline constexpr int kVersionMajor = 0;
inline constexpr int kVersionMinor = 1;
inline constexpr int kVersionPatch = 0;

/// "major.minor.patch", for reports and file headers.
inline constexpr char kVersion[] = "0.1.0";

}   // namespace ctseg
