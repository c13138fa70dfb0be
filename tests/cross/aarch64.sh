#!/usr/bin/env bash
# aarch64.sh PYTHON [tests]: tests/kernels, or those of its files that are named, on the kernels as compiled for
# AArch64, against the same NumPy reference, under qemu-user. PYTHON has the group `cross` of
# pyproject.toml installed. Needs Debian's g++-aarch64-linux-gnu and qemu-user, and fetches Debian's
# Python and the index's wheels for AArch64 into build/aarch64 (about 60 MB; nothing is installed).
# Ends with 77 where these cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=$(realpath -s "$1")
shift
TESTS=("${@:-tests/kernels}")
HOME_=$PWD/build/aarch64
ROOT=$HOME_/root SITE=$HOME_/site TREE=$HOME_/tree

lacking() { echo "The AArch64 tests need $1." >&2; exit 77; }

# Debian's Python for AArch64 and all it depends on, unpacked beside the running system.
fetch_python() {
  local state=$HOME_/apt
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$ROOT"
  : >"$state/status"
  local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Debug::NoLocking=1
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status"
    -o Dir::Cache::archives="$state/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
  "${apt[@]}" update
  "${apt[@]}" install -y --download-only --no-install-recommends python3 libpython3-dev libstdc++6 >/dev/null
  for package in "$state"/archives/*.deb; do dpkg -x "$package" "$ROOT"; done
}

fetch_wheels() {
  local packages=(numpy psutil pytest pytest-timeout hypothesis)
  if command -v uv >/dev/null; then
    uv pip install --quiet --target "$SITE" --python-platform aarch64-manylinux_2_28 \
      --python-version "$VERSION" --only-binary :all: "${packages[@]}"
  else
    "$PYTHON" -m pip install --quiet --target "$SITE" --python-version "$VERSION" --only-binary :all: \
      --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
      "${packages[@]}"
  fi
}

build() {
  local tools suffix=cpython-${VERSION/./}-aarch64-linux-gnu
  tools=$(dirname "$PYTHON")
  PATH=$tools:$PATH
  cmake -S . -B "$HOME_/native" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_TOOLCHAIN_FILE="$PWD/tests/cross/aarch64.cmake" -DPYTHON_ROOT="$ROOT" \
    -DPython_EXECUTABLE="$PYTHON" -DPython_INCLUDE_DIR="$ROOT/usr/include/python$VERSION" \
    -DPython_SOABI="$suffix" -DNB_SUFFIX=".$suffix.so" -DNB_SUFFIX_S=.abi3.so \
    -Dnanobind_DIR="$("$PYTHON" -m nanobind --cmake_dir)"
  ninja --quiet -C "$HOME_/native"
  rm -rf "$TREE"
  mkdir -p "$TREE"
  cp -r src/fairway "$TREE"
  rm -f "$TREE"/fairway/kernels/_native*.so
  cp "$HOME_"/native/src/fairway/kernels/native/_native*.so "$TREE/fairway/kernels"
}

emulated() {
  PYTHONDONTWRITEBYTECODE=1 FAIRWAY_EMULATED=1 PYTHONPATH=$TREE:$SITE \
    qemu-aarch64 -cpu max,sve=off,pauth-impdef=on -L "$ROOT" "$ROOT/usr/bin/python$VERSION" "$@"
}

# qemu-user cannot start other programs, so the tests of the process itself are left out; and so is
# one whose reference, emulated, takes two minutes, and which the same test with f16 stands for.
kernel_tests() {
  emulated -m pytest "${TESTS[@]}" -q -p no:cacheprovider --timeout 1200 \
    --ignore tests/kernels/test_native_process.py \
    --deselect 'tests/kernels/test_native_attention.py::test_contexts_beyond_one_segment[int8-neon]' \
    --deselect 'tests/kernels/test_native_attention.py::test_contexts_beyond_one_segment[int8-neon_i8mm]' "$@"
}

command -v aarch64-linux-gnu-g++ >/dev/null || lacking "Debian's package g++-aarch64-linux-gnu"
command -v qemu-aarch64 >/dev/null || lacking "Debian's package qemu-user"
[ -d "$ROOT/usr/lib" ] || fetch_python || lacking "Debian's packages for arm64"
VERSION=$(basename "$(readlink "$ROOT/usr/bin/python3")")
VERSION=${VERSION#python}
[ -d "$SITE/numpy" ] || fetch_wheels || lacking "wheels for AArch64 from the package index"
build
found=$(emulated -c 'from fairway.kernels.extension import MISSING, native_isas; print(MISSING or " ".join(native_isas()))')
echo "Under emulation, in two processes: $found"
[ "$found" = "neon_i8mm neon" ]
kernel_tests -k "not neon_i8mm" >"$HOME_/neon.log" 2>&1 &
other=$!
kernel_tests -k neon_i8mm || { kill "$other"; exit 1; }
wait "$other" || { cat "$HOME_/neon.log"; exit 1; }
tail -n 1 "$HOME_/neon.log"
