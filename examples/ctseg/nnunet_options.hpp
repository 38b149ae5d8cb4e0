// What the command line says of a folder of nnU-Net, for those commands that take one.
#pragma once
#include <ctseg/nnunet/model_folder.hpp>

#include "commands.hpp"

namespace cli {

inline cs::nnunet::FolderOptions folder_options(const NnunetArguments& a) {
  return {.configuration = a.configuration, .folds = a.folds, .checkpoint = a.checkpoint, .postprocessing = a.postprocessing};
}

}   // namespace cli
