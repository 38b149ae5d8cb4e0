// Data sets on the disk: the layouts of the published sets, orders and names, and what is said when something is missing.
#include <doctest/doctest.h>
#include <ctseg/data/dataset.hpp>

#include "../io/temp_folder.hpp"

using namespace ctseg;
namespace fs = std::filesystem;

namespace {

void touch(const TempFolder& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    fs::create_directories((folder / name).parent_path());
    spill(folder / name, "x");
  }
}
std::string names_of(const std::vector<CaseFiles>& cases) {
  std::string out;
  for (const CaseFiles& c : cases) out += (out.empty() ? "" : " ") + c.name;
  return out;
}
bool says(const std::string& message, const std::vector<std::string>& words) {
  for (const std::string& word : words)
    if (message.find(word) == std::string::npos) return false;
  return !message.empty();
}

TEST_CASE("numbers in names count as numbers, and the order is total") {
  const std::vector<std::string> sorted = {"", "01", "1", "2", "10", "a", "a1b2", "a1b10", "a01c", "a2", "a2x", "a10", "ab"};
  for (std::size_t i = 0; i < sorted.size(); ++i)
    for (std::size_t j = 0; j < sorted.size(); ++j)
      CHECK_MESSAGE(natural_less(sorted[i], sorted[j]) == (i < j), sorted[i], " < ", sorted[j]);
  CHECK(natural_less("99999999999999999999998", "99999999999999999999999"));
  CHECK(natural_less("z", "\xc3\xa4"));   // bytes beyond ASCII are not negative
}

TEST_CASE("ct_scans and masks: pairs by name whatever the ending, DICOM folders, natural order") {
  const TempFolder folder;
  touch(folder, {"ct_scans/p10.nii.gz", "ct_scans/p2.NII", "ct_scans/p1/0001.dcm", "ct_scans/.DS_Store", "ct_scans/notes.txt",
                 "ct_scans/._p2.nii", "ct_scans/p3.mhd", "ct_scans/p3.zraw", "masks/p1.nii.gz", "masks/p2.nii.gz",
                 "masks/p3.mha", "masks/p10.nii.gz", "masks/old/p10.nii.gz"});
  const auto cases = find_cases(folder.path, layouts::ct_scans_masks);
  CHECK(names_of(cases) == "p1 p2 p3 p10");
  CHECK(cases[0].image == folder / "ct_scans/p1");
  CHECK(cases[1].image == folder / "ct_scans/p2.NII");
  CHECK(cases[1].label == folder / "masks/p2.nii.gz");
  CHECK(cases[2].image == folder / "ct_scans/p3.mhd");
  CHECK(cases[2].label == folder / "masks/p3.mha");
  CHECK(cases[3].patient == "p10");
}

TEST_CASE("LUNA16: subsets, lung masks where they are, never as scans") {
  const TempFolder folder;
  touch(folder, {"subset1/1.3.6.10.mhd", "subset1/1.3.6.10.raw", "subset0/1.3.6.9.mhd", "seg-lungs-LUNA16/1.3.6.10.mhd",
                 "seg-lungs-LUNA16/1.3.6.11.mhd", "annotations.csv"});
  const auto cases = find_cases(folder.path, layouts::luna16);
  CHECK(names_of(cases) == "1.3.6.9 1.3.6.10");
  CHECK(cases[0].label.empty());
  CHECK(cases[1].label == folder / "seg-lungs-LUNA16/1.3.6.10.mhd");
  fs::remove_all(folder / "seg-lungs-LUNA16");
  CHECK(find_cases(folder.path, layouts::luna16).size() == 2);
}

