// cuDNN 9, found when the program runs: users without it need none, and no version is linked in. Only this folder sees cuDNN.
#pragma once
#include <cudnn_graph.h>

#include <string>

namespace ctseg::cudnn {

/// Its functions, as many as the layer calls.
struct Library {
  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) error_string = nullptr;
  decltype(&cudnnGetLastErrorString) last_error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;

  std::string path;          // what was opened
  std::size_t version = 0;   // 91900: 9.19.0
};

/// Looks at $CTSEG_CUDNN (the library, or the folder it lies in), then where the system looks, then in the toolkit's folder.
/// The library stays loaded until the program ends.
/// Errors    unsupported, with all places that were tried; also for a version that is not 9.
Library open_library();

/// Throws Code::device unless the status is success: what was tried, the status, cuDNN's own words.
void check(const Library&, cudnnStatus_t, const std::string& what);

}   // namespace ctseg::cudnn
