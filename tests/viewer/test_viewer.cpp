// The viewer's server from outside: open, upload, segment, correct, save, and everything still there after a restart.
#include <doctest/doctest.h>

#include <sqlite3.h>

#include <thread>

#include "../dicom/dicom_bytes.hpp"
#include "viewer_client.hpp"

using namespace ctseg;
using nlohmann::json;

namespace {

const char* const kConfig = R"({
  "recipe": {"ctseg_recipe": 1, "about": {"name": "tiny"},
    "network": {"network": "UNet", "dim": 3, "in_channels": 1, "out_channels": 2, "features": [2, 4]},
    "preprocess": [{"step": "Spacing", "spacing_mm": {"x": 4, "y": 4, "z": 4}}, {"step": "WindowHu", "low": -160, "high": 240}],
    "sliding_window": {"window": [16, 16, 16], "overlap": 0.25},
    "labels": [{"id": 0, "name": "background"}, {"id": 1, "name": "blocks", "color": "#aa5500"}]},
  "data": {"folder": "data", "validation": 0},
  "training": {"steps": 2, "batch": 1}
})";

/// A scan, a model and a mask, made once.
struct Files {
  TempFolder folder;
  Volume<std::uint8_t> truth = blocks();

  Files() {
    std::filesystem::create_directories(folder / "data/ct_scans"), std::filesystem::create_directories(folder / "data/masks");
    Volume<std::uint8_t> one = truth;
    for (auto& v : one.voxels()) v = v != 0;
    io::write_volume(folder / "ct.nii.gz", scan_of(truth)), io::write_volume(folder / "truth.nii.gz", truth);
    for (const char* name : {"a", "b"}) {
      io::write_volume(folder / ("data/ct_scans/" + std::string(name) + ".nii.gz"), scan_of(truth));
      io::write_volume(folder / ("data/masks/" + std::string(name) + ".nii.gz"), one);
    }
    spill(folder / "config.json", kConfig);
    const Ran ran = run_ctseg({"train", folder / "config.json", "-o", folder / "run", "--quiet"});
    INFO(ran.err);
    REQUIRE(ran.status == 0);
  }
  std::string ct() const { return folder / "ct.nii.gz"; }
  std::string model() const { return folder / "run/model.safetensors"; }
};
const Files& files() {
  static const Files once;
  return once;
}

std::string as_text(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }
/// The test's grid in display order: its x runs to the left already, y forward and z to the head, so y is turned.
std::vector<std::uint8_t> displayed(const Volume<std::uint8_t>& v) { return reorient(v, "LPS").voxels(); }

/// An ONNX file, byte by byte: a graph that joins its input with itself again and again, until its channels fill any memory.
std::string doubling_graph(int times) {
  const auto number = [](int field, int value) { return std::string{static_cast<char>(field << 3), static_cast<char>(value)}; };
  const auto message = [](int field, const std::string& bytes) {
    std::string out{static_cast<char>(field << 3 | 2)};
    for (std::size_t n = bytes.size(); n > 0 || out.size() < 2; n >>= 7)
      out += static_cast<char>((n & 127) | (n > 127 ? 128 : 0));
    return out + bytes;
  };
  const auto value = [&](const std::string& name) {   // float, [any, 1, any, any, any]
    const std::string any = message(1, ""), axes = any + message(1, number(1, 1)) + any + any + any;
    return message(1, name) + message(2, message(1, number(1, 1) + message(2, axes)));
  };
  std::string graph;
  for (int i = 0; i < times; ++i) {
    const std::string from = text("x", i);
    graph += message(1, message(1, from) + message(1, from) + message(2, text("x", i + 1)) + message(4, "Concat"));
  }
  graph += message(11, value("x0")) + message(12, value(text("x", times)));
  const std::string recipe = json::parse(kConfig)["recipe"].dump();
  return number(1, 8) + message(7, graph) + message(8, number(2, 17)) + message(14, message(1, "ctseg") + message(2, recipe));
}

json wait_for(const Viewer& viewer, Index job) {
  json state;
  for (int i = 0; i < 600; ++i) {
    state = viewer.get(text("/jobs/", job)).json();
    if (state["state"] != "queued" && state["state"] != "running") return state;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return state;
}

}   // namespace

