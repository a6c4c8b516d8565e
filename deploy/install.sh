#!/usr/bin/env bash
# Installs the speech services on this machine, from the checkout that this script is in.
#
#   deploy/install.sh install   [OPTIONS]   users, folders, release, models, keys, units, nginx; start all.
#                                           Again: the same release changes nothing, another one is an upgrade
#   deploy/install.sh rollback  [--dry-run] back to the release before, instance by instance
#   deploy/install.sh restart   [--dry-run] instance by instance: no session is lost, new ones go elsewhere
#   deploy/install.sh status                releases, and how every unit is
#   deploy/install.sh uninstall [--purge]   configuration, keys, models, voices and recordings stay without --purge
#
#   --asr PORTS, --tts PORTS   instances, by their ports, or none
#                                                           (first time: 8001,8011 and 8002,8012; then: as they are)
#   --groups NAMES             of pyproject.toml            (asr,tts,piper,agent; also gpu, otel, google, …)
#   --stack NAMES              chatterbox, nemo: their environments, too (scripts/make_engine_env.sh)
#   --models IDS               of `voice models list`; none (the default set)
#   --python WHICH             version or path              (3.11)
#                              these four are kept for the next time, like the next two
#   --bridge, --llm            with the Asterisk bridge; with vLLM's unit
#   --nginx OPTIONS            of `voice nginx`, as one argument; kept for the next time
#                              (--plain --listen 127.0.0.1:8080: nobody else reaches it, and no certificate is needed)
#   --no-nginx                 each instance at its own port
#   --no-start                 install, start nothing
#   --dry-run                  print every step, change nothing
#   --root DIR                 below DIR, for tests: no user, no systemctl, no running nginx
#
# Needs root, uv, git, curl, systemd and, unless told otherwise, nginx.
set -euo pipefail
umask 022 # what is installed is read by the services' users, whatever root's own files are
trap 'echo "install.sh: stopped at line $LINENO" >&2' ERR
checkout=$(dirname "$(dirname "$(readlink -f "$0")")")

usage() {
  sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"
}

die() {
  echo "install.sh: $1" >&2
  exit 1
}

asr='' tts='' groups='' stacks='' models='' python='' nginx_options='' nginx='' root=''
bridge=false llm=false start=true dry=false purge=false
command=${1:-help}
[[ $# == 0 ]] || shift
while [[ $# -gt 0 ]]; do
  case $1 in
    --asr | --tts | --groups | --stack | --models | --python | --nginx | --root)
      [[ $# -gt 1 ]] || die "$1 wants a value"
      ;;&
    --asr) asr=$2 && shift ;;
    --tts) tts=$2 && shift ;;
    --groups) groups=$2 && shift ;;
    --stack) stacks=$2 && shift ;;
    --models) models=$2 && shift ;;
    --python) python=$2 && shift ;;
    --nginx) nginx_options=$2 nginx=true && shift ;;
    --root) root=$(realpath -m "$2") && shift ;;
    --bridge) bridge=true ;;
    --llm) llm=true ;;
    --no-nginx) nginx=false ;;
    --no-start) start=false ;;
    --dry-run) dry=true ;;
    --purge) purge=true ;;
    *) die "$1 is no option; deploy/install.sh help" ;;
  esac
  shift
done
for ports in "$asr" "$tts"; do
  [[ $ports =~ ^(none|[0-9]{1,5}(,[0-9]{1,5})*)?$ ]] || die "$ports: ports with commas between are wanted, or none"
done

# Each service is a user of its own. This one owns keys and models, and `voice` runs as it; its group may use them.
admin=voice-services
keyring=voice-keys # the group that may read the keys and the secret of tokens
home=$root/opt/voice-services
etc=$root/etc/voice-services
state=$root/var/lib/voice-services
cache=$root/var/cache/voice-services
units=$root/etc/systemd/system
site=$root/etc/nginx/conf.d/voice.conf
restarted=$units/nginx.service.d/voice.conf # Debian's unit leaves nginx dead when it dies
installed=$root/usr/local/bin/voice
live=true # is this the machine that runs, and not a folder of it?
[[ -z $root ]] || live=false

# What changes anything goes through these three.

step() { # step COMMAND…
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  $dry || "$@"
}

system() { # system COMMAND…: only where the machine runs
  if $live; then step "$@"; else printf '(not below --root) %s\n' "$*"; fi
}

