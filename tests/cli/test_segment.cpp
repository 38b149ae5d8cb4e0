// From phantoms to a model file to a mask, and what becomes of it when things go wrong.
#include <doctest/doctest.h>

#include "run_ctseg.hpp"

using namespace ctseg;
using nlohmann::json;

namespace {

/// A network of 400 parameters on a coarse grid: what is tested is the way, not the mask.
const char* const kConfig = R"({
  "recipe": {"ctseg_recipe": 1, "about": {"name": "tiny"},
    "network": {"network": "UNet", "dim": 3, "in_channels": 1, "out_channels": 2, "features": [2, 4]},
    "preprocess": [{"step": "Reorient", "codes": "RAS"}, {"step": "Spacing", "spacing_mm": {"x": 12, "y": 12, "z": 12}},
                   {"step": "WindowHu", "low": -160, "high": 240}],
    "sliding_window": {"window": [16, 16, 16], "overlap": 0.25},
    "labels": [{"id": 0, "name": "background"}, {"id": 5, "name": "body"}]},
  "data": {"folder": "data", "validation": 0.34},
  "training": {"steps": 30, "batch": 2, "learning_rate": 0.01, "checkpoint_every": 10, "by_component": true, "off_centre": 2}
})";

struct Trained {
  TempFolder folder;
  Ran ran;

  Trained() {
    run_ctseg({"phantom", "abdomen", "-o", folder / "data", "--count", "3", "--mask", "body", "--shape", "24,24,20"});
    for (const auto& entry : std::filesystem::directory_iterator(folder / "data/masks")) {   // body is label 5
      auto mask = io::read_volume<std::uint8_t>(entry.path());
      for (auto& v : mask.voxels()) v = v ? 5 : 0;
      io::write_volume(entry.path(), mask);
    }
    spill(folder / "config.json", kConfig);
    ran = run_ctseg({"train", folder / "config.json", "-o", folder / "run", "--json", "--threads", "2"});
  }
  std::string model() const { return folder / "run/model.safetensors"; }
  std::string scan() const { return folder / "data/ct_scans/phantom_0.nii.gz"; }
};
const Trained& trained() {
  static const Trained once;
  return once;
}

}   // namespace

TEST_CASE("train makes a model file, logs and a record") {
  const Trained& t = trained();
  INFO(t.ran.err);
  REQUIRE(t.ran.status == 0);
  const json run = json_of(t.ran);
  CHECK(run["figures"]["steps"] == 30);
  CHECK(run["model"]["name"] == "tiny");
  CHECK(names_in(t.folder / "run") ==
        std::vector<std::string>{"board", "checkpoints", "curve.svg", "log.csv", "model.safetensors", "run.json"});
  const std::string log = slurp(t.folder / "run/log.csv");
  CHECK(std::count(log.begin(), log.end(), '\n') == 31);
  const std::string checkpoint =
      slurp(t.folder / "run/checkpoints/step_000000030.safetensors");   // knows how patches were drawn
  CHECK(has(checkpoint, "sampler by_component\":\"yes\""));
  CHECK(has(checkpoint, "sampler off_centre\":\"2\""));

  const TempFolder copy;   // where nothing is left to do the record stays that of the training
  std::filesystem::copy(t.folder / "run", copy / "run", std::filesystem::copy_options::recursive);
  const Ran again = run_ctseg({"train", t.folder / "config.json", "-o", copy / "run", "--resume", "--json", "--threads", "2"});
  INFO(again.err);
  REQUIRE(again.status == 0);
  CHECK(slurp(copy / "run/run.json") == t.ran.out);
  CHECK(again.out == t.ran.out);
  std::filesystem::remove(copy / "run/run.json");
  const Ran new_record = run_ctseg({"train", t.folder / "config.json", "-o", copy / "run", "--resume", "--json"});
  CHECK(json_of(new_record)["figures"]["loss"] == run["figures"]["loss"]);
}