TEST_CASE("view shows a case, segments it, keeps corrections, and knows all of it the next day") {
  const Files& f = files();
  TempFolder store;
  std::string job_mask;
  {
    Viewer viewer({f.ct(), "-m", f.model(), "--store", store / "s"});
    REQUIRE(viewer.running());
    const json info = viewer.get("/info").json();
    CHECK(info["device"] == "cpu");
    const Index id = info["scan"];
    const json scan = viewer.get(text("/scans/", id)).json();
    CHECK(scan["shape"] == json({20, 20, 20}));
    CHECK(scan["spacing_mm"] == json({1.0, 1.0, 2.0}));
    CHECK(scan["orientation"] == "LAS");
    CHECK(scan["hu_min"] == -1000);
    CHECK(scan["masks"].empty());

    // Voxels: whole, coarse, a range, a slice.
    const auto hu = reorient(scan_of(f.truth), "LPS");
    const std::string all(reinterpret_cast<const char*>(hu.data()), hu.voxels().size() * 2);
    CHECK(viewer.get(text("/scans/", id, "/voxels")).body == all);
    CHECK(viewer.get(text("/scans/", id, "/voxels?z0=5&z1=7")).body == all.substr(5 * 800, 2 * 800));
    CHECK(viewer.get(text("/scans/", id, "/voxels?step=4")).body.size() == 5 * 5 * 5 * 2);
    CHECK(viewer.get(text("/scans/", id, "/slice?plane=axial&index=7")).body == all.substr(7 * 800, 800));
    const std::string coronal = viewer.get(text("/scans/", id, "/slice?plane=coronal&index=3")).body;
    REQUIRE(coronal.size() == 800);
    CHECK(coronal.substr(0, 40) == all.substr(19 * 800 + 3 * 40, 40));   // the head is above
    CHECK(viewer.get(text("/scans/", id, "/slice?plane=axial&index=20")).status == 400);

    // A job, and its folder.
    const Answer posted = viewer.post("/jobs", text("{\"scan\": ", id, "}"));
    CHECK(posted.status == 202);
    const json job = wait_for(viewer, posted.json()["id"]);
    INFO(job.dump());
    REQUIRE(job["state"] == "done");
    CHECK(job["progress"] == 1.0);
    const std::filesystem::path folder = job["folder"].get<std::string>();
    CHECK(names_in(folder) == std::vector<std::string>{"job.json", "mask.nii.gz", "preview.png", "run.json"});
    CHECK(json::parse(slurp(folder / "job.json"))["mask"] == job["mask"]);
    job_mask = slurp(folder / "mask.nii.gz");
    const Ran ran = run_ctseg({"segment", f.ct(), "-m", f.model(), "-o", store / "m.nii.gz"});
    REQUIRE(ran.status == 0);
    CHECK(io::read_volume<std::uint8_t>(store / "m.nii.gz").voxels() ==
          io::read_volume<std::uint8_t>(folder / "mask.nii.gz").voxels());

    // A correction: the truth as version 2, measured against version 1.
    const json model_mask = viewer.get(text("/masks/", job["mask"].get<Index>())).json();
    CHECK(model_mask["kind"] == "model");
    CHECK(model_mask["labels"][0]["name"] == "blocks");
    const std::string drawn = as_text(displayed(f.truth));
    const std::string target = text("/scans/", id, "/masks?parent=", job["mask"].get<Index>(), "&note=by%20hand");
    const Answer saved = viewer.post(target, deflated(drawn), {"Content-Encoding: gzip"});
    REQUIRE(saved.status == 201);
    const json mask = saved.json();
    CHECK(mask["version"] == 2);
    CHECK(mask["note"] == "by hand");
    CHECK(mask["labels"].size() == 2);
    CHECK(mask["labels"][0]["volume_ml"] == doctest::Approx(0.25));   // 125 voxels of 2 mm3
    CHECK(mask["labels"][1]["name"] == "label 2");
    const auto before = io::read_volume<std::uint8_t>(folder / "mask.nii.gz");
    Index differ = 0;
    for (std::size_t i = 0; i < before.voxels().size(); ++i) differ += before.voxels()[i] != f.truth.voxels()[i];
    CHECK(mask["changed"] == differ);
    CHECK(viewer.post(text("/scans/", id, "/measure"), drawn).json()["labels"][0]["voxels"] == 125);
    CHECK(viewer.get(text("/masks/", mask["id"].get<Index>(), "/voxels")).body == drawn);
    const auto stored = io::read_volume<std::uint8_t>(store / text("s/scans/", id, "/mask_2_edited.nii.gz"));
    CHECK(stored.voxels() == f.truth.voxels());
    CHECK(same_grid(stored.grid(), f.truth.grid()));
    CHECK(viewer.stop() == 0);
  }
  Viewer again({f.ct(), "--store", store / "s"});
  REQUIRE(again.running());
  const json scans = again.get("/scans").json();
  REQUIRE(scans.size() == 1);   // the same file is the same scan
  CHECK(scans[0]["masks"].size() == 2);
  CHECK(scans[0]["masks"][1]["parent"] == scans[0]["masks"][0]["id"]);
  const json history = again.get("/history").json();
  REQUIRE(history.size() == 4);   // scan, job, two masks
  CHECK(again.get("/history?scan=99").json().empty());
  CHECK(again.get("/jobs").json()[0]["state"] == "done");
}

TEST_CASE("view makes meshes, pictures and files of a mask, and interpolates slices") {
  const Files& f = files();
  TempFolder store;
  Viewer viewer({f.ct(), "--mask", f.folder / "truth.nii.gz", "--store", store / "s"});
  REQUIRE(viewer.running());
  const json scan = viewer.get("/scans").json()[0];
  const Index id = scan["id"], mask = scan["masks"][0]["id"];
  CHECK(scan["masks"][0]["kind"] == "given");

  const std::string mesh = viewer.get(text("/masks/", mask, "/mesh?label=1")).body;
  REQUIRE(mesh.size() > 8);
  std::uint32_t counts[2];
  std::memcpy(counts, mesh.data(), 8);
  CHECK(mesh.size() == 8 + 12 * (std::size_t{counts[0]} + counts[1]));
  std::vector<float> xyz(3 * counts[0]);
  std::memcpy(xyz.data(), mesh.data() + 8, 4 * xyz.size());
  const Point<Lps> centre = to_lps(f.truth.affine()(7, 7, 7));   // voxels 5 to 9 of each axis
  double sum[3] = {};
  for (std::size_t i = 0; i < xyz.size(); ++i) sum[i % 3] += double{xyz[i]} / counts[0];
  CHECK(sum[0] == doctest::Approx(centre.x).epsilon(0.01));
  CHECK(sum[1] == doctest::Approx(centre.y).epsilon(0.01));
  CHECK(sum[2] == doctest::Approx(centre.z).epsilon(0.01));
  CHECK(viewer.get(text("/masks/", mask, "/mesh?label=7")).status == 404);

  const Answer stl = viewer.get(text("/masks/", mask, "/file?type=stl&label=1"));
  CHECK(stl.head.find("attachment; filename=\"scan_1_mask_1_label_1.stl\"") != std::string::npos);
  std::uint32_t triangles = 0;
  std::memcpy(&triangles, stl.body.data() + 80, 4);
  CHECK(stl.body.size() == 84 + 50 * std::size_t{triangles});
  CHECK(viewer.get(text("/masks/", mask, "/file?type=obj")).body.starts_with("# ctseg surface"));
  for (const std::string target : {"/file?type=png", "/overlay?plane=sagittal&index=7&opacity=1"})
    CHECK(viewer.get(text("/masks/", mask) + target).body.starts_with("\x89PNG"));
  const std::string ply = viewer.get(text("/masks/", mask, "/file?type=ply&label=1")).body;
  CHECK(ply.starts_with("ply\n"));
  CHECK(has(ply, text("element face ", Index{triangles}, "\n")));
  const Answer facts = viewer.get(text("/masks/", mask, "/file?type=json"));
  CHECK(has(facts.head, "attachment; filename=\"scan_1_mask_1.json\""));
  CHECK(facts.json()["labels"][0]["volume_ml"] == doctest::Approx(0.25));   // 125 voxels of 2 mm3
  CHECK(facts.json() == viewer.get(text("/masks/", mask)).json());
  CHECK(viewer.get("/history").json().size() == 5);   // scan, mask, three meshes: what the 3-D view left is not made again

  std::string keys(2 * 400, '\0');   // a bar of 4 x 10, and one of 8 x 10
  for (int k = 0; k < 2; ++k)
    for (int y = 5; y < 15; ++y)
      for (int x = 10 - 2 * (k + 1); x < 10 + 2 * (k + 1); ++x) keys[static_cast<std::size_t>(400 * k + 20 * y + x)] = 1;
  const std::string between = viewer.post(text("/scans/", id, "/interpolate?plane=axial&slices=4,8"), keys).body;
  REQUIRE(between.size() == 5 * 400);
  CHECK(between.substr(0, 400) == keys.substr(0, 400));
  CHECK(between.substr(1600) == keys.substr(400));
  CHECK(between.substr(1000, 20) == std::string(7, '\0') + std::string(6, '\1') + std::string(7, '\0'));   // row 10, half way

  const Index gone = id;
  CHECK(viewer({.method = "DELETE", .target = text("/scans/", gone)}).status == 204);
  CHECK(viewer.get(text("/masks/", mask)).status == 404);
  CHECK(!std::filesystem::exists(store / text("s/scans/", gone)));
  CHECK(std::filesystem::exists(f.ct()));
}

