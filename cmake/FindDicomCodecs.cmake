# Finds what ctseg::dicom is linked with: DCMTK's decoders and OpenJPEG, as the target DicomCodecs::DicomCodecs.
# A module of our own, because the package files of both drag in what decoding has no use for (TLS, XML, PNG, TIFF).
find_path(DicomCodecs_DCMTK_INCLUDE_DIR dcmtk/dcmdata/dcpixel.h)
find_path(DicomCodecs_OPENJPEG_INCLUDE_DIR openjpeg.h PATH_SUFFIXES openjpeg-2.5 openjpeg-2.4 openjpeg-2.3)
set(DicomCodecs_libraries "")   # a caller's names must not be in the way
foreach(DicomCodecs_name dcmjpls dcmtkcharls dcmjpeg ijg8 ijg12 ijg16 dcmimgle dcmdata oflog ofstd openjp2)
  find_library(DicomCodecs_${DicomCodecs_name}_LIBRARY ${DicomCodecs_name})
  list(APPEND DicomCodecs_libraries DicomCodecs_${DicomCodecs_name}_LIBRARY)
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DicomCodecs
  REQUIRED_VARS DicomCodecs_DCMTK_INCLUDE_DIR DicomCodecs_OPENJPEG_INCLUDE_DIR ${DicomCodecs_libraries}
  REASON_FAILURE_MESSAGE "Debian and Ubuntu: apt-get install libdcmtk-dev libopenjp2-7-dev")
mark_as_advanced(DicomCodecs_DCMTK_INCLUDE_DIR DicomCodecs_OPENJPEG_INCLUDE_DIR ${DicomCodecs_libraries})

if(DicomCodecs_FOUND AND NOT TARGET DicomCodecs::DicomCodecs)
  add_library(DicomCodecs::DicomCodecs INTERFACE IMPORTED)
  target_include_directories(DicomCodecs::DicomCodecs INTERFACE
    ${DicomCodecs_DCMTK_INCLUDE_DIR} ${DicomCodecs_OPENJPEG_INCLUDE_DIR})
  foreach(DicomCodecs_name IN LISTS DicomCodecs_libraries)
    target_link_libraries(DicomCodecs::DicomCodecs INTERFACE ${${DicomCodecs_name}})
  endforeach()
endif()
unset(DicomCodecs_libraries)
