#!/usr/bin/env bash
# The environment of one engine stack, beside the default one: Chatterbox and NeMo cannot share one.
#
#   scripts/make_engine_env.sh chatterbox|nemo [FOLDER] [--cpu] [--dev]
#
# FOLDER (default: .venv-chatterbox, .venv-nemo) then runs the TTS service with that engine:
# FOLDER/bin/python -m services.tts --config services/tts/config.gpu.yaml
#
# --cpu  the CPU build of torch, as pip finds it by its own configuration (index-url, find-links), else on
#        $TORCH_CPU_INDEX, by default PyTorch's. All other packages are those of uv.lock.
# --dev  with what the tests need.
#
# Does nothing when the environment is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

stack='' folder='' cpu=false groups=(--group tts)
for argument in "$@"; do
  case $argument in
    --cpu) cpu=true ;;
    --dev) groups+=(--group dev) ;;
    -*) usage ;;
    *) if [[ -z $stack ]]; then stack=$argument; elif [[ -z $folder ]]; then folder=$argument; else usage; fi ;;
  esac
done
case $stack in
  chatterbox) groups+=(--group chatterbox) ;;
  nemo) groups+=(--group nemo --group training --group asr) ;; # fine-tunes, and hears what it made
  *) usage ;;
esac
$cpu || groups+=(--group gpu) # tells the GPU's memory
folder=$(realpath -m "${folder:-.venv-$stack}")
python_version=${PYTHON_VERSION:-3.11} # what both stacks are tested with

locked=$(uv export --quiet --frozen --no-hashes --no-emit-project --no-default-groups "${groups[@]}")
stamp="$cpu $python_version $(sha256sum <<<"$locked" | cut -d' ' -f1)"
if [[ -f $folder/.stamp && $(<"$folder/.stamp") == "$stamp" ]]; then
  echo "$folder is up to date"
  exit
fi
if [[ -d $folder && ! -f $folder/pyvenv.cfg && -n $(ls -A "$folder") ]]; then
  echo "$folder is something else; not touched" >&2
  exit 2
fi
rm -f "$folder/.stamp"

version_of() { sed -n "s/^$1==\([^ ;+]*\).*/\1/p" <<<"$locked" | head -n 1; }

install_cpu_build() { # install_cpu_build PACKAGE VERSION: torch's packages say "+cpu" but on macOS
  local build="$1==$2" pip=("$folder/bin/python" -m pip install --quiet --no-deps)
  [[ $(uname) == Darwin ]] || build+=+cpu
  "${pip[@]}" "$build" 2>/dev/null ||
    "${pip[@]}" --retries 1 --timeout 15 \
      --index-url "${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}" "$build"
}

install_torchaudio() { # of what PyPI has the pure part works without CUDA, when its extension is gone
  local version=$1
  install_cpu_build torchaudio "$version" 2>/dev/null && return
  "$folder/bin/python" -m pip install --quiet --no-deps "torchaudio==$version"
  "$folder/bin/python" -c 'import torchaudio' 2>/dev/null ||
    rm -f "$folder"/lib/python*/site-packages/torchaudio/lib/*.so
}

if $cpu; then
  uv venv --quiet --seed --clear --python "$python_version" "$folder"
  install_cpu_build torch "$(version_of torch)" || {
    echo "torch $(version_of torch) for the CPU is not to be had: name an index that has it in TORCH_CPU_INDEX" >&2
    exit 3
  }
  [[ -z $(version_of torchaudio) ]] || install_torchaudio "$(version_of torchaudio)"
  grep -v -E '^(torch|torchaudio|triton|nvidia-[a-z0-9-]+|cuda-[a-z-]+)==' <<<"$locked" |
    uv pip install --quiet --no-deps --python "$folder/bin/python" -r - -e .
else
  UV_PROJECT_ENVIRONMENT=$folder uv sync --quiet --frozen --no-default-groups --python "$python_version" "${groups[@]}"
fi
"$folder/bin/python" -c 'import torch; print("torch", torch.__version__)'
echo "$stamp" >"$folder/.stamp"