TEST_CASE("a 3-D view leaves its surface in the store, and thin things do not vanish from it") {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  Volume<std::uint8_t> mask(Grid{{40, 40, 40}, Affine<Ras>(m)});
  for (Index z = 2; z < 22; ++z)
    for (Index y = 10; y < 30; ++y)
      for (Index x = 10; x < 30; ++x) mask(z, y, x) = 1;
  for (Index z = 22; z < 39; ++z) mask(z, 21, 21) = 1;   // a vessel of one voxel, from an organ upwards
  for (Index x = 1; x < 40; ++x) mask(35, 5, x) = 2;     // and one alone
  TempFolder store;
  io::write_volume(store / "ct.nii.gz", scan_of(mask)), io::write_volume(store / "mask.nii.gz", mask);
  Viewer viewer({store / "ct.nii.gz", "--mask", store / "mask.nii.gz", "--store", store / "s"});
  REQUIRE(viewer.running());
  const auto look = [&](const std::string& query) {   // how far up triangles reach, and whether it says that they are fewer
    const Answer mesh = viewer.get("/masks/1/mesh?" + query);
    REQUIRE(mesh.status == 200);
    std::uint32_t count = 0;
    std::memcpy(&count, mesh.body.data(), 4);
    float top = -1e9f;
    for (std::uint32_t i = 0; i < count; ++i) {
      float z = 0;
      std::memcpy(&z, mesh.body.data() + 8 + 12 * i + 8, 4);
      top = std::max(top, z);
    }
    return std::pair(top, has(mesh.head, "X-Ctseg-Simplified"));
  };
  CHECK(look("label=1").first == doctest::Approx(38).epsilon(0.03));
  CHECK(!look("label=1").second);
  for (const char* query : {"label=1&triangles=1500", "label=1&triangles=500", "label=0&triangles=500"}) {
    const auto [top, simplified] = look(query);
    INFO(query, ": ", top);
    CHECK(top == doctest::Approx(38).epsilon(0.08));   // in voxels of 2 or 4 mm
    CHECK(simplified);
  }
  json events;
  for (int i = 0; i < 200 && events.size() < 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    events = viewer.get("/history").json();
  }
  REQUIRE(events.size() == 4);   // scan, mask, label 1, everything: each once, however often it was looked at
  const auto said = [&](const std::string& file) {
    return std::any_of(events.begin(), events.end(), [&](const json& e) { return has(e["words"], file); });
  };
  CHECK(said("mesh_1_1.stl"));
  CHECK(said("mesh_1_all.stl"));
  const std::string kept = slurp(store / "s/scans/1/mesh_1_1.stl");
  CHECK(kept.size() > 84);
  CHECK(viewer.get("/masks/1/file?type=stl&label=1").body == kept);
  CHECK(viewer.get("/masks/1/mesh?label=9").status == 404);
  CHECK(viewer.get("/history").json().size() == 4);
  CHECK(viewer.stop() == 0);
}

