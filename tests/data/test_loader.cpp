// Cases on demand: made once whoever asks, forgotten in order, kept on the disk bit for bit, and errors that name their files.
#include <doctest/doctest.h>
#include <atomic>
#include <ctseg/data/loader.hpp>
#include <map>

#include "../io/temp_folder.hpp"

using namespace ctseg;
namespace fs = std::filesystem;

namespace {

Grid grid(Index z = 2) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m << -0.7, 0.1 / 3, 0, 12.3, 0, -0.7, 0.01, -45, 0, 0, 1.25, 1.0 / 7, 0, 0, 0, 1;   // no float holds it
  return {{4, 3, z}, Affine<Ras>(m)};
}
std::vector<CaseFiles> some_files(const fs::path& folder, int count) {
  std::vector<CaseFiles> out;
  for (int i = 0; i < count; ++i) {
    const std::string name = text("case", i);
    out.push_back({name, name, folder / (name + ".nii"), folder / (name + "_mask.nii")});
    spill(out.back().image, "image " + name);
    spill(out.back().label, "label " + name);
  }
  return out;
}
Case case_from(const CaseFiles& files, float plus = 0) {
  Case c{"", Volume<float>(grid()), Volume<std::uint8_t>(grid())};
  const float first = static_cast<float>(files.name.back() - '0') + plus;
  for (std::size_t i = 0; i < c.image.voxels().size(); ++i) c.image.voxels()[i] = first + 0.1f * static_cast<float>(i);
  c.image.voxels()[3] = std::numeric_limits<float>::quiet_NaN();
  c.label.voxels()[5] = 200;
  c.label.voxels()[23] = static_cast<std::uint8_t>(files.name.back());
  return c;
}
constexpr Index kCaseBytes = 24 * 5;

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}
bool same(const Case& a, const Case& b) {
  return same_bits(a.image.voxels(), b.image.voxels()) && same_bits(a.label.voxels(), b.label.voxels()) &&
         a.image.affine().matrix == b.image.affine().matrix && a.label.affine().matrix == b.label.affine().matrix &&
         a.image.grid().nifti == b.image.grid().nifti && a.label.grid().nifti == b.label.grid().nifti;
}

TEST_CASE("a case is made once, also if many threads want it at the same moment") {
  const TempFolder folder;
  std::map<std::string, std::atomic<int>> made;
  const auto files = some_files(folder.path, 4);
  for (const auto& f : files) made[f.name] = 0;
  std::atomic<int> waiting{0};
  CaseCache cache(files, [&](const CaseFiles& f) {
    ++made.at(f.name);
    while (f.name == "case0" && waiting < 8) std::this_thread::yield();   // until all have asked for it
    return case_from(f);
  });
  std::vector<std::shared_ptr<const Case>> first(8);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      ++waiting;
      first[t] = cache.get(0);
      for (Index i = 0; i < 40; ++i) CHECK_NOTHROW(cache.get((i + static_cast<Index>(t)) % 4));
    });
  for (auto& t : threads) t.join();
  for (const auto& c : first) CHECK(c == first[0]);
  for (const auto& [name, times] : made) CHECK(times == 1);
  CHECK(first[0]->name == "case0");
  CHECK(same(*cache.get(3), case_from(files[3])));
  CHECK(cache.counts().made == 4);
  CHECK(cache.counts().bytes == 4 * kCaseBytes);
}

