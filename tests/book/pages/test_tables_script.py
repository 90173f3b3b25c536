"""The script that makes tables sort and copy, in a browser, on a page of the test's own."""

import pytest

from support.shared import ROOT

SCRIPT = ROOT / "book" / "_static" / "tables.js"

HEAD = ("method", "top-1, %", "gain", "p", "pictures")
ROWS = [
    ("WCA", "57.3 ± 0.4", "−1.2 (−2.0 to +0.1)", "< 0.001", "1,880"),
    ("CLIP", "9.9", "not available", "–", "600"),
    ("LGCA:n=8", "not available", "+10.3 (+8.0 to +12.1)", "0.001", "50,000"),
    ("LGCA:n=15", "61.0 ± 0.2", "−3.4 (−5.0 to −1.1)", "0.040", "600"),
    ("CuPL", "57.4<sup>a</sup><br>ours 57.1", "0.0 (−1.0 to +1.0)", "1.000", "not available"),
]


def written(rows) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{cell}</th>" for cell in HEAD)
    return f'<table class="dataframe"><caption>c</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


@pytest.fixture
def page(chromium, tmp_path):
    """A page opened from disk with one table of each kind: of the book's data, of something else, of irregular rows."""
    irregular = '<table class="dataframe" id="odd"><thead><tr><th>a</th><th>b</th></tr></thead><tbody>'
    irregular += "<tr><td rowspan=2>1</td><td>2</td></tr><tr><td>3</td></tr></tbody></table>"
    other = "<table id='other'><thead><tr><th>a</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>"
    script = f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{written(ROWS)}{irregular}{other}{script}", encoding="utf-8")
    page = chromium.new_context().new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page
    assert page.complaints == []
    page.context.close()


def order(page) -> list[str]:
    return page.locator("table.dataframe").first.locator("tbody tr td:first-child").all_inner_texts()


@pytest.mark.parametrize(
    ("column", "ascending"),
    [
        ("top-1", ["CLIP", "WCA", "CuPL", "LGCA:n=15", "LGCA:n=8"]),
        ("gain", ["LGCA:n=15", "WCA", "CuPL", "LGCA:n=8", "CLIP"]),
        ("p", ["WCA", "LGCA:n=8", "LGCA:n=15", "CuPL", "CLIP"]),
        ("pictures", ["CLIP", "LGCA:n=15", "WCA", "LGCA:n=8", "CuPL"]),  # equal ones stay as they stood
        ("method", ["CLIP", "CuPL", "LGCA:n=8", "LGCA:n=15", "WCA"]),
    ],
)
def test_a_heading_sorts_up_then_down_then_back_and_what_is_absent_stays_last(page, column, ascending):
    button = page.get_by_role("button", name=column, exact=column == "p").first
    button.click()
    assert order(page) == ascending
    assert page.locator("th[aria-sort=ascending]").all_inner_texts() == [
        next(of for of in HEAD if of == column or column in of.split(","))
    ]
    button.click()
    there = [row for row in ascending if row != ascending[-1] or column == "method"]
    down = there[::-1] + [row for row in ascending if row not in there]
    if column == "pictures":
        down[down.index("LGCA:n=15") : down.index("CLIP") + 1] = ["CLIP", "LGCA:n=15"]
    assert order(page) == down
    assert page.locator("th[aria-sort=descending]").count() == 1
    button.click()
    assert order(page) == [row[0] for row in ROWS]
    assert page.locator("th[aria-sort]").count() == 0


def test_the_keyboard_sorts_and_another_heading_takes_over(page):
    page.get_by_role("button", name="gain").first.focus()
    page.keyboard.press("Enter")
    assert order(page)[0] == "LGCA:n=15"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert order(page)[0] == "CLIP"
    assert page.locator("th[aria-sort]").all_inner_texts() == ["top-1, %"]


def test_irregular_tables_and_tables_of_other_kinds_are_left_as_they_are(page):
    assert page.locator("#odd button.sort, #other button").count() == 0
    assert page.locator("#odd + button.copy-table").count() == 1


COPIED = """method\ttop-1, %\tgain\tp\tpictures
WCA\t57.3 ± 0.4\t−1.2 (−2.0 to +0.1)\t< 0.001\t1,880
CLIP\t9.9\tnot available\t–\t600
LGCA:n=8\tnot available\t+10.3 (+8.0 to +12.1)\t0.001\t50,000
LGCA:n=15\t61.0 ± 0.2\t−3.4 (−5.0 to −1.1)\t0.040\t600
CuPL\t57.4; ours 57.1\t0.0 (−1.0 to +1.0)\t1.000\tnot available
"""


def test_a_table_is_copied_as_tab_separated_text(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("button.copy-table").first
    button.click()
    page.wait_for_function("document.querySelector('button.copy-table').textContent === 'copied'")
    assert page.evaluate("navigator.clipboard.readText()") == COPIED


def test_without_a_clipboard_it_is_copied_as_browsers_did_before(page):
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.evaluate("document.addEventListener('copy', () => { window.held = document.activeElement.value; })")
    page.locator("button.copy-table").first.click()
    page.wait_for_function("document.querySelector('button.copy-table').textContent === 'copied'")
    assert page.evaluate("window.held") == COPIED
    assert page.locator("textarea").count() == 0


def test_a_table_wider_than_its_place_says_so_as_long_as_it_is(page):
    page.locator("body").evaluate("body => (body.style.overflowX = 'auto')")
    first = page.locator("table.dataframe").first
    for width, scrolls in ((240, True), (1280, False)):
        page.set_viewport_size({"width": width, "height": 800})
        of = [first.element_handle(), scrolls]
        page.wait_for_function("([table, wanted]) => table.classList.contains('scrolls') === wanted", arg=of)
