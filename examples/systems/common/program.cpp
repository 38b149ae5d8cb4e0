// The command line of all systems. CLI11 is seen by this file alone.
#include <CLI/CLI.hpp>
#include <ctseg/version.hpp>

#include "system.hpp"

namespace systems {

namespace {

/// Fills what was left out: the phantom's preset, folders beside each other.
void set_defaults(const System& system, Arguments& a) {
  a.config =
      (a.config.empty() ? preset(system.name, a.phantom ? "phantom" : "config") : find_config(system.name, a.config)).string();
  if (a.output.empty()) a.output = text(system.name, "_run");
  if (a.data.empty() && a.phantom) a.data = (fs::path(a.output) / "data").string();
}

int fail(const System& system, int status, const std::string& message) {
  std::fprintf(stderr, "ctseg_%s: error: %s\n", system.name, message.c_str());
  return status;
}

struct Parsed {
  Arguments arguments{};
  cli::Common common{};
  std::optional<int> status{};   // of a program that has said all already: help, version, what is wrong with the command line
};

/// What all commands have, and what this one takes besides.
void add_options(const System& system, const Command& command, CLI::App& c, Parsed& out) {
  Arguments& a = out.arguments;
  const auto takes = [words = text(" ", command.takes, " ")](const char* word) {
    return words.find(text(" ", word, " ")) != std::string::npos;
  };
  if (takes("CASE"))
    c.add_option("CASE", a.input, "the scan, where one is wanted: .nii, .nii.gz, .mha, .mhd, a DICOM folder or file");
  c.add_option("-c,--config", a.config, "configuration (JSON), or a preset's name; unset: config, with --phantom: phantom");
  c.add_option("-d,--data", a.data, "folder of the data set; with --phantom: where phantoms are made, OUTPUT/data");
  c.add_option("-o,--output", a.output, text("folder for everything that is written; unset: ", system.name, "_run"));
  if (takes("--model")) c.add_option("-m,--model", a.model, "the model file; unset: OUTPUT/model.safetensors");
  if (takes("--device")) {
    c.add_option("--device", a.device, "where networks run: auto (a card if there is one), cpu, cuda or cuda:N");
    c.add_option("--accuracy", a.accuracy, "how convolutions may round: strict, standard or fast")
        ->check(CLI::IsMember({"strict", "standard", "fast"}));
  }
  c.add_flag("--phantom", a.phantom, "synthetic patients, made where they are missing: runs without data");
  if (takes("--resume")) c.add_flag("--resume", a.resume, "go on with the training in the output folder");
  if (takes("--seed"))
    c.add_option("--seed", a.seed, "of the split, weights, samples and augmentation")
        ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));   // else -1 is a large number
  c.add_option("--threads", out.common.threads, "0: one per processor")->check(CLI::Range(0, 1024));
  if (takes("--json")) c.add_flag("--json", out.common.json, "one JSON object on stdout");
  c.add_flag("-q,--quiet", out.common.quiet, "no progress on stderr");
  for (const Extra& extra : system.extras)
    if (takes(extra.flag)) c.add_option(extra.flag, *extra.value, extra.help);
}

Parsed parse(const System& system, const std::vector<const char*>& words) {
  Parsed out;
  Arguments& a = out.arguments;
  CLI::App program(system.what, text("ctseg_", system.name));
  program.require_subcommand(1);
  program.set_version_flag("--version", std::string(cs::kVersion));
  for (const Command& command : system.commands) {
    CLI::App& c = *program.add_subcommand(command.name, command.help);
    c.callback([&a, name = command.name] { a.command = name; });
    add_options(system, command, c, out);
  }
  try {
    program.parse(static_cast<int>(words.size()), words.data());
    set_defaults(system, a);
  } catch (const CLI::Success& said) {   // help and version
    program.exit(said);
    out.status = cli::kOk;
  } catch (const CLI::ParseError& said) {
    const auto chosen = program.get_subcommands();
    std::string message = said.what();
    if (chosen.empty() && words.size() > 1 && *words[1] != '-') {   // CLI11 says only that one is required
      message = text("\"", words[1], "\" is no command; there are");
      for (const Command& command : system.commands)
        message += text(&command == &system.commands.front() ? " " : ", ", command.name);
    }
    message += text(message.ends_with('.') ? "" : ".", " Try: ctseg_", system.name, chosen.empty() ? "" : " ",
                    chosen.empty() ? "" : chosen.front()->get_name(), " --help");
    out.status = fail(system, cli::kUsage, message);
  }
  return out;
}

