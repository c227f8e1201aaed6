#!/bin/sh
# Finds a Chromium for the page's tests, or installs one: the machine's own, else playwright's, else the system's
# package. Prints the line to type where none of these works. Plain sh, as tools/setup.sh.

set -eu
cd "$(dirname "$0")/.."

python=.venv/bin/python

have() { command -v "$1" >/dev/null 2>&1; }

# Some systems have a script of that name which only says what to install.
answers() { have "$1" && "$1" --version >/dev/null 2>&1; }

on_path() { answers chromium || answers chromium-browser || answers google-chrome; }

# Started for a moment: a browser that is there may still lack a library.
playwrights_starts() {
    "$python" - <<'PYTHON' >/dev/null 2>&1
import os
from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    playwright.chromium.launch(args=["--no-sandbox"] if os.geteuid() == 0 else []).close()
PYTHON
}

may_use_apt() { [ "$(id -u)" = 0 ] && have apt-get; }

apt_install() { # of Ubuntu's package nothing answers: it leads to a snap
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium && on_path
}

if on_path || playwrights_starts; then exit 0; fi
printf 'No browser is here yet; installing Chromium for the tests of the page.\n'
if "$python" -m playwright install chromium && playwrights_starts; then exit 0; fi
if may_use_apt && apt_install; then exit 0; fi

printf 'No browser could be installed, and the tests of the page need one: Chromium or Google Chrome.\n' >&2
if have apt-get; then
    printf 'Type:  sudo apt-get update && sudo apt-get install -y chromium\n' >&2
elif have dnf; then
    printf 'Type:  sudo dnf install -y chromium\n' >&2
elif have brew; then
    printf 'Type:  brew install --cask google-chrome && .venv/bin/python -m playwright install chromium\n' >&2
else
    printf 'Type:  .venv/bin/python -m playwright install --with-deps chromium\n' >&2
fi
exit 1
