"""Sentences of a caption: the traps, and what must hold of any text."""

import itertools

import pytest
from hypothesis import given, strategies as st

from lgca_core.errors import LgcaError
from lgca_core.related.goal.sentences import split_sentences


def said(text, **rule):
    return [text[start:end] for start, end in split_sentences(text, **rule)]


@pytest.mark.parametrize(
    "text",
    [
        "A pole of 3.5 m stands here.|It is 12.75 in. wide and red.|Version 2.0 it says.",
        "It is 3 ft. tall.|A tree of 8 m.|The sky is blue.",
        "St. Mary's church is on Main St.|The door is red.|Dr. Smith and J. R. Jones wave.",
        "It has tools, e.g. hammers, i.e. things.|Also cats, dogs, etc.|They sit.|No. 5 is left at 5 p.m. today.",
        "The shirt has a letter A.|It is worn by J. Smith.|The U.S. flag hangs.|A Ph.D. student of vitamin C.|The end",
        "Is it red?|Yes!|What?!|Really...|The sky... is grey…|It rains",
        'A sign reads "STOP. GO." in red.|He said "Stop."|Then "Go!" he said.|“Well.”|(It is red. It is big.)|So',
        "A dog (see fig. 2. It is brown.) runs.|It [no. 3! Now] sits.|An open ( bracket.|goes on",
        "First.   |\n  Second.\t|Third",
        "a dog sits.|it is brown.|the sun.|trees are green",
        "The grass.|The sky",
        "He eats ham, etc. and bread.|It is 5 p.m.|Trees sleep.\n\n* * *|\n\nThen a cat|\n \nwalks",
        "A title without a stop|\n\nAnother paragraph|\nThe line after it\nis wrapped|\n- an entry|\n- another",
        "1. A dog.|2. A cat.|There are 3 of 10.|Many!",
        "See www.example.com or a.b@c.de.|It costs $3.50.|Bye",
        "Это дом.|Он красный!|Élan vital.|Ça va?|「犬がいる。|」 猫もいる！|はい",
        'A pole . . . and a dog.|It is 5\'10" tall.|The 12" x 14" board.|The end.',
    ],
)
def test_sentences_end_where_a_reader_ends_them(text):
    wanted = [part.strip() for part in text.split("|")]
    assert said(text.replace(".|The sky", ".The sky") if text.startswith("The grass") else join(text)) == wanted


def join(text):
    """The parts as they stand in a caption, a blank between those that have no white space of their own."""
    first, *others = text.split("|")
    for part in others:
        first += part if part[:1].isspace() or first[-1:].isspace() or first.endswith("。") else f" {part}"
    return first


def test_the_released_rule_cuts_at_every_stop_and_drops_it():
    text = "A pole of 3.5 m.  e.g. this ... ? "
    assert said(text, rule="released") == ["A pole of 3", "5 m", "e", "g", "this", "?"]
    with pytest.raises(LgcaError, match='"ours" or "released", not \'mine\''):
        split_sentences(text, rule="mine")


PIECES = st.sampled_from(
    [*"aAé1 \n\t.!?…。\"'“”()[]-•*", "St.", "e.g.", " The ", "\n\n", "3.5", "犬", "\u200b", "\u2028", "\x1c"]
)


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=40))
def test_every_character_belongs_to_one_sentence(text):
    places = split_sentences(text)
    assert all(start < end for start, end in places)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(places))
    assert all(piece == piece.strip() for piece in said(text))
    inside = {at for start, end in places for at in range(start, end)}
    assert all(at in inside for at, character in enumerate(text) if not character.isspace())
    released = said(text, rule="released")
    assert released == [piece.strip() for piece in text.split(".") if piece.strip()]


def test_a_caption_of_many_words_is_no_matter():
    assert len(split_sentences("A dog sits. " * 10_000)) == 10_000
    assert len(split_sentences("((((" * 5_000 + "))))" * 5_000 + " " * 50_000 + "The end.")) == 1
