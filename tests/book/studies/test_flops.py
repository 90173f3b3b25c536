"""FLOPs: what runs, against the formula and against counts by hand."""

import pytest
import torch

from lgca_book.studies.flops import architecture, flops_table, scoring_flops, visual_flops, vit_flops, vit_flops_counted
from lgca_core import load_encoder
from lgca_core.errors import LgcaError
from support.stub_encoder import stub


def test_flops_of_a_matrix_product():
    weight = torch.randn(3 * 16 * 16, 10)
    assert visual_flops(stub(lambda x: x.flatten(1) @ weight)) == 2 * 3 * 16 * 16 * 10


@pytest.mark.parametrize("name", ["aviary", "ViT-B-32-quickgelu", "ViT-B/16:openai", "xlm-roberta-base-ViT-B-32"])
def test_the_closed_formula_counts_what_torch_counts(name):
    assert vit_flops(architecture(name)) == vit_flops_counted(architecture(name))


def test_what_runs_is_what_the_formula_says():
    assert visual_flops(load_encoder("aviary", device="cpu")) == vit_flops(architecture("aviary"))


@pytest.mark.parametrize("name", ["RN50", "convnext_base", "coca_ViT-B-32", "coca_base", "ViT-L-14-CLIPA", "ViT-g-14"])
def test_the_formula_knows_its_limits(name):
    with pytest.raises(LgcaError, match="plain ViT"):
        flops_table([name])


def test_an_unknown_architecture_is_answered_with_near_ones():
    with pytest.raises(LgcaError, match=r"no encoder 'ViT-B-33': did you mean .*ViT-B-32"):
        architecture("ViT-B/33:openai")


def test_operations_of_scoring_by_hand():
    # 2 crops, 3 classes of 5 sentences, width 7: 30 products of 7 multiplications and additions, weighed and added.
    assert scoring_flops(2, 3, 5, 7) == (30 * (14 + 2), 2 * 2 * 7 + 2 * 3 * 7)
