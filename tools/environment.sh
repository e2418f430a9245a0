# Sourced by ./emodir and ./check, which set $root: finds or makes the virtual environment that they use.
# An active one is used as it is; otherwise it is .venv, made on first use.

# use_environment [dev]: puts an environment with emodir (and its development tools) first on PATH.
use_environment() {
    environment=${VIRTUAL_ENV:-$root/.venv}
    # Holds the checksum of what was installed, once that is complete: an interrupted installation is repeated.
    stamp=$environment/.emodir-${1:-use}
    wanted=$(cksum <"$root/pyproject.toml")
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        # Installed by hand: nothing to do.
        [ ! -e "$stamp" ] && is_installed "${1:-}" || install_emodir "${1:-}"
        echo "$wanted" 2>/dev/null >"$stamp" || true
    fi
    PATH=$environment/bin:$PATH
    export PATH
}

is_installed() {
    [ -x "$environment/bin/emodir" ] || return 1
    [ -z "$1" ] && return
    for tool in ruff mypy lint-imports pytest; do
        [ -x "$environment/bin/$tool" ] || return 1
    done
}

install_emodir() {
    if ! "$environment/bin/python" -m pip --version >/dev/null 2>&1; then
        [ -z "${VIRTUAL_ENV:-}" ] || fail "the active environment $environment has no pip; install emodir into it yourself"
        python=$(find_python)
        echo "Making $environment with $("$python" --version)." >&2
        "$python" -m venv "$environment"
    fi
    echo begun >"$stamp"
    if [ -n "${EMODIR_TORCH:-}" ]; then
        echo "Installing PyTorch ($EMODIR_TORCH) and emodir into $environment: about 200 MB to download for 'cpu'." >&2
        pip_install --index-url "https://download.pytorch.org/whl/$EMODIR_TORCH" torch torchvision
    elif ls -d "$environment"/lib/python3*/site-packages/torch >/dev/null 2>&1; then
        echo "Completing the installation in $environment." >&2
    else
        echo "Installing emodir into $environment. PyTorch with CUDA is about 3 GB to download and 6 GB on disk;" >&2
        echo "without a GPU, interrupt this and set EMODIR_TORCH=cpu: about 200 MB to download." >&2
    fi
    pip_install --editable "$root${1:+[$1]}"
    [ -z "$1" ] || cksum <"$root/pyproject.toml" >"$environment/.emodir-use"
}

pip_install() {
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
        fail "the installation failed; start this command again to continue it, or delete $environment first"
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$python" -c 'import ensurepip, venv' 2>/dev/null ||
                fail "$python has no venv module; on Debian and Ubuntu: sudo apt install python3-venv"
            echo "$python"
            return
        fi
    done
    fail "emodir needs Python 3.11 or newer; python3 is $(python3 --version 2>/dev/null || echo 'not installed')"
}

fail() {
    echo "error: $1" >&2
    exit 1
}
