# Finds what ctseg::onnx is linked with: the messages of ONNX files and protobuf, as the target OnnxProto::OnnxProto.
# A module of our own, because Debian's package file of ONNX adds libraries that reading and writing files has no use for.
find_path(OnnxProto_INCLUDE_DIR onnx/onnx-ml.pb.h)
find_path(OnnxProto_PROTOBUF_INCLUDE_DIR google/protobuf/message.h)
find_library(OnnxProto_LIBRARY onnx_proto)
find_library(OnnxProto_PROTOBUF_LIBRARY protobuf)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxProto
  REQUIRED_VARS OnnxProto_INCLUDE_DIR OnnxProto_PROTOBUF_INCLUDE_DIR OnnxProto_LIBRARY OnnxProto_PROTOBUF_LIBRARY
  REASON_FAILURE_MESSAGE "Debian and Ubuntu: apt-get install libonnx-dev libprotobuf-dev")
mark_as_advanced(OnnxProto_INCLUDE_DIR OnnxProto_PROTOBUF_INCLUDE_DIR OnnxProto_LIBRARY OnnxProto_PROTOBUF_LIBRARY)

if(OnnxProto_FOUND AND NOT TARGET OnnxProto::OnnxProto)
  find_package(Threads REQUIRED)   # protobuf's headers ask for it
  add_library(OnnxProto::OnnxProto INTERFACE IMPORTED)
  target_include_directories(OnnxProto::OnnxProto INTERFACE ${OnnxProto_INCLUDE_DIR} ${OnnxProto_PROTOBUF_INCLUDE_DIR})
  target_compile_definitions(OnnxProto::OnnxProto INTERFACE ONNX_NAMESPACE=onnx ONNX_ML=1)   # as the library was built
  target_link_libraries(OnnxProto::OnnxProto INTERFACE ${OnnxProto_LIBRARY} ${OnnxProto_PROTOBUF_LIBRARY} Threads::Threads)
endif()
