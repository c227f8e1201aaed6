"""What the page weighs, and how soon a browser paints it."""

import gzip
import json
import re
import shutil
import statistics
from contextlib import closing
from urllib.parse import urljoin

import httpx

from tests.bench.api_process import api_process
from tests.bench.results import Row
from tests.bench.stage import postgres_server, workplace
from tests.conftest import TEMPLATE, execute, url_of
from tests.rows import add_session
from trainyard.database import Database

SESSIONS = 20
LOADS = 5
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What HTML, JavaScript and CSS load by themselves.
LOADED = {
    "text/html": re.compile(r"<(?:link|script|img)\b[^>]*?(?:href|src)=\"([^\"]+)\""),
    "text/javascript": re.compile(r"\b(?:from|import)\s*[\"'](\.{0,2}/[^\"']+)[\"']"),
    "text/css": re.compile(r"(?:@import\s+|url\()[\"']?([^\"')]+)"),
}
FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measure() -> list[Row]:
    with workplace() as folder, postgres_server(folder) as server_url:
        execute(server_url, "CREATE DATABASE {} TEMPLATE {}", "bench_page", TEMPLATE)
        url = url_of(server_url, "bench_page")
        with closing(Database(url)) as database, api_process(url, folder / "api") as api:
            database.transact(lambda c: [add_session(c, status="completed") for _ in range(SESSIONS)])
            return [_weight(api.url), _first_paint(api.url)]


def _weight(url: str) -> Row:
    files = page_files(url)
    plain = sum(map(len, files.values()))
    packed = sum(len(gzip.compress(content)) for content in files.values())
    largest = max(files, key=lambda path: len(files[path]))
    note = (
        f"{packed / 1e3:.1f} kB as gzip, which the server leaves to a proxy; {len(files)} files, the largest {largest}"
    )
    sizes = {path: len(content) for path, content in files.items()}
    figures = {"bytes": plain, "gzip_bytes": packed, "files": sizes}
    return Row("page, all files that / loads", f"{plain / 1e3:.1f} kB", note=note, figures=figures)


def page_files(url: str) -> dict[str, bytes]:
    """The contents of `/` and of all that it loads, by path."""
    found: dict[str, bytes] = {}
    with httpx.Client(base_url=url) as client:
        waiting = ["/"]
        while waiting:
            path = waiting.pop()
            if path in found or path.startswith("data:"):
                continue
            answer = client.get(path).raise_for_status()
            found[path] = answer.content
            links = LOADED.get(answer.headers["content-type"].partition(";")[0])
            waiting += [urljoin(path, link) for link in links.findall(answer.text)] if links else []
    return found


def _first_paint(url: str) -> Row:
    name = "page, first contentful paint"
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        return Row(name, "no browser here", note=f"looked for {', '.join(BROWSERS)}")
    milliseconds = paints(url, browser)
    note = f"median of {LOADS} first visits, {min(milliseconds):.0f} to {max(milliseconds):.0f}, headless, this machine"
    return Row(name, f"{statistics.median(milliseconds):.0f} ms", note=note, figures={"milliseconds": milliseconds})


def paints(url: str, browser: str) -> list[float]:
    """Milliseconds from the visit to the first contentful paint, each time with an empty cache."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(LOADS):
            with closing(chromium.new_context()) as context:
                page = context.new_page()
                page.goto(url)
                found.append(float(page.wait_for_function(FIRST_PAINT).json_value()))
        chromium.close()
    return found


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row.to_json(), ensure_ascii=False))