TEST_CASE("the configuration that docs/command_line.md shows is one that trains") {
  const std::string page = slurp(CTSEG_SOURCE_DIR "/docs/command_line.md"), fence = "```json\n";
  const std::size_t at = page.find(fence, page.find("\n## train\n"));
  REQUIRE(at != std::string::npos);
  const std::size_t from = at + fence.size();
  json config = json::parse(page.substr(from, page.find("```", from) - from));
  CHECK(config["training"]["steps"] == 240);
  config["training"]["steps"] = 1, config["data"]["validation"] = 0;
  const TempFolder folder;
  REQUIRE(
      run_ctseg({"phantom", "thorax_abdomen", "-o", folder / "data", "--count", "2", "--mask", "liver", "--shape", "32,32,30"})
          .status == 0);
  spill(folder / "config.json", config.dump());
  const Ran ran = run_ctseg({"train", folder / "config.json", "-o", folder / "trained"});
  INFO(ran.err);
  CHECK(ran.status == 0);
  CHECK(std::filesystem::exists(folder / "trained/model.safetensors"));
}

TEST_CASE("segment writes a mask on the scan's grid, and says what is in it") {
  const Trained& t = trained();
  const TempFolder out;
  const Ran ran = run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", out / "results", "--json"});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(names_in(out / "results") == std::vector<std::string>{"labels.csv", "mask.nii.gz", "preview.png", "run.json"});
  const json run = json_of(ran);
  CHECK(run == json::parse(slurp(out / "results/run.json")));
  CHECK(run["model"]["sha256"].get<std::string>().size() == 64);
  for (const char* stage : {"load model", "read", "preprocess", "network", "stitch", "resample", "write"})
    CHECK(run["stages_s"].contains(stage));
  const auto mask = io::read_volume<std::uint8_t>(out / "results/mask.nii.gz");
  CHECK(mask.grid().nifti == io::inspect_volume(t.scan()).grid.nifti);   // bit for bit
  Index marked = 0;
  for (const std::uint8_t v : mask.voxels()) marked += v == 5;
  REQUIRE(marked > 0);
  CHECK(run["labels"][0]["voxels"] == marked);
  CHECK(run["labels"][0]["name"] == "body");

  for (const char* threads : {"1", "2"})
    CHECK(
        run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", out / text(threads, ".nii.gz"), "--threads", threads}).status ==
        0);
  CHECK(slurp(out / "1.nii.gz") == slurp(out / "2.nii.gz"));
  CHECK(slurp(out / "1.nii.gz") == slurp(out / "results/mask.nii.gz"));
  const Ran plan = run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", out / "no", "--dry-run", "--mirror", "xy"});
  CHECK(plan.status == 0);
  CHECK(has(plan.out, "windows"));
  CHECK(has(plan.out, "4 times mirrored"));
  CHECK(!std::filesystem::exists(out / "no"));
}