TEST_CASE("view takes scans and models as uploads, by their content") {
  const Files& f = files();
  TempFolder store;
  Viewer viewer({"--store", store / "s"});
  REQUIRE(viewer.running());
  CHECK(viewer.get("/info").json()["scan"].is_null());
  CHECK(viewer.post("/jobs", "{\"scan\": 1}").status == 404);
  const std::string nifti = slurp(f.ct());
  const Answer plain = viewer.post("/scans?name=a%2F..%2Fct.nii.gz", nifti);
  REQUIRE(plain.status == 201);
  CHECK(plain.json()["name"] == "ct.nii.gz");
  CHECK(viewer.post("/jobs", "{\"scan\": 1}").status == 409);   // no model yet

  const Answer zipped = viewer.post("/scans?name=z", zip_of({{.name = "../../evil.nii.gz", .content = nifti}}));
  CHECK(zipped.status == 201);
  CHECK(!std::filesystem::exists(store / "evil.nii.gz"));
  io::write_volume(store / "x.mha", scan_of(f.truth));
  const Answer meta = viewer.post("/scans?name=m", slurp(store / "x.mha"));
  CHECK(meta.status == 201);
  for (const Answer* a : {&zipped, &meta}) CHECK(a->json()["lps"] == plain.json()["lps"]);

  // A .mhd with its .raw, from a folder, beside other things. Names in the archive and in the header are names of nothing here.
  io::write_volume(store / "x.mhd", scan_of(f.truth));
  const std::string header = slurp(store / "x.mhd"), raw = slurp(store / "x.raw");
  const std::string above = header.substr(0, header.find("ElementDataFile"));
  const Answer both = viewer.post(
      "/scans?name=luna", zip_of({{.name = "LUNA/readme", .content = "hello"}, {"LUNA/a.MHD", header}, {"LUNA/x.raw", raw}}));
  INFO(both.body);
  REQUIRE(both.status == 201);
  CHECK(both.json()["lps"] == plain.json()["lps"]);
  CHECK(viewer.get(text("/scans/", both.json()["id"].get<Index>(), "/voxels")).body == viewer.get("/scans/1/voxels").body);
  std::vector<ZipMember> slabs{{"a.mhd", above + "ElementDataFile = s%d.raw 0 19 1\n"}};
  for (std::size_t z = 0; z < 20; ++z) slabs.push_back({text("s", z, ".raw"), raw.substr(z * 800, 800)});
  const Answer slices_of = viewer.post("/scans?name=p", zip_of(slabs));
  REQUIRE(slices_of.status == 201);
  CHECK(viewer.get(text("/scans/", slices_of.json()["id"].get<Index>(), "/voxels")).body == viewer.get("/scans/1/voxels").body);
  const std::string same =
      viewer.post("/scans?name=t", zip_of({{"../../t.mhd", above + "ElementDataFile = t.raw\n"}, {"../../t.raw", raw}})).body;
  CHECK(has(same, "\"name\":\"t\""));   // packed from a strange place, and read all the same
  CHECK(names_in(store.path) == std::vector<std::string>{"s", "x.mha", "x.mhd", "x.raw"});
  spill(store / "s/incoming/x.raw", raw);
  for (const std::vector<ZipMember>& bad : std::vector<std::vector<ZipMember>>{
           {{"a.mhd", header}},                                                         // without its voxels
           {{"a.mhd", header}, {"DIR/x.raw", raw}},                                     // they lie elsewhere
           {{"a.mhd", header}, {"x.raw", raw.substr(1)}},                               // some are missing
           {{"a.mhd", header}, {"b.mhd", header}, {"x.raw", raw}},                      // which one?
           {{"a.mhd", above + "ElementDataFile = " + f.ct() + "\n"}, {"x.raw", raw}},   // not of the archive
           {{"a.mhd", above + "ElementDataFile = ../x.raw\n"}, {"y.raw", raw}},         // nor this
           {{"a.mhd", above + "ElementDataFile = s.raw%d 7 7 1\n"}, {"s.raw7", raw}},   // 20 slices are 20 files
           {{"a.mhd", above + "ElementDataFile = LIST\n" +
                          [] {
                            std::string twenty;
                            for (int z = 0; z < 20; ++z) twenty += "x.raw\n";
                            return twenty;
                          }()},
            {"x.raw", raw.substr(0, 800)}},   // one file twenty times
           {{"a.mhd", "no header"}, {"x.raw", raw}}}) {
    const Answer refused = viewer.post("/scans?name=bad", zip_of(bad));
    INFO(bad[0].content);
    CHECK(refused.status == 422);
    CHECK(!has(refused.body, "root:x:"));
  }
  std::filesystem::remove(store / "s/incoming/x.raw");

  std::vector<ZipMember> slices{{.name = "DIR/README", .content = ""}};
  for (int z = 0; z < 6; ++z)
    slices.push_back(
        {.name = text("DIR/", 9 - z), .content = dicom_test::file_of(dicom_test::ct_slice(z)), .packed = z % 2 == 0});
  const Answer series = viewer.post("/scans?name=series.zip", zip_of(slices));
  INFO(series.body);
  if (series.status != 422 || !has(series.body, "without DICOM")) {
    REQUIRE(series.status == 201);
    CHECK(series.json()["shape"] == json({6, 5, 6}));
    CHECK(series.json()["spacing_mm"][2] == 2.5);
  }

  CHECK(viewer.post("/models?name=mine", "not a model").status == 422);
  const Answer model = viewer.post("/models?name=mine", slurp(f.model()));
  REQUIRE(model.status == 201);
  CHECK(model.json()["name"] == "tiny");
  const json job =
      wait_for(viewer, viewer.post("/jobs", "{\"scan\": 1, \"overlap\": 0.5, \"accuracy\": \"fast\"}").json()["id"]);
  CHECK(job["state"] == "done");
  CHECK(viewer({.method = "DELETE", .target = text("/jobs/", job["id"].get<Index>())}).status == 409);   // over
  CHECK(viewer({.method = "DELETE", .target = "/jobs/99"}).status == 404);

  for (const std::string& bad :
       {std::string("hello"), nifti.substr(0, nifti.size() / 2), std::string("PK\3\4"), std::string()}) {
    const Answer refused = viewer.post("/scans?name=bad", bad);
    CHECK(refused.status == 422);
    CHECK(!has(refused.body, store.path.string()));
  }
  CHECK(names_in(store / "s/incoming").empty());
}

TEST_CASE("jobs of one server on an emulated card: one after the other, stopped, at two accuracies") {
  const Files& f = files();
  TempFolder store;
  Viewer viewer({f.ct(), "-m", f.model(), "--store", store / "s", "--device", "cuda"}, "ctseg_emulated");
  REQUIRE(viewer.running());
  CHECK(viewer.get("/info").json()["device"] == "cuda:0, emulated card");
  const auto start = [&](const std::string& more) -> Index {
    return viewer.post("/jobs", "{\"scan\": 1" + more + "}").json()["id"];
  };
  const auto mask_of = [&](Index id, const std::string& accuracy = "standard") {
    const json job = wait_for(viewer, id);
    INFO(job.dump());
    REQUIRE(job["state"] == "done");
    CHECK(job["device"] == "cuda:0, emulated card");
    const std::filesystem::path folder = job["folder"].get<std::string>();
    const json run = json::parse(slurp(folder / "run.json"));
    CHECK(run["device"] == "cuda:0, emulated card");
    CHECK(!run.contains("device_reason"));
    CHECK(run["accuracy"] == accuracy);
    double network = 0;   // the run began before what it tells of, and ended after it
    for (const char* stage : {"load model", "read", "network", "measure", "write"}) {
      REQUIRE(run["stages_s"].contains(stage));
      network += run["stages_s"][stage].get<double>();
    }
    CHECK(run["seconds"] >= network);
    CHECK(run["seconds"] <= job["seconds"]);
    CHECK(run["started"] >= job["added"]);
    return io::read_volume<std::uint8_t>(folder / "mask.nii.gz").voxels();
  };
  const auto first = mask_of(start(""));
  const Index long_one = start(", \"overlap\": 0.9");
  CHECK(viewer({.method = "DELETE", .target = text("/jobs/", long_one)}).status < 300);
  CHECK(wait_for(viewer, long_one)["state"] == "cancelled");
  CHECK((mask_of(start("")) == first));
  mask_of(start(", \"accuracy\": \"fast\""), "fast");
  CHECK((mask_of(start("")) == first));
  CHECK(viewer.stop() == 0);
}

