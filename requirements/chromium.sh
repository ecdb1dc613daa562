#!/bin/sh
# Install Chromium for the browser tests where there is none: by apt-get as root, else by telling what is wanted.
set -eu

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "muser: the browser tests want Chromium on PATH; install it, on Debian by: apt-get install chromium" >&2
    exit 1
fi
echo "muser: Chromium from Debian: about 0.2 GB"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends chromium >/dev/null