TEST_CASE("an ONNX file is a model: the same mask, with its own recipe or a given one, in 3-D and 2-D") {
  const Trained& t = trained();
  const TempFolder out;
  const std::string graph = out / "a/model.onnx", bare = out / "bare.onnx",
                    recipe = out / "own.json";   // recipe.json would be found
  std::filesystem::create_directory(out / "a");
  const Ran made = run_ctseg({"convert", t.model(), "-o", graph, "--json"});
  INFO(made.err);
  if (has(made.err, "built without ONNX")) {
    CHECK(made.status == 3);
    spill(bare, "\b\b");
    const Ran ran = run_ctseg({"segment", t.scan(), "-m", bare, "-o", out / "no"});
    CHECK(ran.status == 3);
    CHECK(has(ran.err, "bare.onnx: is ONNX, and this program was built without ONNX"));
    return;
  }
  REQUIRE(made.status == 0);
  CHECK(json_of(made)["outputs"][0]["path"] == graph);
  CHECK(json_of(made)["outputs"][0]["test_difference"].get<double>() < 1e-4);
  const auto mask_by = [&](const std::vector<std::string>& words, const std::string& scan) {
    std::vector<std::string> all{"segment", scan, "-o", out / "mask.nii.gz"};
    all.insert(all.end(), words.begin(), words.end());
    const Ran ran = run_ctseg(all);
    INFO(ran.err);
    REQUIRE(ran.status == 0);
    return io::read_volume<std::uint8_t>(out / "mask.nii.gz").voxels();
  };
  const auto expected = mask_by({"-m", t.model()}, t.scan());
  CHECK((mask_by({"-m", graph}, t.scan()) == expected));
  CHECK((mask_by({"-m", out / "a"}, t.scan()) == expected));
  CHECK((mask_by({"-m", t.model(), "-m", graph}, t.scan()) == expected));

  // Known by its content too; without a recipe it needs one.
  std::string bytes = slurp(graph);
  std::filesystem::copy_file(graph, out / "model");
  CHECK((mask_by({"-m", out / "model"}, t.scan()) == expected));
  const std::size_t key = bytes.find("\n\5ctseg");
  REQUIRE(key != std::string::npos);
  spill(bare, std::string(bytes).replace(key + 2, 5, "other"));
  const json own = json::parse(kConfig)["recipe"];
  json large = own, wide = own;
  large["sliding_window"]["window"] = {16, 16, 32};
  wide["network"]["out_channels"] = 3, wide["labels"].push_back({{"id", 6}, {"name", "more"}});
  spill(recipe, own.dump()), spill(out / "large.json", large.dump()), spill(out / "wide.json", wide.dump());
  spill(out / "cut.onnx", bytes.substr(0, bytes.size() / 2));
  struct Refusal {
    std::vector<std::string> words;
    std::string says;
  };
  for (const Refusal& r :
       std::vector<Refusal>{{{"-m", bare}, "bare.onnx: holds weights but no recipe (metadata \"ctseg\")"},
                            {{"-m", bare}, "Hint: name one by --recipe;"},
                            {{"-m", bare, "--recipe", out / "large.json"}, "the graph takes [0,1,16,16,16] (0: any)"},
                            {{"-m", bare, "--recipe", out / "wide.json"},
                             "makes [1,2,16,16,16] of [1,1,16,16,16], by its recipe it must be [1,3,"},
                            {{"-m", out / "cut.onnx"}, "cut.onnx: holds no ONNX model in its "},
                            {{"-m", out / "none.onnx"}, "none.onnx"}}) {
    std::vector<std::string> words{"segment", t.scan(), "-o", out / "results"};
    words.insert(words.end(), r.words.begin(), r.words.end());
    const Ran ran = run_ctseg(words);
    INFO(ran.err);
    CHECK(ran.status == 3);
    CHECK(has(ran.err, r.says));
    CHECK(!std::filesystem::exists(out / "results"));
  }
  CHECK((mask_by({"-m", bare, "--recipe", recipe}, t.scan()) == expected));

  // And back: the file's test shows that graph and network compute the same. Beside it the graph counts once.
  REQUIRE(run_ctseg({"convert", graph, "-o", out / "a/model.safetensors"}).status == 0);
  CHECK((mask_by({"-m", out / "a/model.safetensors"}, t.scan()) == expected));
  const Ran folder = run_ctseg({"segment", t.scan(), "-m", out / "a", "-o", out / "mask.nii.gz", "--json"});
  CHECK(json_of(folder)["model"]["path"] == (out / "a/model.safetensors").string());

  json slices = json::parse(kConfig);
  slices["recipe"]["network"]["dim"] = 2, slices["recipe"]["sliding_window"]["window"] = {16, 16};
  slices["training"]["steps"] = 3, slices["data"] = {{"folder", (t.folder / "data").string()}, {"validation", 0}};
  spill(out / "slices.json", slices.dump());
  const Ran flat = run_ctseg({"train", out / "slices.json", "-o", out / "flat", "--quiet"});
  INFO(flat.err);
  REQUIRE(flat.status == 0);
  REQUIRE(run_ctseg({"convert", out / "flat/model.safetensors", "-o", out / "flat.onnx"}).status == 0);
  CHECK((mask_by({"-m", out / "flat.onnx"}, t.scan()) == mask_by({"-m", out / "flat/model.safetensors"}, t.scan())));
}