TEST_CASE("ImageCAS, LiTS, decathlon, nnU-Net, VerSe, a folder per case, marks of one's own") {
  const TempFolder f;
  touch(f, {"cas/1-200/2.img.nii.gz",
            "cas/1-200/2.label.nii.gz",
            "cas/201-400/201.img.nii.gz",
            "cas/201-400/201.label.nii.gz",
            "lits/volume-10.nii",
            "lits/segmentation-10.nii",
            "lits/b2/volume-9.nii",
            "lits/b2/segmentation-9.nii",
            "msd/imagesTr/liver_0.nii.gz",
            "msd/labelsTr/liver_0.nii.gz",
            "msd/imagesTs/liver_1.nii.gz",
            "nnu/imagesTr/a_0000.nii.gz",
            "nnu/imagesTr/a_0001.nii.gz",
            "nnu/labelsTr/a.nii.gz",
            "verse/rawdata/sub-verse402/sub-verse402_split-verse253_ct.nii.gz",
            "verse/rawdata/sub-verse4/sub-verse4_ct.nii.gz",
            "verse/derivatives/sub-verse402/sub-verse402_split-verse253_seg-vert_msk.nii.gz",
            "verse/derivatives/sub-verse4/sub-verse4_seg-vert_msk.nii.gz",
            "folders/pat7/image.nii.gz",
            "folders/pat7/label.nii.gz",
            "own/a.nii.gz",
            "own/a_mask.nii.gz"});
  const auto cas = find_cases(f / "cas", layouts::imagecas);
  CHECK(names_of(cas) == "2 201");
  CHECK(cas[1].label == f / "cas/201-400/201.label.nii.gz");
  const auto lits = find_cases(f / "lits", layouts::lits);
  CHECK(names_of(lits) == "9 10");
  CHECK(lits[0].label == f / "lits/b2/segmentation-9.nii");
  CHECK(names_of(find_cases(f / "msd", layouts::decathlon)) == "liver_0");
  CHECK(names_of(find_cases(f / "nnu", layouts::nnunet)) == "a");
  const auto verse = find_cases(f / "verse", layouts::verse);
  CHECK(names_of(verse) == "sub-verse4 sub-verse402_split-verse253");
  CHECK(verse[1].patient == "sub-verse402");
  const auto folders = find_cases(f / "folders", layouts::case_folders);
  CHECK(names_of(folders) == "pat7");
  CHECK(folders[0].label == f / "folders/pat7/label.nii.gz");
  const auto own = find_cases(f / "own", {.images = "", .labels = "", .label_after = "_mask"});
  CHECK(names_of(own) == "a");   // the mask is no image, though every name fits the image's pattern
  CHECK(own[0].image == f / "own/a.nii.gz");
}

TEST_CASE("links to folders are followed, one that leads back is an error and no endless search") {
  const TempFolder folder;
  touch(folder, {"far/1.img.nii.gz", "far/1.label.nii.gz", "set/readme.txt"});
  fs::create_directory_symlink(folder / "far", folder / "set/near");
  CHECK(find_cases(folder / "set", layouts::imagecas).size() == 1);
  fs::create_directory_symlink(folder / "set", folder / "set/back");
  CHECK(error_of([&] { find_cases(folder / "set", layouts::imagecas); }) != "");
  fs::remove(folder / "set/near");
  CHECK(says(error_of([&] { find_cases(folder / "set", layouts::imagecas); }), {"16 folders deep", "link"}));
}

TEST_CASE("what is missing is named with its path") {
  const TempFolder f;
  CHECK(says(error_of([&] { find_cases(f / "no", layouts::pairs); }),
             {(f / "no/images").string(), "not a folder", "NAME.nii.gz"}));
  touch(f, {"images/a.nii.gz", "images/b.nii.gz"});
  CHECK(says(error_of([&] { find_cases(f.path, layouts::pairs); }), {(f / "labels").string() + ":", "not a folder"}));
  touch(f, {"labels/a.nii.gz"});
  CHECK(says(error_of([&] { find_cases(f.path, layouts::pairs); }),
             {(f / "images/b.nii.gz").string() + ": has no label", (f / "labels/b.nii.gz").string(), "2 images and 1 labels"}));
  touch(f, {"labels/b.nii", "labels/c.nii"});
  CHECK(says(error_of([&] { find_cases(f.path, layouts::pairs); }),
             {(f / "labels/c.nii").string() + ": has no image", (f / "images/c.nii.gz").string()}));
  CHECK(names_of(find_cases(f.path, {.paired = false})) == "a b");
  touch(f, {"images/a.mha"});
  CHECK(says(error_of([&] { find_cases(f.path, layouts::pairs); }),
             {(f / "images/a.mha").string() + ": and", (f / "images/a.nii.gz").string(), "both the image of case a"}));
  const std::string nothing = error_of([&] { find_cases(f / "labels", layouts::imagecas); });
  CHECK(says(nothing, {"holds no case", "labels/NAME.img.nii.gz", "0 labels"}));
  CHECK(says(error_of([&] { find_cases(f.path, {.images = "", .labels = ""}); }), {"one pattern"}));
}

TEST_CASE("real: VerSe as it was downloaded, flat, some labels without their scans") {
  const char* data = std::getenv("CTSEG_TEST_DATA");
  if (!data) {
    MESSAGE("CTSEG_TEST_DATA is not set");
    return;
  }
  Layout flat = layouts::verse;
  flat.images = flat.labels = "";
  CHECK(says(error_of([&] { find_cases(fs::path(data) / "verse", flat); }), {"_seg-vert_msk.nii.gz: has no image"}));
  flat.paired = false;
  const auto cases = find_cases(fs::path(data) / "verse", flat);
  CHECK(cases.size() >= 2);
  CHECK(cases[0].name.starts_with("sub-verse00"));
}

}   // namespace