put() { # put FILE MODE [GROUP] <CONTENT: unless it says so already
  local file=$1 mode=$2 group=${3:-root} content
  content=$(cat; printf x)
  content=${content%x}
  if [[ -e $file ]] && cmp --silent "$file" <(printf %s "$content"); then return; fi
  echo "+ write $file"
  $dry && return
  rm -f "$file.new"
  (umask 077 && printf %s "$content" >"$file.new") # it may be a key: nobody else's at any moment
  chmod "$mode" "$file.new"
  ! $live || chgrp "$group" "$file.new"
  mv -f "$file.new" "$file"
}

put_once() { # the same, but what is there is the operator's
  if [[ -e $1 ]]; then cat >/dev/null; else put "$@"; fi
}

folder() { # folder PATH MODE OWNER
  if [[ -d $1 ]]; then return; fi
  if $live; then step install -d -m "$2" -o "${3%:*}" -g "${3#*:}" "$1"; else step install -d -m "$2" "$1"; fi
}

# The parts of an installation.

check_machine() {
  local tool
  for tool in uv git curl; do
    command -v "$tool" >/dev/null || die "$tool is missing"
  done
  $live || return 0
  $dry || [[ $(id -u) == 0 ]] || die "run this as root, or with --dry-run or --root DIR"
  command -v systemctl >/dev/null || die "systemd is missing"
  if $nginx && ! PATH=$PATH:/usr/sbin command -v nginx >/dev/null; then
    die "nginx is missing: apt-get install nginx-light, or say --no-nginx"
  fi
}

make_user() { # make_user NAME HOME
  getent passwd "$1" >/dev/null ||
    step useradd --system --user-group --home-dir "$2" --shell /usr/sbin/nologin "$1"
}

join() { # join USER GROUP
  grep -qxF -- "$2" <(id -nG "$1" 2>/dev/null | tr ' ' '\n') || step usermod --append --groups "$2" "$1"
}

make_users() {
  local name
  $live || return 0
  getent group "$keyring" >/dev/null || step groupadd --system "$keyring"
  make_user "$admin" "$state"
  join "$admin" "$keyring"
  for name in asr tts bridge; do
    [[ $name != bridge ]] || $bridge || continue
    make_user "voice-$name" "$state"
    join "voice-$name" "$admin"
    join "$admin" "voice-$name" # so that a release in which it was all of them can be gone back to
  done
  for name in voice-asr voice-tts; do join "$name" "$keyring"; done
  ! $llm || make_user voice-llm /var/lib/voice-llm
}

make_folders() {
  folder "$home/releases" 0755 root:root
  folder "$etc" 0750 "root:$admin"
  folder "$state" 0710 "$admin:$admin"
  folder "$state/models" 0750 "$admin:$admin"
  folder "$state/tts" 0700 voice-tts:voice-tts
  ! $bridge || folder "$state/voice-agent" 0700 voice-bridge:voice-bridge
  folder "$cache" 0710 "$admin:$admin"
  folder "$units" 0755 root:root
  folder "$(dirname "$installed")" 0755 root:root
}

# Who owns what.

belongs() { # belongs USER:GROUP MODE PATH: it, and not what is in it
  [[ -e $3 ]] || return 0
  [[ $(stat -c %U:%G "$3") == "$1" ]] || step chown "$1" "$3"
  [[ $(stat -c %04a "$3") == "$2" ]] || step chmod "$2" "$3"
}

give() { # give USER:GROUP PATH: with all that is in it, if something there is another's
  local path
  path=$(readlink -f "$2")
  [[ -e $path ]] || return 0
  [[ -z $(find "$path" ! \( -user "${1%:*}" -group "${1#*:}" \) -print -quit) ]] || step chown -R "$1" "$path"
}

open_to_group() { # open_to_group PATH: it may read all that is in it
  local path
  path=$(readlink -f "$1")
  [[ -z $(find "$path" \( ! -perm -g=r -o -type d ! -perm -g=x \) -print -quit) ]] || step chmod -R g+rX "$path"
}

user_of() { # user_of tts@: until 2026-11 it was the administrator for all of them
  sed -n 's/^User=//p' "$units/voice-$1.service" 2>/dev/null || true
}

bridge_runs_as_another() { # user than its unit says: it goes on over upgrades, and its folder with it
  systemctl is-active --quiet voice-bridge && [[ $(stat -c %U "$state/voice-agent") != "$(user_of bridge)" ]]
}

