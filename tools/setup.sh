#!/bin/sh
# Makes .venv in this checkout with everything Trainyard needs, at the versions constraints.txt names.
# Looks first at what the machine must have, and prints the line to type for what it has not. A second call
# with nothing changed costs nothing. Plain sh: runs under dash, and under macOS's bash 3.2.

set -eu
cd "$(dirname "$0")/.."

needed_gib=10
venv=.venv
python=$venv/bin/python
stamp=$venv/trainyard-setup
begun=$venv/trainyard-setup-begun

# The folder is part of it: an environment does not survive a move.
key=$({ pwd; cat pyproject.toml constraints.txt tools/setup.sh; } | cksum)

say() { printf '%s\n' "$*"; }

fail() { # what is wrong, then the line to type
    printf 'Trainyard cannot be set up: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'Type:  %s\n' "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The line that installs a package, by whatever this machine installs packages with.
install_line() { # its name for apt, dnf and brew
    if [ "$(id -u)" = 0 ]; then sudo=''; else sudo='sudo '; fi
    if have apt-get; then
        say "${sudo}apt-get update && ${sudo}apt-get install -y $1"
    elif have dnf; then
        say "${sudo}dnf install -y $2"
    elif have brew; then
        say "brew install $3"
    else
        say "(your package manager) install $1"
    fi
}

python_fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in python3.13 python3.12 python3.11 python3; do
        if have "$candidate" && python_fits "$candidate"; then
            say "$candidate"
            return
        fi
    done
}

check_machine() {
    case "$(uname -s)-$(uname -m)" in
    Linux-* | Darwin-arm64) ;;
    *) fail "it runs on Linux and on Macs with Apple silicon; this is $(uname -s) on $(uname -m)." ;;
    esac
}

check_python() {
    if have python3; then newer='python3.11 python3.11-venv'; else newer='python3 python3-venv'; fi
    [ -n "$system_python" ] || fail 'it needs Python 3.11 or later, and none is on the PATH.' \
        "$(install_line "$newer" python3.12 python@3.13)"
    # Debian and Ubuntu ship these two apart from Python.
    version=$("$system_python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$system_python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        fail "$system_python cannot make virtual environments (its modules venv and ensurepip are missing)." \
            "$(install_line "$version-venv" "$version" "python@${version#python}")"
}

check_library() { # file name, its package for apt and dnf
    "$system_python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1" >/dev/null 2>&1 ||
        fail "the system's $1 is missing, which OpenCV loads." "$(install_line "$2" "$3" "$2")"
}

check_disk() {
    free_gib=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free_gib" -ge "$needed_gib" ] ||
        fail "it needs $needed_gib GB of free disk in $(pwd), where $free_gib GB are free. Free some, or use another disk."
}

check_all() {
    check_machine
    check_python
    if [ "$(uname -s)" = Linux ]; then
        check_library libGL.so.1 libgl1 mesa-libGL
        check_library libglib-2.0.so.0 libglib2.0-0 glib2
    fi
    [ -x "$venv/bin/ruff" ] || check_disk # an environment that only needs a newer version takes little
}

# Packages that were interrupted half way, or a Python that is gone: begin anew.
drop_broken() {
    if [ -e "$venv" ] && { [ -e "$begun" ] || ! "$python" -m pip --version >/dev/null 2>&1; }; then
        say 'Removing a .venv that is broken or half made.'
        rm -rf "$venv"
    fi
}

make_venv() {
    if [ ! -e "$venv" ]; then
        say 'Setting up .venv: about 3 GB to download, 7 GB on disk, a few minutes.'
        "$system_python" -m venv "$venv" || fail "$system_python -m venv $venv did not work (see above)."
        : >"$begun"
    fi
}

install_packages() {
    if [ -t 1 ]; then progress=''; else progress='--quiet --progress-bar off'; fi
    # shellcheck disable=SC2086 # two words or none are meant
    "$python" -m pip install --disable-pip-version-check --use-pep517 $progress \
        -c constraints.txt -e '.[dev]' ||
        fail 'pip could not install the packages (see above). Without internet it cannot; otherwise run this again.'
}

if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && "$python" -c '' 2>/dev/null; then
    exit 0
fi
drop_broken
system_python=$(find_python)
check_all
make_venv
install_packages
printf '%s\n' "$key" >"$stamp"
rm -f "$begun"
say "Trainyard is set up in $(pwd)/$venv."
