// What the program promises whatever it is given: exit codes, one line of error, nothing left behind, stdout for results alone.
#include <doctest/doctest.h>

#include <thread>

#include "run_ctseg.hpp"

using namespace ctseg;

namespace {

template <class T> std::string with(std::string bytes, std::size_t at, T value) {
  return bytes.replace(at, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
}

struct BadFile {
  std::string name, bytes, says;
};

/// One file of each class of damage, made from a good one, and what the error must name.
std::vector<BadFile> bad_files(const TempFolder& folder) {
  io::write_nifti(folder / "good.nii", blocks());
  io::write_nifti(folder / "good.nii.gz", blocks());
  io::write_metaimage(folder / "good.mha", blocks());
  const std::string nii = slurp(folder / "good.nii"), gz = slurp(folder / "good.nii.gz"), mha = slurp(folder / "good.mha");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto swap_words = [&](const std::string& from, const std::string& to) {
    std::string out = mha;
    return out.replace(out.find(from), from.size(), to);
  };
  std::string flipped = gz;
  flipped[gz.size() - 6] = static_cast<char>(flipped[gz.size() - 6] ^ 0x40);   // the checksum
  return {{"empty.nii", "", "truncated"},
          {"empty.nii.gz", "", "is empty, 0 bytes"},
          {"empty.mha", "", "is empty, 0 bytes"},
          {"short.nii", nii.substr(0, 200), "truncated"},
          {"size.nii", with(nii, 0, std::int32_t{349}), "sizeof_hdr = 349"},
          {"magic.nii", with(nii, 344, 'x'), "magic"},
          {"rank.nii", with(nii, 40, std::int16_t{-9}), "dim[0] = -9"},
          {"extent.nii", with(nii, 42, std::int16_t{-3}), "dim[1] = -3"},
          {"larger.nii", with(nii, 46, std::int16_t{30000}), "dim"},
          {"spacing.nii", with(nii, 84, nan), "pixdim[2]"},
          {"offset.nii", with(nii, 108, -352.f), "vox_offset"},
          {"type.nii", with(nii, 70, std::int16_t{128}), "datatype = 128"},
          {"bits.nii", with(nii, 72, std::int16_t{32}), "bitpix = 32"},
          {"slope.nii", with(nii, 112, nan), "scl_slope"},
          {"row.nii", with(nii, 280, nan), "srow_x[0]"},
          {"voxels.nii", nii.substr(0, nii.size() - 5), "truncated"},
          {"trailing.nii", nii + "x", "trailing"},
          {"cut.nii.gz", gz.substr(0, gz.size() / 2), "truncated"},
          {"flip.nii.gz", flipped, "damaged"},
          {"plain.nii.gz", nii, "gzip"},
          {"ndims.mha", swap_words("NDims = 3", "NDims = 9"), "NDims = 9"},
          {"dims.mha", swap_words("DimSize = 20 20 20", "DimSize = 20 20 -1"), "DimSize"},
          {"etype.mha", swap_words("MET_UCHAR", "MET_WHAT"), "ElementType"},
          {"raw.mha", swap_words("ElementDataFile = LOCAL", "ElementDataFile = ../x"), "ElementDataFile"},
          {"cut.mha", mha.substr(0, mha.size() - 9), "truncated"},
          {"shape.npy", std::string("\x93NUMPY\x01\x00\x10\x00", 10) + "{'descr': '|u1', ", "header"},
          {"words.txt", "these are words", "neither content nor name"}};
}

/// Puts a file into a folder as soon as it is there, as another run with results beside ours would.
class SomebodyElse {
 public:
  explicit SomebodyElse(std::filesystem::path folder)
      : thread_([folder = std::move(folder)](const std::stop_token& stop) {
          while (!stop.stop_requested() && !std::filesystem::exists(folder))
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          spill(folder / "theirs", "results");
        }) {}

 private:
  std::jthread thread_;
};

bool one_error_line(const std::string& err) {
  return err.starts_with("ctseg: error: ") && std::count(err.begin(), err.end(), '\n') == 1 && err.ends_with('\n');
}

}   // namespace

TEST_CASE("bad files: status 3, one line that names file and field, no output") {
  const TempFolder folder;
  for (const BadFile& bad : bad_files(folder)) {
    const std::filesystem::path path = folder / bad.name;
    spill(path, bad.bytes);
    std::vector<std::string> info{"info", path.string(), "--json"};
    if (bad.name.ends_with(".npy")) info.insert(info.end(), {"--spacing", "1,1,1"});
    const Ran looked = run_ctseg(info);
    INFO(bad.name << ": " << looked.err);
    CHECK(looked.status == 3);
    CHECK(looked.out.empty());
    CHECK(one_error_line(looked.err));
    CHECK(has(looked.err, path.string()));
    CHECK(has(looked.err, bad.says));
    CHECK(looked.seconds < 5);
  }
  for (const char* name : {"spacing.nii", "cut.nii.gz", "dims.mha"}) {   // and the commands that write
    const Ran scored = run_ctseg({"evaluate", "-p", folder / name, "-g", folder / "good.nii", "-o", folder / "out"});
    INFO(scored.err);
    CHECK(scored.status == 3);
    CHECK(has(scored.err, "Try: ctseg info " + (folder / name).string()));
    CHECK(run_ctseg({"preview", folder / name, "-o", folder / "out"}).status == 2);
    CHECK(run_ctseg({"preview", folder / name, "-o", folder / "out.png"}).status == 3);
    CHECK(run_ctseg({"export", folder / name, "-o", folder / "out.stl"}).status == 3);
  }
  for (const std::string& name : names_in(folder.path)) CHECK_MESSAGE(!has(name, "out"), name);
}

TEST_CASE("what is not a file: missing, a device, a pipe, odd names") {
  const TempFolder folder;
  CHECK(run_ctseg({"info", folder / "no such.nii"}).status == 3);
  CHECK(run_ctseg({"info", "/dev/zero"}).status == 3);
  CHECK(run_ctseg({"info", std::string(5000, 'x')}).status == 3);
  REQUIRE(::mkfifo((folder / "pipe.nii").c_str(), 0600) == 0);
  CHECK(run_ctseg({"info", folder / "pipe.nii"}).status == 3);
  const std::filesystem::path odd = folder / "скан 1 \xff.nii.gz";   // Cyrillic, a space, and a byte that is no UTF-8
  io::write_nifti(odd, scan_of(blocks()));
  const Ran ran = run_ctseg({"info", odd.string(), "--json"});
  CHECK(ran.status == 0);
  CHECK(has(json_of(ran)["path"], "скан 1 \xef\xbf\xbd.nii.gz"));
}

TEST_CASE("usage: status 2 and where to read on") {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"fly"},
                                             {"info"},
                                             {"info", "a", "b"},
                                             {"info", "a", "--threads", "many"},
                                             {"evaluate", "-p", "a"},
                                             {"evaluate", "-p", "a", "-g", "b", "--empty", "zero"},
                                             {"phantom", "leg", "-o", "x"},
                                             {"phantom", "heart", "-o", "x", "--spacing", "0,1,1"},
                                             {"phantom", "heart", "-o", "x", "--seed", "-3"},
                                             {"export", "a"}}) {
    const Ran ran = run_ctseg(words);
    INFO(ran.err);
    CHECK(ran.status == 2);
    CHECK(ran.out.empty());
    CHECK(one_error_line(ran.err));
    CHECK(has(ran.err, "Try: ctseg "));
  }
  CHECK(has(run_ctseg({"fly"}).err, "\"fly\" is no command; there are info, segment, "));
  CHECK(has(run_ctseg({}).err, "a command is needed; there are info, segment, "));
}

