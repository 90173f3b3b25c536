"""The explorer in a browser: by keyboard, in words, and number for number."""

import json

import pytest
from PIL import Image

from lgca_book.pages import explorer as page
from lgca_book.studies.explorer_data import Exploration, Picture, Step, Verdict, _source
from lgca_core.evaluation.record import RECORD, load
from support.shared import ROOT

STATIC = ROOT / "book" / "_static"
BUILT = ROOT / "_build" / "html" / "figure2.html"
CLASSES = ["crane", "heron", "ibis"]


def verdict(scores):
    """Scores by class, in the order shown: heron, crane, ibis."""
    by_class = {1: scores[0], 0: scores[1], 2: scores[2]}
    best, second, _ = sorted(by_class, key=by_class.__getitem__, reverse=True)
    return Verdict(scores, best, second, round(by_class[best] - by_class[second], 7))


def step(boxes, weights, became, alone, scores, so_far):
    saliency = [0.9 - 0.1 * i for i in range(len(boxes))]
    return Step(boxes, saliency, weights, alone, became, verdict(scores), verdict(so_far))


def picture(key, kind, colour):
    first = step(
        [[0, 0, 10, 10], [20, 60, 12, 12], [40, 30, 8, 8]],
        [0.5, 0.2, 0.3],
        [0, None, 1],
        [1, 0, 2],
        [0.21, 0.2345, 0.1],
        [0.21, 0.2345, 0.1],
    )
    second = step([[0, 0, 20, 20], [32, 22, 24, 24]], [0.25, 0.75], [None, 0], [1, 1], [0.3, 0.2, 0.1], [0.25, 0.2, 0])
    third = step([[12, 2, 48, 48]], [1.0], [None], [1], [0.4, 0.2, 0.1], [0.30123, 0.2, -0.05])
    wca = step([[0, 0, 40, 40], [5, 30, 50, 50]], [0.6, 0.4], [None, None], [0, 1], [0.2, 0.22, 0.1], [0.2, 0.22, 0.1])
    return Picture(
        key=key,
        source=_source(Image.new("RGB", (80, 60), colour)),
        width=80,
        height=60,
        label=1,
        kind=kind,
        shown=[1, 0, 2],
        lgca=[first, second, third],
        wca=[wca],
        whole=verdict([0.33, 0.2, 0.1]),
    )


DATA = Exploration(
    dataset="birds",
    encoder="stub",
    seed=0,
    classes=CLASSES,
    counts={"lgca": 5, "wca": 4, "both": 9, "neither": 2},
    passes={"wca": 3, "lgca": 7},
    recorded=True,
    pictures=[picture("a.png", "lgca", "red"), picture("b.png", "lgca", "navy"), picture("c.png", "both", "green")],
)