TEST_CASE("different cases are made at the same time, copy_all is in order") {
  const TempFolder folder;
  std::atomic<int> inside{0};
  CaseCache cache(some_files(folder.path, 3), [&](const CaseFiles& f) {
    ++inside;
    while (inside < 2) std::this_thread::yield();
    return case_from(f);
  });
  ThreadPool pool(2);
  const std::vector<Case> all = cache.copy_all(pool);
  REQUIRE(all.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(all[i].name == text("case", i));
}

TEST_CASE("memory holds no more than max_bytes; the least recently used goes first; what is in use is not made twice") {
  const TempFolder folder;
  std::string made;
  CaseCache cache(some_files(folder.path, 4),
                  [&](const CaseFiles& f) {
                    made += f.name.back();
                    return case_from(f);
                  },
                  {.max_bytes = 2 * kCaseBytes});
  for (const Index i : {0, 1, 0, 2, 0, 1}) cache.get(i);   // 2 pushes out 1, not 0
  CHECK(made == "0121");
  CHECK(cache.counts().bytes == 2 * kCaseBytes);
  const auto held = cache.get(3);
  for (const Index i : {1, 2}) cache.get(i);   // 3 is pushed out, but somebody holds it
  CHECK(cache.get(3) == held);
  CHECK(made == "012132");
  CHECK(cache.counts().bytes == 2 * kCaseBytes);
  int times = 0;
  CaseCache none(some_files(folder.path, 1), [&](const CaseFiles& f) { return ++times, case_from(f); },
                 {.max_bytes = kCaseBytes - 1});
  for (int i = 0; i < 2; ++i) none.get(0);
  CHECK(times == 2);
  CHECK(none.counts().bytes == 0);
}

TEST_CASE("an error names the case and its files, reaches all who wait, and is not kept") {
  const TempFolder folder;
  std::atomic<int> waiting{0}, times{0};
  CaseCache cache(some_files(folder.path, 4), [&](const CaseFiles& f) {
    if (f.name == "case1") throw std::runtime_error("odd");
    if (f.name == "case2") throw std::bad_alloc();
    if (f.name == "case3") throw 3;
    if (++times > 1) return case_from(f);
    while (waiting < 4) std::this_thread::yield();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    throw Error(Code::unsupported, "reader", "cannot do that.");
  });
  std::vector<std::string> said(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      ++waiting;
      said[t] = error_of([&] { cache.get(0); });
    });
  for (auto& t : threads) t.join();
  const std::string expected = text("case case0 (", (folder / "case0.nii").string(), ", ", (folder / "case0_mask.nii").string(),
                                    "): reader: cannot do that.");
  CHECK(std::count(said.begin(), said.end(), expected) >= 1);   // a thread that came late made it anew
  for (const std::string& s : said) CHECK((s == expected || s.empty()));
  CHECK_NOTHROW(cache.get(0));
  for (const auto& [i, code, words] : {std::tuple(1, Code::bad_input, "odd"), std::tuple(2, Code::out_of_memory, "no memory"),
                                       std::tuple(3, Code::bad_input, "no std::exception")}) {
    try {
      cache.get(i);
      FAIL("nothing was thrown");
    } catch (const Error& error) {
      CHECK(error.code() == code);
      CHECK(std::string(error.what()).find(words) != std::string::npos);
      CHECK(std::string(error.what()).find(text("case", i, "_mask.nii")) != std::string::npos);
    }
  }
  CHECK(error_of([&] { cache.get(4); }).find("case 4 of 4") != std::string::npos);
  CHECK(error_of([&] { cache.get(-1); }) != "");
}

TEST_CASE("the next run takes cases from the disk, bit for bit") {
  const TempFolder folder;
  const auto files = some_files(folder.path, 2);
  const CaseCacheOptions options{.folder = folder / "cache/deep", .recipe = "v1"};
  const auto make = [](const CaseFiles& f) {
    Case c = case_from(f);
    Grid g = c.label.grid();
    g.nifti = NiftiPlacement{
        1, 2, 10, {1, 2, 3, 4, 5, 6, 7, 0.1}, {0.1, 0.2, 0.3}, {4, 5, 6}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0.3}};
    return Case{"", std::move(c.image), Volume<std::uint8_t>(g, c.label.voxels())};
  };
  CaseCache first(files, make, options);
  for (const Index i : {0, 1}) first.get(i);
  CHECK(first.counts().made == 2);
  CaseCache second(
      files, [](const CaseFiles&) -> Case { throw Error(Code::io, "make", "was called."); }, options);
  CHECK(same(*second.get(1), make(files[1])));
  CHECK(second.get(1)->name == "case1");
  CHECK(second.counts().from_disk == 1);
  for (const auto& entry : fs::directory_iterator(options.folder)) CHECK(entry.path().extension() == ".case");   // no leftovers
}

