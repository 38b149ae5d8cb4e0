// ctseg::prebuilt, third part, where nlohmann-json is found: recipes, model files, networks chosen by name, whole scans.
#define CTSEG_PREBUILT extern
#include <ctseg/ctseg.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>
#define CTSEG_PREBUILT_RECIPES   // empty: what users declare `extern` is made here
#include <ctseg/recipe/segment.hpp>
