// What a hostile shell can do: outputs named like inputs, streams that are closed, limits on memory, odd label maps.
#include <doctest/doctest.h>

#include "run_ctseg.hpp"

using namespace ctseg;
using nlohmann::json;

TEST_CASE("what was given is never written over, whatever name it goes by") {
  const TempFolder folder;
  io::write_nifti(folder / "mask.nii.gz", blocks());
  io::write_metaimage(folder / "ct.mha", scan_of(blocks()));
  std::filesystem::create_symlink("mask.nii.gz", folder / "link.nii.gz");
  std::filesystem::create_hard_link(folder / "mask.nii.gz", folder / "hard.nii.gz");
  io::write_metaimage(folder / "in.mhd", scan_of(blocks()));
  std::filesystem::rename(folder / "in.raw", folder / "out.raw");   // where the voxels of an out.mhd would go
  std::string header = slurp(folder / "in.mhd");
  spill(folder / "in.mhd", header.replace(header.find("in.raw"), 6, "out.raw"));
  const std::string voxels = slurp(folder / "out.raw");
  spill(folder / "ct.png", "not a picture");
  REQUIRE(::mkfifo((folder / "pipe.mha").c_str(), 0600) == 0);
  const auto before = names_in(folder.path);
  const std::string mask = folder / "mask.nii.gz", ct = folder / "ct.mha", bytes = slurp(mask);
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"export", mask, "-o", mask},
                                             {"export", mask, "-o", folder / "./link.nii.gz"},
                                             {"export", mask, "-o", folder / "hard.nii.gz"},
                                             {"export", folder / "link.nii.gz", "-o", mask},
                                             {"export", ct, "-o", ct},
                                             {"export", folder / "in.mhd", "-o", folder / "out.mhd"},
                                             {"export", ct, "-o", folder / "pipe.mha"},
                                             {"preview", folder / "ct.png", "-o", folder / "ct.png"},
                                             {"preview", ct, "-m", folder / "ct.png", "-o", folder / "ct.png"}}) {
    const Ran ran = run_ctseg(words);
    INFO(ran.err);
    CHECK(ran.status == 2);
    CHECK((has(ran.err, "is an input too") || has(ran.err, "not a regular file")));
    CHECK(names_in(folder.path) == before);
  }
  CHECK(slurp(mask) == bytes);
  CHECK(slurp(folder / "ct.png") == "not a picture");
  CHECK(slurp(folder / "out.raw") == voxels);
  spill(folder / "old.mha", "what an earlier run left is replaced");
  CHECK(run_ctseg({"export", mask, "-o", folder / "old.mha"}).status == 0);
  CHECK(io::read_volume<std::uint8_t>(folder / "old.mha").voxels() == blocks().voxels());
}

TEST_CASE("closed streams and readers that leave") {
  const TempFolder folder;
  io::write_nifti(folder / "mask.nii.gz", blocks());
  const std::string mask = folder / "mask.nii.gz";
  const Ran left = run_ctseg({"info", mask}, {.reader_left = true});
  CHECK(left.status == 3);
  CHECK(has(left.err, "stdout: cannot be written"));
  CHECK(run_ctseg({"export", mask, "-o", folder / "streams.mha"}).status == 0);
  CHECK(run_ctseg({"export", mask, "-o", folder / "closed.mha"}, {.closed = {0, 1, 2}}).status ==
        3);   // stdout cannot be written
  CHECK(slurp(folder / "closed.mha") == slurp(folder / "streams.mha"));
  const std::vector<std::string> score{"evaluate", "-p", mask, "-g", mask, "-o"};
  const auto to = [&](const std::string& out) {
    std::vector<std::string> words = score;
    words.push_back(folder / out);
    return words;
  };
  CHECK(run_ctseg(to("a")).status == 0);
  CHECK(run_ctseg(to("b"), {.closed = {0, 1, 2}}).status == 3);
  for (const char* name : {"cases.csv", "summary.json", "distribution.svg", "report.html"})
    CHECK_MESSAGE(slurp(folder / "b" / name) == slurp(folder / "a" / name), name);
}