TEST_CASE("the name of a file where results need a folder: status 2, and nothing is made") {
  const TempFolder folder;
  io::write_nifti(folder / "mask.nii.gz", blocks());
  const auto before = names_in(folder.path);
  const std::string mask = folder / "mask.nii.gz";
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"segment", mask, "-m", "none.safetensors", "-o", folder / "out.nrrd"},
                                             {"evaluate", "-p", mask, "-g", mask, "-o", folder / "report.html"},
                                             {"export", mask, "--format", "ply", "-o", folder / "surfaces.stl"},
                                             {"train", "none.json", "-o", folder / "model.safetensors"},
                                             {"convert", "none.pt", "-o", folder / "model.pt"},
                                             {"plan", folder.path.string(), "-o", folder / "plans.json"},
                                             {"phantom", "abdomen", "-o", folder / "ct.nii.gz"}}) {
    const Ran ran = run_ctseg(words);
    INFO(ran.err);
    CHECK(ran.status == 2);
    CHECK(one_error_line(ran.err));
    CHECK(has(ran.err, "is the name of a file ("));
    CHECK(names_in(folder.path) == before);
  }
  std::filesystem::create_directory(folder / "old.zip");   // a folder that is there may have any name
  CHECK(run_ctseg({"phantom", "abdomen", "-o", folder / "old.zip", "--shape", "24,24,20"}).status == 0);
}