TEST_CASE("segment refuses what it must, and leaves nothing") {
  const Trained& t = trained();
  const TempFolder out;
  const std::string cut = out / "cut.safetensors", text_file = out / "words.txt", bad_scan = out / "bad.nii.gz";
  const std::string bytes = slurp(t.model()), scan = slurp(t.scan());
  spill(cut, bytes.substr(0, bytes.size() - 40));
  const std::string newer = out / "newer.safetensors", version = "ctseg_recipe\\\":";   // JSON within JSON
  const std::size_t at = bytes.find(version + "1");
  REQUIRE(at != std::string::npos);
  spill(newer, std::string(bytes).replace(at + version.size(), 1, "2"));
  spill(text_file, "words");
  spill(bad_scan, scan.substr(0, scan.size() / 2));
  const auto before = names_in(out.path);
  const std::string to = out / "results";
  struct Refusal {
    std::vector<std::string> words;
    int status;
    std::string says;
  };
  for (const Refusal& r : std::vector<Refusal>{
           {{"segment", t.scan(), "-m", cut, "-o", to}, 3, "cut.safetensors"},
           {{"segment", t.scan(), "-m", text_file, "-o", to}, 3, "words.txt"},
           {{"segment", bad_scan, "-m", t.model(), "-o", to}, 3, "bad.nii.gz"},
           {{"segment", t.scan(), "-m", t.model(), "-o", to, "--max-memory", "1K"}, 4, "takes 138240 bytes"},
           {{"segment", t.scan(), "-m", t.model(), "-o", to, "--max-memory", "lots"}, 2, "lots"},
           {{"segment", t.scan(), "-m", newer, "-o", to}, 3, "newer.safetensors: is a recipe of version 2;"},
           {{"segment", t.scan(), "-m", t.model(), "-o", to, "--nodules", "9"}, 2, "--nodules 9, which is the id"},
           {{"segment", t.scan(), "-m", t.model(), "-o", to, "--channel", t.scan()}, 2, "Hint: --channel names"},
           {{"segment", t.scan(), "-m", t.model(), "-o", out / "no/x.nii"}, 3, "not a folder"}}) {
    const Ran ran = run_ctseg(r.words);
    INFO(ran.err);
    CHECK(ran.status == r.status);
    CHECK(has(ran.err, r.says));
    CHECK(ran.out.empty());
    CHECK(names_in(out.path) == before);
  }
  const Ran full = run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", to}, {.file_bytes = 200});
  CHECK(full.status == 3);
  CHECK(has(full.err, "cannot write"));
  CHECK(names_in(out.path) == before);
}

TEST_CASE("a scan that cannot be in Hounsfield units is segmented with a warning") {
  const Trained& t = trained();
  const TempFolder out;
  auto scan = io::read_volume<float>(t.scan());
  for (float& v : scan.voxels()) v += 1024;   // as some exports leave it, and as every MR is
  io::write_nifti(out / "raw.nii.gz", scan);
  const Ran ran = run_ctseg({"segment", out / "raw.nii.gz", "-m", t.model(), "-o", out / "results", "--json"});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(has(ran.err, "raw.nii.gz: warning: no voxel is below 0"));
  REQUIRE(json_of(ran)["warnings"].size() == 1);
  CHECK(has(json_of(ran)["warnings"][0], "not in Hounsfield units?"));
}

TEST_CASE("lines for people never get into files") {
  const Trained& t = trained();   // a file would get the number of a closed stream
  const TempFolder out;
  CHECK(run_ctseg({"train", t.folder / "config.json", "-o", out / "run"}, {.closed = {2}}).status == 0);
  const std::string log = slurp(out / "run/log.csv"), expected = slurp(t.folder / "run/log.csv");
  CHECK(std::count(log.begin(), log.end(), '\n') == 31);
  CHECK(std::count(log.begin(), log.end(), ',') == std::count(expected.begin(), expected.end(), ','));
  CHECK(slurp(out / "run/model.safetensors") == slurp(t.model()));
}

