# Shared by the checks that run a compiler: sourced, with the source folder in $root and a scratch folder in $scratch.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cxx=${CXX:-g++}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/ctseg_check.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

fail() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "skipped: $*"; exit 77; }

# What somebody types who has no build system. The folders are those of Debian and Ubuntu.
plain_includes="-I$root/include -I/usr/include/eigen3 -I/usr/include/nifti"
plain_libraries="-lnifti2 -lznz -lpng -lz -pthread"

# What users ask of their own files, and so of our headers, which -I brings into them.
user_warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
