// ctseg, the command-line program: runs one command and turns what it throws into one line and an exit status.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "arguments.hpp"

namespace {

using namespace cli;

int fail(Exit status, const std::string& message) {
  std::fprintf(stderr, "ctseg: error: %s\n", message.c_str());
  return status;
}

Exit status_of(cs::Code code) {
  switch (code) {
    case cs::Code::bad_argument:
      return kUsage;
    case cs::Code::out_of_memory:
    case cs::Code::device:
      return kResources;
    case cs::Code::cancelled:
      return kInterrupted;
    case cs::Code::bad_input:
    case cs::Code::unsupported:
    case cs::Code::shape_mismatch:
    case cs::Code::io:
      return kBadInput;
  }
  return kInternal;
}

/// The library's hints name its options; who types commands knows flags.
std::string with_flags(std::string line) {
  constexpr std::pair<std::string_view, std::string_view> kFlags[] = {
      {"choose with DicomReadOptions::series_uid", "choose with --series UID"},
      {"choose with DicomReadOptions::stack", "copy the files of one of them into a folder of its own"},
      {"name one by LoadModelOptions::recipe", "name one by --recipe"},
      {"; LoadModelOptions::verify = false loads it nevertheless", ""},
      {"SegmentInput::channels holds a volume for each", "--channel names each volume behind the first"},
      {"SegmentInput::previous", "--previous"},
      {"probability_of = ", "--nodules "},
      {"max_memory = ", "--max-memory = "},
      {"FolderOptions::checkpoint", "--checkpoint"},
      {"set PlannerOptions::gpu_memory_gb higher", "a higher --gpu-memory"},
      {"the same options; CheckpointOptions::allow_changes = true goes on with these; or another folder",
       "the same configuration, or another folder by -o"},
      {"StreamOptions::max_memory", "--max-memory"}};
  for (const auto& [option, flag] : kFlags)
    if (const auto at = line.find(option); at != line.npos) line.replace(at, option.size(), flag);
  return line;
}

/// As a shell takes it.
std::string quoted(const std::string& path) {
  if (path.find_first_of(" \t'()&;*?<>|$`\"\\") == path.npos) return path;
  std::string out = "'";
  for (const char c : path) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// The error's line; where it is about a file that was read, with the command that looks at it.
std::string line_of(const cs::Error& error, const Console& console, const char* command) {
  std::string line = with_flags(error.what());
  const bool content = error.code() == cs::Code::bad_input || error.code() == cs::Code::shape_mismatch;
  if (content && std::string_view(command) != "info")
    for (const std::string& input : console.inputs())
      if (line.starts_with(input + ": ")) return line + " Try: ctseg info " + quoted(input);
  return line;
}

/// stdout may be a full disk or a closed pipe: that is an error like any other.
int print(const std::string& words) {
  if (std::fwrite(words.data(), 1, words.size(), stdout) == words.size() && std::fflush(stdout) == 0) return kOk;
  return fail(kBadInput, cs::text("stdout: cannot be written: ", static_cast<const char*>(std::strerror(errno)), "."));
}

int run(const Parsed& parsed, Console& console, const char* command) try {
  parsed.command(console);
  return print(console.results());
} catch (const cs::Error& error) {
  const std::string_view words = error.what();   // plans say themselves what they need
  if (error.code() == cs::Code::out_of_memory &&
      (words.find("no memory") != words.npos || words.find("cannot allocate") != words.npos))
    return fail(kResources, cs::text(words, " The program ", memory_words()));
  return fail(status_of(error.code()), line_of(error, console, command));
} catch (const std::bad_alloc&) {
  return fail(kResources, cs::text(command, ": ", memory_words()));
} catch (const std::filesystem::filesystem_error& error) {
  return fail(kBadInput, cs::text(error.path1().string(), ": ", error.code().message(), "."));
} catch (const std::system_error& error) {
  if (error.code() == std::errc::resource_unavailable_try_again)
    return fail(kResources, cs::text(command, ": no more threads can be made; it ", memory_words(), " Hint: --threads 1."));
  return fail(kInternal, cs::text(command, ": ", error.what(), ". This is a fault of ctseg."));
} catch (const std::exception& error) {
  return fail(kInternal, cs::text(command, ": ", error.what(), ". This is a fault of ctseg."));
}

}   // namespace

int main(int argc, char** argv) try {
  occupy_streams();
  const std::stop_token cancel = watch_signals();
  const Parsed parsed = parse(argc, argv);
  if (!parsed.error.empty()) return fail(kUsage, parsed.error);
  if (!parsed.command) return print(parsed.text);
  Console console(parsed.common, cancel);
  return run(parsed, console, argv[1]);
} catch (const std::exception& error) {   // no memory or no thread to begin with
  return fail(kResources, cs::text("the program cannot begin: ", error.what(), "."));
}