TEST_CASE("an entry that is stale or damaged is made anew and replaced") {
  const TempFolder folder;
  const auto files = some_files(folder.path, 1);
  const fs::path kept = folder / "kept";
  float plus = 0;
  const auto runs = [&](const std::string& recipe) {   // how often the case was made; it must be the present one
    int times = 0;
    CaseCache cache(files, [&](const CaseFiles& f) { return ++times, case_from(f, plus); }, {.folder = kept, .recipe = recipe});
    CHECK(same(*cache.get(0), case_from(files[0], plus)));
    return times;
  };
  CHECK(runs("a") == 1);
  CHECK(runs("a") == 0);
  plus = 1;
  CHECK(runs("b") == 1);   // another recipe lies beside it
  plus = 0;
  CHECK(runs("a") == 0);
  for (const fs::path& source : {files[0].image, files[0].label}) {
    plus += 1;
    fs::last_write_time(source, fs::last_write_time(source) + std::chrono::nanoseconds(1000));
    CHECK(runs("a") == 1);
    CHECK(runs("a") == 0);
    plus += 1;
    const auto time = fs::last_write_time(source);
    spill(source, slurp(source) + "!");
    fs::last_write_time(source, time);
    CHECK(runs("a") == 1);
    CHECK(runs("a") == 0);
  }
  CHECK(case_file::key_of(files[0], "a") != case_file::key_of(files[0], "b"));   // not by the name of the entry alone
  const fs::path entry = kept / case_file::name_of(files[0], "a");
  const std::string good = slurp(entry);
  REQUIRE(good.size() > 1000);
  for (std::size_t at = 0; at < good.size(); at += at < 1100 ? 53 : 7) {   // head, key, voxels, checksum
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    spill(entry, bad);
    const auto read = case_file::read(entry, case_file::key_of(files[0], "a"));
    CHECK_MESSAGE(!read, "byte ", at);
  }
  for (const std::string& bad :
       {std::string(), good.substr(0, 5), good.substr(0, 700), good.substr(0, good.size() - 1), good + "x"}) {
    spill(entry, bad);
    CHECK(runs("a") == 1);
    CHECK((slurp(entry) == good));   // not printed
  }
}

TEST_CASE("voxels beside a header and files of a series count as sources") {
  const TempFolder folder;
  fs::create_directory(folder / "series");
  spill(folder / "series/1.dcm", "1");
  spill(folder / "a.mhd", "1");
  spill(folder / "a.raw", "1");
  for (const auto& [source, part] : {std::pair("series", "series/1.dcm"), std::pair("a.mhd", "a.raw")}) {
    const std::string before = case_file::facts_of(folder / source);
    spill(folder / part, "22");
    CHECK(case_file::facts_of(folder / source) != before);
  }
  CHECK(case_file::facts_of("") != case_file::facts_of(folder / "not there"));
}

TEST_CASE("a folder that cannot be written costs time, not the run; a folder needs a recipe") {
  const TempFolder folder;
  const auto files = some_files(folder.path, 1);
  std::string said;
  const LogSink log{[](void* user, std::string_view line) { *static_cast<std::string*>(user) += line; }, &said};
  CaseCache cache(files, [](const CaseFiles& f) { return case_from(f); },
                  {.folder = folder / "kept", .recipe = "a", .log = log});
  fs::remove_all(folder / "kept");
  CHECK_NOTHROW(cache.get(0));
  CHECK(said.find("not cached: ") == 0);
  const auto make = [](const CaseFiles& f) { return case_from(f); };
  CHECK(error_of([&] { CaseCache(files, make, {.folder = folder / "kept"}); }).find("recipe") != std::string::npos);
  CHECK(error_of([&] { CaseCache(files, make, {.folder = files[0].image / "x", .recipe = "a"}); }) != "");
}

TEST_CASE("read_case wants both files on one grid") {
  const TempFolder folder;
  CaseFiles files{"a", "a", folder / "a.nii", folder / "l.nii"};
  io::write_volume(files.image, Volume<float>(grid(), 1.5f));
  io::write_volume(files.label, Volume<std::uint8_t>(grid(), 7));
  const Case c = read_case(files);
  CHECK(c.name == "a");
  CHECK(c.image(1, 2, 3) == 1.5f);
  CHECK(c.label(1, 2, 3) == 7);
  io::write_volume(files.label, Volume<std::uint8_t>(grid(3), 7));
  const std::string message = error_of([&] { read_case(files); });
  CHECK(message.find((folder / "l.nii").string() + ": is ") == 0);
  CHECK(message.find((folder / "a.nii").string()) != std::string::npos);
  files.label.clear();
  CHECK(error_of([&] { read_case(files); }).find("no label") != std::string::npos);
}

}   // namespace
