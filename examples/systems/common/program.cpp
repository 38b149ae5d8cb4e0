// The command line of all systems. CLI11 is seen by this file alone.
#include <CLI/CLI.hpp>
#include <ctseg/version.hpp>

#include "system.hpp"

namespace systems {

namespace {

/// Fills what was left out: the phantom's preset, folders beside each other.
void set_defaults(const System& system, Arguments& a) {
  if (a.config.empty()) a.config = a.phantom ? "phantom" : "config";
  a.config = find_config(system.name, a.config).string();
  if (a.output.empty()) a.output = text(system.name, "_run");
  if (a.data.empty() && a.phantom) a.data = (fs::path(a.output) / "data").string();
  if (a.device == "cuda")
    throw cs::Error(cs::Code::unsupported, "--device", "cuda: this program was built for the CPU; auto takes what there is.");
}

/// False where all was said already: help, version, or what is wrong with the command line; `status` is that of the program then.
bool parse(const System& system, const std::vector<const char*>& words, Arguments& a, cli::Common& common, int& status) {
  CLI::App program(system.what, text("ctseg_", system.name));
  program.require_subcommand(1);
  program.set_version_flag("--version", std::string(cs::kVersion));
  for (const Command& command : system.commands) {
    CLI::App& c = *program.add_subcommand(command.name, command.help);
    c.callback([&a, name = command.name] { a.command = name; });
    c.add_option("CASE", a.input, "the scan, where one is wanted: .nii, .nii.gz, .mha, .mhd, a DICOM folder or file");
    c.add_option("-c,--config", a.config, "configuration (JSON), or a preset's name; unset: config, with --phantom: phantom");
    c.add_option("-d,--data", a.data, "folder of the data set; with --phantom: where phantoms are made, OUTPUT/data");
    c.add_option("-o,--output", a.output, text("folder for everything that is written; unset: ", system.name, "_run"));
    c.add_option("-m,--model", a.model, "the model file; unset: OUTPUT/model.safetensors");
    c.add_option("--device", a.device, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
    c.add_option("--accuracy", a.accuracy, "how convolutions may round: strict, standard or fast")
        ->check(CLI::IsMember({"strict", "standard", "fast"}));
    c.add_flag("--phantom", a.phantom, "synthetic patients, made where they are missing: runs without data");
    c.add_flag("--resume", a.resume, "go on with the training in the output folder");
    c.add_option("--seed", a.seed, "of the split, weights, samples and augmentation");
    c.add_option("--threads", common.threads, "0: one per processor")->check(CLI::Range(0, 1024));
    c.add_flag("--json", common.json, "one JSON object on stdout");
    c.add_flag("-q,--quiet", common.quiet, "no progress on stderr");
    for (const Extra& extra : system.extras) c.add_option(extra.flag, *extra.value, extra.help);
  }
  try {
    program.parse(static_cast<int>(words.size()), words.data());
    return true;
  } catch (const CLI::ParseError& said) {
    status = program.exit(said) == 0 ? cli::kOk : cli::kUsage;
    return false;
  }
}

/// Makes the phantoms that are missing. Those of other settings are not mixed with them.
void make_phantoms(const System& system, const Arguments& a, const PhantomConfig& p, Console& console) {
  const fs::path data = a.data, note = data / "phantom.txt";
  cs::PhantomOptions o{.region = system.phantoms.region, .shape = {p.shape.at(0), p.shape.at(1), p.shape.at(2)}};
  if (!p.spacing_mm.empty()) o.spacing_mm = {p.spacing_mm.at(0), p.spacing_mm.at(1), p.spacing_mm.at(2)};
  o.noise_hu = p.noise_hu, o.blur_mm = p.blur_mm;
  const std::string settings = text(o.shape, " voxels of ", o.spacing_mm, " mm, noise ", o.noise_hu, ", blur ", o.blur_mm, "\n");
  if (fs::exists(note)) {
    const auto bytes = cs::io::read_file(note);
    if (std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) != settings)
      throw cs::Error(cs::Code::bad_input, data.string(), "holds phantoms of other settings. Hint: another --output or --data.");
  }
  if (!fs::exists(note) && fs::exists(data) && !fs::is_empty(data))
    throw cs::Error(cs::Code::bad_argument, data.string(), "holds something else than phantoms. Hint: --data names another folder.");
  write_text(note, settings);
  cs::ThreadPool threads(console.common().threads);
  cli::Progress progress(console, "phantoms", p.train + p.val + p.test);
  for (Index i = 0; i < p.train + p.val + p.test; ++i) {
    const auto [scan, mask] =
        system.phantoms.files(i < p.train ? "train" : i < p.train + p.val ? "val" : "test", i);
    if (fs::exists(data / scan) && fs::exists(data / mask)) continue;
    console.check_cancelled();
    fs::create_directories((data / scan).parent_path()), fs::create_directories((data / mask).parent_path());
    o.seed = static_cast<std::uint64_t>(i);
    const cs::Phantom phantom = cs::make_phantom(o, &threads);
    cli::write_mask(data / mask, system.phantoms.mask(phantom));
    cli::write_exactly(data / scan, phantom.ct);
    progress.done(i + 1);
  }
}

int status_of(cs::Code code) {
  return code == cs::Code::bad_argument ? cli::kUsage : code == cs::Code::out_of_memory ? cli::kResources
         : code == cs::Code::cancelled                                                  ? cli::kInterrupted
                                                                                        : cli::kBadInput;
}
int fail(const System& system, int status, const char* message) {
  std::fprintf(stderr, "ctseg_%s: error: %s\n", system.name, message);
  return status;
}

}   // namespace

int run(const System& system, int argc, const char* const* argv) try {
  cli::occupy_streams();
  const std::stop_token cancel = cli::watch_signals();   // before any other thread
  Arguments a;
  cli::Common common;
  int status = cli::kOk;
  if (!parse(system, {argv, argv + argc}, a, common, status)) return status;
  set_defaults(system, a);
  Console console(common, cancel);
  const Config config = read_config(a.config);
  if (a.phantom) make_phantoms(system, a, config.phantom, console);
  for (const Command& command : system.commands)
    if (a.command == command.name) command.run(a, config, console);
  const std::string& words = console.results();
  if (std::fwrite(words.data(), 1, words.size(), stdout) != words.size() || std::fflush(stdout) != 0)
    return fail(system, cli::kBadInput, "stdout cannot be written.");
  return cli::kOk;
} catch (const cs::Error& error) {
  return fail(system, status_of(error.code()), error.what());
} catch (const std::bad_alloc&) {
  return fail(system, cli::kResources, cli::memory_words().c_str());
} catch (const std::exception& error) {
  return fail(system, cli::kInternal, error.what());
}

}   // namespace systems
