#!/usr/bin/env bash
# The extension's zip in real Blenders with a window: installed, opened, captured with, cancelled, photographed.
#   tools/test_blender.sh [trixie] [sid]      (default: both; Debian's Blender 4.3 and 5.2)
# Needs root, debootstrap and room for two small Debian systems under CHROOTS. Pictures and logs go to out/gui.
set -euo pipefail
cd "$(dirname "$0")/.."
CHROOTS=${CHROOTS:-/opt}
status=0
for suite in "${@:-trixie sid}"; do
    for each in $suite; do
        tools/make_chroot.sh "$each" "$CHROOTS/blender-$each"
        BLENDER_CHROOT="$CHROOTS/blender-$each" .venv/bin/python -m pytest -q tests/gui || status=1
    done
done
exit $status
