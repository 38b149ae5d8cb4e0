// ctseg view: the local page, where libmicrohttpd and SQLite were there to build with.
#include "../viewer/server.hpp"
#include "commands.hpp"

namespace cli {

void view(const ViewArguments& a, Console& console) {
  if (!a.mask.empty() && a.input.path.empty())
    throw cs::Error(cs::Code::bad_argument, "--mask", text(a.mask, " is a mask of nothing. Hint: name its CASE too."));
  viewer::serve({.input = a.input,
                 .mask = a.mask,
                 .models = a.models,
                 .store = a.store,
                 .token_file = a.token_file,
                 .port = a.port,
                 .max_upload = bytes_of("--max-upload", a.max_upload),
                 .device = device_named(a.device)},
                console);
}

}   // namespace cli