def opened(chromium, address, **settings):
    """A page, and what it complains of."""
    made = chromium.new_page(**settings)
    complaints = []
    made.on("console", lambda said: said.type in {"error", "warning"} and complaints.append(said.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.goto(address, wait_until="load")
    return made, complaints


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The fragment on a page of its own, beside nothing but the script and the style of the book."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("explorer.js", "custom.css"):
        (folder / name).write_bytes((STATIC / name).read_bytes())
    (folder / "page.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>Explorer</title><link rel="icon" href="data:,"><link rel="stylesheet" href="custom.css">'
        "<style>html { --pst-color-primary: #06c }</style>"  # the theme's
        '<script src="explorer.js"></script>' + page.fragment(DATA).data,
        encoding="utf-8",
    )
    return (folder / "page.html").as_uri()


@pytest.fixture
def shown(chromium, address):
    made, complaints = opened(chromium, address, viewport={"width": 400, "height": 800})
    yield made
    assert complaints == []
    made.close()


def said(shown):
    return shown.locator(".explorer-said").inner_text()


def table(shown):
    """Scores by class and column, as a reader sees them."""
    rows = shown.locator(".explorer-table tbody tr").evaluate_all(
        "all => all.map(r => [...r.cells].map(c => c.innerText))"
    )
    return {row[0].removesuffix(" (true)"): [cell.removeprefix("highest").strip() for cell in row[1:]] for row in rows}


def printed(value):
    return f"{value:.4f}".replace("-", "−")


def expected(of, t):
    columns = [of.lgca[t].step, of.lgca[t].so_far, of.wca[-1].so_far, of.whole]
    return {CLASSES[c]: [printed(answer.scores[k]) for answer in columns] for k, c in enumerate(of.shown)}


def visible(shown):
    """Where the boxes that can be seen end up: [top, left, height, width], sorted."""
    return sorted(
        shown.locator(".explorer-box:not(.gone)").evaluate_all(
            "all => all.map(r => ['y', 'x', 'height', 'width'].map(n => Number(r.getAttribute(n))))"
        )
    )


def at_step(shown, of, t):
    assert said(shown).startswith(f"Step {t} of 2: {len(of.lgca[t].boxes)} box")
    assert table(shown) == expected(of, t)
    assert visible(shown) == sorted(of.lgca[t].boxes)
    assert shown.locator(".explorer-crops label").count() == len(of.lgca[t].boxes)


def test_the_slider_steps_forward_and_back_by_keyboard(shown):
    first = DATA.pictures[0]
    at_step(shown, first, 0)
    before = said(shown)
    shown.locator("input[type=range]").focus()
    for t in (1, 2):
        shown.keyboard.press("ArrowRight")
        at_step(shown, first, t)
    shown.keyboard.press("ArrowRight")  # there is no further step
    at_step(shown, first, 2)
    for t in (1, 0):
        shown.keyboard.press("ArrowLeft")
        at_step(shown, first, t)
    assert said(shown) == before


def test_the_buttons_step_and_keep_the_focus_at_the_ends(shown):
    following = shown.get_by_role("button", name="Next")
    following.focus()
    for t in (1, 2, 2):
        shown.keyboard.press("Enter")
        at_step(shown, DATA.pictures[0], t)
    assert following.get_attribute("aria-disabled") == "true"
    assert following.evaluate("node => node === document.activeElement")
    shown.keyboard.press("ArrowLeft")
    at_step(shown, DATA.pictures[0], 1)
    shown.get_by_role("button", name="Back").press("Enter")
    at_step(shown, DATA.pictures[0], 0)


def test_a_step_is_told_in_words(shown):
    shown.locator("input[type=range]").press("ArrowRight")
    for told in ("Step 1 of 2: 2 boxes", "20 to 24 pixels", "75.0 %", "0.1000 ahead of crane", "0.0500 ahead of crane"):
        assert told in said(shown)
    assert shown.locator("[role=status]").count() == 2
    assert shown.locator("input[type=range]").get_attribute("aria-valuetext") == "step 1 of 2"
    canvas, chart = (shown.locator(f".explorer-{what}").get_attribute("aria-label") for what in ("canvas", "chart"))
    assert all(told in canvas for told in ("heron", "2 boxes of step 1", "24 pixels wide", "at the bottom"))
    assert "1: heron; 2: heron; WCA: crane" in chart


def test_where_the_methods_disagree_is_said(shown):
    groups = shown.locator(".explorer-kind").evaluate_all("all => all.map(g => [g.innerText, g.children.length - 1])")
    assert groups == [["LGCA right, WCA wrong", 2], ["both right", 1]]
    lines = shown.locator(".explorer-verdicts").inner_text().splitlines()
    assert lines[0] == "heron: LGCA right, WCA wrong."
    told = " ".join(line.strip() for line in lines[1:] if line.strip())
    assert "crane wrong, ahead by 0.0200" in told  # WCA's
    assert "heron right, ahead by 0.1012" in told  # LGCA's


def test_a_picture_is_chosen_by_keyboard_and_begins_at_its_first_step(shown):
    shown.locator("input[type=range]").press("ArrowRight")
    pictures = shown.get_by_role("radio", name="heron: LGCA right, WCA wrong")
    assert pictures.count() == 2
    pictures.first.focus()
    shown.keyboard.press("ArrowRight")
    assert pictures.nth(1).is_checked()
    at_step(shown, DATA.pictures[1], 0)
    assert shown.locator(".explorer-canvas image").get_attribute("href") == DATA.pictures[1].source


def test_a_crop_is_followed_through_the_steps(shown):
    followed = shown.locator(".explorer-followed")
    # At first that whose descendant is the heaviest of the last step: here the third.
    for told in ("8 × 8 pixels", "at the bottom", "ibis (wrong)", "kept and grows to 24 × 24 pixels"):
        assert told in followed.inner_text()
    lost = shown.get_by_role("radio", name="20.0 % of the weight, not kept")
    lost.focus()
    shown.keyboard.press("Space")
    assert "12 × 12 pixels" in followed.inner_text() and "not kept" in followed.inner_text()
    shown.locator("input[type=range]").press("ArrowRight")
    assert "not kept after step 0" in followed.inner_text()
    shown.locator("input[type=range]").press("ArrowLeft")
    assert lost.is_checked()


def test_a_crop_shows_its_box(shown):
    crop = shown.locator(".explorer-crops label", has=shown.get_by_role("radio", name="20.0 %")).locator(
        ".explorer-crop"
    )
    style = crop.evaluate("node => [node.style.backgroundSize, node.style.backgroundPosition]")
    size, position = ([float(word.rstrip("%")) for word in of.split()] for of in style)
    assert size == pytest.approx([100 * 80 / 12, 100 * 60 / 12], rel=1e-4)
    assert position == pytest.approx([100 * 60 / (80 - 12), 100 * 20 / (60 - 12)], rel=1e-4)
    assert "data:image/webp" in crop.evaluate("node => getComputedStyle(node).backgroundImage")


def test_scores_can_be_seen_step_by_step(shown):
    drawn = "all => all.map(line => line.getAttribute('points'))"
    lines = shown.locator(".explorer-chart polyline")
    so_far = lines.evaluate_all(drawn)
    shown.get_by_label("each step alone").check()
    alone = lines.evaluate_all(drawn)
    assert len(so_far) == len(alone) == 3
    of = DATA.pictures[0].lgca

    def heights(points):
        return [float(point.split(",")[1]) for point in points.split()]

    # The true class is drawn last; heights go with its scores, downwards on the screen.
    for line, scores in ((so_far[-1], [s.so_far.scores[0] for s in of]), (alone[-1], [s.step.scores[0] for s in of])):
        down = heights(line)
        slope = (down[2] - down[0]) / (scores[2] - scores[0])
        assert slope < 0 and down[1] == pytest.approx(down[0] + slope * (scores[1] - scores[0]))
    assert heights(so_far[-1])[0] == heights(alone[-1])[0]  # one scale, and nothing to add up yet


def test_the_crops_of_wca_are_one_step(shown):
    shown.locator("input[type=range]").press("ArrowRight")
    shown.get_by_label("WCA, in one step").check()
    for told in ("WCA: 2 boxes", "40 to 50 pixels", "60.0 %", "crane (wrong), 0.0200 ahead of heron"):
        assert told in said(shown)
    assert visible(shown) == sorted(DATA.pictures[0].wca[0].boxes)
    assert shown.locator("input[type=range]").is_disabled()


def test_it_fits_a_phone(shown):
    assert shown.evaluate("document.scrollingElement.scrollWidth") <= 400


@pytest.mark.parametrize(("wish", "seconds"), [("reduce", "0s"), ("no-preference", "0.5s")])
def test_boxes_move_only_for_those_who_do_not_mind(chromium, address, wish, seconds):
    made, complaints = opened(chromium, address, reduced_motion=wish)
    moving = made.locator(".explorer-box").first.evaluate("node => getComputedStyle(node).transitionDuration")
    made.close()
    assert moving.split(", ")[0] == seconds and complaints == []


def test_tab_goes_from_control_to_control_and_the_focus_is_seen(shown):
    focused = """() => {
        const on = document.activeElement;
        const seen = [on, on.closest("label")].some((n) => n && getComputedStyle(n).outlineStyle === "solid");
        return [on.name || on.ariaLabel || on.textContent, seen];
    }"""
    reached = []
    for _ in range(7):
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate(focused))
    names = ["explorer-picture", "◀ Back", "Expansion step t", "Next ▶", "explorer-method", "explorer-scores"]
    assert reached == [[name, True] for name in [*names, "explorer-crop"]]


def test_without_scripts_the_page_says_so(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    made = context.new_page()
    made.goto(address)
    assert "needs JavaScript" in made.locator("body").inner_text()
    context.close()


@pytest.mark.skipif(not BUILT.exists(), reason="no built book: run `make book` first")
def test_the_built_page_shows_the_records_answers(chromium):
    made, complaints = opened(chromium, BUILT.as_uri(), viewport={"width": 1280, "height": 900})
    data = json.loads(made.locator(".explorer-data").text_content() or "")
    assert data["recorded"] and data["pictures"]
    where = ROOT / "_build" / "records" / data["dataset"]
    if not (where / RECORD).exists():
        pytest.skip(f"no record of {data['dataset']} is in _build/records: the book was built from one elsewhere")
    record, predictions = load(where)
    rows = predictions[predictions["seed"] == data["seed"]].set_index(["method", "path"])
    # Printed with four digits; half the bits also move with what a crop shares a batch with.
    near = 6e-5 if record.encoder.precision == "float32" else 1e-3
    for i, of in enumerate(data["pictures"]):
        made.locator(f"input[name=figure2-picture][value='{i}']").check(force=True)
        slider = made.locator("input[type=range]")
        slider.press("End")
        T = len(of["lgca"]) - 1
        assert said(made).startswith(f"Step {T} of {T}: ")
        told = made.locator(".explorer-verdicts li").all_inner_texts()
        for method, text in zip(("wca", "lgca"), told[:2], strict=True):
            row = rows.loc[method, of["key"]]
            right = "right" if row["prediction"] == row["label"] else "wrong"
            assert record.dataset.classes[row["prediction"]] in text and right in text
            margin = float(text.split("ahead by ")[1].replace("−", "-"))
            assert margin == pytest.approx(row["margin"], abs=near)
        slider.press("Home")
        assert said(made).startswith(f"Step 0 of {T}: ")
    assert complaints == []
    made.close()
