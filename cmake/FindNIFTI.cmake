# Finds the NIfTI reference library: targets NIFTI::nifti2 and NIFTI::znz, named as upstream's own package names them.
# A module of our own, because the package file that Debian 12 ships names libraries that are not there and stops CMake.
find_package(ZLIB QUIET)
find_path(NIFTI_INCLUDE_DIR nifti2_io.h PATH_SUFFIXES nifti)
find_library(NIFTI_NIFTI2_LIBRARY nifti2)
find_library(NIFTI_ZNZ_LIBRARY znz)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NIFTI
  REQUIRED_VARS NIFTI_NIFTI2_LIBRARY NIFTI_ZNZ_LIBRARY NIFTI_INCLUDE_DIR ZLIB_FOUND
  REASON_FAILURE_MESSAGE "Debian and Ubuntu: apt-get install libnifti-dev zlib1g-dev. vcpkg: nifti-clib")
mark_as_advanced(NIFTI_INCLUDE_DIR NIFTI_NIFTI2_LIBRARY NIFTI_ZNZ_LIBRARY)

if(NIFTI_FOUND AND NOT TARGET NIFTI::znz)
  add_library(NIFTI::znz UNKNOWN IMPORTED)
  set_target_properties(NIFTI::znz PROPERTIES
    IMPORTED_LOCATION "${NIFTI_ZNZ_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${NIFTI_INCLUDE_DIR}"
    INTERFACE_COMPILE_DEFINITIONS HAVE_ZLIB   # znzlib.h lays out its structure by it: must match the built library
    INTERFACE_LINK_LIBRARIES ZLIB::ZLIB)
endif()
if(NIFTI_FOUND AND NOT TARGET NIFTI::nifti2)
  add_library(NIFTI::nifti2 UNKNOWN IMPORTED)
  set_target_properties(NIFTI::nifti2 PROPERTIES
    IMPORTED_LOCATION "${NIFTI_NIFTI2_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${NIFTI_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES NIFTI::znz)
endif()
