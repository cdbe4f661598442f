#!/usr/bin/env bash
# Build the container where no registry can be reached, and ask the server in it for a scan. No part of the tests: it needs
# root, debootstrap, buildah, Debian's and Python's package mirrors, 20 GB in $1 and TMPDIR, and half an hour.
#
#   tests/packaging/container.sh FOLDER [RECORDING]
set -euo pipefail

folder=$(realpath "${1:?the folder to work in}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
recording=$(realpath "${2:-$root/examples/recordings/voicemail-accounts.mp3}")
port=8801
export TMPDIR=$folder/tmp CONTAINERS_STORAGE_CONF=$folder/storage.conf
mkdir -p "$TMPDIR"
cat >"$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "overlay"
graphroot = "$folder/store"
runroot = "$folder/run"
CONF
# What this machine trusts and where it resolves names, inside too.
certificates=(-v /etc/ssl/certs:/etc/ssl/certs:ro)
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$folder/pip.conf"

echo "== base: Debian with Python 3.11"
debootstrap --variant=minbase --include=python3.11,python3.11-venv,python3-pip,ca-certificates bookworm "$folder/rootfs" \
  >"$folder/debootstrap.log"
base=$(buildah from scratch)
buildah add -q "$base" "$folder/rootfs" / >/dev/null
buildah commit -q --rm "$base" localhost/python-base:3.11
rm -rf --one-file-system "$folder/rootfs"

echo "== build"
buildah build --isolation chroot --network host --format docker --layers=false \
  --build-arg BASE=localhost/python-base:3.11 --ignorefile "$root/.containerignore" \
  "${certificates[@]}" -v "$folder/pip.conf:/etc/pip.conf:ro" -t localhost/spoofcheck -f "$root/Containerfile" "$root"
buildah images

# What the image's configuration says is given to `run` by hand: buildah runs neither entry points nor health checks.
container=$(buildah from localhost/spoofcheck)
mkdir -p "$folder/data" && chown 10001:10001 "$folder/data"
inside() { buildah run --isolation chroot --network host -v "$folder/data:/data" "$container" -- python3 "$@"; }

echo "== without a key it refuses"
! inside -m spoofcheck serve --host 0.0.0.0 --port $port

echo "== with one it serves"
key=$(inside -m spoofcheck serve keys add test | head -1 | tr -d '\r')
inside -m spoofcheck serve --host 0.0.0.0 --port $port --workers 1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
until curl -sf "http://127.0.0.1:$port/readyz"; do
  kill -0 $server
  sleep 2
done
job=$(curl -sf -H "x-api-key: $key" -F "files=@$recording" "http://127.0.0.1:$port/v1/scans")
scan=http://127.0.0.1:$port$(grep -o '/v1/scans/[^/"]*' <<<"$job" | head -1)
curl -sN -H "x-api-key: $key" "$scan/events" | grep -o '"state":"[a-z]*"' | uniq
curl -sf -H "x-api-key: $key" "$scan" | grep -o '"verdict": *"[a-z]*"'
echo "== done; remove $folder when it is no longer wanted (buildah rm -a, buildah rmi -a first)"
