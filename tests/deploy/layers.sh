# A machine that is only a test's: sourced in a mount namespace of its own (test_users.py).
# shellcheck shell=bash disable=SC2016,SC2317
set -eu
mount -t tmpfs tmpfs "$PLACE"
for folder in /etc /opt /var/lib /var/cache /usr/local; do
  mkdir -p "$PLACE$folder" "$PLACE/work$folder"
  layers=lowerdir=$folder,upperdir=$PLACE$folder,workdir=$PLACE/work$folder
  mount -t overlay overlay -o "$layers" "$folder"
done

# Programs that cannot do here what they do: systemctl, which tells what it was asked; uv, whose environment is
# the tests' own; and runuser, because the layers' users may not read that one.
program() { # program NAME <SCRIPT
  (printf '#!/bin/sh\n' && cat) >"$PLACE/bin/$1"
  chmod 755 "$PLACE/bin/$1"
}
mkdir "$PLACE/bin"
PATH=$PLACE/bin:$PATH:/usr/sbin
program systemctl <<'SH'
case "$*" in
  *is-active*voice-bridge*) [ -e /etc/bridge-runs ] ;;
  *list-units*) echo voice-tts@8002.service ;;
  "restart voice-tts@8002.service") stat -c 'while restarting: %U %A' "$STATE/voices" ;;
esac
SH
program uv <<'SH'
while [ "$1" != --directory ]; do shift; done
umask 077 # files of its cache, of which it makes links, have the rights of when they were fetched
mkdir -p "$2/.venv/bin" && cd "$2/.venv/bin" && ln -s /bin/true python
printf '#!/bin/sh\nexec %s -m services.cli.main "$@"\n' "$PYTHON" >voice && chmod u+x voice
SH
program runuser <<'SH'
while [ "$1" != -- ]; do shift; done
shift && cd / && exec env PYTHONPATH="$PROJECT" "$@"
SH

export STATE=/var/lib/voice-services ETC=/etc/voice-services
installer() {
  "$CHECKOUT/deploy/install.sh" "$@"
}
install_it() {
  installer install --no-nginx --models none --bridge --tts 8002
}
may() { # may USER GROUPS: what each file lets it do, and what the folder
  local file
  for file in "$STATE"/{keys.json,token-secret,models,tts,voices,voice-agent} \
    "$ETC"/{asr.yaml,tts.yaml,voice-agent.yaml,voice.env}; do
    as "$1" "$2" '[ -r "$1" ] && read=r || read=-
      [ -w "$1" ] && write=w || write=-
      echo "may: $2 ${1##*/} $read$write"' "$file" "$1"
  done
  as "$1" "$2" 'rm -f "$STATE/keys.json" && echo "may: $1 remove"
    flock -n "$STATE" true && echo "may: $1 lock"
    true' "$1" 2>/dev/null
}
as() { # as USER GROUPS SCRIPT ARGUMENTS…
  local user=$1 groups=$2 script=$3
  shift 3
  setpriv --reuid "$user" --regid "$user" --groups "$groups" sh -c "cd /; $script" sh "$@"
}
who_may() {
  may voice-asr voice-services,voice-keys
  may voice-tts voice-services,voice-keys
  may voice-bridge voice-services
}
one_user_of_all() { # as it was until 2026-11: with a voice, and a newer commit than what is installed
  install_it >/dev/null
  mkdir -p "$STATE/voices/cv_1" && touch "$STATE/voices/cv_1/record" && chmod -R go= "$STATE/voices"
  chown -R voice-services: "$STATE" && chmod 750 "$STATE"
  chmod 600 "$STATE/token-secret" && chmod 644 "$STATE/keys.json"
  chown -R root:voice-services "$ETC"
  sed -i 's/^User=.*/User=voice-services/' /etc/systemd/system/voice-*.service \
    /opt/voice-services/current/deploy/systemd/voice-*.service
  git -C "$CHECKOUT" -c user.name=t -c user.email=t@example.org commit -q --allow-empty -m next
}
