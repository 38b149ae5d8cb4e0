// The ops that ctseg::prebuilt holds: all that an op is and all its kernels hang on AnyOp::hold, so these lines
// keep both out of the files of programs that link it.
#pragma once
#include "functional.hpp"

#ifdef CTSEG_PREBUILT
namespace ctseg {
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(ActivationOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(AdaptiveAveragePoolOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(AddOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(ArgmaxOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(AveragePoolOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(ConcatOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(ConvNormActOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(ConvOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(DiceCeOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(DropoutOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(InputOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(MaxPoolOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(MultiplyOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(NormOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(PadOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(PixelShuffleOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(SegmentationLossOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(SliceOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(SoftmaxOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 2, Cpu>>::hold(UpsampleOp<Spec<float, 2, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(ActivationOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(AdaptiveAveragePoolOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(AddOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(ArgmaxOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(AveragePoolOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(ConcatOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(ConvNormActOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(ConvOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(DiceCeOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(DropoutOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(InputOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(MaxPoolOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(MultiplyOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(NormOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(PadOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(PixelShuffleOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(SegmentationLossOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(SliceOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(SoftmaxOp<Spec<float, 3, Cpu>>);
CTSEG_PREBUILT template void AnyOp<Spec<float, 3, Cpu>>::hold(UpsampleOp<Spec<float, 3, Cpu>>);
}   // namespace ctseg
#endif
