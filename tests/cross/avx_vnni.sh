#!/usr/bin/env bash
# avx_vnni.sh PYTHON [pytest arguments]: the tests of tests/kernels on the kernels avx2_vnni, on a
# processor with AVX-512 VNNI: their instructions of AVX-VNNI are built in AVX-512's encoding, which
# computes the same. PYTHON has the groups `test` and `cross` of pyproject.toml. A processor that has
# AVX-VNNI needs none of this: `make test` covers it. Ends with 77 where the processor has neither.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=$(realpath -s "$1")
shift
BUILD=$PWD/build/avx_vnni
TREE=$BUILD/tree

PATH=$(dirname "$PYTHON"):$PATH
cmake -S . -B "$BUILD/native" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Release \
  -DFAIRWAY_AVX_VNNI_AS_EVEX=ON -DPython_EXECUTABLE="$PYTHON" \
  -Dnanobind_DIR="$("$PYTHON" -m nanobind --cmake_dir)"
ninja --quiet -C "$BUILD/native"
rm -rf "$TREE"
mkdir -p "$TREE"
cp -r src/fairway "$TREE"
rm -f "$TREE"/fairway/kernels/_native*.so
cp "$BUILD"/native/src/fairway/kernels/native/_native*.so "$TREE/fairway/kernels"
export PYTHONPATH=$TREE
if ! "$PYTHON" -c 'from fairway.kernels.extension import native_isas; exit("avx2_vnni" not in native_isas())'; then
  echo "The tests of avx2_vnni need a processor with AVX-VNNI or AVX-512 VNNI." >&2
  exit 77
fi
"$PYTHON" -m pytest tests/kernels -q -p no:cacheprovider -k avx2_vnni "$@"
