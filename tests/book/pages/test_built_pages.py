"""How the built pages behave in a browser: offline, without complaint, on a phone and on a desk."""

import html
import http.server
import re
import threading
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.shared import ROOT

HTML = ROOT / "_build" / "html"
PAGES = sorted(path.stem for path in HTML.glob("*.html")) or ["index"]  # a skip needs one to say why

built = pytest.mark.skipif(not (HTML / "index.html").exists(), reason="no built book: run `make book` first")


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a browser asks for dozens of files at once; with the usual 5 some are refused


@pytest.fixture(scope="module")
def addresses():
    """The two ways to open the book: from disk, and from a server."""
    with Server(("127.0.0.1", 0), partial(Silent, directory=str(HTML))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"file": HTML.as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()


@built
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("page_name", PAGES)
def test_a_page_reads_offline_without_complaint(addresses, chromium, page_name, width):
    way = "file" if width == 400 else "http"
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme="dark")
    page = context.new_page()
    complaints = []
    home = (addresses[way], "data:", "blob:")
    page.on(
        "console", lambda said: said.type in {"error", "warning"} and complaints.append(f"{said.text} {said.location}")
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(home) or complaints.append(f"asked: {asked.url}"))
    page.on("requestfailed", lambda asked: complaints.append(f"failed: {asked.url}"))
    page.on("response", lambda got: got.status < 400 or complaints.append(f"{got.status}: {got.url}"))
    page.goto(f"{addresses[way]}/{page_name}.html", wait_until="networkidle")
    if page.locator(".math").count():
        page.wait_for_selector("mjx-container svg", state="attached")
        assert page.locator("mjx-merror").count() == 0
    assert page.locator("link[rel~=icon]").count() == 1  # else a browser asks the server for /favicon.ico
    scrolled = page.evaluate("document.scrollingElement.scrollWidth")
    images = page.locator("article img").evaluate_all("all => all.map(i => [i.src, i.alt.trim(), i.naturalWidth])")
    context.close()
    assert complaints == []
    assert scrolled <= width
    for source, alt, natural_width in images:
        assert natural_width, source
        assert alt and not alt.endswith((".png", ".svg")), f"{source}: set mystnb.image.alt in the cell's metadata"


@built
def test_search_finds_a_page(addresses, chromium):
    page = chromium.new_page()
    page.goto(f"{addresses['http']}/search.html?q=caspian", wait_until="networkidle")
    found = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    page.close()
    assert any(address.startswith("figure1.html") for address in found)


@built
def test_pages_and_site_stay_small():
    assert {path.name: path.stat().st_size for path in HTML.glob("*.html") if path.stat().st_size > 2e6} == {}
    assert sum(path.stat().st_size for path in HTML.rglob("*") if path.is_file()) < 36e6


@built
def test_pages_carry_no_error_output_and_no_path_of_this_machine():
    for path in HTML.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'class="output stderr' not in text and 'class="output traceback' not in text, path.name
        assert f"{HTML.parents[1]}/" not in text and f"{Path.home()}/" not in text, path.name


@built
def test_every_link_within_the_book_leads_somewhere():
    texts = {path.name: path.read_text(encoding="utf-8") for path in HTML.glob("*.html")}
    anchors = {name: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for name, text in texts.items()}
    lost = []
    for name, text in texts.items():
        for address in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text):
            target, _, anchor = html.unescape(address).partition("#")
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            page = target or name
            if not (HTML / unquote(page)).exists() or (
                anchor and page in anchors and unquote(anchor) not in anchors[page]
            ):
                lost.append(f"{name}: {address}")
    assert lost == []