TEST_CASE("out of memory: status 4, what was needed and what there is") {
  const TempFolder folder;
  io::write_nifti(folder / "large.nii.gz", blocks(0, 300));   // 27 MB of labels, 108 MB as float
  const std::string mask = folder / "large.nii.gz";
  const long most = 120L << 20;
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"info", mask, "--threads", "1"},
           {"preview", mask, "-o", folder / "p.png", "--threads", "1"},
           {"export", mask, "-o", folder / "p.mha", "--threads", "1"},
           {"phantom", "heart", "-o", folder / "p", "--shape", "400,400,300", "--threads", "1"},
           {"bench", "streaming", "--shape", "300,300,300", "--threads", "1"}}) {
    const Ran ran = run_ctseg(words, {.address_bytes = most});
    INFO(words[0] << ": " << ran.err);
    CHECK(ran.status == 4);
    CHECK(ran.out.empty());
    CHECK(has(ran.err, "need"));
    CHECK(has(ran.err, "120 MiB are allowed"));
    CHECK(names_in(folder.path) == std::vector<std::string>{"large.nii.gz"});
  }
  const Ran threads = run_ctseg({"evaluate", "-p", mask, "-g", mask, "--threads", "1024"}, {.address_bytes = 300L << 20});
  CHECK(threads.status == 4);
  CHECK(has(threads.err, "threads"));
}

TEST_CASE("label maps of any type that holds labels exactly") {
  const TempFolder folder;
  const Volume<std::uint8_t> mask = blocks();
  io::write_nifti(folder / "mask.nii.gz", mask);
  const auto score = [&](auto one, double changed, std::size_t at) {
    Volume<decltype(one)> other(mask.grid());
    for (std::size_t i = 0; i < other.voxels().size(); ++i) other.voxels()[i] = static_cast<decltype(one)>(mask.voxels()[i]);
    if (changed != 0) other.voxels()[at] = static_cast<decltype(one)>(changed);
    io::write_nifti(folder / "other.nii.gz", other);
    return run_ctseg({"evaluate", "-p", folder / "other.nii.gz", "-g", folder / "mask.nii.gz", "--json"});
  };
  for (const Ran& ran : {score(std::int16_t{}, 0, 0), score(float{}, 0, 0), score(std::int32_t{}, 0, 0)}) {
    CHECK(ran.status == 0);
    CHECK(json_of(ran)["labels"][1]["dice"] == 1);
  }
  for (const auto& [ran, says] : {std::pair{score(std::int16_t{}, 300, 0), "voxel (0, 0, 0) = 300"},
                                  std::pair{score(std::int16_t{}, -1, 1), "voxel (1, 0, 0) = -1"},
                                  std::pair{score(float{}, 0.5, 20), "voxel (0, 1, 0) = 0.5"},
                                  std::pair{score(float{}, std::nan(""), 400), "voxel (0, 0, 1) = nan"}}) {
    CHECK(ran.status == 3);
    CHECK_MESSAGE(has(ran.err, says), ran.err);
  }
}

TEST_CASE("bench streaming measures, and the ways to stream agree") {
  const auto bench = [](std::vector<std::string> more, const std::string& classes = "3") {
    std::vector<std::string> words{"bench", "streaming", "--shape", "120,96,100", "--classes", classes, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return json_of(run_ctseg(words));
  };
  const json blocks = bench({});
  CHECK(blocks["shape"] == json({120, 96, 100}));
  CHECK(blocks["classes"] == 3);
  CHECK(blocks["seconds"] > 0);
  CHECK(blocks["peak_memory_mb"] > 10);
  CHECK(blocks["peak_memory_mb"] < 200);
  CHECK(blocks["labels_hash"] == bench({"--how", "whole"})["labels_hash"]);
  CHECK(blocks["labels_hash"] == bench({"--how", "slabs", "--threads", "1"})["labels_hash"]);
  CHECK(blocks["labels_hash"] != bench({}, "4")["labels_hash"]);
}
