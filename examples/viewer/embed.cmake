# cmake -DOUTPUT=page.cpp -DFOLDER=page -P embed.cmake: the files of a folder as C++.
file(GLOB names RELATIVE ${FOLDER} ${FOLDER}/*)
list(SORT names)
set(arrays "")
set(table "")
set(i 0)
foreach(name IN LISTS names)
  file(READ ${FOLDER}/${name} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "const unsigned char k${i}[] = {${bytes}0};\n")
  string(APPEND table "    {\"${name}\", {reinterpret_cast<const char*>(k${i}), sizeof k${i} - 1}},\n")
  math(EXPR i "${i} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Made by embed.cmake.
#include \"page.hpp\"

namespace viewer {
namespace {
${arrays}const PageFile kFiles[] = {
${table}    {\"\", \"\"}};
}   // namespace
std::span<const PageFile> page_files() { return std::span(kFiles).first(${i}); }
}   // namespace viewer
")
