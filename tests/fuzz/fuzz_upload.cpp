// What comes into the viewer: uploads, unpacked under names of its own, gzip bodies, names.
#include <ctseg/io/metaimage_header.hpp>

#include "../../examples/viewer/uploads.hpp"
#include "fuzz.hpp"

namespace fs = std::filesystem;
using namespace ctseg;

namespace {

template <class F> void run(F&& f) {
  try {
    fuzz::run(f);
  } catch (const viewer::Refusal& refusal) {
    fuzz::require(refusal.words.size() > 10);
  }
}

/// Voxels of an unpacked header lie beside it, in files of the viewer's names.
void check_files(const fs::path& header) {
  const auto bytes = io::read_file(header);
  const auto read = io::read_metaimage_header({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, true, {"x", {}});
  for (const std::string& name : read.files)
    fuzz::require(name.find('/') == name.npos && name.ends_with(".raw") && fs::is_regular_file(header.parent_path() / name));
}

}   // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string words(reinterpret_cast<const char*>(data), size);
  const viewer::UnpackLimits limits{.most_entries = 8, .most_bytes = Index{1} << 20};
  const fs::path upload = fuzz::as_file("upload", data, size), folder = fuzz::folder() / "scan";
  fs::create_directory(folder);
  run([&] {
    const std::string name = viewer::unpack_upload(upload, folder, limits);
    fuzz::require(name == "dicom" || name.starts_with("scan."));
    fuzz::require(fs::exists(folder / name));
    if (name == "scan.mhd") check_files(folder / name);
  });
  Index bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += static_cast<Index>(entry.file_size());
  fuzz::require(bytes <= limits.most_bytes + static_cast<Index>(size) + (1 << 16));
  fs::remove_all(folder);
  run([&] { fuzz::require(viewer::gunzipped(words, 81).size() == 81); });
  const std::string name = viewer::shown_name(words);
  fuzz::require(!name.empty() && name.size() <= 120 && name.find('/') == name.npos);
  return 0;
}