TEST_CASE("view: a card that must be there and is not, and one that may") {
  const Files& f = files();
  TempFolder store;
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);   // hides cards
  const Ran missing = run_ctseg({"view", f.ct(), "--store", store / "s", "--device", "cuda"});
  CHECK(missing.status == 4);
  CHECK(has(missing.err, "Hint: --device cpu, or auto."));
  const Viewer viewer({f.ct(), "-m", f.model(), "--store", store / "s"});
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  REQUIRE(viewer.running());
  for (int i = 0; i < 2; ++i) {
    const json job = wait_for(viewer, viewer.post("/jobs", "{\"scan\": 1}").json()["id"]);
    CHECK(job["device"] == "cpu");
    CHECK(job["device_reason"].is_string());
    CHECK(
        json::parse(slurp(std::filesystem::path(job["folder"].get<std::string>()) / "run.json"))["device_reason"].is_string());
  }
}

TEST_CASE("a mask drawn from nothing keeps the labels of the model that it was drawn with") {
  const Files& f = files();
  TempFolder store;
  const Viewer viewer({f.ct(), "-m", f.model(), "--store", store / "s"});
  REQUIRE(viewer.running());
  const auto labels_of = [&](const std::string& more, char drawn) {   // one voxel of that label
    std::string voxels(8000, '\0');
    voxels[4000] = drawn;
    const Answer saved = viewer.post("/scans/1/masks" + more, voxels);
    INFO(saved.body);
    REQUIRE(saved.status == 201);
    const json mask = saved.json();
    CHECK(mask["model"] == "");   // the model did not make it
    std::string out;
    for (const json& label : mask["labels"])
      out += text(label["name"].get<std::string>(), " ", label["color"].get<std::string>(), " ", label["voxels"].get<Index>(),
                  "; ");
    return out;
  };
  const Index model = viewer.get("/models").json()[0]["id"];
  CHECK(labels_of(text("?model=", model), '\0') == "blocks #aa5500 0; ");
  CHECK(labels_of(text("?model=", model), '\2') == "blocks #aa5500 0; label 2 #56b4e9 1; ");
  CHECK(labels_of("", '\1') == "blocks #aa5500 1; ");    // the default model, if it knows all of them
  CHECK(labels_of("", '\2') == "label 2 #56b4e9 1; ");   // it does not
  CHECK(labels_of("?parent=2", '\0') == "blocks #aa5500 0; label 2 #56b4e9 0; ");
  CHECK(viewer.post("/scans/1/masks?model=99", std::string(8000, '\1')).status == 404);
  CHECK(viewer.post("/scans/1/masks?model=x", std::string(8000, '\1')).status == 400);
  CHECK(viewer.get("/scans/1").json()["masks"].size() == 5);
}

TEST_CASE("CTSEG_MODEL names the default model, which names the labels of a given mask") {
  const Files& f = files();
  TempFolder store;
  ::setenv("CTSEG_MODEL", f.model().c_str(), 1);
  const Viewer viewer({f.ct(), "--mask", f.folder / "data/masks/a.nii.gz", "--store", store / "s"});
  ::unsetenv("CTSEG_MODEL");
  REQUIRE(viewer.running());
  CHECK(viewer.get("/models").json()[0]["source"] == "environment");
  CHECK(viewer.get("/scans/1").json()["masks"][0]["labels"][0]["name"] == "blocks");
}

