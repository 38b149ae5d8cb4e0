// Fingerprints of images against nnU-Net's own, and the rules by which foreground is drawn.
#include <ctseg/nnunet/plan_dataset.hpp>

#include "../io/temp_folder.hpp"
#include "plan_fixtures.hpp"

using namespace ctseg;
using namespace ctseg::nnunet;

namespace {

std::filesystem::path raw(const std::string& name) { return plan_fixtures::folder() / "raw" / name; }

DatasetFingerprint extracted(const RawDataset& data) {
  FingerprintCollector collector(std::ssize(data.facts.channel_names), std::ssize(data.cases));
  for (const RawCase& c : data.cases) collector.add(read_raw_case(c));
  return collector.finish();
}

void check_fingerprint(const std::string& name) {
  INFO(name);
  const RawDataset data = read_raw_dataset(raw(name));
  const DatasetFingerprint found = extracted(data);
  const std::string file = (raw(name) / "dataset_fingerprint.json").string();
  const DatasetFingerprint expected = fingerprint_from_json(plan_fixtures::read_json(file), file);
  CHECK(found.spacings == expected.spacings);
  CHECK(found.shapes_after_crop == expected.shapes_after_crop);
  CHECK(found.median_relative_size_after_cropping == expected.median_relative_size_after_cropping);
  REQUIRE(found.foreground.size() == expected.foreground.size());
  for (std::size_t k = 0; k < found.foreground.size(); ++k) {
    const IntensityProperties &f = found.foreground[k], &e = expected.foreground[k];
    CHECK(f.median == e.median);
    CHECK(f.min == e.min);
    CHECK(f.max == e.max);
    CHECK(f.percentile_00_5 == e.percentile_00_5);
    CHECK(f.percentile_99_5 == e.percentile_99_5);
    CHECK(std::abs(f.mean - e.mean) <= 1e-5 * e.std);   // nnU-Net sums float32
    CHECK(std::abs(f.std - e.std) <= 1e-5 * e.std);
  }
  CHECK(fingerprint_from_json(json::parse(to_json(found).dump(), name), name).spacings == found.spacings);
}

Volume<std::uint8_t> blank(Xyz<Index> shape) {
  const Eigen::Matrix4d millimetres = Eigen::Vector4d(1, 2, 3, 1).asDiagonal();
  return Volume<std::uint8_t>({shape, Affine<Ras>(millimetres)});
}
FingerprintCase one_case() {
  const Volume<std::uint8_t> label = blank({6, 5, 4});
  FingerprintCase c{.name = "case", .channels = {Volume<float>(label.grid(), 0.f)}, .label = label};
  for (Index x = 1; x < 5; ++x) c.channels[0](2, 3, x) = static_cast<float>(x), c.label(2, 3, x) = 1;
  return c;
}
bool has(const std::string& all, std::string_view part) { return all.find(part) != std::string::npos; }

}   // namespace

TEST_CASE("fingerprints equal nnU-Net's: shapes, spacings and percentiles to the last bit") {
  check_fingerprint("Dataset901_Ct");
  check_fingerprint("Dataset902_TwoChannels");
}

TEST_CASE("draws are counted, equal values together, and a case of one voxel draws nothing") {
  std::mt19937 generator(1234), same(1234);
  const auto drawn = planning::draw({5, 3, 5}, 1000, generator);
  REQUIRE(drawn.size() == 2);
  CHECK(drawn[0].value == 3);
  CHECK(drawn[0].count + drawn[1].count == 1000);
  CHECK(drawn[1].count > drawn[0].count);
  CHECK(planning::draw({7}, 10, same)[0].count == 10);
  CHECK(planning::draw({}, 10, same).empty());
  CHECK(same == std::mt19937(1234));
  const IntensityProperties p = planning::properties_of({{1, 1}, {2, 2}, {4, 1}});
  CHECK(p.mean == 2.25);
  CHECK(p.median == 2);
  CHECK(p.std == std::sqrt((1.5625 + 2 * 0.0625 + 3.0625) / 4));
  CHECK(p.percentile_99_5 == 4 - 2 * (1 - (3 * 0.995 - 2)));
}

