// The page's files, compiled into the program so that it works anywhere and offline. embed.cmake makes page.cpp.
#pragma once
#include <span>
#include <string_view>

namespace viewer {

struct PageFile {
  std::string_view name;
  std::string_view content;
};
std::span<const PageFile> page_files();

}   // namespace viewer
