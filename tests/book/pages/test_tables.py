"""The pages of tables: every published row is shown, ties are marked, and what is said follows the numbers."""

import re

import numpy as np
import pandas as pd
import pytest

from lgca_book import style
from lgca_book.pages import components, differences, papers, shifts
from lgca_book.studies import ablation
from lgca_core.errors import LgcaError
from lgca_core.evaluation import paper_values, statistics
from lgca_core.evaluation.record import Dataset, save
from support.records import full_record as full, toy_record as make
from support.shared import ROOT
from support.stub_encoder import noise_folders

ABSENT = "not available"


# ---- the papers' values, with ours ---------------------------------------------------------------------------


def frames(html: str) -> dict[str, pd.DataFrame]:
    """The tables of a page: caption -> text of the cells, a line each, by method."""
    found = {}
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        caption = re.search(r"<caption>(.*?)</caption>", table)[1]
        head = [cell.strip() for cell in re.findall(r"<th [^>]*>(.*?)</th>", table)]
        rows = [re.findall(r"<td [^>]*>(.*?)</td>", row, re.DOTALL) for row in table.split("<tr>")[2:]]
        found[caption.split(": ")[1]] = pd.DataFrame(rows, columns=head).set_index("method")
    return found


def lines(cell: str) -> list[str]:
    """A cell's lines without marks: the paper's, then ours."""
    return [re.sub(r"<sup>.*?</sup>|<[^>]+>", "", line) for line in cell.split("<br>")]


def of_tables(folder) -> list[dict[str, pd.DataFrame]]:
    """The published tables of the pages of Table 1 and Table 2."""
    zero_shot = papers.tables(papers.beside(folder, papers.ZERO_SHOT), "c")
    imagenet = ["imagenet", *papers.SHIFTED]
    shifted = papers.tables(papers.with_trained(papers.beside(folder, imagenet), imagenet), "c", reference=["imagenet"])
    return [frames(zero_shot.data), frames(shifted.data)]


def test_every_published_row_is_shown_alone_where_nothing_of_ours_has_run(tmp_path):
    first, second = of_tables(tmp_path / "none")
    shown = 0
    for row in paper_values.table().itertuples():
        trained = row.method in paper_values.NOT_RUN
        tables = [second] if trained else [first] if row.dataset not in ("ImageNet-V2", "ImageNet-R") else [second]
        if paper_values.PAPERS_DATASETS[row.dataset] in papers.SHIFTED:
            tables = [second]
        for table in tables:
            ours = next((ours for ours, theirs in paper_values.PAPERS_METHODS.items() if theirs == row.method), None)
            name = f'{row.method} <span class="quiet">trained</span>' if trained else style.name(ours)
            spread = "" if np.isnan(row.std_percent) else f" ± {row.std_percent:.2f}"
            cell = table[row.backbone].loc[name, row.dataset]
            assert lines(cell) == [f"{row.top1_percent:.2f}{spread}"]
        shown += 1
    assert shown == len(paper_values.table()) > 170
    assert list(first) == list(paper_values.ENCODERS) and list(second) == ["ViT-B/16"]
    for table in (*first.values(), *second.values()):
        assert not table.map(lambda cell: "ours" in cell or ABSENT in cell).any(axis=None)
        assert style.name("wca-released") not in table.index  # its number is WCA's, and stands there
    assert lines(first["ViT-B/32"].loc["LaZSL, descriptors", "DTD"]) == ["–"]


def test_how_ours_is_run_is_said_once(tmp_path):
    said = papers.sentence_about_ours(papers.beside(tmp_path, papers.ZERO_SHOT))
    assert said.startswith("**Ours: not run yet.** `make reproduce DATASETS=imagenet,cub,pets,dtd,food101,places365 ")
    save(*full({"clip": [800]}), tmp_path / "dtd")
    said = papers.sentence_about_ours(papers.beside(tmp_path, papers.ZERO_SHOT))
    assert said.startswith("Ours has run on 1 of 21 pairs")


def test_every_published_value_has_its_source_below_its_table(tmp_path):
    page = papers.tables(papers.beside(tmp_path, papers.ZERO_SHOT), "c").data
    pieces = page.split("</ul>")[:-1]
    for piece, (backbone, table) in zip(pieces, frames(page).items(), strict=True):
        told = dict(re.findall(r"<li><sup>(\w)</sup> (.*?)</li>", piece))
        rows = paper_values.table()
        rows = rows[(rows["backbone"] == backbone) & (rows["method"] == "WCA")]
        for row in rows[rows["dataset"].map(paper_values.PAPERS_DATASETS).isin(papers.ZERO_SHOT)].itertuples():
            letter = re.search(r"<sup>(\w)</sup>", table.loc["WCA", row.dataset])[1]
            assert told[letter] == row.source
        assert len(re.findall(r"<sup>", piece.split("<ul")[0])) == table.map(lambda c: "<sup>" in c).sum().sum()


