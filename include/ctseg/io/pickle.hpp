// What a pickle of tensors may hold: the list of allowed globals, and the values that reading one leaves.
#pragma once
#include <string>
#include <vector>

#include "../core/dtype.hpp"

namespace ctseg::io::pickle {

/// opaque: something harmless that weights do not need (a number with a fraction, None, a NumPy scalar, a device).
enum class Kind : std::uint8_t { opaque, integer, words, sequence, dictionary, global, storage, tensor };

/// What a global builds when it is called.
enum class Builds : std::uint8_t { nothing, dictionary, size, tensor, parameter, storage, numpy_dtype, numpy_scalar, opaque };

using Id = std::uint32_t;   // place in Document::values: cycles and shared parts cost nothing, and nothing recurses

struct Value {
  Kind kind = Kind::opaque;
  Builds builds = Builds::nothing;   // of a global
  Dtype dtype = Dtype::f32;          // of a storage, or of the global that makes one
  Index number = 0;                  // integer, values in a storage, place in Document::tensors
  std::string_view words{};          // string, name of a global, key of a storage; of opaque ones bytes, or a dtype's name
  std::vector<Id> items{};           // of a sequence; of a dictionary key, value, key, value
};

/// A view of a storage, as the pickle says; nothing of it is checked but its types.
struct Tensor {
  std::string_view storage{};   // its key
  Dtype dtype = Dtype::f32;
  Index stored = 0, offset = 0;   // values in the storage, values before the first
  std::vector<Index> shape{}, strides{};
};

/// Its strings lie in the pickle, which must outlive it.
struct Document {
  std::vector<Value> values{};
  std::vector<Tensor> tensors{};
  Id top = 0;
};

struct Allowed {
  std::string_view name;
  Builds builds = Builds::opaque;
  Dtype dtype = Dtype::f32;
};
/// Every global that may be named. Opaque ones occur in checkpoints beside the weights; they build nothing.
inline constexpr Allowed kAllowed[] = {{"collections.OrderedDict", Builds::dictionary},
                                       {"torch._utils._rebuild_tensor_v2", Builds::tensor},
                                       {"torch._utils._rebuild_parameter", Builds::parameter},
                                       {"torch.Size", Builds::size},
                                       {"torch.DoubleStorage", Builds::storage, Dtype::f64},
                                       {"torch.FloatStorage", Builds::storage, Dtype::f32},
                                       {"torch.HalfStorage", Builds::storage, Dtype::f16},
                                       {"torch.BFloat16Storage", Builds::storage, Dtype::bf16},
                                       {"torch.LongStorage", Builds::storage, Dtype::i64},
                                       {"torch.IntStorage", Builds::storage, Dtype::i32},
                                       {"torch.ShortStorage", Builds::storage, Dtype::i16},
                                       {"torch.ByteStorage", Builds::storage, Dtype::u8},
                                       {"torch.BoolStorage", Builds::storage, Dtype::u8},
                                       {"collections.Counter"},
                                       {"builtins.set"},
                                       {"builtins.frozenset"},
                                       {"__builtin__.set"},
                                       {"__builtin__.frozenset"},
                                       {"torch.device"},
                                       {"torch.float64"},
                                       {"torch.float32"},
                                       {"torch.float16"},
                                       {"torch.bfloat16"},
                                       {"_codecs.encode"},
                                       {"numpy.dtype", Builds::numpy_dtype},
                                       {"numpy.ndarray"},
                                       {"numpy.core.multiarray.scalar", Builds::numpy_scalar},
                                       {"numpy._core.multiarray.scalar", Builds::numpy_scalar},
                                       {"numpy.core.multiarray._reconstruct"},
                                       {"numpy._core.multiarray._reconstruct"}};

}   // namespace ctseg::io::pickle