/// Makes the phantoms that are missing. Neither other data nor phantoms of other settings are mixed with them.
void make_phantoms(const System& system, Job& job) {
  const PhantomConfig& p = job.config.phantom;
  const fs::path data = job.arguments.data, note = data / "phantom.txt";
  cs::PhantomOptions o{.region = system.phantoms.region, .shape = {p.shape[0], p.shape[1], p.shape[2]}};
  if (const auto& mm = p.spacing_mm) o.spacing_mm = {(*mm)[0], (*mm)[1], (*mm)[2]};
  o.noise_hu = p.noise_hu, o.blur_mm = p.blur_mm;
  const std::string settings =
      text(o.shape, " voxels of ", o.spacing_mm, " mm, noise ", o.noise_hu, ", blur ", o.blur_mm, "\n");
  if (!fs::exists(note) && fs::exists(data) && !fs::is_empty(data))
    throw cs::Error(cs::Code::bad_argument, data.string(),
                    "holds something else than phantoms. Hint: --data names another folder.");
  if (fs::exists(note)) {
    const auto bytes = cs::io::read_file(note);
    if (std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) != settings)
      throw cs::Error(cs::Code::bad_argument, data.string(),
                      "holds phantoms of other settings. Hint: another --output or --data.");
  }
  write_text(note, settings);
  const Index patients = p.train + p.val + p.test;
  cli::Progress progress(job.console, "phantoms", patients);
  for (Index i = 0; i < patients; ++i) {
    const auto [scan, mask] = system.phantoms.files(i < p.train ? "train" : i < p.train + p.val ? "val" : "test", i);
    for (const char* part : {"train", "val", "test"})   // in two parts, none could use the folder any more
      if (const fs::path other = system.phantoms.files(part, i).first; other != scan && fs::exists(data / other))
        throw cs::Error(cs::Code::bad_argument, data.string(),
                        text("has patient ", i, " as ", other.string(), ", and as ", scan.string(),
                             " by this configuration. Hint: another --output or --data."));
    if (fs::exists(data / scan) && fs::exists(data / mask)) continue;
    job.console.check_cancelled();
    fs::create_directories((data / scan).parent_path()), fs::create_directories((data / mask).parent_path());
    o.seed = static_cast<std::uint64_t>(i);
    const cs::Phantom phantom = cs::make_phantom(o, &job.ctx.executor());
    if (system.phantoms.note) system.phantoms.note(phantom, data, scan);
    cli::write_mask(data / mask, system.phantoms.mask(phantom));
    cli::write_exactly(data / scan, phantom.ct);
    progress.done(i + 1);
  }
}

int status_of(cs::Code code) {
  if (code == cs::Code::bad_argument) return cli::kUsage;
  if (code == cs::Code::out_of_memory || code == cs::Code::device) return cli::kResources;
  return code == cs::Code::cancelled ? cli::kInterrupted : cli::kBadInput;
}

}   // namespace

int run(const System& system, int argc, const char* const* argv) try {
  cli::occupy_streams();
  const std::stop_token cancel = cli::watch_signals();   // before any other thread
  const Parsed parsed = parse(system, {argv, argv + argc});
  if (parsed.status) return *parsed.status;
  Console console(parsed.common, cancel);
  Job job(parsed.arguments, read_config(parsed.arguments.config), console);
  if (job.arguments.phantom) make_phantoms(system, job);
  for (const Command& command : system.commands)
    if (job.arguments.command == command.name) command.run(job);
  const std::string& words = console.results();
  if (std::fwrite(words.data(), 1, words.size(), stdout) != words.size() || std::fflush(stdout) != 0)
    return fail(system, cli::kBadInput, "stdout cannot be written.");
  return cli::kOk;
} catch (const cs::Error& error) {
  return fail(system, status_of(error.code()), error.what());
} catch (const std::bad_alloc&) {
  return fail(system, cli::kResources, "the program " + cli::memory_words());
} catch (const fs::filesystem_error& error) {
  return fail(system, cli::kBadInput, text(error.path1().string(), ": ", error.code().message(), "."));
} catch (const std::exception& error) {
  return fail(system, cli::kInternal, error.what());
}

}   // namespace systems
