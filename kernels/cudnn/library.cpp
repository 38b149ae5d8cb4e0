#include "library.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "ctseg/core/error.hpp"

namespace ctseg::cudnn {

namespace {
constexpr const char* kName = "libcudnn.so.9";

std::vector<std::string> places() {
  std::vector<std::string> all;
  if (const char* chosen = std::getenv("CTSEG_CUDNN"); chosen && *chosen) {
    const std::string place = chosen;
    return {place.find(".so") == std::string::npos ? place + "/" + kName : place};   // no other: it was asked for
  }
  all.push_back(kName);
  for (const char* variable : {"CUDNN_HOME", "CUDA_HOME", "CUDA_PATH"})
    if (const char* root = std::getenv(variable); root && *root) all.push_back(std::string(root) + "/lib64/" + kName);
  all.push_back(std::string("/usr/local/cuda/lib64/") + kName);
  return all;
}

template <class F> void find(void* library, F& function, const char* name, const std::string& path) {
  function = reinterpret_cast<F>(dlsym(library, name));
  if (!function) throw Error(Code::unsupported, "cudnn", text(path, " has no function ", name, "; cuDNN 9 has one."));
}
}   // namespace

Library open_library() {
  void* handle = nullptr;
  std::string tried;
  Library l;
  for (const std::string& path : places()) {
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle) {
      l.path = path;
      break;
    }
    const char* why = dlerror();
    tried += (tried.empty() ? "" : "; ") + std::string(why ? why : path.c_str());
  }
  if (!handle)
    throw Error(Code::unsupported, "cudnn",
                text("cuDNN 9 was not found (", tried, "). Hint: install libcudnn9, or set CTSEG_CUDNN to the folder of ",
                     kName, "; Python's package nvidia-cudnn has it in nvidia/cudnn/lib."));
  find(handle, l.get_version, "cudnnGetVersion", l.path);
  l.version = l.get_version();
  if (l.version / 10000 != 9)
    throw Error(Code::unsupported, "cudnn", text(l.path, " is version ", l.version, "; must be 9, that is 90000 to 99999."));
  find(handle, l.error_string, "cudnnGetErrorString", l.path);
  find(handle, l.last_error_string, "cudnnGetLastErrorString", l.path);
  find(handle, l.create, "cudnnCreate", l.path);
  find(handle, l.destroy, "cudnnDestroy", l.path);
  find(handle, l.set_stream, "cudnnSetStream", l.path);
  find(handle, l.create_descriptor, "cudnnBackendCreateDescriptor", l.path);
  find(handle, l.destroy_descriptor, "cudnnBackendDestroyDescriptor", l.path);
  find(handle, l.finalize, "cudnnBackendFinalize", l.path);
  find(handle, l.set_attribute, "cudnnBackendSetAttribute", l.path);
  find(handle, l.get_attribute, "cudnnBackendGetAttribute", l.path);
  find(handle, l.execute, "cudnnBackendExecute", l.path);
  return l;
}

void check(const Library& l, cudnnStatus_t status, const std::string& what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char words[512] = "";
  l.last_error_string(words, sizeof words);
  throw Error(Code::device, "cudnn",
              text(what, ": ", l.error_string(status), " (", static_cast<int>(status), ")", *words ? ", " : "", words,
                   ". Version ", l.version, "."));
}

}   // namespace ctseg::cudnn
