"""Prompts: what is read out, looked up by name, and refused with a sentence that says why."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lgca_core.errors import LgcaError
from lgca_core.prompts import files, survey
from lgca_core.prompts.names import fold, match
from lgca_core.prompts.sentences import GENERIC_TEMPLATES, WORDS, descriptors, digest, plain, templates, waffle, which


def write(folder: Path, content) -> Path:
    path = folder / "descriptions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# ---- makers ------------------------------------------------------------------------------------------------


def test_plain_and_templates_read_names_out():
    assert plain(["cat", "red_finch"]) == [["a photo of a cat."], ["a photo of a red finch."]]
    made = templates(["{x}", "red_finch"], ["the {}.", "{name}: {name}!"])
    assert made == [["the {x}.", "{x}: {x}!"], ["the red finch.", "red finch: red finch!"]]
    generic = templates(["cat"])[0]
    assert len(generic) == len(set(generic)) == len(GENERIC_TEMPLATES)
    assert all("cat" in sentence and "{" not in sentence for sentence in generic)


def test_templates_without_a_place_are_refused():
    with pytest.raises(LgcaError, match=r"'a photo\.'"):
        templates(["cat"], ["a photo of a {}.", "a photo."])
    with pytest.raises(LgcaError, match="no templates"):
        templates(["cat"], [])


def test_templates_from_a_file(tmp_path):
    path = write(tmp_path, ["the {}.", "a {}."])
    assert files.read_templates(path) == ["the {}.", "a {}."]
    for content in ([], {"a": "b"}, ["x {}", 3], "nonsense"):
        write(tmp_path, content)
        with pytest.raises(LgcaError, match=r"form \["):
            files.read_templates(path)


@pytest.mark.parametrize(
    ("descriptor", "sentence"),
    [
        ("a seabird", "which is a seabird"),
        ("an orange bill", "which is an orange bill"),
        ("used for cutting", "which is used for cutting"),
        ("antlers", "which is antlers"),
        ("has a tail", "which has a tail"),
        ("often white", "which often white"),
        ("typically long", "which typically long"),
        ("may be curved", "which may be curved"),
        ("can be blue", "which can be blue"),
        ("canopy", "which canopy"),
        ("black feet", "which has black feet"),
        ("the bands", "which has the bands"),
    ],
)
def test_descriptor_rule(descriptor, sentence):
    assert which(descriptor) == sentence
    assert descriptors(["apple_pie"], {"apple_pie": [descriptor]}) == [[f"apple pie, {sentence}"]]


def test_descriptors_are_looked_up_by_name():
    table = {"b": ["black feet"], "a": ["a seabird", "long bill"]}
    assert descriptors(["a", "b"], table) == [
        ["a, which is a seabird", "a, which has long bill"],
        ["b, which has black feet"],
    ]
    with pytest.raises(LgcaError, match="'c'"):
        descriptors(["a", "c"], table)


def test_waffle():
    made = waffle(["cat", "red_finch"], seed=1)
    assert [len(p) for p in made] == [30, 30]
    noise = [p.removeprefix("a photo of a cat, which has ").removesuffix(".") for p in made[0]]
    assert [f"a photo of a red finch, which has {text}." for text in noise] == made[1]  # shared over classes
    for words, letters in zip(noise[::2], noise[1::2], strict=True):
        assert all(word in WORDS for word in words.split())
        assert [len(word) for word in words.split()] == [len(word) for word in letters.split()]
        assert re.fullmatch(r"[a-z ]+", letters)
    assert len({text for text in noise}) == 30
    assert {len(words.split()) for words in noise[::2]} == {1, 2}
    assert waffle(["cat", "red_finch"], seed=1) == made
    assert waffle(["cat"], seed=2) != made[:1]
    assert len(waffle(["cat"], seed=1, pairs=3)[0]) == 6
    for seed in range(20):
        words = " ".join(p.split("which has ")[1] for p in waffle(["cat"], seed=seed)[0][::2]).split()
        assert len(set(words)) == len(words)  # no word twice
    for pairs in (0, 1000):
        with pytest.raises(LgcaError, match="pairs of descriptors"):
            waffle(["cat"], seed=1, pairs=pairs)


def test_word_list_is_plain():
    assert len(set(WORDS)) == len(WORDS) > 150
    assert all(re.fullmatch("[a-z]{4,9}", word) for word in WORDS)


def test_digest_sees_every_change():
    base = {"clip": [["a"], ["b"]], "cupl": [["c", "d"], ["e"]]}
    assert digest(base) == digest(dict(reversed(base.items())))
    assert re.fullmatch("[0-9a-f]{64}", digest(base))
    others = [
        {"clip": [["b"], ["a"]], "cupl": base["cupl"]},
        {"clip": base["clip"], "cupl": [["d", "c"], ["e"]]},
        {"clip": base["clip"], "cupl": [["c"], ["d", "e"]]},
        {"clip": base["clip"]},
    ]
    assert len({digest(other) for other in [base, *others]}) == 5


# ---- names -------------------------------------------------------------------------------------------------


def test_names_match_exactly_first_then_loosely():
    table = ["Red finch", "red-finch", "Black-footed Albatross", "american bulldog", "newt", "ostrich"]
    names = ["american bulldog", "Black_footed_Albatross", "red-finch", "newt", "newt"]
    assert list(match(names, table, "a.json").items()) == [
        ("american bulldog", "american bulldog"),
        ("Black_footed_Albatross", "Black-footed Albatross"),
        ("red-finch", "red-finch"),
        ("newt", "newt"),
    ]
    with pytest.raises(
        LgcaError, match=r"^a\.json: 'Red finch', 'red-finch' could all mean the class 'RED_FINCH': keep"
    ):
        match(["RED_FINCH"], table, "a.json")
    with pytest.raises(
        LgcaError, match=r"^a\.json has no descriptors for 'ostritch', 'kiwi' \(did you mean 'ostrich'\?\)$"
    ):
        match(["newt", "ostritch", "kiwi"], table, "a.json", "descriptors")


@given(st.lists(st.text("abcé", min_size=1), min_size=1), st.data())
def test_folding_disregards_case_and_what_stands_between_words(words, data):
    def spelled() -> str:
        between = [data.draw(st.sampled_from([" ", "_", "-", "  "])) for _ in words[1:]] + [""]
        name = "".join(word + gap for word, gap in zip(words, between, strict=True))
        return data.draw(st.sampled_from([name, name.upper(), name.title()]))

    first, second = spelled(), spelled()
    assert fold(first) == fold(second) == " ".join(words)
    assert match([first], [second], "here") == {first: second}
    with pytest.raises(LgcaError, match="has no descriptions"):
        match([first], [second + "x"], "here")


@pytest.mark.parametrize("name", ["Bär", "Grünfink", "각시붕어", "Ståle", "ΐ"])
def test_letters_in_one_piece_or_several_are_the_same(name):
    whole, apart = unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)
    assert whole != apart
    assert match([whole], [apart], "here") == {whole: apart}
    assert match([apart], [whole], "here") == {apart: whole}
    assert fold(whole.upper()) == fold(apart)


@pytest.mark.parametrize("other", ["Apple", "APPLE"])
def test_names_that_find_one_entry_cannot_be_told_apart(other):
    with pytest.raises(LgcaError, match=f"'apple' and '{other}' cannot be told apart.*'apple': rename"):
        match(["apple", other], ["apple"], "here")
    assert match(["apple", other], ["apple", other], "here") == {"apple": "apple", other: other}


# ---- what a table is like ----------------------------------------------------------------------------------


def test_survey_counts_what_is_odd():
    long = "very " * 80 + "long."
    fits = "very " * (survey.CONTEXT - 4) + "long."
    made = survey.survey(
        {
            "cat": ["It purrs.", "it  PURRS.", "1.", "It\npurrs.", fits],
            "dog": ["It barks.", "it purrs."],
            "owl": ["It hoots.", long, "It barks.", "It flies by night.", "", "It turns its head."],
        }
    )
    assert (made.classes, made.sentences, made.counts) == (3, 13, (2, 5, 6))
    assert made.single == [("cat", "1."), ("owl", "")]
    assert made.repeated == [("cat", "it  PURRS."), ("cat", "It\npurrs.")]
    assert made.shared == {"It purrs.": ["cat", "dog"], "It barks.": ["dog", "owl"]}
    assert made.cut == [("owl", long, 84)]
    assert made.longest == ("owl", long, 84)
    assert survey.tokens(fits) == survey.CONTEXT  # and is not cut


def test_survey_counts_tokens_of_what_is_read_out():
    made = survey.survey({"owl": ["wings"], "barn owl": ["wings"]}, lambda name, told: [f"{name}, {told[0]}"])
    assert made.longest == ("barn owl", "barn owl, wings", 6)
    assert made.sentences == 2


def test_tokens_are_those_that_clip_reads():
    import open_clip

    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")
    fits, cut = "word " * (survey.CONTEXT - 2), "word " * (survey.CONTEXT - 1)
    for text in ("", "A photo of a Black-footed Albatross.", "crème fraîche, 3.5 cm\n* “webbed”", fits):
        assert survey.tokens(text) == int((tokenizer([text]) != 0).sum())
    assert (survey.tokens(fits), survey.tokens(cut)) == (survey.CONTEXT, survey.CONTEXT + 1)
    assert tokenizer([fits]).equal(tokenizer([cut]))


# ---- descriptions ------------------------------------------------------------------------------------------


def test_descriptions_come_in_class_order(tmp_path):
    path = write(tmp_path, {"b": ["b one.", "", " b two. "], "a": ["a one."]})
    assert list(files.read_descriptions(path, ["a", "b"]).items()) == [
        ("a", ["a one."]),
        ("b", ["b one.", "b two."]),
    ]
    assert list(files.read_descriptions(path)) == ["b", "a"]
    assert files.read_descriptions(path, ["a", "b", "a"]) == files.read_descriptions(path, ["a", "b"])


def test_descriptions_meet_names_both_ways(tmp_path):
    path = write(tmp_path, {"Red finch": ["x."], "blue_tit": ["y."]})
    assert files.read_descriptions(path, ["red_finch", "blue tit"]) == {
        "red_finch": ["x."],
        "blue tit": ["y."],
    }
    hyphens = write(tmp_path, {"Black-footed Albatross": ["x."]})
    assert list(files.read_descriptions(hyphens, ["Black_footed_Albatross"])) == ["Black_footed_Albatross"]
    exact = write(tmp_path, {"Bengal": ["a cat."], "bengal": ["a place."]})
    assert files.read_descriptions(exact, ["bengal", "Bengal"])["bengal"] == ["a place."]


def test_descriptions_may_carry_a_byte_order_mark(tmp_path):
    path = write(tmp_path, "\ufeff" + json.dumps({"a": ["ä."]}, ensure_ascii=False))
    assert files.read_descriptions(path, ["a"]) == {"a": ["ä."]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON .line 1"),
        ('["a", "b"]', "JSON list"),
        ("{}", "no descriptions for 'a', 'b'"),
        ('{"a": ["x."], "a": ["y."], "b": ["z."]}', "'a' occurs twice"),
        ({"a": ["x."]}, "no descriptions for 'b'"),
        ({"a": ["x."], "b": []}, "class 'b' has no descriptions"),
        ({"a": ["x."], "b": ["", "  "]}, "class 'b' has no descriptions"),
        ({"a": ["x."], "b": "y."}, "'b' must map to a list"),
        ({"a": ["x."], "b": [1]}, "'b' must map to a list"),
        ({"a": ["x."], "b": {"c": ["y."]}}, "'b' must map to a list"),
        ({"a": ["x."], "b": ["y."], "ostrich": ["z."]}, "describes 'ostrich'.*remove or rename"),
        ({"A": ["x."], "a ": ["x."], "b": ["y."]}, "could all mean the class 'a'"),
    ],
)
def test_bad_descriptions_name_the_fault(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(LgcaError, match=message) as caught:
        files.read_descriptions(path, ["a", "b"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_descriptions_suggest_the_near_name(tmp_path):
    path = write(tmp_path, {"kangaroo": ["x."], "helicoptre": ["y."]})
    with pytest.raises(LgcaError, match=r"no descriptions for 'helicopter' \(did you mean 'helicoptre'"):
        files.read_descriptions(path, ["kangaroo", "helicopter"])
    path = write(tmp_path, {"kangaroo": ["x."], "Kangaroos": ["y."]})
    with pytest.raises(LgcaError, match=r"'Kangaroos'.*did you mean 'kangaroo'"):
        files.read_descriptions(path, ["kangaroo"])


def test_unreadable_description_files(tmp_path):
    with pytest.raises(LgcaError, match="does not exist"):
        files.read_descriptions(tmp_path / "none.json", ["a"])
    with pytest.raises(LgcaError, match="cannot be read"):
        files.read_descriptions(tmp_path, ["a"])
    (tmp_path / "latin.json").write_bytes('{"a": ["ä."]}'.encode("latin-1"))
    with pytest.raises(LgcaError, match="not UTF-8"):
        files.read_descriptions(tmp_path / "latin.json", ["a"])
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(LgcaError, match="is not JSON"):
        files.read_descriptions(tmp_path / "deep.json", ["a"])
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(LgcaError, match="describes no class"):
        files.read_descriptions(tmp_path / "empty.json")
