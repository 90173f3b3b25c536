"""Class matrix: equal to a loop over classes that encodes one class at a time."""

from math import e, exp

import numpy as np
import pytest
import torch

from lgca_core.class_vectors import encode_classes, logits
from lgca_core.errors import LgcaError
from support.stub_encoder import rich, stub

PROMPTS = [
    ["a photo of a wren.", "small, with a raised tail", "brown all over"],
    ["a photo of a tern."],
    ["black cap", "forked tail", "white below", "a photo of a swan.", "a long neck", "brown all over", "red beak"],
    ["a photo of an owl.", "two large eyes"],
]
ANCHORS = ["a photo of a wren.", "a photo of a tern.", "a photo of a swan.", "a photo of an owl."]


def unit(x):
    return x / np.linalg.norm(x)


def slow(encoder, prompts, anchors, temperature, renormalise):
    """One class a forward pass, one sentence at a time, in float64."""
    rows = []
    for c, of_class in enumerate(prompts):
        t = [unit(encoder.text([prompt])[0].double().numpy()) for prompt in of_class]
        if anchors is None:
            v = [1 / len(t) for _ in t]
        else:
            t_c0 = unit(encoder.text([anchors[c]])[0].double().numpy())
            powers = [exp(temperature * float(t_cj @ t_c0)) for t_cj in t]
            v = [power / sum(powers) for power in powers]
        z = sum(v_j * t_j for v_j, t_j in zip(v, t, strict=True))
        rows.append(unit(z) if renormalise else z)
    return np.stack(rows)


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("anchors", [None, ANCHORS])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_equals_a_slow_loop_over_classes(anchors, renormalise, batch_size):
    encoder = rich(batch_size=batch_size)
    fast = encode_classes(encoder, PROMPTS, anchors=anchors, renormalise=renormalise)
    assert fast.shape == (4, 12) and fast.dtype == torch.float32
    assert np.abs(fast.numpy() - slow(rich(), PROMPTS, anchors, e**2, renormalise)).max() < 1e-5


def test_at_temperature_zero_a_class_is_the_mean_of_its_sentences():
    cold = encode_classes(rich(), PROMPTS, anchors=ANCHORS, temperature=0)
    assert torch.allclose(cold, encode_classes(rich(), PROMPTS), atol=1e-6)


def test_every_distinct_sentence_is_encoded_once_in_flat_batches():
    calls = []
    encoder = stub(text=lambda texts: (calls.append(len(texts)), torch.ones(len(texts), 3))[1], batch_size=4)
    encode_classes(encoder, PROMPTS, anchors=ANCHORS)
    distinct = len({prompt for of_class in PROMPTS for prompt in of_class} | set(ANCHORS))
    assert encoder.text_passes == sum(calls) == distinct == 12
    assert calls == [4, 4, 4]


def test_logits_are_cosines_of_the_known_answer():
    matrix = encode_classes(stub(), [["a red thing"], ["a green thing"], ["blue and red", "blue"]])
    scores = logits(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]), matrix)
    assert scores.shape == (2, 3)
    assert scores.argmax(dim=1).tolist() == [0, 2]
    with pytest.raises(LgcaError, match=r"\(1, 3\) and class vectors \(2, 12\)"):
        logits(torch.ones(1, 3), torch.ones(2, 12))


def test_a_class_without_prompts_is_refused():
    with pytest.raises(LgcaError, match=r"class 1 .* has no prompts"):
        encode_classes(stub(), [["red"], []])
    with pytest.raises(LgcaError, match=r"no classes"):
        encode_classes(stub(), [])


def test_a_high_temperature_leaves_the_prompt_nearest_to_the_anchor():
    encoder = rich()
    said = [["red", "green", "blue"], ["one", "two"]]
    anchors = ["a photo of a colour.", "a photo of a number."]
    matrix = encode_classes(encoder, said, anchors=anchors, temperature=1e5)
    for row, of_class, anchor in zip(matrix, said, anchors, strict=True):
        t = encoder.encode_texts(of_class)
        assert torch.allclose(row, t[(t @ encoder.encode_texts([anchor])[0]).argmax()], atol=1e-6)


def test_scores_do_not_depend_on_company():
    generator = torch.Generator().manual_seed(0)
    vectors, matrix = torch.randn(33, 512, generator=generator), torch.randn(37, 512, generator=generator)
    together = logits(vectors, matrix)
    assert together.dtype == torch.float32
    assert torch.equal(together, torch.cat([logits(row[None], matrix) for row in vectors]))
