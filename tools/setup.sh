#!/usr/bin/env bash
# Make a virtual environment with Blender as a module and this project in it, editable.   tools/setup.sh VENV EXTRAS
# On a Debian-like machine, as root, missing system libraries are installed too; PIP_OPTIONS is handed to pip.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=$1
EXTRAS=$2
# the wheel of Blender links against these, even without a display; libEGL is for EEVEE and Workbench
LIBRARIES="libX11.so.6:libx11-6 libXrender.so.1:libxrender1 libXxf86vm.so.1:libxxf86vm1 libXfixes.so.3:libxfixes3 libXi.so.6:libxi6
    libxkbcommon.so.0:libxkbcommon0 libSM.so.6:libsm6 libICE.so.6:libice6 libGL.so.1:libgl1 libgomp.so.1:libgomp1 libEGL.so.1:libegl1"

python_311() {
    for candidate in "${PYTHON:-python3.11}" python3 /usr/bin/python3.11 /usr/bin/python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

missing_packages() {
    local known
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
    for entry in $LIBRARIES; do
        grep -q "${entry%%:*}" <<<"$known" || echo "${entry##*:}"
    done
    python_311 >/dev/null || echo "python3.11 python3.11-venv"
}

if [ "$(uname)" = Linux ]; then
    PACKAGES=$(missing_packages | tr '\n' ' ')
    if [ -n "${PACKAGES// /}" ]; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt-get update -q
            # shellcheck disable=SC2086
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $PACKAGES
        else
            echo "These system packages seem to be missing: $PACKAGES" >&2
            echo "If the next steps fail, install them first (Debian: apt-get install $PACKAGES)." >&2
        fi
    fi
fi

PYTHON_311=$(python_311) || {
    echo "Python 3.11 is needed (Blender's module is built for it): install it, or name it with PYTHON=/path/to/python3.11 make setup" >&2
    exit 1
}
[ -x "$VENV/bin/python" ] || "$PYTHON_311" -m venv "$VENV"
# shellcheck disable=SC2086
"$VENV/bin/python" -m pip install --quiet ${PIP_OPTIONS:-} -e ".[$EXTRAS]"
"$VENV/bin/python" -c "import bpy, torch; print(f'Ready: Blender {bpy.app.version_string} and torch {torch.__version__} in $VENV')"
touch "$VENV/.ready"
