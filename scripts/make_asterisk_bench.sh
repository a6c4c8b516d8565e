#!/usr/bin/env bash
# A real Asterisk to test against: Debian sid's, in a folder of its own (about 600 MB, a minute).
#
#   scripts/make_asterisk_bench.sh [FOLDER]
#
# FOLDER (default: $ASTERISK_BENCH, else ~/.cache/voice-services/asterisk) is a chroot. Nothing is started
# and nothing outside of it changes; the tests (`pytest -m asterisk`) start Asterisk in it on loopback.
# Needs root and debootstrap. Packages come from this machine's own Debian mirror, or $DEBIAN_MIRROR.
#
# Does nothing when the folder is complete. Ends with 3 where it cannot be made.
set -euo pipefail

folder=$(realpath -m "${1:-${ASTERISK_BENCH:-${XDG_CACHE_HOME:-$HOME/.cache}/voice-services/asterisk}}")
recipe=1 # to be raised when what follows changes
stamp=$folder/.voice-services-bench

exit_if_complete() {
  if [[ -f $stamp && $(<"$stamp") == "$recipe" ]]; then
    echo "$folder is complete"
    exit
  fi
}
exit_if_complete

cannot() {
  echo "The Asterisk test bench cannot be made: $1" >&2
  exit 3
}
[[ $(id -u) == 0 ]] || cannot "run this as root (debootstrap and chroot need it)"
command -v debootstrap >/dev/null || cannot "debootstrap is missing (apt-get install debootstrap)"
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9 # whoever else makes it is waited for
exit_if_complete
if [[ -d $folder && -n $(ls -A "$folder") && ! -f $folder/.voice-services-unfinished && ! -f $stamp ]]; then
  cannot "$folder is something else; not touched"
fi

own_mirror() { # the one that this machine's packages come from
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 !~ /security/ { sub("/$", "", $2); print $2; exit }'
}
mirror=${DEBIAN_MIRROR:-$(own_mirror)}
mirror=${mirror:-http://deb.debian.org/debian}

rm -rf "$folder"
mkdir -p "$folder"
touch "$folder/.voice-services-unfinished"
debootstrap --variant=minbase sid "$folder" "$mirror" >"$folder/debootstrap.out" 2>&1 || {
  tail -n 5 "$folder/debootstrap.out" >&2
  cannot "debootstrap failed with $mirror"
}
apt-config dump | grep -E '^Acquire::https?::Proxy' >"$folder/etc/apt/apt.conf.d/80proxy" || true
cp /etc/hosts "$folder/etc/hosts"
# No service is started while packages are installed.
printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
chmod +x "$folder/usr/sbin/policy-rc.d"
DEBIAN_FRONTEND=noninteractive chroot "$folder" apt-get install --quiet --yes --no-install-recommends \
  asterisk >"$folder/install.out" 2>&1 || {
  tail -n 5 "$folder/install.out" >&2
  cannot "asterisk could not be installed"
}
mkdir -p "$folder/var/lib/asterisk" "$folder/run/asterisk"
rm -rf "$folder"/var/cache/apt/archives/*.deb
chroot "$folder" asterisk -V
rm -f "$folder/.voice-services-unfinished"
echo "$recipe" >"$stamp"
echo "$folder is complete"
