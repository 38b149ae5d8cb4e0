// What both halves of the program share: lung_nodules.cpp prepares and trains, find_nodules.cpp validates and infers.
#pragma once
#include <ctseg/data/luna16_results.hpp>

#include "../common/system.hpp"

namespace lung_nodules {

using namespace systems;
using cs::Json;

inline Json xyz(cs::Point<cs::Lps> p) { return {p.x, p.y, p.z}; }
template <class T> Json zyx(cs::Xyz<T> v) { return {v.z, v.y, v.x}; }   // as arrays are indexed

/// How a scan is looked at, as the command line says it: "xy", "1,0.8", a file.
struct Looks {
  std::string mirror, scales, lungs;
};
inline Looks looks;

std::vector<cs::Nodule> annotations(const Job& job);
/// Patients to train on and to validate on: the seed decides, in every command alike.
cs::CaseSplit prepared_files(const Job& job);

void validate(Job& job);
void infer(Job& job);

}   // namespace lung_nodules
