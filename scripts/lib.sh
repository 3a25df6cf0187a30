# shellcheck shell=bash
# What scripts/run, scripts/demo and scripts/bench share. Sourced with the repository as the current directory.

fail() {
    echo "scripts/$(basename "$0"): $*" >&2
    exit 1
}

# A Python of at least 3.11 that can make environments; Debian keeps venv in a package of its own.
usable_python() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Sets $python.
find_python() {
    for python in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
        if command -v "$python" >/dev/null && usable_python "$python"; then return; fi
    done
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "Python 3.11 or newer with venv is missing. As root: apt-get install python3 python3-venv ca-certificates"
    fi
    echo "Installing python3 and python3-venv ..."
    apt-get update -qq || fail "apt-get update failed: is this machine connected to the network?"
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        python3 python3-venv ca-certificates >/dev/null || fail "apt-get install python3-venv failed, see above"
    python=/usr/bin/python3
    usable_python "$python" || fail "$("$python" --version) is too old: Python 3.11 or newer is needed (Debian 12 has it)"
}

# Makes .venv, again only when pyproject.toml has changed.
make_environment() {
    local made_from
    made_from=$(sha256sum pyproject.toml | cut -c1-16)
    # scripts/test makes the same environment with more in it and leaves its own stamp; either will do.
    if [ -e ".venv/run-from-$made_from" ] || [ -e ".venv/made-from-$made_from" ]; then return; fi
    find_python
    echo "Making the environment in .venv (this takes a minute, once) ..."
    # An environment that was left half made is made again.
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then "$python" -m venv --clear .venv; fi
    # What pip and setuptools say matters only when they fail.
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -e . >.venv/pip.log 2>&1; then
        cat .venv/pip.log >&2
        fail "the packages could not be installed, see above: is this machine connected to the network?"
    fi
    rm -f .venv/run-from-*
    touch ".venv/run-from-$made_from"
}