def test_lgca_has_no_row_until_it_has_run(tmp_path):
    for tables in of_tables(tmp_path):
        for table in tables.values():
            assert not any("LGCA" in name for name in table.index)


def test_ours_stands_below_the_papers_value_with_its_verdict(tmp_path):
    # Of 1880 pictures of DTD; the paper has CLIP 42.93 and CuPL 47.50 with ViT-B/32.
    save(*full({"clip": [800], "cupl": [912], "lgca": [913], "mine": [7]}), tmp_path / "b" / "dtd")
    save(*full({"clip": [30]}, count=70), tmp_path / "part")
    save(*make({"clip": np.ones((1, 5))}), tmp_path / "of-something-else")
    table = frames(papers.tables(papers.beside(tmp_path, papers.ZERO_SHOT), "c").data)["ViT-B/32"]
    clip, whole, part = lines(table.loc["CLIP", "DTD"])
    assert clip == "42.93"
    assert re.fullmatch(r"ours 42\.55 \(40\.\d\d to 44\.\d\d\), −0\.38: within", whole)
    assert re.fullmatch(r"ours 42\.86 \(.*\).*70 .*1880", part.replace("&#x27;", "'"))
    assert lines(table.loc["CuPL", "DTD"])[1].endswith(", +1.01: above")
    assert lines(table.loc["LGCA (our reading), equal crops", "DTD"])[0] == "–"
    assert re.fullmatch(r"ours 48\.56 \([^)]*\)", lines(table.loc["LGCA (our reading), equal crops", "DTD"])[1])
    assert lines(table.loc["mine", "DTD"])[0] == "–" and lines(table.loc["mine", "CUB"]) == ["–"]
    bold = [name for name in table.index if "<b>" in table.loc[name, "DTD"]]
    assert bold == ["CLIP", "CuPL", "LGCA (our reading), equal crops"]  # CLIP, in the record that has nothing else


# ---- ablation ------------------------------------------------------------------------------------------------

LOCAL = ":steps=0:start=0.3-0.5"


@pytest.fixture
def taken_apart():
    """WCA and LGCA at equal passes with some parts taken away: the crops matter, the text weights do not."""
    rng = np.random.default_rng(0)
    base = rng.random((5, 300)) < 0.6
    worse = base & (rng.random(300) < 0.7)
    runs = {
        "cupl-weighted": worse[:1],
        "wca": base,
        "wca:text_temperature=0": base,
        "wca:image_temperature=0": worse,
        "lgca-equal": base,
        f"lgca-equal{LOCAL}": base | (rng.random(300) < 0.3),
        "lgca-equal:lam=last": worse,
        "lgca-equal:rho=0.25": base,
        "lgca-equal:rho=0.25:steps=1": worse,
        "lgca-equal:start=0.5-0.9": base,
    }
    record, predictions = make(runs)
    config = {"n": 16, "rho": 0.5, "lam": "uniform", "steps": 3, "start": [0.1, 0.3]}
    changed = {
        "lgca-equal:lam=last": {"lam": "last"},
        "lgca-equal:rho=0.25": {"rho": 0.25},
        "lgca-equal:start=0.5-0.9": {"start": [0.5, 0.9]},
    }
    configs = {"cupl-weighted": {}} | {method: config | own for method, own in changed.items()}
    runs = [run.model_copy(update={"config": configs.get(run.method, config)}) for run in record.runs]
    return record.model_copy(update={"runs": runs}), predictions


def test_each_part_is_compared_with_its_own_full_method(taken_apart):
    parts = ablation.parts(*taken_apart, ["wca", "lgca-equal"])
    hits = statistics.correctness(taken_apart[1])
    told = list(zip(parts["full"], parts["component"], parts["method"]))
    assert told == [
        ("wca", "", "wca"),
        ("wca", "crops", "cupl-weighted"),
        ("wca", "crop weights", "wca:image_temperature=0"),
        ("wca", "text weights", "wca:text_temperature=0"),
        ("wca", "crop size", f"lgca-equal{LOCAL}"),
        ("wca", "expansion", "lgca-equal"),
        ("lgca-equal", "", "lgca-equal"),
        ("lgca-equal", "crops", "cupl-weighted"),
        ("lgca-equal", "expansion", f"lgca-equal{LOCAL}"),
        ("lgca-equal", "expansion", "lgca-equal:lam=last"),
    ]
    made = parts[parts["method"] != parts["full"]]
    expected = statistics.compare_methods(hits, list(zip(made["method"], made["full"])))
    for column in ("difference", "difference_low", "difference_high", "p", "p_holm"):
        assert made[column].tolist() == pytest.approx(expected[column].tolist())
    assert parts.loc[parts["method"] == parts["full"], ["difference", "p", "p_holm"]].isna().all(axis=None)
    assert parts["top1"].tolist() == pytest.approx([hits[method].mean() for method in parts["method"]])
    assert parts["crops"].isna().tolist() == [method == "cupl-weighted" for method in parts["method"]]
    of_wca = parts[parts["full"] == "wca"]
    assert dict(zip(of_wca["method"], of_wca["tied"])) == statistics.tied_with_best(
        {m: hits[m] for m in of_wca["method"]}
    )