TEST_CASE("an ONNX file is a model: uploaded, run, listed the next day; one that is no graph or another one is refused") {
  const Files& f = files();
  TempFolder store;
  const std::string file = store / "model.onnx";
  const Ran made = run_ctseg({"convert", f.model(), "-o", file});
  if (has(made.err, "built without ONNX")) {
    const Viewer viewer({f.ct(), "--store", store / "s"});
    REQUIRE(viewer.running());
    const Answer refused = viewer.post("/models?name=net.onnx", "\b\b");
    CHECK(refused.status == 422);
    CHECK(has(refused.body, "built without ONNX"));
    return;
  }
  REQUIRE(made.status == 0);
  const std::string graph = slurp(file);
  REQUIRE(run_ctseg({"segment", f.ct(), "-m", f.model(), "-o", store / "m.nii.gz"}).status == 0);
  const auto expected = io::read_volume<std::uint8_t>(store / "m.nii.gz").voxels();
  const auto mask_by = [&](const Viewer& viewer, const json& model) {
    const json job = wait_for(viewer, viewer.post("/jobs", text("{\"scan\": 1, \"model\": ", model.dump(), "}")).json()["id"]);
    INFO(job.dump());
    REQUIRE(job["state"] == "done");
    CHECK(job["device"] == "cpu");
    return io::read_volume<std::uint8_t>(std::filesystem::path(job["folder"].get<std::string>()) / "mask.nii.gz").voxels();
  };
  {
    Viewer viewer({f.ct(), "--store", store / "s"});
    REQUIRE(viewer.running());
    const Answer mine = viewer.post("/models?name=mine", graph);   // its content says what it is
    REQUIRE(mine.status == 201);
    CHECK(mine.json()["name"] == "tiny");
    CHECK(mine.json()["labels"][0]["name"] == "blocks");
    CHECK(mine.json()["bytes"] == graph.size());
    CHECK((mask_by(viewer, mine.json()["id"]) == expected));

    std::string wide = graph;   // another number of channels than the graph's
    const std::string channels = "\"in_channels\":";
    const std::size_t at = wide.find(channels + "1");
    REQUIRE(at != wide.npos);
    wide[at + channels.size()] = '2';
    std::string bare = graph;
    bare.replace(bare.find("\n\5ctseg") + 2, 5, "other");
    for (const auto& [name, body, says] :
         std::vector<std::array<std::string, 3>>{{"half.onnx", graph.substr(0, graph.size() / 2), "holds no ONNX model"},
                                                 {"words.onnx", "words", "holds no ONNX model"},
                                                 {"bare.onnx", bare, "no recipe"},
                                                 {"double", doubling_graph(3), "makes [1,8,16,16,16] of [1,1,16,16,16]"},
                                                 {"doubled", doubling_graph(40), "values at once"},
                                                 {"overfull", doubling_graph(100), "more elements than can be counted"},
                                                 {"wide", wide, "the graph takes"}}) {
      const Answer refused = viewer.post("/models?name=" + name, body);
      INFO(refused.body);
      CHECK(refused.status == 422);
      CHECK(has(refused.body, says));
      CHECK(!has(refused.body, store.path.string()));
    }
    CHECK(names_in(store / "s/models").size() == 1);
    std::uint32_t state = 5;
    const auto random = [&](std::size_t below) {
      return static_cast<std::size_t>((state = state * 1664525u + 1013904223u) >> 8) % below;
    };
    for (int i = 0; i < 60; ++i) {
      std::string damaged = graph;
      for (int k = 0; k < 3; ++k) damaged[random(damaged.size())] ^= static_cast<char>(1u << random(8));
      const int status = viewer.post("/models?name=damaged.onnx", damaged).status;
      CHECK_MESSAGE((status == 201 || status == 422), status);
    }
    CHECK(names_in(store / "s/incoming").empty());
    CHECK(viewer.running());
    CHECK(viewer.stop() == 0);
  }
  for (const auto& entry : std::filesystem::directory_iterator(store / "s/models")) CHECK(entry.path().extension() == ".onnx");
  std::filesystem::copy_file(file, store / "s/models/laid.onnx");
  ::setenv("CTSEG_MODEL", file.c_str(), 1);
  const Viewer viewer({f.ct(), "-m", file, "--store", store / "s"});
  ::unsetenv("CTSEG_MODEL");
  REQUIRE(viewer.running());
  const json models = viewer.get("/models").json();
  CHECK(models[0]["source"] == "option");
  CHECK(models[1]["source"] == "environment");
  CHECK(models.back()["source"] == "store");
  const json kept = models[models.size() - 2];   // the oldest upload
  CHECK(kept["source"] == "upload");
  CHECK(kept["name"] == "tiny");
  for (const json& model : {models[0], models[1], models.back(), kept}) CHECK((mask_by(viewer, model["id"]) == expected));
}

TEST_CASE("an ONNX file where there is a card: the CPU takes it, and what asked for the card is told") {
  const Files& f = files();
  TempFolder store;
  const std::string file = store / "model.onnx";
  if (const Ran made = run_ctseg({"convert", f.model(), "-o", file}); made.status != 0) {
    CHECK(has(made.err, "built without ONNX"));
    return;
  }
  const Ran refused =
      run_ctseg({"segment", f.ct(), "-m", file, "-o", store / "out", "--device", "cuda"}, {.program = "ctseg_emulated"});
  CHECK(refused.status == 3);
  CHECK(has(refused.err, "is a graph (ONNX), and graphs are run by the CPU only. Hint: --device cpu, or auto."));
  CHECK(!std::filesystem::exists(store / "out"));
  const Ran ran = run_ctseg({"segment", f.ct(), "-m", file, "-o", store / "out"}, {.program = "ctseg_emulated"});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  const json run = json::parse(slurp(store / "out/run.json"));
  CHECK(run["device"] == "cpu");
  CHECK(has(run["device_reason"], "is a graph (ONNX)"));

  const Viewer viewer({f.ct(), "-m", file, "-m", f.model(), "--store", store / "s"}, "ctseg_emulated");
  REQUIRE(viewer.running());
  for (const auto& [model, device] : {std::pair(1, "cpu"), std::pair(2, "cuda:0, emulated card"), std::pair(1, "cpu")}) {
    const json job = wait_for(viewer, viewer.post("/jobs", text("{\"scan\": 1, \"model\": ", model, "}")).json()["id"]);
    INFO(job.dump());
    CHECK(job["state"] == "done");
    CHECK(job["device"] == device);
    CHECK(job.contains("device_reason") == (model == 1));
  }
}

TEST_CASE("a CTSEG_MODEL of another program is left out with a warning; a model of -m must be one") {
  const Files& f = files();
  TempFolder store;
  spill(store / "other.onnx", "a graph");
  ::setenv("CTSEG_MODEL", (store / "other.onnx").c_str(), 1);
  const Viewer viewer({f.ct(), "-m", f.model(), "--store", store / "s"});
  const Ran second = run_ctseg({"view", "--store", store / "t", "--port", text(viewer.port())});   // taken: it ends
  const Ran wrong = run_ctseg({"view", "-m", store / "other.onnx", "--store", store / "u"});
  ::unsetenv("CTSEG_MODEL");
  REQUIRE(viewer.running());
  const json models = viewer.get("/models").json();
  REQUIRE(models.size() == 1);
  CHECK(models[0]["source"] == "option");
  CHECK(has(second.err, "warning: the model of CTSEG_MODEL is left out: "));
  CHECK(has(second.err, "other.onnx"));
  CHECK(has(second.err, "is the port taken?"));
  CHECK(wrong.status == 3);
  CHECK(!has(wrong.err, "warning"));
}