share_out() { # to the users that the units name
  local kind path bridge_user
  $live || return 0
  if $dry; then
    echo "+ owners and modes of what is in $etc, $state and $cache"
    return
  fi
  belongs "root:$admin" 0750 "$etc"
  for path in "$state" "$cache"; do belongs "$admin:$admin" 0710 "$path"; done
  for path in "$state/keys.json" "$state/token-secret"; do belongs "$admin:$keyring" 0640 "$path"; done
  give "$admin:$admin" "$state/models"
  open_to_group "$state/models"
  for kind in asr tts; do belongs "root:voice-$kind" 0640 "$etc/$kind.yaml"; done
  for path in "$etc"/*.env "$etc"/*.options; do belongs root:root 0600 "$path"; done
  bridge_user=$(user_of bridge)
  [[ -n $bridge_user ]] || return 0
  for path in "$etc/bridge.yaml" "$etc/voice-agent.yaml"; do belongs root:voice-bridge 0640 "$path"; done
  bridge_runs_as_another || give "$bridge_user:$bridge_user" "$state/voice-agent"
}

hand_over() { # hand_over USER [GROUP]: what the TTS made, with all rights for a group, or none
  local path
  while read -r path; do
    give "$1:${2:-$1}" "$path"
    if [[ -n ${2:-} ]]; then step chmod -R g+rwX "$path"; else step chmod -R g= "$path"; fi
  done < <(find "$state" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name keys.json ! -name token-secret ! -name models ! -name voice-agent)
}

take_in() { # what a backup brought is of users of another machine; hand_over and share_out give it on
  if $live && ! $dry; then give "$admin:$admin" "$state"; fi
}

roll_out() { # roll_out WAS: instances, one by one, become what is installed; the TTS ran as the user WAS
  local is
  is=$(user_of tts@)
  if ! $live || [[ -z $1 || $1 == "$is" ]]; then
    rolling_restart
    return
  fi
  hand_over "$is" "$admin" # some are still the user of before, and both need the voices
  rolling_restart
  hand_over "$is"
}

remember() { # remember NAME DEFAULT: what was not said this time is as it was
  local kept
  kept=$(sed -n "s/^$1=//p" "$etc/install.options" 2>/dev/null || true)
  [[ -n ${!1} ]] || printf -v "$1" %s "${kept:-$2}"
}

remember_options() {
  remember groups asr,tts,piper,agent
  remember stacks ''
  remember models default
  remember python 3.11
  remember nginx true
  remember asr "$(ports_of asr)"
  remember tts "$(ports_of tts)"
  asr=${asr:-8001,8011} tts=${tts:-8002,8012}
  [[ $asr != none ]] || asr=''
  [[ $tts != none ]] || tts=''
}

remember_units() {
  local unit
  for unit in bridge llm; do
    if [[ -e $units/voice-$unit.service ]] || grep -qsx "$unit=true" "$etc/install.options"; then printf -v "$unit" true; fi
  done
}

keep_options() {
  put "$etc/install.options" 0600 <<TEXT
groups=$groups
stacks=$stacks
models=$models
python=$python
nginx=$nginx
asr=$([[ -n $asr ]] || echo none)
tts=$([[ -n $tts ]] || echo none)
bridge=$bridge
llm=$llm
TEXT
}

version_of() { # of a checkout; one with changes has a name of its own for each state
  local name changes
  # `set -e` does not reach into $(…), and a release without a name would be the folder of all of them.
  name=$(git -C "$1" describe --always --tags) || return
  changes=$(git -C "$1" diff HEAD) || return
  [[ -z $changes ]] || name+=-$(sha256sum <<<"$changes" | cut -c1-8)
  [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] || die "$name cannot be the name of a release"
  echo "$name"
}

release_of() { # release_of VERSION: made with other options it is another release, which running ones do not notice
  local made=$home/releases/$1/.complete
  if [[ -s $made && $(<"$made") != "$(made_with)" ]]; then
    echo "$1-$(made_with | sha256sum | cut -c1-8)"
  else
    echo "$1"
  fi
}

made_with() {
  echo "groups=$groups stacks=$stacks python=$python"
}

make_release() { # make_release NAME: complete or not there
  local release=$home/releases/$1 options=(--frozen --no-default-groups --compile-bytecode --python "$python") group
  if [[ -e $release/.complete ]]; then
    echo "release $1 is there"
    return
  fi
  step rm -rf "$release"
  folder "$release" 0755 root:root
  echo "+ the files that git knows: $checkout -> $release"
  $dry || git -C "$checkout" ls-files -z | tar -C "$checkout" --null --ignore-failed-read -T - -c | tar -x --no-same-owner -C "$release"
  for group in ${groups//,/ }; do options+=(--group "$group"); done
  # Python must not come from somebody's home, which the units hide.
  step env UV_PYTHON_INSTALL_DIR="$home/python" uv sync --quiet --directory "$release" "${options[@]}"
  for group in ${stacks//,/ }; do
    step env UV_PYTHON_INSTALL_DIR="$home/python" "$release/scripts/make_engine_env.sh" "$group" "$release/.venv-$group"
  done
  if ! $dry; then
    case $(readlink -f "$release/.venv/bin/python") in
      /root/* | /home/* | /run/user/*)
        if $live; then die "$(readlink -f "$release/.venv/bin/python") is in a home, which the units cannot see: --python PATH"; fi
        ;;
    esac
  fi
  step chmod -R u=rwX,go=rX "$release" # what git or uv's cache kept of root's umask; the services read it
  put "$release/.complete" 0644 < <(made_with)
}

use_release() { # use_release NAME: from now on what starts is of this release
  local before
  before=$(readlink "$home/current" 2>/dev/null || true)
  [[ $before != "releases/$1" ]] || return 0
  if [[ -n $before ]]; then
    step ln -sfnT "$before" "$home/previous"
  fi
  step ln -sfnT "releases/$1" "$home/current.new"
  step mv -fT "$home/current.new" "$home/current"
}

is_running() { # is_running NAME: has a process begun in it? The bridge goes on over many upgrades
  grep -qsaF -f <(printf %s "$home/releases/$1/") /proc/[0-9]*/cmdline
}