TEST_CASE("files and folders mistaken for each other are named as what they are") {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "scans");
  io::write_nifti(folder / "scans/ct.nii.gz", scan_of(blocks()));
  const std::string scans = folder / "scans", ct = folder / "scans/ct.nii.gz", out = folder / "out.stl";
  spill(folder / "no recipe.safetensors", std::string("\x36\0\0\0\0\0\0\0", 8) +
                                              R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})" +
                                              std::string(4, '\0'));
  const std::string weights = folder / "no recipe.safetensors";
  struct Mistake {
    std::vector<std::string> words;
    std::string says;
  };
  for (const Mistake& m : std::vector<Mistake>{
           {{"info", scans}, scans + ": "},
           {{"export", scans, "-o", out}, "scans: is a folder; a mask is one file"},
           {{"preview", ct, "-m", scans, "-o", folder / "p.png"}, "scans: is a folder; a mask is one file"},
           {{"preview", ct, "-o", folder / "none/p.png"},
            "none: is not a folder yet; p.png was to be put there. Hint: make it"},
           {{"preview", ct, "-o", folder / "scans/ct.nii.gz/p.png"}, "ct.nii.gz: is not a folder; p.png"},
           {{"export", ct, "-o", folder / "seg.dcm", "--dicom", folder / "none"}, "none: is neither a file nor a folder"},
           {{"segment", ct, "-m", weights, "-o", out + "s", "--recipe", scans}, "scans: is a folder; here a file is read"},
           {{"segment", ct, "-m", weights, "-o", out + "s"}, "Hint: name one by --recipe;"}}) {
    const Ran ran = run_ctseg(m.words);
    INFO(ran.err);
    CHECK(ran.status == 3);
    CHECK(one_error_line(ran.err));
    CHECK(has(ran.err, m.says));
    CHECK(names_in(folder.path) == std::vector<std::string>{"no recipe.safetensors", "scans"});
  }
}

TEST_CASE("a hint can be typed as it stands, and what is not used says so") {
  const TempFolder folder;
  io::write_nifti(folder / "mask.nii", blocks());
  const std::filesystem::path odd = folder / "half a 'mask' ä.nii";
  spill(odd, slurp(folder / "mask.nii").substr(0, 5000));
  const Ran half = run_ctseg({"evaluate", "-p", odd, "-g", folder / "mask.nii"});
  CHECK(half.status == 3);
  CHECK_MESSAGE(has(half.err, "Try: ctseg info '" + (folder / "half a '\\''mask'\\'' ä.nii").string() + "'"), half.err);
  const Ran told = run_ctseg({"info", folder / "mask.nii", "--spacing", "1,1,3", "--series", "1.2.3", "--json"});
  CHECK(told.status == 0);
  CHECK(has(told.err, "--spacing, for .npy files, is not used"));
  CHECK(has(told.err, "is not DICOM; --series is not used"));
  CHECK(json_of(told)["spacing_mm"] == nlohmann::json({1, 1, 2}));
}

TEST_CASE("real: a folder of several DICOM series says which flag chooses") {
  const char* data = std::getenv("CTSEG_TEST_DATA");
  if (!data) return;
  const Ran ran = run_ctseg({"info", std::string(data) + "/dicom_odd/pydicom_dicomdir_77654033"});
  if (has(ran.err, "built without DICOM")) return;
  CHECK(ran.status == 3);
  CHECK_MESSAGE(has(ran.err, "choose with --series UID."), ran.err);
}

