#!/bin/sh
# An arm64 Debian userland for tests/devices/test_arm64.py, on an x86-64 Debian: about 700 MB, two minutes.
#   apt-get install qemu-user-static proot debootstrap && tests/devices/make_arm64.sh [DIRECTORY] [PYTHON]
# $MIRROR is a mirror of Debian other than debootstrap's own choice.
# DIRECTORY is by default ~/.cache/nas-edge-tests/arm64, where the test looks (or at $NAS_EDGE_ARM64); PYTHON must have pip.
# Nothing is run as arm64 here and nothing is registered with the kernel: packages are unpacked, wheels are unzipped.
set -eu
root=${1:-$HOME/.cache/nas-edge-tests/arm64}
python=${2:-python3}
[ ! -e "$root/.complete" ] || { echo "$root is there already"; exit 0; }
mkdir -p "$root"
debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,libgomp1,libstdc++6 bookworm "$root" ${MIRROR:+"$MIRROR"}
for package in "$root"/var/cache/apt/archives/*.deb; do
  dpkg-deb -x "$package" "$root"
done
rm -f "$root"/var/cache/apt/archives/*.deb
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
  --dest "$wheels" onnxruntime==1.31.1 numpy==2.4.6 ai-edge-litert==2.3.0 flatbuffers
for wheel in "$wheels"/*.whl; do
  "$python" -m zipfile -e "$wheel" "$root/usr/lib/python3/dist-packages/"
done
# What libraries look for to know the CPU: the host's own files would tell them of another architecture.
mkdir -p "$root/sys/devices/system/cpu"
echo 0 > "$root/sys/devices/system/cpu/possible"
echo 0 > "$root/sys/devices/system/cpu/present"
touch "$root/.complete"
echo "$root is ready"
