// Devices, what a plan may know of one, and Spec: the single template parameter of every layer.
#pragma once
#include <type_traits>

#include "dtype.hpp"

namespace ctseg {

struct Cpu {};
struct Cuda {};
/// True where the header with the device's specialisations has been included.
template <class Device> inline constexpr bool kIncluded = false;
template <> inline constexpr bool kIncluded<Cpu> = true;
/// False where a device cannot store the scalar.
template <class Scalar, class Device> inline constexpr bool kStores = true;
template <> inline constexpr bool kStores<double, Cuda> = false;

/// Paths of the vector kernels. `scalar` and `scalar16` run everywhere; `scalar16` is avx512's tiles in plain loops, for
/// tests on processors without it. Plans keep the number.
enum class Isa { scalar, avx2, avx512, neon, scalar16 };
inline constexpr Isa kIsas[] = {Isa::scalar, Isa::scalar16, Isa::avx2, Isa::avx512, Isa::neon};

inline std::string text(Isa isa) {
  constexpr const char* names[] = {"scalar", "avx2", "avx512", "neon", "scalar16"};
  const auto i = static_cast<std::size_t>(isa);
  return i < sizeof names / sizeof *names ? names[i] : "unknown";
}

/// True where this program has the path and this processor can run it.
inline bool available(Isa isa) {
  switch (isa) {
    case Isa::scalar:
    case Isa::scalar16:
      return true;
#if defined(__x86_64__)
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:   // uses avx2's tiles as well
      return available(Isa::avx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    case Isa::neon:
      return true;   // part of every such processor
#endif
    default:
      return false;
  }
}

/// The fastest path of this processor; never scalar16.
inline Isa detect_isa() {
  for (const Isa isa : {Isa::avx512, Isa::avx2, Isa::neon})
    if (available(isa)) return isa;
  return Isa::scalar;
}

/// How a convolution of float may round, against the largest result.
/// strict    direct sums only, 1e-6.
/// standard  also Winograd's F(2, 3), whose error is no larger: the same digits, sooner. Weight gradients 2e-6.
/// fast      also F(4, 3), F(4, 5) and, in 2-D, F(6, 3), 5e-5: for inference, once masks have been compared.
/// But for strict, an infinity or NaN in the input spoils all results of a tile, not only those that it meets.
enum class Accuracy { strict, standard, fast };
inline std::string text(Accuracy accuracy) {
  constexpr const char* names[] = {"strict", "standard", "fast"};
  return names[static_cast<std::size_t>(accuracy)];
}

/// All that choosing a kernel may depend on: a value, so that plans for a device are built and tested without it,
/// and so that results depend on shapes, mode and these traits only, never on threads, caches or timing.
template <class Device> struct DeviceTraits;
template <> struct DeviceTraits<Cpu> {
  Isa isa = Isa::scalar;
  Accuracy accuracy = Accuracy::standard;
  bool operator==(const DeviceTraits&) const = default;
};
inline std::string text(const DeviceTraits<Cpu>& d) { return text(d.isa) + ", " + text(d.accuracy); }

/// Scalar, spatial rank and device in one name: all that changes generated code. T is how activations are stored;
/// parameters, statistics, losses and sums are Acc.
template <class Scalar, int Dim, class Where> struct Spec {
  static_assert(Dim == 2 || Dim == 3, "ctseg: a Spec is 2-D or 3-D");
  static_assert(std::is_floating_point_v<Scalar> || std::is_same_v<Scalar, bf16> || std::is_same_v<Scalar, half>,
                "ctseg: a Spec stores double, float, bf16 or half");
  static_assert(kIncluded<Where>, "ctseg: a Spec on Cuda needs #include <ctseg/cuda.hpp>");
  static_assert(kStores<Scalar, Where>, "ctseg: a Spec on Cuda stores float, bf16 or half; double is the Cpu's");
  using T = Scalar;
  using Acc = std::conditional_t<std::is_same_v<T, double>, double, float>;
  using Device = Where;
  static constexpr int kDim = Dim;
};
template <class S>
concept AnySpec = requires {
  typename S::T;
  typename S::Acc;
  typename S::Device;
  S::kDim;
};

}   // namespace ctseg
