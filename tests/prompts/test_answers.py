"""What chat models answer is read, whatever shape they give it, and nothing of it is lost in silence."""

import json

import pytest
from hypothesis import given, strategies as st

from lgca_core.errors import LgcaError
from lgca_core.prompts.answers import read_answer

CLASSES = ["heron", "egret", "red_finch"]
TOLD = {
    "heron": ["A heron is tall.", "A heron's neck is long."],
    "egret": ["An egret is white."],
    "red_finch": ["A red finch is red."],
}
PLAIN = json.dumps(TOLD)

# Answers that say what TOLD says, each in a shape of its own.
SHAPES = {
    "plain": PLAIN,
    "in a fence, with prose": f"Sure!\n```json\n{PLAIN}\n```\nLet me know!",
    "in several fences": '```json\n{"heron": ["A heron is tall.", "A heron\'s neck is long."]}\n```\nand\n'
    '```\n{"Egret": ["An egret is white."], "Red-Finch": ["A red finch is red."]}\n```',
    "trailing commas and comments": '{\n "heron": ["A heron is tall.", // two\n "A heron\'s neck is long.",],\n'
    ' # more\n "egret": ["An egret is white.",], /* and\n more */ "red finch": ["A red finch is red."],\n}',
    "no commas": '{\n"heron": [\n"A heron is tall."\n"A heron\'s neck is long."\n]\n"egret": ["An egret is white."]\n'
    '"red finch": ["A red finch is red."]\n}',
    "curly quotes": "{“heron”: [“A heron is tall.”, “A heron’s neck is long.”], “egret”: [“An egret is white.”],"
    " “red finch”: [“A red finch is red.”]}",
    "python": "```python\ntexts = {\n 'heron': ['A heron is tall.', 'A heron\\'s neck is long.'],\n"
    " egret: ['An egret is white.'],\n 'red finch': ('A red finch is red.',) }".replace("(", "[").replace(",)", "]"),
    "wrapped": '{"classes": {"heron": {"sentences": ["A heron is tall.", "A heron\'s neck is long."]},'
    ' "egret": {"1": "An egret is white."}, "red finch": [{"sentence": "A red finch is red."}]}, "n": 3}',
    "a list of objects": '[{"class": "heron", "sentences": ["A heron is tall.", "A heron\'s neck is long."]},'
    '{"name": "egret", "descriptions": ["An egret is white."]}, {"class": "red_finch", "text": "A red finch is red."}]',
    "JSON lines": '{"class": "heron", "text": "A heron is tall."}\n'
    '{"class": "heron", "text": "A heron\'s neck is long."}\n'
    '{"class": "egret", "text": "An egret is white."}\n{"class": "red finch", "text": "A red finch is red."}',
    "a list below each name": '## Heron\n["A heron is tall.", "A heron\'s neck is long."]\n## Egret\n'
    '["An egret is white."]\nRed finch: ["A red finch is red."]',
    "assigned": 'heron = ["A heron is tall.", "A heron\'s neck is long."]\n"egret": ["An egret is white."],\n'
    'red_finch = ["A red finch is red."]',
    "headings": "# Descriptions\n\n## Heron\n1. A heron is tall.\n2. **A heron’s** neck\n   is long.\n\n### Egret\n"
    "- An egret is white.\n\n**red finch:**\n* A red finch is red.\n\nLet me know if you want more!",
    "headings within a class": "## Heron\n### Size\n- A heron is tall.\n### Shape\n- A heron's neck is long.\n"
    "## The Egret\n- An egret is white.\n## Red finch (Carpodacus)\n- A red finch is red.",
    "underlined headings": "Heron\n=====\n- A heron is tall.\n- A heron's neck is long.\n\nEgret\n-----\n"
    "- An egret is white.\nRed finch\n---\n+ A red finch is red.",
    "lists in a list": "1. **Heron**\n   - A heron is tall.\n   - A heron's neck is long.\n2. **Egret**:\n"
    "   - An egret is white.\n3. Red finch\n   - A red finch is red.",
    "numbered bold names": '**1. Heron**\n\n1. “A heron is tall.”\n2. "A heron\'s neck is long."\n\n**2. Egret**\n\n'
    "1. An egret is white.\n\n**3. Red Finch**\n\n(1) A red finch is red.",
    "numbered classes": "Class 1: heron\n- A heron is tall.\n- A heron's neck is long.\nClass 2: egret\n"
    "- An egret is white.\nClass 3: red finch\n- A red finch is red.",
    "sentences of": "Here are 2 sentences for the heron:\n- A heron is tall.\n- A heron's neck is long.\n\n"
    "**Descriptions of egret:**\n- An egret is white.\nHere is one about red finch:\n- A red finch is red.",
    "name: sentence": "heron: A heron is tall.\nheron: A heron's neck is long.\n**Egret**: An egret is white.\n"
    "- Red Finch - A red finch is red.",
    "YAML": 'heron:\n  - A heron is tall.\n  - A heron\'s neck is long.\negret:\n  - "An egret is white."\nred finch:\n'
    "  - A red finch is red.\n",
    "paragraphs": "Heron\n\nA heron is tall. A heron's neck is long.\n\nEgret\nAn egret is white.\n\nRed finch:\n"
    "A red finch\nis red.",
    "a table": "| # | Class | Sentence |\n|---|---|---|\n| 1 | heron | A heron is tall. |\n"
    "| 2 | | A heron's neck is long. |\n| 3 | egret | An egret is white. |\n"
    "| 4 | **red finch** | A red finch is red. |",
    "a table without edges": "Class | Sentences\n--- | ---\nheron | A heron is tall.<br>A heron's neck is long.\n"
    "egret | An egret is white.\nred finch | A red finch is red.",
    "a class a column": "| heron | egret | Red finch |\n|:--|:-:|--:|\n| A heron is tall. | An egret is white. | |\n"
    "| A heron's neck is long. | | A red finch is red. |",
    "thought of before": f'<think>\nheron: what?\n{{"heron": ["No."]}}\n</think>\n{PLAIN}',
    "a mark of byte order, and Windows": "\ufeff" + "## heron\r\n- A heron is tall.\r\n- A heron's neck is long.\r\n"
    "## egret\r\n- An egret is white.\r\n## red finch\r\n- A red finch is red.\r\n",
    "said twice": PLAIN + '\n{"egret": ["an egret  is white."]}',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_any_shape(shape):
    answer = read_answer(SHAPES[shape], CLASSES)
    assert answer.table == TOLD
    assert answer.unknown == [] and not answer.cut
    assert answer.repeated == (shape == "said twice")


@given(
    st.dictionaries(
        st.sampled_from(CLASSES),
        st.lists(
            st.from_regex(r"[A-Za-zé'\"\\{}:,/#-]{1,9} [a-zé ]{0,9}[a-z]\.", fullmatch=True), min_size=1, max_size=4
        ),
        min_size=1,
    )
)
def test_json_comes_back_as_it_was(table):
    distinct = {
        name: list({" ".join(text.split()).casefold(): text for text in said}.values()) for name, said in table.items()
    }
    answer = read_answer(json.dumps(distinct), CLASSES)
    assert {name: len(said) for name, said in answer.table.items()} == {
        name: len(said) for name, said in distinct.items()
    }
    assert answer.unread == [] and not answer.cut


@given(st.text("heron[]{}\"':,-*#|\n 1.\\“”egt", max_size=80))
def test_nothing_breaks_the_reading(text):
    answer = read_answer(text, CLASSES)
    assert set(answer.table) <= set(CLASSES)
    assert all(1 <= line <= text.count("\n") + 1 for line, _ in answer.unread)


@pytest.mark.parametrize(
    ("text", "table", "unread", "unknown"),
    [
        ("Hello.\n## heron\n- A heron.\n\nBye now.", {"heron": ["A heron."]}, [1, 5], []),
        ("## heron\n- A heron.\n## Night heron\n- A night heron.", {"heron": ["A heron."]}, [4], ["Night heron"]),
        ("1. heron\n   - A heron.\n2. Ostrich\n   - An ostrich.", {"heron": ["A heron."]}, [4], ["Ostrich"]),
        ("heron: A heron.\nostrich: An ostrich.", {"heron": ["A heron."]}, [2], ["ostrich"]),
        ('{"heron": ["A heron."],\n"ostrich": ["An\\nostrich."]}', {"heron": ["A heron."]}, [2], ["ostrich"]),
        (
            "| a | b |\n|-|-|\n| heron | A heron. |\n| ostrich | An ostrich. |",
            {"heron": ["A heron."]},
            [4],
            ["ostrich"],
        ),
        ('{"heron": ["A heron."], !!! "egret": ["An egret."]}', {"heron": ["A heron."]}, [1], ['!!! "egret"']),
        ("I cannot help with that.", {}, [1], []),
        ("heron, egret", {}, [1], []),
        ("", {}, [], []),
    ],
)
def test_what_belongs_to_no_class_is_named_with_its_line(text, table, unread, unknown):
    answer = read_answer(text, CLASSES)
    assert (answer.table, [line for line, _ in answer.unread], answer.unknown) == (table, unread, unknown)


def test_what_breaks_off_keeps_what_is_whole():
    answer = read_answer('{"heron": ["A heron is tall."], "egret": ["An egret is white.", "An egr', CLASSES)
    assert answer.table == {"heron": ["A heron is tall."], "egret": ["An egret is white."]}
    assert answer.cut


def test_a_single_class_need_not_be_named():
    for text in ('["A heron.", "Tall."]', "1. A heron.\n2. Tall.", "- A heron.\n- Tall."):
        assert read_answer(text, ["heron"]).table == {"heron": ["A heron.", "Tall."]}
    assert read_answer('{"ostrich": ["An ostrich."]}', ["heron"]).unknown == ["ostrich"]


def test_names_with_signs_of_their_own():
    names = ["crab [adult]", "crab [juvenile]", "St. Bernard", "a: b", "Bär"]
    text = "crab [adult]: Big.\n**crab [juvenile]**\n- Small.\n## St. Bernard\nA St. Bernard is big. It is a dog."
    text += "\n# BÄR\n- Ä"
    assert read_answer(text + '\n{"a: b": ["c"]}', names).table == {
        "crab [adult]": ["Big."],
        "crab [juvenile]": ["Small."],
        "St. Bernard": ["A St. Bernard is big.", "It is a dog."],
        "Bär": ["Ä"],
        "a: b": ["c"],
    }
    assert read_answer("## apple\n- x\n## Apple\n- y", ["apple", "Apple"]).table == {"apple": ["x"], "Apple": ["y"]}
    with pytest.raises(LgcaError, match="'APPLE' in the answer could mean each of the classes 'apple', 'Apple'"):
        read_answer("## APPLE\n- x", ["apple", "Apple"])


def test_a_text_that_no_file_can_hold_is_mended():
    [[sentence]] = read_answer('{"heron": ["A \\ud83d bird."]}', ["heron"]).table.values()
    assert sentence == "A \ufffd bird."