TEST_CASE("a disk that fills up while jobs wait ends them, and not the server") {
  const Files& f = files();
  TempFolder store;
  Viewer viewer({f.ct(), "-m", f.model(), "--store", store / "s"});
  REQUIRE(viewer.running());
  for (int i = 0; i < 12; ++i) REQUIRE(viewer.post("/jobs", "{\"scan\": 1}").status == 202);
  viewer.most_file_bytes(16);
  Index failed = 0;
  for (Index id = 12; id > 0; --id) {
    const json job = wait_for(viewer, id);
    CHECK((job["state"] == "failed" || job["state"] == "done"));
    if (job["state"] == "failed") CHECK((++failed, !job["error"].is_null()));
  }
  CHECK(failed > 0);
  viewer.most_file_bytes(-1);
  REQUIRE(viewer.running());
  for (const json& job : viewer.get("/jobs").json()) CHECK((job["state"] == "failed" || job["state"] == "done"));
  CHECK(wait_for(viewer, viewer.post("/jobs", "{\"scan\": 1}").json()["id"])["state"] == "done");
}

TEST_CASE("a CASE whose voxels change behind its header is another scan") {
  const Files& f = files();
  TempFolder store;
  const auto yesterday = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24);
  const auto write = [&](const auto& scan) {   // the header looks as if nobody had touched it since
    io::write_volume(store / "ct.mhd", scan);
    std::filesystem::last_write_time(store / "ct.mhd", yesterday);
  };
  Volume<std::int16_t> other = scan_of(f.truth);
  std::reverse(other.voxels().begin(), other.voxels().begin() + 5000);   // the same values elsewhere ...
  other.voxels()[0] = -999;                                              // ... but for one
  const std::vector<std::string> words{store / "ct.mhd", "--store", store / "s"};
  write(scan_of(f.truth));
  {
    const Viewer viewer(words);
    REQUIRE(viewer.post("/scans/1/masks", std::string(8000, '\1')).status == 201);
  }
  {
    const Viewer viewer(words);
    CHECK(viewer.get("/info").json()["scan"] == 1);   // it is known again
  }
  write(other);
  {
    const Viewer viewer(words);
    CHECK(viewer.get("/info").json()["scan"] == 2);
    CHECK(viewer.get("/scans/2").json()["masks"].empty());
    CHECK(viewer.get("/scans/1/voxels").status == 409);   // that one is gone; its masks are kept
    CHECK(viewer.get("/scans/1").json()["masks"].size() == 1);
  }
  write(scan_of(f.truth));
  const Viewer viewer(words);
  CHECK(viewer.get("/info").json()["scan"] == 1);
}

