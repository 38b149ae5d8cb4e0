# Installs the headers and a package, so that find_package(ctseg CONFIG) works from any prefix, also after it is moved.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ctseg)
set(generated_dir ${PROJECT_BINARY_DIR}/package)
configure_package_config_file(cmake/ctsegConfig.cmake.in ${generated_dir}/ctsegConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
set(any_machine ARCH_INDEPENDENT)
if(CTSEG_PREBUILT)
  set(any_machine)
  install(TARGETS ctseg_prebuilt EXPORT ctsegTargets)
endif()
if(TARGET ctseg_dicom OR TARGET ctseg_onnx OR TARGET ctseg_mpi OR TARGET ctseg_cuda)
  set(any_machine)
endif()
write_basic_package_version_file(${generated_dir}/ctsegConfigVersion.cmake
  COMPATIBILITY SameMinorVersion ${any_machine})

install(DIRECTORY include/ctseg DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ctseg EXPORT ctsegTargets)
install(EXPORT ctsegTargets NAMESPACE ctseg:: DESTINATION ${package_dir})
install(FILES ${generated_dir}/ctsegConfig.cmake ${generated_dir}/ctsegConfigVersion.cmake cmake/FindNIFTI.cmake
  DESTINATION ${package_dir})
if(TARGET ctseg_dicom)   # a component: find_package(ctseg COMPONENTS dicom), target ctseg::dicom
  install(TARGETS ctseg_dicom EXPORT ctsegDicomTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ctsegDicomTargets NAMESPACE ctseg:: DESTINATION ${package_dir})
  install(FILES cmake/FindDicomCodecs.cmake DESTINATION ${package_dir})
endif()
if(TARGET ctseg_onnx)    # and ctseg::onnx
  install(TARGETS ctseg_onnx EXPORT ctsegOnnxTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ctsegOnnxTargets NAMESPACE ctseg:: DESTINATION ${package_dir})
  install(FILES cmake/FindOnnxProto.cmake DESTINATION ${package_dir})
endif()
if(TARGET ctseg_mpi)     # and ctseg::mpi
  install(TARGETS ctseg_mpi EXPORT ctsegMpiTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ctsegMpiTargets NAMESPACE ctseg:: DESTINATION ${package_dir})
endif()
if(TARGET ctseg_cuda)    # and ctseg::cuda
  install(TARGETS ctseg_cuda EXPORT ctsegCudaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ctsegCudaTargets NAMESPACE ctseg:: DESTINATION ${package_dir})
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
