// .npy files: round trips, what NumPy writes, and what must be refused.
#include <doctest/doctest.h>

#include <ctseg/interop/npy.hpp>
#include <ctseg/interop/xtensor.hpp>

#include "../io/temp_folder.hpp"

using namespace ctseg;

namespace {

/// A format 1 file as NumPy lays it out, with any header.
std::string npy(std::string header, const std::string& values) {
  header.resize((header.size() + 1 + 10 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size() & 255) + static_cast<char>(header.size() >> 8) +
         header + values;
}
template <class T> std::string bytes_of_values(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
const std::string kHeader = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
const std::vector<float> kValues = {1, 2, 3, 4, 5, 6};

}   // namespace

TEST_CASE("npy round trip of arrays and of strided views") {
  const TempFolder folder;
  const xt::xarray<std::int16_t> a = {{{1, -2, 3}, {4, 5, -32768}}};
  io::write_npy(folder / "a.npy", a);
  const auto b = io::read_npy<std::int16_t>(folder / "a.npy");
  CHECK(b.dimension() == 3);
  CHECK(a == b);

  Tensor<float, 3> t({.n = 1, .c = 2, .space = {2, 2, 3}});
  for (Index i = 0; i < t.shape().elements(); ++i) t.data()[i] = static_cast<float>(i);
  io::write_npy(folder / "t.npy", as_xtensor(t));   // logical order in the file, whatever lies in memory
  const auto back = io::read_npy<float>(folder / "t.npy");
  CHECK(back == xt::xarray<float>(as_xtensor(t)));
  CHECK(back(0, 1, 0, 0, 0) == 1);
  std::vector<float> columns = {1, 4, 2, 5, 3, 6};
  const std::array<std::size_t, 2> shape = {2, 3};
  const std::array<std::ptrdiff_t, 2> strides = {1, 2};
  io::write_npy(folder / "s.npy", xt::adapt(columns.data(), columns.size(), xt::no_ownership(), shape, strides));
  CHECK(io::read_npy<float>(folder / "s.npy") == xt::xarray<float>{{1, 2, 3}, {4, 5, 6}});
  io::write_npy(folder / "f.npy", xt::xarray<double, xt::layout_type::column_major>{{1, 2, 3}, {4, 5, 6}});
  CHECK(io::read_npy<double>(folder / "f.npy") == xt::xarray<double>{{1, 2, 3}, {4, 5, 6}});
}

TEST_CASE("npy files as NumPy writes them") {
  const TempFolder folder;
  const auto read = [&](const std::string& content) {
    spill(folder / "x.npy", content);
    return io::read_npy<float>(folder / "x.npy");
  };
  const xt::xarray<float> rows = {{1, 2, 3}, {4, 5, 6}}, columns = {{1, 3, 5}, {2, 4, 6}};
  const std::string values = bytes_of_values(kValues);
  CHECK(read(npy(kHeader, values)) == rows);
  CHECK(read(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", values)) == columns);
  CHECK(read(npy("{'shape': (2,3), 'descr': '<f4', 'fortran_order': False}", values)) == rows);
  CHECK(read(npy(kHeader + std::string(100, ' '), values)) == rows);   // length 182: the eighth bit of its low byte is set
  CHECK(read(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", values)).shape()[0] == 6);
  CHECK(read(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", values.substr(0, 4)))() == 1);
  CHECK(read(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 7), }", "")).size() == 0);
}

TEST_CASE("bad npy files are refused with a reason") {
  const TempFolder folder;
  const auto error = [&](const std::string& content) {
    spill(folder / "x.npy", content);
    return error_of([&] { (void)io::read_npy<float>(folder / "x.npy"); });
  };
  const auto says = [](const std::string& text, const std::string& part) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, "\"", text, "\" lacks \"", part, "\"");
  };
  const std::string good = npy(kHeader, bytes_of_values(kValues));
  CHECK(error(good).empty());
  for (std::size_t length = 0; length < good.size(); ++length) REQUIRE(!error(good.substr(0, length)).empty());
  says(error(good + "x"), "needs 24 bytes of values, the file has 25");
  says(error(good.substr(0, good.size() - 1)), "needs 24 bytes of values, the file has 23");
  says(error("PNG and so on"), "not a .npy file");
  says(error(std::string(good).replace(6, 1, "\x09")), ".npy format 9.0");
  says(error(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", bytes_of_values(kValues))),
       "holds <f8, asked for <f4");
  says(error(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }", bytes_of_values(kValues))), "holds >f4");
  says(error(npy("{'descr': '<f4', 'shape': (6,), }", "")), "missing key");
  says(error(npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (6,), }", "")), "neither True nor False");
  says(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }", "")), "a shape that is not");
  says(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 999999999999), }", "")),
       "cannot be counted");
  says(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }", "")), "needs 3999999999996 bytes");
  says(error(npy("{'descr': '<f4', 'descr': '<f4', }", "")), "the key 'descr'");
  says(error(npy(kHeader + "}", bytes_of_values(kValues))), "text behind");
  for (const char* garbage : {"", "{", "{'descr", "{'descr'", "{'descr':", "[]", "{'descr': [('a', '<f4')], }"})
    REQUIRE(!error(npy(garbage, "")).empty());
  CHECK(!error_of([&] { (void)io::read_npy<float>(folder / "none.npy"); }).empty());
  CHECK(!error_of([&] { io::write_npy(folder / "no" / "x.npy", xt::xarray<float>{1}); }).empty());
}
