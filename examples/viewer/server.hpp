// The viewer as a whole: store, scans, masks, models, jobs and the server over them, from one call to the signal that ends it.
#pragma once
#include "routes.hpp"

namespace viewer {

struct ViewerOptions {
  cli::CaseOptions input{};   // no path: none
  std::string mask{};         // of the CASE, to begin with
  std::vector<std::string> models{};
  fs::path store{};   // empty: default_store()
  fs::path token_file{};
  int port = 0;
  Index max_upload = Index{2} << 30;
  cli::DeviceChoice device{};   // where networks run
};

/// $XDG_DATA_HOME/ctseg, else ~/.local/share/ctseg.
fs::path default_store();

/// Serves until the console is told to stop. The address is printed once everything is ready.
void serve(const ViewerOptions& options, cli::Console& console);

}   // namespace viewer
