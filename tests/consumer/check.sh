#!/bin/sh
# Builds and runs the consumer program as users do: check.sh plain | subdirectory | fetched | installed | prebuilt.
. "$(dirname "$0")/../support/check.sh"

build_with_cmake() {
  cmake -S "$root/tests/consumer" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" "$@" > "$scratch/log" 2>&1 &&
    cmake --build "$scratch/build" >> "$scratch/log" 2>&1 || { cat "$scratch/log"; fail "$*"; }
  "$scratch/build/consumer"
}

case $1 in
  plain)
    cd "$root/tests/consumer"
    $cxx -std=c++20 $plain_includes main.cpp second.cpp -o "$scratch/consumer" $plain_libraries || fail "plain $cxx"
    "$scratch/consumer"
    ;;
  subdirectory)
    build_with_cmake -DCTSEG_FROM="$root"
    ;;
  fetched)
    # From a folder, then from an archive. Proxies that nobody answers: neither may ask the network.
    export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9
    cmake -S "$root/tests/consumer" -B "$scratch/folder" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" \
      "-DCTSEG_FETCH=SOURCE_DIR;$root" > "$scratch/log" 2>&1 || { cat "$scratch/log"; fail "FetchContent SOURCE_DIR"; }
    tar -C "$root" -cf "$scratch/ctseg.tar" CMakeLists.txt cmake include LICENSE README.md
    build_with_cmake "-DCTSEG_FETCH=URL;$scratch/ctseg.tar"
    ;;
  installed)
    # Moved after the installation, so that no path of this machine can hide in the package.
    cmake -S "$root" -B "$scratch/ctseg" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCTSEG_BUILD_TESTS=OFF \
      -DCTSEG_BUILD_EXAMPLES=OFF -DCTSEG_BUILD_BENCHMARKS=OFF > "$scratch/log" 2>&1 &&
      cmake --build "$scratch/ctseg" >> "$scratch/log" 2>&1 &&
      cmake --install "$scratch/ctseg" --prefix "$scratch/first" >> "$scratch/log" 2>&1 ||
      { cat "$scratch/log"; fail "cmake --install"; }
    mv "$scratch/first" "$scratch/moved"
    if grep -rnE "march|$scratch|$root" "$scratch/moved" --include='*.cmake'; then
      fail "the package carries a path of this machine or a processor flag"
    fi
    build_with_cmake -DCTSEG_FROM=package -DCMAKE_PREFIX_PATH="$scratch/moved"
    ;;
  prebuilt)
    # One network compiled with the library and without: the same bits, and its kernels come from the library.
    cmake -S "$root" -B "$scratch/ctseg" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCTSEG_PREBUILT=ON -DCTSEG_BUILD_TESTS=OFF \
      -DCTSEG_BUILD_EXAMPLES=OFF -DCTSEG_BUILD_BENCHMARKS=OFF > "$scratch/log" 2>&1 &&
      cmake --build "$scratch/ctseg" -j 1 >> "$scratch/log" 2>&1 &&
      cmake --install "$scratch/ctseg" --prefix "$scratch/moved" >> "$scratch/log" 2>&1 ||
      { cat "$scratch/log"; fail "building ctseg::prebuilt"; }
    build_with_cmake -DCTSEG_FROM=package -DCMAKE_PREFIX_PATH="$scratch/moved" -DCTSEG_WITH=prebuilt
    for isa in scalar ''; do
      CTSEG_ISA=$isa "$scratch/build/step" > "$scratch/with" && CTSEG_ISA=$isa "$scratch/build/step_alone" > "$scratch/without" ||
        fail "a step of training"
      cmp "$scratch/with" "$scratch/without" || fail "other bits: $(cat "$scratch/with") | $(cat "$scratch/without")"
    done
    nm -C "$(find "$scratch/build" -path '*step.dir*' -name '*.o')" > "$scratch/symbols"
    grep -q ' U ctseg::Plan<' "$scratch/symbols" || fail "the plan was compiled again"
    if grep 'ctseg::simd::\|Kernel<ctseg::Conv' "$scratch/symbols"; then fail "these kernels were compiled again"; fi
    ;;
  *) fail "usage: check.sh plain | subdirectory | fetched | installed | prebuilt" ;;
esac