TEST_CASE("help: every command explains itself with examples that name it") {
  const Ran all = run_ctseg({"--help"});
  CHECK(all.status == 0);
  CHECK(run_ctseg({"--version"}).out.starts_with("ctseg 0."));
  for (const std::string name : {"info", "segment", "train", "evaluate", "export", "preview", "phantom", "bench", "plan"}) {
    CHECK(has(all.out, "  " + name + " "));
    const Ran ran = run_ctseg({name, "--help"});
    CHECK(ran.status == 0);
    CHECK(ran.err.empty());
    CHECK(has(ran.out, "Usage: ctseg " + name + " "));
    CHECK(has(ran.out, "Examples:\n  ctseg "));
    CHECK(has(ran.out, "  ctseg " + name + " "));
  }
}

TEST_CASE("a full disk: status 3, nothing left, what was there stays") {
  const TempFolder folder;
  io::write_nifti(folder / "mask.nii.gz", blocks());
  io::write_nifti(folder / "ct.nii.gz", scan_of(blocks()));
  spill(folder / "old.stl", "old");
  const auto before = names_in(folder.path);
  const RunOptions full{.file_bytes = 300};
  const std::string mask = folder / "mask.nii.gz", ct = folder / "ct.nii.gz";
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"evaluate", "-p", mask, "-g", mask, "-o", folder / "out"},
                                             {"export", mask, "-o", folder / "old.stl", "--labels", "1"},
                                             {"export", mask, "-o", folder / "surfaces", "--format", "ply"},
                                             {"export", ct, "-o", folder / "ct.mha"},
                                             {"preview", ct, "-o", folder / "p.png"},
                                             {"phantom", "abdomen", "-o", folder / "phantom", "--shape", "24,24,20"}}) {
    const Ran ran = run_ctseg(words, full);
    INFO(words[0] << ": " << ran.err);
    CHECK(ran.status == 3);
    CHECK(ran.out.empty());
    CHECK(has(ran.err, "cannot write"));
    CHECK(names_in(folder.path) == before);
  }
  CHECK(slurp(folder / "old.stl") == "old");
  const Ran out = run_ctseg({"info", ct}, {.stdout_to = "/dev/full"});
  CHECK(out.status == 3);
  CHECK(has(out.err, "stdout"));
}

TEST_CASE("an interruption ends with 130 and leaves nothing") {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "masks");
  for (int k = 0; k < 200; ++k) {
    if (k == 0) io::write_nifti(folder / "masks/0.nii.gz", blocks(0, 96));
    if (k > 0) std::filesystem::create_hard_link(folder / "masks/0.nii.gz", folder / text("masks/", k, ".nii.gz"));
  }
  const std::vector<std::string> words{"evaluate", "-p", folder / "masks", "-g", folder / "masks", "-o", folder / "a/b/out"};
  for (const int signal : {SIGINT, SIGTERM}) {
    const Ran ran = run_ctseg(words, {.interrupt_after = 0.4, .signal = signal});
    INFO(ran.err);
    CHECK(ran.status == 130);
    CHECK(ran.seconds < 0.4 + 5);
    CHECK(ran.out.empty());
    CHECK(names_in(folder.path) == std::vector<std::string>{"masks"});
  }
  const SomebodyElse other(folder / "a");   // writes into the new folder meanwhile
  CHECK(run_ctseg(words, {.interrupt_after = 0.4}).status == 130);
  CHECK(names_in(folder / "a") == std::vector<std::string>{"theirs"});
}

TEST_CASE("work that cannot hear an interruption is ended by force, and leaves nothing either") {
  const TempFolder folder;
  Volume<std::uint8_t> thick(blocks(0, 160).grid(), 1);   // thinning this takes many seconds
  io::write_nifti(folder / "thick.nii.gz", thick);
  const std::string mask = folder / "thick.nii.gz";
  const auto run = [&](const std::string& out) {
    return run_ctseg({"evaluate", "-p", mask, "-g", mask, "-o", folder / out, "--centerlines", "--no-surfaces"},
                     {.interrupt_after = 1});
  };
  const Ran ran = run("out");
  INFO(ran.err);
  CHECK(ran.status == 130);
  CHECK(ran.seconds < 1 + 5);
  CHECK(names_in(folder.path) == std::vector<std::string>{"thick.nii.gz"});
  const SomebodyElse other(folder / "a");
  CHECK(run("a/b").status == 130);
  CHECK(names_in(folder / "a") == std::vector<std::string>{"theirs"});
}