forget_old_releases() { # all but the three newest, the current and the previous one, and what still runs
  local name kept=0
  while read -r name; do
    kept=$((kept + 1))
    case releases/$name in "$(readlink "$home/current")" | "$(readlink "$home/previous")") continue ;; esac
    ((kept <= 3)) || is_running "$name" || step rm -rf "$home/releases/$name"
  done < <(ls -1t "$home/releases" 2>/dev/null || true)
}

ports_of() { # ports_of asr: as they are installed
  { find "$etc" -maxdepth 1 -name "$1-*.env" 2>/dev/null || true; } | sed "s/.*$1-\([0-9]*\)\.env/\1/" | sort -n | paste -sd, -
}

write_configuration() {
  local kind port
  for kind in asr tts; do
    put_once "$etc/$kind.yaml" 0640 "voice-$kind" <"$checkout/services/$kind/config.yaml"
  done
  put_once "$etc/voice.env" 0600 <<'TEXT'
# For all instances. keys.json: `voice keys`; what nginx shows to others is asked for a key.
ASR__SERVER__KEYS_FILE=/var/lib/voice-services/keys.json
TTS__SERVER__KEYS_FILE=/var/lib/voice-services/keys.json
ASR__SERVER__TOKEN_SECRET_FILE=/var/lib/voice-services/token-secret
TTS__SERVER__TOKEN_SECRET_FILE=/var/lib/voice-services/token-secret
# A change over /v1/lexicon reaches one instance, and through its file the others.
TTS__LEXICON__FILE=/var/lib/voice-services/tts/lexicon.yaml
TEXT
  for kind in asr tts; do
    for port in ${!kind//,/ }; do
      put_once "$etc/$kind-$port.env" 0600 <<TEXT
# The ${kind^^} instance at port $port. Its configuration is ${kind}.yaml; what differs stands here.
# VOICE_CPUS=0-7
# CUDA_VISIBLE_DEVICES=0
# VOICE_VENV=.venv-chatterbox
# ${kind^^}__LIMITS__MAX_SESSIONS=200
TEXT
    done
  done
  $bridge || return 0
  put_once "$etc/bridge.yaml" 0640 voice-bridge <"$checkout/examples/asterisk_bridge/config.yaml"
  put_once "$etc/voice-agent.yaml" 0640 voice-bridge <<'TEXT'
asr_url: http://127.0.0.1:8080 # nginx, which is there for this machine also when others come by TLS
tts_url: http://127.0.0.1:8080
# Relative paths begin at /var/lib/voice-services.
store:
  url: sqlite:///voice-agent/agent.db # postgresql://… for several bridges
TEXT
}

make_keys() { # the first key is shown once; services refuse to start without the files
  if [[ ! -e $state/token-secret ]]; then
    system "$installed" keys secret "$state/token-secret"
  fi
  if [[ ! -e $state/keys.json ]]; then
    echo "The first key, which is not shown again:"
    system "$installed" keys create operator
  fi
}

make_bridge_key() {
  local key=''
  [[ ! -e $etc/bridge.env ]] || return 0
  echo "+ voice keys create bridge, for $etc/bridge.env"
  if $live && ! $dry; then key=$("$installed" keys create bridge 2>/dev/null); fi
  put "$etc/bridge.env" 0600 <<TEXT
BRIDGE__ARI__PASSWORD=
VOICE_AGENT__ASR_KEY=$key
VOICE_AGENT__TTS_KEY=$key
TEXT
}

fetch_models() {
  case $models in
    none) ;;
    default) system "$installed" models download ;;
    *)
      # shellcheck disable=SC2086 # ids are words
      system "$installed" models download ${models//,/ }
      ;;
  esac
}

