#!/usr/bin/env bash
# A Debian system of its own with a real Blender, its window and what a capture needs.   tools/make_chroot.sh trixie|sid FOLDER
# trixie has Blender 4.3, sid has Blender 5.2. Needs root and debootstrap; about 0.5 GB to download and 2 GB on disk.
set -euo pipefail
SUITE=$1
FOLDER=$2
PACKAGES="blender python3-numpy python3-requests python3-torch python3-av python3-pil python3-opencv python3-safetensors python3-pytest
    xvfb xauth libgl1 libegl1 libgl1-mesa-dri libglx-mesa0 imagemagick xdotool"

if [ -e "$FOLDER/.ready" ]; then
    echo "$FOLDER is there already"
    exit 0
fi
# the same mirror as this machine's own packages
MIRROR=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$MIRROR" ] || MIRROR=$(awk '/^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^[a-z]+:\/\//) {print $i; exit}}' /etc/apt/sources.list)
debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$SUITE" "$FOLDER" "$MIRROR"
echo 'APT::Install-Recommends "false";' >"$FOLDER/etc/apt/apt.conf.d/99small"
if [ "$SUITE" = sid ]; then
    # a frozen mirror's unstable is past its date; signatures are still checked
    echo 'Acquire::Check-Valid-Until "false";' >"$FOLDER/etc/apt/apt.conf.d/99frozen"
    # Blender 5.2's extension manager imports it, and Debian's package does not ask for it
    PACKAGES="$PACKAGES python3-cattr"
fi
chroot "$FOLDER" apt-get update -q
# shellcheck disable=SC2086
chroot "$FOLDER" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q $PACKAGES
chroot "$FOLDER" apt-get clean
chroot "$FOLDER" blender -b --version
touch "$FOLDER/.ready"