def test_a_record_without_an_ablation_is_refused(taken_apart):
    with pytest.raises(LgcaError, match=r"'lgca'.*cupl-weighted, wca"):
        ablation.parts(*taken_apart)


def test_a_choice_is_one_setting_against_ours_in_its_own_record(taken_apart):
    configs = {
        "lgca-equal": {"steps": 3, "whole_image": False},
        "lgca-equal:steps=1": {"steps": 1, "whole_image": False},
        "lgca-equal:whole_image=true": {"steps": 3, "whole_image": True},
    }
    other = make({method: np.full((1, 300), method == "lgca-equal") for method in configs})
    runs = [run.model_copy(update={"config": configs[run.method]}) for run in other[0].runs]
    choices = ablation.choices([taken_apart, (other[0].model_copy(update={"runs": runs}), other[1])])
    assert list(zip(choices["component"], choices["change"])) == [
        ("start", "0.5-0.9 instead of 0.1-0.3"),
        ("rho", "0.25 instead of 0.5"),
        ("steps", "1 instead of 3"),
        ("lam", "last instead of uniform"),
        ("whole_image", "yes instead of no"),
    ]  # the local start without steps changes two settings, and is no choice of either
    assert choices["difference"].tolist()[:3] == [0, 0, -1]
    assert choices["p_holm"].tolist() == pytest.approx(statistics.holm(choices["p"]))


def test_what_is_said_of_the_parts_follows_the_numbers(taken_apart):
    parts = ablation.parts(*taken_apart, ["wca", "lgca-equal"])
    wca, lgca = components.verdict(parts).split("**LGCA (our reading), equal passes**")
    assert wca.startswith("**WCA**, ")
    lower, higher, same = (
        re.search(rf"\*\*{kind}:\*\* (.*)", wca)[1] for kind in ("Lower", "Higher", "Not told from zero")
    )
    assert "no crops: the whole picture" in lower and "no crop weights" in lower
    assert "small crops, as LGCA's first" in higher
    assert "no text weights" in same and "LGCA with as many passes" in same
    assert "the last step alone" in re.search(r"\*\*Lower:\*\* (.*)", lgca)[1]
    assert "Unclear" not in wca


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "kind"),
    [
        (-0.03, -0.01, 0.01, "Lower"),
        (0.01, 0.03, 0.01, "Higher"),
        (0.01, 0.03, 0.2, "Unclear"),
        (-0.01, 0.03, 0.01, "Unclear"),
        (-0.01, 0.03, 0.2, "Not told from zero"),
    ],
)
def test_a_difference_holds_where_interval_and_corrected_test_agree(low, high, p_holm, kind):
    row = {"method": "a", "difference": (low + high) / 2, "difference_low": low, "difference_high": high}
    frame = pd.DataFrame([row | {"p_holm": p_holm}])
    assert differences.outcomes(frame, "method").startswith(f"- **{kind}")
    assert differences.holds(frame)[0] == (kind in ("Lower", "Higher"))


def test_the_table_of_parts_marks_the_best_and_its_ties(taken_apart):
    parts = ablation.parts(*taken_apart, ["wca", "lgca-equal"])
    html = components.parts_table(parts, "wca").to_html()
    rows = parts[parts["full"] == "wca"].reset_index(drop=True)
    rule = re.search(r"([^{}]*)\{\s*font-weight: 700", html)[1]
    assert {int(row) for row in re.findall(r"row(\d+)_col1", rule)} == set(rows.index[rows["tied"]])
    assert html.count("in full") == 2  # its row, and the caption


