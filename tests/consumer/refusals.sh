#!/bin/sh
# Programs that must not compile: the first error says in one sentence what to do, and no page of others follows.
. "$(dirname "$0")/../support/check.sh"

compilers=$cxx
case $cxx in *clang*) other=g++ ;; *) other=clang++ ;; esac
command -v "$other" > /dev/null && compilers="$cxx $other" || echo "left out: $other is not installed"
count=0 most_lines=50

refuses() {   # refuses SENTENCE [FLAG] < main.cpp
  { echo 'namespace cs = ctseg;'; cat; } > "$scratch/body"
  { grep '^#' "$scratch/body"; grep -v '^#' "$scratch/body"; } > "$scratch/main.cpp"
  for compiler in $compilers; do
    if $compiler -std=c++20 ${2:-} -fsyntax-only $plain_includes "$scratch/main.cpp" > "$scratch/said" 2>&1; then
      fail "$compiler accepts what should say: $1"
    fi
    awk -v sentence="$1" '/error:/ { ++errors } index($0, sentence) { found = 1; exit } END { exit !(found && errors == 1) }' \
      "$scratch/said" || { cat "$scratch/said"; fail "$compiler does not say it with the first error: $1"; }
    [ "$(wc -l < "$scratch/said")" -le $most_lines ] ||
      { cat "$scratch/said"; fail "$compiler needs more than $most_lines lines for: $1"; }
  done
  count=$((count + 1))
}

refuses 'ctseg: a Spec stores double, float, bf16 or half' << 'END'
#include <ctseg/models/basic_unet.hpp>
cs::BasicUNet<cs::Spec<int, 3, cs::Cpu>> net({.out_channels = 2});
END

refuses 'ctseg: a Spec is 2-D or 3-D' << 'END'
#include <ctseg/models/basic_unet.hpp>
cs::BasicUNet<cs::Spec<float, 4, cs::Cpu>> net({.out_channels = 2});
END

refuses 'ctseg: a Spec on Cuda needs #include <ctseg/cuda.hpp>' << 'END'
#include <ctseg/models/basic_unet.hpp>
using S = cs::Spec<float, 3, cs::Cuda>;
cs::Context<S::Device> ctx({.seed = 1});
cs::BasicUNet<S> net({.out_channels = 2});
END

refuses 'ctseg: a Spec on Cuda stores float, bf16 or half; double is the Cpu' << 'END'
#include <ctseg/cuda.hpp>
#include <ctseg/nn/layers.hpp>
cs::Conv<cs::Spec<double, 3, cs::Cuda>> conv({.out_channels = 2});
END

refuses 'ctseg: this op has no kernel here. Include <ctseg/ops/cpu.hpp> for Cpu' << 'END'
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
cs::Context<cs::Cpu> ctx;
const cs::BasicUNet<cs::Spec<float, 3, cs::Cpu>> net({.out_channels = 2});
cs::Predictor predict(ctx, net, {1, 1, {16, 16, 16}});
END

refuses 'ctseg: an op has const members name(), infer(Facts<S>), forward(Forward<S>) and backward(Backward<S>)' << 'END'
#include <ctseg/nn/tape.hpp>
#include <ctseg/ops/cpu.hpp>
using S = cs::Spec<float, 3, cs::Cpu>;
struct NoBackward {
  std::string_view name() const { return "NoBackward"; }
  cs::Inferred<S> infer(const cs::Facts<S>& f) const { return {.shape = f.x()}; }
  void forward(const cs::Forward<S>&) const {}
};
cs::Var<S> f(cs::Var<S> x) { return x.tape->append(NoBackward{}, {x}); }
END

refuses 'ctseg: a loss is called with (Var<S> logits, Var<S> labels) and returns a Var<S>' << 'END'
#include <ctseg/loss/loss.hpp>
using S = cs::Spec<float, 3, cs::Cpu>;
cs::Loss<S> loss = [](cs::Var<S> logits) { return logits; };
END

refuses 'ctseg: a volume has a place in the patient; give it a Grid' << 'END'
#include <ctseg/image/volume.hpp>
cs::Volume<float> volume;
END

refuses 'ctseg: the voxels of a Volume are numbers; a mask is a Volume<std::uint8_t>' << 'END'
#include <ctseg/image/resample.hpp>
cs::Volume<bool> f(const cs::Volume<bool>& mask, const cs::Grid& grid) { return cs::resample(mask, grid); }
END

refuses 'ctseg: the voxels of a Volume are numbers' << 'END'
#include <ctseg/image/volume.hpp>
cs::Volume<std::string> f(const cs::Grid& grid) { return cs::Volume<std::string>(grid); }
END

refuses 'ctseg: a DICOM series is read as float or std::int16_t' << 'END'
#include <ctseg/io/dicom.hpp>
#include <ctseg/io/volume.hpp>
cs::Volume<std::uint8_t> f() { return cs::io::read_volume<std::uint8_t>("CT", cs::io::dicom::reader()); }
END

refuses 'ctseg: labels are Volume<std::uint8_t>' << 'END'
#include <ctseg/metrics/overlap.hpp>
double f(const cs::Volume<float>& a, const cs::Volume<std::uint8_t>& b) { return cs::overlap(a, b).dice(); }
END

most_lines=120   # no compiler stops at an #error, and every throw after it is one more
refuses 'ctseg: its errors are exceptions; compile without -fno-exceptions' -fno-exceptions << 'END'
#include <ctseg/ctseg.hpp>
END
refuses 'ctseg: it is written in C++20; compile with -std=c++20 or later' -std=c++17 << 'END'
#include <ctseg/core/shape.hpp>
END
echo "$count programs are refused in one sentence by: $compilers"
