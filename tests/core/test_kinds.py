"""Wrong kinds of arguments: every public function and class refuses them in one sentence."""

import inspect

import numpy as np
import pytest
import torch

import lgca_core
from lgca_core import LgcaError, boxes
from lgca_core.kinds import checked, kind_of
from support.stub_encoder import stub

WRONG = {"a": 1}.items()  # of no kind that anything asks for
FUNCTIONS = [name for name in lgca_core.__all__ if inspect.isfunction(getattr(lgca_core, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_refuses_what_is_of_no_kind(name):
    function = getattr(lgca_core, name)
    needed = [of.name for of in inspect.signature(function).parameters.values() if of.kind is not of.VAR_KEYWORD]
    if not needed:
        pytest.skip("takes nothing")
    named = {of: WRONG for of, p in inspect.signature(function).parameters.items() if p.default is p.empty}
    named = named or {needed[0]: WRONG}
    with pytest.raises(LgcaError) as caught:
        function(**named)
    assert str(caught.value).count("\n") == 0 and "dict_items" in str(caught.value)


def test_dir_shows_public_names_alone():
    assert {name for name in dir(lgca_core) if not name.startswith("__")} == set(lgca_core.__all__)


def test_a_function_has_one_identity_and_its_signature():
    assert lgca_core.iou is lgca_core.iou is boxes.iou
    assert list(inspect.signature(lgca_core.encode_classes).parameters)[:2] == ["encoder", "prompts"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lgca_core.class_matrix(stub(), ["a heron", "an egret"]), "t must be a Tensor, not an Encoder"),
        (lambda: lgca_core.class_matrix(torch.eye(3), "abc"), "counts must be a list of whole numbers"),
        (lambda: lgca_core.class_matrix(torch.eye(3), [1, 1]), "not those of"),
        (lambda: lgca_core.encode_classes(stub(), ["a heron", "an egret"]), "'a heron'.*put it in a list"),
        (lambda: lgca_core.encode_classes(stub(), "a heron"), "the string 'a heron'.*put it in a list"),
        (lambda: lgca_core.encode_classes(stub(), {"heron": ["a heron"]}), "not a dict"),
        (lambda: lgca_core.encode_classes(stub(), [{"heron": "a"}]), "one is a dict"),
        (lambda: lgca_core.encode_classes(stub(), (["a"] for _ in range(2))), "not a generator"),
        (lambda: lgca_core.encode_classes(stub(), [[["a"]]]), "one is a list"),
        (lambda: lgca_core.encode_classes(stub(), [[1]]), "the number 1"),
        (lambda: lgca_core.encode_classes(stub(), [None]), "one is None"),
        (lambda: lgca_core.encode_classes(stub(), None), "not None"),
        (lambda: lgca_core.encode_classes("ViT", [["a"]]), "must be an Encoder, not the string 'ViT'"),
        (lambda: lgca_core.encode_classes(stub(), [["a"], ["b"]], anchors=["a"]), "1 anchors for 2 classes"),
        (lambda: stub().encode_texts("a heron"), "the string 'a heron'.*put it in a list"),
        (lambda: stub().encode_texts([]), "no sentences"),
        (lambda: lgca_core.WCA(n="60"), "n must be a whole number, not the string '60'"),
        (lambda: lgca_core.WCA(n=True), "n must be a whole number, not True"),
        (lambda: lgca_core.LGCA(rho=None), "rho must be a number, not None"),
        (lambda: lgca_core.LGCA(start=3), "start must be"),
        (lambda: lgca_core.whole(9.0, 9), "height must be a whole number, not the number 9.0"),
        (lambda: lgca_core.iou(torch.zeros(4), torch.zeros(1, 4)), r"\(n, 4\) tensor, got \(4,\)"),
        (lambda: lgca_core.logits(torch.ones(2, 3), torch.ones(2, 4)), r"\(2, 3\) and class vectors \(2, 4\)"),
        (lambda: lgca_core.plain("heron"), "put it in a list"),
        (lambda: lgca_core.templates(["heron"], "a {}"), "put it in a list"),
        (lambda: lgca_core.Views(stub(), 3), "pictures must be a list"),
    ],
)
def test_what_is_silent_nonsense_elsewhere_is_refused(call, said):
    with pytest.raises(LgcaError, match=said):
        call()


def test_numbers_of_numpy_are_numbers():
    assert lgca_core.WCA(n=np.int64(3), alpha=np.float32(0.25)).n == 3
    assert lgca_core.whole(np.int32(4), 5).tolist() == [[0, 0, 4, 5]]


def test_a_choice_names_the_others():
    with pytest.raises(LgcaError, match='growth must be "square" or "free", not the string \'round\''):
        lgca_core.expand(boxes.whole(5, 5), 2, 5, 5, growth="round")


def test_checking_twice_changes_nothing():
    assert checked(lgca_core.whole) is lgca_core.whole
    assert kind_of([]) == "a list" and kind_of(int) == "the class int"