TEST_CASE("segment never writes over its inputs") {
  const Trained& t = trained();
  const TempFolder folder;
  std::filesystem::copy_file(t.scan(), folder / "mask.nii.gz");
  std::filesystem::copy_file(t.model(), folder / "model.nii");
  const std::string scan = folder / "mask.nii.gz", model = folder / "model.nii";
  for (const std::string& out : {scan, folder.path.string(), model}) {
    const Ran ran = run_ctseg({"segment", scan, "-m", model, "-o", out});
    CHECK(ran.status == 2);
    CHECK_MESSAGE(has(ran.err, "is an input too"), ran.err);
  }
  CHECK(names_in(folder.path) == std::vector<std::string>{"mask.nii.gz", "model.nii"});
  CHECK(slurp(scan) == slurp(t.scan()));
  CHECK(slurp(model) == slurp(t.model()));
  spill(folder / "run.json", kConfig);
  CHECK(has(run_ctseg({"train", folder / "run.json", "-o", folder.path.string()}).err, "run.json: is an input too"));
  CHECK(slurp(folder / "run.json") == kConfig);
  const Ran again = run_ctseg({"train", t.folder / "config.json", "-o", t.folder / "run"});
  CHECK(again.status == 2);
  CHECK(has(again.err, "--resume goes on with it"));
}

TEST_CASE("segment stops when it is told to") {
  const Trained& t = trained();
  const TempFolder out;
  io::write_nifti(out / "large.nii.gz", scan_of(blocks(0, 120)));
  // Hundreds of windows, so that it is still at work then.
  std::string recipe = json::parse(kConfig)["recipe"].dump();
  recipe.replace(recipe.find("12,"), 3, "0.7,").replace(recipe.find("12,"), 3, "0.7,");
  spill(out / "fine.json", recipe);
  const auto before = names_in(out.path);
  const Ran ran = run_ctseg({"segment", out / "large.nii.gz", "-m", t.model(), "--recipe", out / "fine.json", "-o",
                             out / "results", "--overlap", "0.9"},
                            {.interrupt_after = 1.5});
  INFO(ran.err);
  CHECK(ran.status == 130);
  CHECK(ran.seconds < 1.5 + 5);
  CHECK(ran.out.empty());
  CHECK(names_in(out.path) == before);
}

TEST_CASE("train stops when it is told to, keeps what it has, and goes on from there") {
  const Trained& t = trained();
  const TempFolder out;
  json config = json::parse(kConfig);
  config["data"]["folder"] = (t.folder / "data").string(), config["training"]["steps"] = 1000000;
  spill(out / "long.json", config.dump());
  const std::string run = out / "run";
  std::vector<std::string> words{"train", out / "long.json", "-o", run, "--threads", "1"};
  Index steps = 0;
  for (int turn = 0; turn < 2; ++turn) {
    const Ran ran = run_ctseg(words, {.interrupt_after = 2});
    INFO(ran.err);
    CHECK(ran.status == 130);
    CHECK(ran.seconds < 2 + 5);
    CHECK(ran.out.empty());
    CHECK(names_in(out / "run") == std::vector<std::string>{"board", "checkpoints", "log.csv"});
    const std::string log = slurp(out / "run/log.csv");
    const Index rows = std::count(log.begin(), log.end(), '\n');
    CHECK(rows > steps + 1);
    steps = rows;
    if (turn == 0) words.push_back("--resume");
  }
}

TEST_CASE("--device: the CPU when asked for it, no card is an error where it must be one, and another word wrong usage") {
  const Trained& t = trained();
  const TempFolder out;
  const auto on = [&](const std::string& device, const std::string& name) {
    return run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", out / name, "--device", device},
                     {.environment = {{"CUDA_VISIBLE_DEVICES", ""}}});   // hides cards
  };
  const Ran cpu = on("cpu", "cpu"), any = on("auto", "auto"), card = on("cuda", "card"), word = on("nonsense", "word");
  INFO(cpu.err << any.err << card.err);
  REQUIRE(cpu.status == 0);
  REQUIRE(any.status == 0);
  const json of_cpu = json::parse(slurp(out / "cpu/run.json")), of_any = json::parse(slurp(out / "auto/run.json"));
  CHECK(of_cpu["device"] == "cpu");
  CHECK(!of_cpu.contains("device_reason"));
  CHECK(of_any["device"] == "cpu");
  CHECK(of_any["device_reason"].get<std::string>().size() > 10);
  CHECK(slurp(out / "cpu/mask.nii.gz") == slurp(out / "auto/mask.nii.gz"));
  CHECK(card.status == 4);
  CHECK(has(card.err, "Hint: --device cpu, or auto."));
  CHECK(word.status == 2);
  CHECK(has(word.err, "nonsense; must be auto, cpu, cuda or cuda:N."));
  CHECK(!std::filesystem::exists(out / "card"));
}