def test_each_of_our_choices_is_linked_to_its_row():
    linked = re.findall(r"table3\.html#([\w-]+)", (ROOT / "book" / "paper.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(map(components.anchor, ablation.SETTINGS))
    frame = pd.DataFrame({"full": "lgca-equal", "component": ["rho", "rho", "whole_image"], "change": "x", "crops": 16})
    numbers = dict.fromkeys(
        ("top1", "passes", "seeds", "difference", "difference_low", "difference_high", "p_holm"), 0.5
    )
    html = components.choices_table(frame.assign(**numbers), "c").to_html()
    assert re.findall(r'id="(choice[\w-]*)"', html) == ["choice-rho", "choice-whole-image"]


# ---- shifts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "at_night"), [(["x", "y", "z"], {"row0_col2", "row1_col2"}), (["x", "y"], set())], ids=["above", "at"]
)
def test_methods_and_shifts_are_crossed_with_their_own_ties_and_none_at_chance(classes, at_night):
    even = np.tile([1, 0], 100)
    of = {"dataset": Dataset(name="toy", split="test", count=200, classes=classes, manifest_sha256="0" * 64)}
    day = make({"wca": even, "lgca": np.ones(200), "clip": np.zeros(200)}, **of)
    night = make({"wca": even, "lgca": even}, **of)
    tables = {"day": statistics.summary(*day), "night": statistics.summary(*night)}
    html = shifts.accuracy_table(tables, "c").to_html()
    cells = {key: text for key, text in re.findall(r'id="T_\w+?_(row\d+_col\d+)"[^>]*>(.*?)</td>', html)}
    assert cells["row0_col1"].startswith("50.0 (4") and cells["row1_col1"] == "100.0 (100.0 to 100.0)"
    assert cells["row2_col2"] == ABSENT
    rule = "".join(re.findall(r"([^{}]*)\{\s*font-weight: 700", html))
    assert set(re.findall(r"row\d+_col\d+", rule)) == {"row1_col1", *at_night}
    tidy = shifts.tidy(tables)
    assert list(tidy["dataset"]) == ["day"] * 3 + ["night"] * 2
    gains = statistics.compare_each(
        {"day": statistics.correctness(day[1]), "night": statistics.correctness(night[1])}, [("lgca", "wca")]
    )
    said = shifts.verdict(gains)
    assert said.startswith("**LGCA (our reading), equal crops, minus WCA**")
    assert "**Higher:** day, +50.0" in said and "**Not told from zero:** night, 0.0" in said
    assert shifts.gains_table(gains, "c").to_html().count("LGCA (our reading), equal crops, minus WCA") == 2


def test_a_shift_where_every_method_guesses_is_said_to_tell_nothing():
    tables = {"day": pd.DataFrame({"method": ["wca", "lgca"], "top1": [0.5, 0.6], "low": [0.45, 0.55]})}
    tables["night"] = pd.DataFrame({"method": ["wca", "lgca"], "top1": [0.03, 0.04], "low": [0.01, 0.02]})
    tables["dusk"] = tables["night"].assign(low=[0.01, 0.03])
    day, night, dusk = shifts.sentence_about_chance(tables, dict.fromkeys(tables, 0.025)).splitlines()
    assert "60.0&nbsp;% (LGCA (our reading), equal crops); guessing gives 2.5" in day and "points from" not in day
    assert "−56.0 points from day's best" in night and "cannot tell methods apart" in night
    assert "cannot tell" not in dusk
    assert shifts.chances({"toy": make({"wca": np.ones(3)})}) == {"toy": 0.5}


def test_pictures_of_the_same_classes_and_a_word_on_what_is_not_here(tmp_path):
    classes = {"plain": ("owl", "wren", "yak"), "dark": ("jay", "owl", "wren")}
    manifests = {place: noise_folders(tmp_path / place, names, [(20, 20)]) for place, names in classes.items()}
    figure = shifts.samples(manifests, each=2)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["owl", "wren"]
    assert [ax.get_ylabel() for ax in figure.axes[::2]] == ["plain", "dark"]
    html = shifts.pictures({"plain": str(tmp_path / "plain"), "cub": "cub"}).data
    assert "data:image/webp" in html and html.endswith("not shown: cub.</p>")
    assert shifts.pictures({"cub": "cub"}).data.startswith("<p>")
    assert len(shifts.samples(manifests, each=4).axes) == 4  # two classes are shared, and each is shown once
    noise_folders(tmp_path / "other", ("emu", "kiwi"), [(20, 20)])
    apart = shifts.pictures({name: str(tmp_path / name) for name in ("plain", "other")}).data
    assert "data:image" not in apart and "no class is in all" in apart


def test_figures_draw(taken_apart):
    import matplotlib.pyplot as plt

    parts = ablation.parts(*taken_apart, ["wca", "lgca-equal"])
    forest = differences.forest(components.changed(parts), "full", "change", "points")
    assert [ax.get_title("left") for ax in forest.axes] == ["WCA", "LGCA (our reading), equal passes"]
    assert forest.axes[-1].get_xlabel() == "points"
    filled = [line.get_markerfacecolor() != "white" for line in forest.axes[0].lines if line.get_marker() == "o"]
    rows = components.changed(parts)
    assert filled[::-1] == differences.holds(rows[rows["full"] == "WCA"]).tolist()
    summary = statistics.summary(*taken_apart)
    by_shift = shifts.accuracy({"day": summary, "night": summary}, {"day": 0.5, "night": 0.5})
    assert [label.get_text() for label in by_shift.axes[0].get_yticklabels()] == ["day", "night"]
    assert not plt.get_fignums()
