#!/bin/sh
# Builds and runs the consumer program as users do: check.sh plain | subdirectory | fetched | installed | prebuilt. And installs
# the command-line program alone: check.sh program.
. "$(dirname "$0")/../support/check.sh"

build_with_cmake() {
  cmake -S "$root/tests/consumer" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" "$@" > "$scratch/log" 2>&1 &&
    cmake --build "$scratch/build" >> "$scratch/log" 2>&1 || { cat "$scratch/log"; fail "$*"; }
  "$scratch/build/consumer"
}

# The package with all that this machine can build of it: from the tree that runs the checks, or from one of its own.
install_package() {
  tree=${CTSEG_BINARY_DIR:-}
  if ! grep -qs '^CTSEG_PREBUILT:.*=ON' "$tree/CMakeCache.txt"; then
    tree=$scratch/ctseg
    cmake -S "$root" -B "$tree" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCTSEG_PREBUILT=ON -DCTSEG_BUILD_TESTS=OFF \
      -DCTSEG_CUDA=OFF -DCTSEG_BUILD_EXAMPLES=OFF -DCTSEG_BUILD_BENCHMARKS=OFF > "$scratch/log" 2>&1 &&
      cmake --build "$tree" -j 1 >> "$scratch/log" 2>&1 || { cat "$scratch/log"; fail "building ctseg"; }
  fi
  cmake --install "$tree" --prefix "$1" > "$scratch/log" 2>&1 || { cat "$scratch/log"; fail "cmake --install"; }
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
    install_package "$scratch/first"
    mv "$scratch/first" "$scratch/moved"
    if grep -rnE "march|$scratch|$root" "$scratch/moved" --include='*.cmake'; then
      fail "the package carries a path of this machine or a processor flag"
    fi
    build_with_cmake -DCTSEG_FROM=package -DCMAKE_PREFIX_PATH="$scratch/moved"
    if cmake -S "$root/tests/consumer" -B "$scratch/without" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCTSEG_FROM=package \
      -DCMAKE_PREFIX_PATH="$scratch/moved" -DCTSEG_WITH=nonsense > "$scratch/log" 2>&1 ||
      ! grep -q "component nonsense: there is none" "$scratch/log"; then
      cat "$scratch/log"
      fail "a component that does not exist must be named"
    fi
    ;;
  prebuilt)
    # One network compiled with the library and without: the same bits, and its kernels come from the library.
    install_package "$scratch/moved"
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
  program)
    # From the tree that runs the checks; libraries that are not built there must not be missed.
    [ -x "${CTSEG_BINARY_DIR:-}/bin/ctseg" ] || skip "the command-line program is not built"
    cmake --install "$CTSEG_BINARY_DIR" --component program --prefix "$scratch/moved" > "$scratch/log" 2>&1 ||
      { cat "$scratch/log"; fail "cmake --install --component program"; }
    (cd "$scratch/moved" && find . -type f) > "$scratch/files"
    [ "$(cat "$scratch/files")" = ./bin/ctseg ] || { cat "$scratch/files"; fail "the program, and nothing else"; }
    "$scratch/moved/bin/ctseg" --version
    ;;
  *) fail "usage: check.sh plain | subdirectory | fetched | installed | prebuilt | program" ;;
esac