TEST_CASE("the crop is to what is not 0, in any channel; foreground outside it does not count") {
  FingerprintCase c = one_case();
  c.label(0, 0, 0) = 2;   // where the image is 0
  FingerprintCollector collector(1, 1);
  collector.add(c);
  const DatasetFingerprint f = collector.finish();
  CHECK(f.shapes_after_crop[0] == std::array<Index, 3>{1, 1, 4});
  CHECK(f.spacings[0] == std::array<double, 3>{3, 2, 1});
  CHECK(f.median_relative_size_after_cropping == 4. / 120);
  CHECK(f.foreground[0].min == 1);
  CHECK(f.foreground[0].max == 4);
}

TEST_CASE("what a fingerprint cannot be made of") {
  CHECK(has(error_of([] { FingerprintCollector(0, 1); }), "0 channels, 1 cases"));
  CHECK(has(error_of([] { FingerprintCollector(1, 1).finish(); }), "no case was added"));
  FingerprintCollector collector(1, 2);
  FingerprintCase c = one_case();
  c.channels.push_back(c.channels[0]);
  CHECK(has(error_of([&] { collector.add(c); }), "case: has 2 channels; the data set has 1"));
  c = one_case(), c.channels[0](0, 0, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK(has(error_of([&] { collector.add(c); }), "voxel 0 of an image is not finite"));
  c = one_case(), c.label = blank({6, 5, 3});
  CHECK(has(error_of([&] { collector.add(c); }), "both must lie on one grid"));
  c = one_case();
  for (float& v : c.channels[0].voxels()) v = 0;
  CHECK(has(error_of([&] { collector.add(c); }), "voxels are 0"));
  c = one_case(), c.label = blank({6, 5, 4});
  collector.add(c);
  CHECK(has(error_of([&] { collector.finish(); }), "no voxel of 1 cases has a label above 0"));
}

TEST_CASE("a raw data set: files by name, channels, and what dataset.json lacks") {
  const RawDataset data = read_raw_dataset(raw("Dataset902_TwoChannels"));
  CHECK(data.facts.name == "Dataset902_TwoChannels");
  CHECK(data.facts.channel_names == std::vector<std::string>{"T2", "ADC"});
  CHECK(data.facts.labels == 3);
  CHECK(data.facts.image_reader_writer == "SimpleITKIO");
  REQUIRE(data.cases.size() == 4);
  CHECK(data.cases[0].images[1].filename() == "case0_0001.nii.gz");
  CHECK(read_raw_dataset(raw("Dataset901_Ct") / "").facts.name == "Dataset901_Ct");

  const TempFolder folder;
  const auto with = [&](const std::string& json) {
    io::write_file(folder / "dataset.json", std::as_bytes(std::span(json)));
    return error_of([&] { read_raw_dataset(folder.path); });
  };
  CHECK(has(error_of([&] { read_raw_dataset(folder.path); }), "has no dataset.json; a data set in nnU-Net's raw layout"));
  CHECK(has(with("{}"), "has no \"modality\""));
  CHECK(has(with(R"({"channel_names": ["CT"]})"), "channel_names is [\"CT\"]; must be an object"));
  CHECK(has(with(R"({"channel_names": {"0": 1}})"), "channel_names.0 is 1; must be a text"));
  CHECK(has(with(R"({"channel_names": {"0": "CT"}})"), "has no \"labels\""));
  const std::string most = R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz")";
  CHECK(has(with(most + "}"), "has no \"numTraining\""));
  CHECK(has(with(most + R"(, "numTraining": 2})"), "imagesTr: cannot be listed"));
  std::filesystem::create_directory(folder / "imagesTr");
  CHECK(has(with(most + R"(, "numTraining": 2})"), "holds no case: looked for imagesTr/NAME_0000.nii.gz"));
  io::write_file(folder / "imagesTr" / "a_0000.nii.gz", {});
  io::write_file(folder / "imagesTr" / "a_00.nii.gz", {});   // no channel number: not looked at
  CHECK(has(with(most + R"(, "numTraining": 2})"), "case a has no label"));
  io::write_file(folder / "imagesTr" / "a_0001.nii.gz", {});
  CHECK(has(with(most + R"(, "numTraining": 2})"), "case a has 2 images; dataset.json has 1 channels"));
}
