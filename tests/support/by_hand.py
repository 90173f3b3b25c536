"""WCA and its pieces written out one picture, crop and sentence at a time, and pictures and sentences to try it on."""

from math import e, exp

import numpy as np

from lgca_core.boxes import whole
from lgca_core.pixels.cropping import crops
from support.stub_encoder import noise

PICTURES = [noise(60, 80, 1), noise(90, 45, 2), noise(64, 64, 3)]
IDENTITIES = ["a", "b", "c"]
PROMPTS = [["a wren", "brown", "small"], ["a tern", "black cap"], ["a swan", "white", "long neck", "large"]]
ANCHORS = ["a wren", "a tern", "a swan"]


def unit(x):
    return x / np.linalg.norm(x)


def softmax(x):
    powers = [exp(value - max(x)) for value in x]
    return [power / sum(powers) for power in powers]


def f(encoder, picture, box):
    """One crop alone -> its unit vector, float64."""
    return unit(encoder.encode_crops(crops(picture, box[None], encoder.size))[0].double().numpy())


def slow_scores(encoder, picture, boxes, prompts, anchors):
    """sum over i and j of w_i v_cj <k_i, t_cj>, written out."""
    k = [f(encoder, picture, box) for box in boxes]
    k_whole = f(encoder, picture, whole(picture.height, picture.width)[0])
    w = softmax([e**4 * float(k_i @ k_whole) for k_i in k])
    scores = []
    for of_class, anchor in zip(prompts, anchors, strict=True):
        t = [unit(encoder.text([prompt])[0].double().numpy()) for prompt in of_class]
        t_0 = unit(encoder.text([anchor])[0].double().numpy())
        v = softmax([e**2 * float(t_j @ t_0) for t_j in t])
        score = 0.0
        for i in range(len(k)):
            for j in range(len(t)):
                score += w[i] * v[j] * float(k[i] @ t[j])
        scores.append(score)
    return scores