install_units() {
  local unit from=$home/current
  ! $dry || from=$checkout
  for unit in "$from"/deploy/systemd/*; do
    [[ $unit != */voice-llm.service ]] || $llm || continue
    [[ $unit != */voice-bridge.service ]] || $bridge || continue
    put "$units/${unit##*/}" 0644 <"$unit"
  done
  system systemctl daemon-reload
}

addresses() { # addresses 8001,8011
  local port list=''
  for port in ${1//,/ }; do list+=,127.0.0.1:$port; done
  echo "${list#,}"
}

install_nginx() {
  local kept=$etc/nginx.options options text
  $nginx || return 0
  [[ -n $nginx_options ]] || nginx_options=$(cat "$kept" 2>/dev/null || echo "--plain --listen 127.0.0.1:8080")
  put "$kept" 0600 <<<"$nginx_options"
  read -ra options <<<"$nginx_options"
  [[ -z $asr || " $nginx_options " == *" --asr "* ]] || options+=(--asr "$(addresses "$asr")")
  [[ -z $tts || " $nginx_options " == *" --tts "* ]] || options+=(--tts "$(addresses "$tts")")
  [[ " $nginx_options " != *" --certificate "* || " $nginx_options " == *" --inner "* ]] || options+=(--inner 127.0.0.1:8080)
  [[ " $nginx_options " == *" --status "* ]] || options+=(--status 127.0.0.1:8009) # deploy/prometheus reads it
  printf '+ voice nginx'
  printf ' %q' "${options[@]}"
  printf '\n'
  folder "$(dirname "$restarted")" 0755 root:root
  put "$restarted" 0644 <"$checkout/deploy/nginx.service.d/voice.conf"
  system systemctl daemon-reload
  if $dry; then return; fi
  folder "$(dirname "$site")" 0755 root:root
  text=$(PATH=$PATH:/usr/sbin "$home/current/.venv/bin/voice" nginx "${options[@]}") || die "nginx was left as it is"
  cp -f "$site" "$site.before" 2>/dev/null || true
  put "$site" 0644 <<<"$text"
  $live || return 0
  if ! PATH=$PATH:/usr/sbin nginx -t -q; then
    if [[ -e $site.before ]]; then mv -f "$site.before" "$site"; else rm -f "$site"; fi
    die "nginx refuses its configuration; it was left as it is"
  fi
  rm -f "$site.before"
  system systemctl reload-or-restart nginx
}

active_units() { # instances first, the bridge last, which needs them
  systemctl list-units --plain --no-legend --state=active,activating,reloading,failed 'voice-asr@*' 'voice-tts@*' 'voice-bridge*' |
    awk '{ print $1 }' | sort
}

# Units are of Type=notify: a restart returns when the instance can take sessions again. The kinds take turns
# by themselves, because only one instance is away at a time.
rolling_restart() {
  local unit
  $live || return 0
  while read -r unit; do
    [[ -n $unit ]] || continue
    case $unit in voice-bridge*) continue ;; esac
    step systemctl restart "$unit" ||
      die "$unit did not come back; the others still run what they ran before. journalctl -u $unit; deploy/install.sh rollback"
  done < <(active_units)
  if systemctl is-active --quiet voice-bridge; then
    echo "voice-bridge goes on as it is: a restart ends calls after calls.drain_s. systemctl restart voice-bridge"
  fi
}

