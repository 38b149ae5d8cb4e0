// Descriptors of cuDNN's backend API as values: made, filled, finalised, destroyed. Errors name the attribute and the status.
#pragma once
#include <utility>
#include <vector>

#include "library.hpp"

namespace ctseg::cudnn {

/// An attribute with the only type it takes.
struct Attribute {
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type;
  const char* text;
};

// clang-format off
#define CTSEG_CUDNN_ATTRIBUTE(name, type) inline constexpr Attribute name{CUDNN_ATTR_##name, CUDNN_TYPE_##type, #name}
namespace attribute {
CTSEG_CUDNN_ATTRIBUTE(TENSOR_DATA_TYPE, DATA_TYPE);
CTSEG_CUDNN_ATTRIBUTE(TENSOR_DIMENSIONS, INT64);
CTSEG_CUDNN_ATTRIBUTE(TENSOR_STRIDES, INT64);
CTSEG_CUDNN_ATTRIBUTE(TENSOR_UNIQUE_ID, INT64);
CTSEG_CUDNN_ATTRIBUTE(TENSOR_BYTE_ALIGNMENT, INT64);
CTSEG_CUDNN_ATTRIBUTE(TENSOR_IS_VIRTUAL, BOOLEAN);
CTSEG_CUDNN_ATTRIBUTE(CONVOLUTION_COMP_TYPE, DATA_TYPE);
CTSEG_CUDNN_ATTRIBUTE(CONVOLUTION_CONV_MODE, CONVOLUTION_MODE);
CTSEG_CUDNN_ATTRIBUTE(CONVOLUTION_SPATIAL_DIMS, INT64);
CTSEG_CUDNN_ATTRIBUTE(CONVOLUTION_DILATIONS, INT64);
CTSEG_CUDNN_ATTRIBUTE(CONVOLUTION_FILTER_STRIDES, INT64);
CTSEG_CUDNN_ATTRIBUTE(CONVOLUTION_PRE_PADDINGS, INT64);
CTSEG_CUDNN_ATTRIBUTE(CONVOLUTION_POST_PADDINGS, INT64);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_FORWARD_CONV_DESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_FORWARD_X, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_FORWARD_W, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_FORWARD_Y, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_FORWARD_ALPHA, FLOAT);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_FORWARD_BETA, FLOAT);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_DATA_DX, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_DATA_W, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_DATA_DY, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_DATA_ALPHA, FLOAT);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_DATA_BETA, FLOAT);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_FILTER_X, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_FILTER_DW, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_FILTER_DY, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, FLOAT);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_CONVOLUTION_BWD_FILTER_BETA, FLOAT);
CTSEG_CUDNN_ATTRIBUTE(POINTWISE_MODE, POINTWISE_MODE);
CTSEG_CUDNN_ATTRIBUTE(POINTWISE_MATH_PREC, DATA_TYPE);
CTSEG_CUDNN_ATTRIBUTE(POINTWISE_RELU_LOWER_CLIP_SLOPE, DOUBLE);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_POINTWISE_PW_DESCRIPTOR, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_POINTWISE_XDESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_POINTWISE_BDESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_POINTWISE_TDESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_POINTWISE_YDESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(REDUCTION_OPERATOR, REDUCTION_OPERATOR_TYPE);
CTSEG_CUDNN_ATTRIBUTE(REDUCTION_COMP_TYPE, DATA_TYPE);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_REDUCTION_DESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_REDUCTION_XDESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATION_REDUCTION_YDESC, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(OPERATIONGRAPH_HANDLE, HANDLE);
CTSEG_CUDNN_ATTRIBUTE(OPERATIONGRAPH_OPS, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(ENGINEHEUR_MODE, HEUR_MODE);
CTSEG_CUDNN_ATTRIBUTE(ENGINEHEUR_OPERATION_GRAPH, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(ENGINEHEUR_RESULTS, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(ENGINEHEUR_DEVICEPROP, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(ENGINECFG_ENGINE, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(ENGINE_GLOBAL_INDEX, INT64);
CTSEG_CUDNN_ATTRIBUTE(ENGINE_NUMERICAL_NOTE, NUMERICAL_NOTE);
CTSEG_CUDNN_ATTRIBUTE(ENGINE_BEHAVIOR_NOTE, BEHAVIOR_NOTE);
CTSEG_CUDNN_ATTRIBUTE(EXECUTION_PLAN_HANDLE, HANDLE);
CTSEG_CUDNN_ATTRIBUTE(EXECUTION_PLAN_ENGINE_CONFIG, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(EXECUTION_PLAN_WORKSPACE_SIZE, INT64);
CTSEG_CUDNN_ATTRIBUTE(EXECUTION_PLAN_DEVICEPROP, BACKEND_DESCRIPTOR);
CTSEG_CUDNN_ATTRIBUTE(EXECUTION_PLAN_JSON_REPRESENTATION, CHAR);
CTSEG_CUDNN_ATTRIBUTE(VARIANT_PACK_UNIQUE_IDS, INT64);
CTSEG_CUDNN_ATTRIBUTE(VARIANT_PACK_DATA_POINTERS, VOID_PTR);
CTSEG_CUDNN_ATTRIBUTE(VARIANT_PACK_WORKSPACE, VOID_PTR);
CTSEG_CUDNN_ATTRIBUTE(DEVICEPROP_HANDLE, HANDLE);
CTSEG_CUDNN_ATTRIBUTE(DEVICEPROP_JSON_REPRESENTATION, CHAR);
}   // namespace attribute
#undef CTSEG_CUDNN_ATTRIBUTE
// clang-format on

class Descriptor {
 public:
  Descriptor(const Library& library, cudnnBackendDescriptorType_t type) : library_(&library) {
    check(library, library.create_descriptor(type, &raw_), "creating descriptor " + std::to_string(static_cast<int>(type)));
  }
  Descriptor(Descriptor&& other) noexcept : library_(other.library_), raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(library_, other.library_), std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_) library_->destroy_descriptor(raw_);
  }

  template <class T> Descriptor& set(const Attribute& a, const T* values, std::size_t count) {
    const auto status = library_->set_attribute(raw_, a.name, a.type, static_cast<std::int64_t>(count), values);
    check(*library_, status, std::string("setting ") + a.text);
    return *this;
  }
  template <class T> Descriptor& set(const Attribute& a, const T& value) { return set(a, &value, 1); }
  template <class T> Descriptor& set(const Attribute& a, const std::vector<T>& values) {
    return set(a, values.data(), values.size());
  }
  Descriptor& set(const Attribute& a, const Descriptor& value) { return set(a, &value.raw_, 1); }

  /// Nothing can be set afterwards.
  Descriptor& finalize(const char* what) {
    check(*library_, try_finalize(), std::string("finalising ") + what);
    return *this;
  }
  cudnnStatus_t try_finalize() { return library_->finalize(raw_); }

  template <class T> T get(const Attribute& a) const {
    T value{};
    get_into(a, &value, 1);
    return value;
  }
  /// At most `most` values; returns how many there are.
  template <class T> std::int64_t get_into(const Attribute& a, T* values, std::int64_t most) const {
    std::int64_t count = 0;
    check(*library_, library_->get_attribute(raw_, a.name, a.type, most, &count, values), std::string("asking ") + a.text);
    return count;
  }
  template <class T> std::vector<T> get_all(const Attribute& a) const {
    std::vector<T> values(static_cast<std::size_t>(get_into<T>(a, nullptr, 0)));
    if (!values.empty()) values.resize(static_cast<std::size_t>(get_into(a, values.data(), std::ssize(values))));
    return values;
  }

  const Library& library() const { return *library_; }
  cudnnBackendDescriptor_t raw() const { return raw_; }

 private:
  const Library* library_;
  cudnnBackendDescriptor_t raw_ = nullptr;
};

}   // namespace ctseg::cudnn
