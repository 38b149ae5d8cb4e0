// ctseg::prebuilt, second half: what stands on the first: networks, optimizer, losses, volumes, files, training, inference.
#define CTSEG_PREBUILT extern
#include <ctseg/nn/layers.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>
#undef CTSEG_PREBUILT
#define CTSEG_PREBUILT   // empty: what users declare `extern` is made here
#include <ctseg/ctseg.hpp>
#include <ctseg/data/phantom.hpp>