start_all() {
  local kind port list=(voice.target)
  for kind in asr tts; do
    for port in ${!kind//,/ }; do list+=("voice-$kind@$port.service"); done
  done
  ! $bridge || list+=(voice-bridge.service)
  ! $llm || list+=(voice-llm.service)
  system systemctl enable --quiet "${list[@]}"
  ! $start || system systemctl start "${list[@]}"
}

remove_missing_instances() { # whose env file is there, and that --asr or --tts does not name
  local kind port
  for kind in asr tts; do
    for port in $(ports_of "$kind" | tr , ' '); do
      [[ ,${!kind}, != *,$port,* ]] || continue
      system systemctl disable --now "voice-$kind@$port.service"
      step mv "$etc/$kind-$port.env" "$etc/$kind-$port.env.removed"
    done
  done
}

do_install() {
  local version before was
  remember_options
  check_machine
  version=$(version_of "$checkout") || die "git cannot say which version $checkout is"
  version=$(release_of "$version")
  before=$(readlink "$home/current" 2>/dev/null || true)
  remember_units
  was=$(user_of tts@)
  make_users
  make_folders
  [[ -n $before ]] || take_in
  make_release "$version"
  use_release "$version"
  write_configuration
  keep_options
  step ln -sfn "/opt/voice-services/current/deploy/voice" "$installed"
  fetch_models
  make_keys
  ! $bridge || make_bridge_key
  install_units
  share_out
  if [[ -z $before ]] && $live && ! $dry; then hand_over "$(user_of tts@)"; fi
  remove_missing_instances
  if [[ -n $before && $before != "releases/$version" ]] && $start; then roll_out "$was"; fi
  start_all
  install_nginx
  forget_old_releases
  echo "$version is installed. deploy/install.sh status; deploy/README.md"
}

do_rollback() {
  local to was
  nginx=false
  check_machine
  to=$(readlink "$home/previous" 2>/dev/null) || die "there is no release before this one"
  [[ -e $home/$to/.complete || $dry == true ]] || die "$to is not complete"
  remember_units
  was=$(user_of tts@)
  if $live && systemctl is-active --quiet voice-bridge && ! grep -qs "^User=$(user_of bridge)$" "$home/$to/deploy/systemd/voice-bridge.service"; then
    die "in ${to#releases/} the bridge is another user, who cannot share its folder: systemctl stop voice-bridge, roll back, start it"
  fi
  use_release "${to#releases/}"
  install_units
  share_out
  roll_out "$was"
  echo "${to#releases/} is in use again"
}

do_status() {
  echo "current:  $(readlink "$home/current" 2>/dev/null || echo none)"
  echo "previous: $(readlink "$home/previous" 2>/dev/null || echo none)"
  $live || return 0
  systemctl list-units --all --no-pager 'voice*' nginx.service
}

remove_users() {
  local name names=("$admin" voice-asr voice-tts voice-bridge)
  for name in "${names[@]}"; do
    ! getent passwd "$name" >/dev/null || step userdel "$name"
  done
  for name in "$keyring" "${names[@]}"; do # a group of others stays when its user goes
    ! getent group "$name" >/dev/null || step groupdel "$name"
  done
}

do_uninstall() {
  nginx=false
  check_machine
  if $live; then # what is not loaded cannot be stopped, which is no fault
    step systemctl stop voice.target 'voice-asr@*' 'voice-tts@*' 'voice-bridge*' 'voice-llm*' || true
  fi
  step rm -rf "$units/voice.target.wants" "$units/multi-user.target.wants/voice.target"
  step rm -f "$units"/voice-{asr@,tts@,bridge,llm}.service "$units/voice.target" "$installed" "$site" "$restarted"
  [[ ! -d ${restarted%/*} ]] || step rmdir --ignore-fail-on-non-empty "${restarted%/*}"
  system systemctl daemon-reload
  if $live && systemctl is-active --quiet nginx; then step systemctl reload nginx; fi
  step rm -rf "$home"
  if $purge; then
    step rm -rf "$etc" "$state" "$cache"
    ! $live || remove_users
  else
    echo "Kept: $etc, $state (keys, models, voices, recordings, database); --purge removes them."
  fi
}

case $command in
  install | upgrade) do_install ;;
  rollback) do_rollback ;;
  restart) nginx=false && check_machine && rolling_restart ;;
  status) do_status ;;
  uninstall) do_uninstall ;;
  help | -h | --help) usage ;;
  *) usage >&2 && exit 2 ;;
esac