TEST_CASE("a CASE of --spacing or --series opens on a later day as it did on the first") {
  const Files& f = files();
  TempFolder store;
  io::write_npy_volume(store / "ct.npy", scan_of(f.truth));
  std::string voxels;
  {
    const Viewer viewer({store / "ct.npy", "--spacing", "1,1.5,2.25", "--store", store / "s"});
    REQUIRE(viewer.running());
    CHECK(viewer.get("/scans/1").json()["given"] == json({{"spacing_mm", {1.0, 1.5, 2.25}}}));
    REQUIRE(viewer.post("/scans/1/masks", std::string(8000, '\1')).status == 201);
    voxels = viewer.get("/scans/1/voxels").body;
  }
  const auto later = [&](Index scan, const std::string& expected) {   // without the CASE
    const Viewer viewer({"--store", store / "s"});
    const Answer answer = viewer.get(text("/scans/", scan, "/voxels"));
    CHECK(answer.status == 200);
    CHECK(answer.body == expected);
    return viewer.get("/masks/1/voxels").status;
  };
  CHECK(later(1, voxels) == 200);

  sqlite3* index = nullptr;   // a version that did not keep it: whoever names the CASE again has it from then on
  REQUIRE(sqlite3_open((store / "s/ctseg.sqlite").c_str(), &index) == SQLITE_OK);
  CHECK(sqlite3_exec(index, "UPDATE scans SET facts = json_remove(facts, '$.given')", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(index);
  {
    const Viewer viewer({store / "ct.npy", "--spacing", "1,1.5,2.25", "--store", store / "s"});
    CHECK(viewer.get("/info").json()["scan"] == 1);
  }
  CHECK(later(1, voxels) == 200);

  const auto write = [&](const std::string& name, const std::string& series, int from) {
    for (int z = 0; z < 6; ++z) {
      auto slice = dicom_test::ct_slice(z + from);
      slice[0x0020000e] = {"UI", series};
      spill(store / text("d/", name, z), dicom_test::file_of(slice));
    }
  };
  std::filesystem::create_directory(store / "d");
  write("a", "1.2.10", 0), write("b", "1.2.12", 6);
  {
    const std::vector<std::string> words{store / "d", "--series", "1.2.12", "--store", store / "s"};
    if (has(run_ctseg({"info", store / "d", "--series", "1.2.12"}).err, "without DICOM")) return;
    const Viewer viewer(words);
    REQUIRE(viewer.running());
    CHECK(viewer.get("/scans/2").json()["given"] == json({{"series", "1.2.12"}}));
    voxels = viewer.get("/scans/2/voxels").body;
    CHECK(voxels.size() == 2 * 6 * 5 * 6);
  }
  later(2, voxels);
}

TEST_CASE("a CASE that has gone is 409, and one behind a link is found again") {
  const Files& f = files();
  TempFolder store;
  std::filesystem::create_directories(store / "far/in");
  std::filesystem::create_directory_symlink(store / "far/in", store / "link");
  io::write_volume(store / "far/ct.nii.gz", scan_of(f.truth));
  CHECK(Viewer({store / "link/../ct.nii.gz", "--store", store / "s"}).running());   // `..` of a link's folder
  {
    const Viewer viewer({"--store", store / "s"});
    CHECK(viewer.get("/scans/1/voxels").status == 200);
  }
  std::filesystem::remove(store / "far/ct.nii.gz");
  const Viewer viewer({"--store", store / "s"});
  const Answer gone = viewer.get("/scans/1/voxels");
  CHECK(gone.status == 409);
  CHECK(has(gone.body, "has changed or gone"));
  CHECK(viewer.get("/scans/1").status == 200);
}

TEST_CASE("view writes its address over nothing that it was given") {
  const Files& f = files();
  const TempFolder folder;
  for (const char* name : {"ct.nii.gz", "truth.nii.gz", "run/model.safetensors"}) {
    const std::string before = slurp(f.folder / name);
    const Ran ran = run_ctseg({"view", f.ct(), "-m", f.model(), "--mask", f.folder / "truth.nii.gz", "--store", folder / "s",
                               "--token-file", f.folder / name});
    CHECK(ran.status == 2);
    CHECK(has(ran.err, "is an input too"));
    CHECK(slurp(f.folder / name) == before);
  }
  CHECK(run_ctseg({"view", "--store", folder / "s", "--token-file", folder / "none/address"}).status == 3);
  const auto refused = [&](const std::string& file, const std::string& input, const std::string& why) {
    const std::string before = slurp(file);
    const Ran ran = run_ctseg({"view", input, "--store", folder / "s", "--token-file", file},
                              {.environment = {{"CTSEG_MODEL", folder / "model.safetensors"}}});
    INFO(ran.err);
    CHECK(ran.status == 2);
    CHECK(has(ran.err, why));
    CHECK(slurp(file) == before);
  };
  std::filesystem::copy_file(f.model(), folder / "model.safetensors");
  std::filesystem::create_directories(folder / "series");
  spill(folder / "series/0001", "a slice");
  refused(folder / "model.safetensors", f.ct(), "is an input too");
  refused(folder / "series/0001", folder / "series", "in the folder of the CASE");
  refused(folder / "s/../s/models/laid.safetensors", f.ct(), "lies in the store");
  CHECK(!std::filesystem::exists(folder / "s/models/laid.safetensors"));
  spill(folder / "address", "of an earlier day, for everybody to read");
  const Viewer viewer({"--store", folder / "s", "--token-file", folder / "address"});
  REQUIRE(viewer.running());
  for (int i = 0; i < 100 && !slurp(folder / "address").starts_with("http"); ++i)   // written after it was printed
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(slurp(folder / "address") == "http://" + viewer.host() + "/#" + viewer.token());
  CHECK(std::filesystem::status(folder / "address").permissions() ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("a folder with other things in it does not become a store") {
  const TempFolder folder;
  spill(folder / "thesis.tex", "mine");
  const auto before = std::filesystem::status(folder.path).permissions();
  const Ran ran = run_ctseg({"view", "--store", folder.path.string()});
  CHECK(ran.status == 2);
  CHECK(has(ran.err, "holds something else"));
  CHECK(names_in(folder.path) == std::vector<std::string>{"thesis.tex"});
  CHECK(std::filesystem::status(folder.path).permissions() == before);   // a store is closed to everybody else
  std::filesystem::create_directories(folder / "s/models");              // where models may lie before the first start
  CHECK(Viewer({"--store", folder / "s"}).running());

  // Names that a store has too, in somebody's own folder: a lock of another program, an index that is none.
  for (const std::string other : {"", "lock", "ctseg.sqlite"}) {
    const std::filesystem::path own = folder / ("own" + other);
    for (const char* name : {"models", "incoming", "jobs/.3"}) std::filesystem::create_directories(own / name);
    if (!other.empty()) spill(own / other, "mine");
    spill(own / "incoming/x", "mine"), spill(own / "jobs/.3/x", "mine");
    std::filesystem::permissions(own, std::filesystem::perms(0755));
    const Ran refused = run_ctseg({"view", "--store", own.string()}, {.interrupt_after = 20});
    INFO(own, refused.err);
    CHECK(refused.status == (other == "ctseg.sqlite" ? 3 : 2));
    CHECK(slurp(own / "incoming/x") == "mine");
    CHECK(slurp(own / "jobs/.3/x") == "mine");
    if (other != "ctseg.sqlite") CHECK(std::filesystem::status(own).permissions() == std::filesystem::perms(0755));
  }
}

TEST_CASE("view writes over nothing, not even what its index does not know") {
  const Files& f = files();
  TempFolder store;
  const std::string none(8000, '\0'), left = "left by a power cut";
  {
    Viewer viewer({f.ct(), "--store", store / "s"});
    REQUIRE(viewer.running());
    spill(store / "s/scans/1/mask_1_edited.nii.gz", left);
    const Answer saved = viewer.post("/scans/1/masks", none);
    REQUIRE(saved.status == 201);
    CHECK(saved.json()["version"] == 2);
    CHECK(slurp(store / "s/scans/1/mask_1_edited.nii.gz") == left);
    CHECK(viewer.get("/masks/1/voxels").body == none);
    CHECK(names_in(store / "s/incoming").empty());
  }
  // The index is moved away, which the program itself proposes for a damaged one: all numbers in use stay so.
  std::filesystem::rename(store / "s/ctseg.sqlite", store / "s/ctseg.sqlite.old");
  for (const char* name : {"s/jobs/7", "s/jobs/.8", "s/jobs/.snapshot"}) std::filesystem::create_directory(store / name);
  spill(store / "s/incoming/9", "half an upload");
  Viewer viewer({f.ct(), "-m", f.model(), "--store", store / "s"});
  REQUIRE(viewer.running());
  CHECK(viewer.get("/info").json()["scan"] == 2);
  CHECK(names_in(store / "s/jobs") == std::vector<std::string>{".snapshot", "7"});   // a job that was not finished is gone
  CHECK(names_in(store / "s/incoming").empty());
  CHECK(viewer.post("/scans?name=x", slurp(f.ct())).json()["id"] == 3);

  // A scan that is deleted takes its jobs along, also those that wait and run.
  for (int i = 0; i < 3; ++i) CHECK(viewer.post("/jobs", "{\"scan\": 3}").status == 202);
  CHECK(viewer({.method = "DELETE", .target = "/scans/3"}).status == 204);
  CHECK(viewer.get("/jobs").json().empty());
  const json job = wait_for(viewer, viewer.post("/jobs", "{\"scan\": 2}").json()["id"]);
  CHECK(job["state"] == "done");
  CHECK(job["id"] == 11);
  CHECK(names_in(store / "s/jobs") == std::vector<std::string>{".snapshot", "11", "7"});
  CHECK(names_in(store / "s/scans") == std::vector<std::string>{"1", "2"});
}