TEST_CASE("train: what is wrong with a configuration is named") {
  const TempFolder folder;
  const auto train = [&](const std::string& config) {
    spill(folder / "c.json", config);
    const Ran ran = run_ctseg({"train", folder / "c.json", "-o", folder / "run"});
    CHECK(ran.status == 3);
    return ran.err;
  };
  CHECK(has(train("{"), "is not JSON"));
  CHECK(has(train(R"({"recipe": {}, "data": {"folder": "x"}, "speed": 3})"), "unknown key"));
  CHECK(has(train(R"({"recipe": "none.json", "data": {"folder": "x"}})"), "none.json"));
  CHECK(has(train(R"({"recipe": {}, "data": {"folder": "x"}, "training": {"steps": 0}})"), "training.steps is 0"));
  // What would be found only after all scans are read, or at the end of the training.
  const auto changed = [&](const char* pointer, const json& value) {
    json config = json::parse(kConfig);
    config[json::json_pointer(pointer)] = value;
    return train(config.dump());
  };
  CHECK(has(changed("/training/schedule", "cosin"),
            "training.schedule: is \"cosin\"; must be one of constant, cosine, poly, exponential"));
  CHECK(has(changed("/training/patch", {16, 16}), "training.patch has 2 extents for a network of 3 axes."));
  json odd = json::parse(kConfig);
  odd["data"]["folder"] = (trained().folder / "data").string(), odd["training"]["patch"] = {16, 17, 16};
  const std::string words = train(odd.dump());
  CHECK_MESSAGE((has(words, "16,17,16") && !has(words, "cases read")), words);
  CHECK(!std::filesystem::exists(folder / "run"));
}

TEST_CASE("segment averages models and lists the components of a label") {
  const Trained& t = trained();
  TempFolder out;
  const Ran one = run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", out / "one"});
  INFO(one.err);
  REQUIRE(one.status == 0);
  const Ran two = run_ctseg(
      {"segment", t.scan(), "-m", t.model(), "-m", t.model(), "-o", out / "two", "--nodules", "5", "--skip-air", "-1"});
  INFO(two.err);
  REQUIRE(two.status == 0);
  CHECK(names_in(out / "two") ==
        std::vector<std::string>{"candidates.csv", "labels.csv", "mask.nii.gz", "nodules.csv", "preview.png", "run.json"});
  const std::string rows = slurp(out / "two/candidates.csv"), measured = slurp(out / "two/nodules.csv");
  CHECK(rows.starts_with("seriesuid,coordX,coordY,coordZ,probability\nphantom_0,"));
  CHECK(std::count(rows.begin(), rows.end(), '\n') == std::count(measured.begin(), measured.end(), '\n'));
  const auto a = io::read_volume<std::uint8_t>(out / "one/mask.nii.gz"),
             b = io::read_volume<std::uint8_t>(out / "two/mask.nii.gz");
  CHECK(a.voxels() == b.voxels());   // a model and itself have its mean

  // The same folder again: lists of the run before would be taken for this one's. What else lies there stays.
  spill(out / "two/notes.csv", "mine");
  REQUIRE(run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", out / "two"}).status == 0);
  CHECK(names_in(out / "two") == std::vector<std::string>{"labels.csv", "mask.nii.gz", "notes.csv", "preview.png", "run.json"});
  const Ran file = run_ctseg({"segment", t.scan(), "-m", t.model(), "-o", out / "mask.nii.gz", "--nodules", "5"});
  CHECK(file.status == 2);
  CHECK(file.err.find("lists need a folder") != std::string::npos);
}
