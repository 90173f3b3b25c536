"""Retrieval with a fusion, beside each of its models alone and the tuned sum of their scores."""

from dataclasses import replace

import pandas as pd
import torch

from lgca_core.errors import LgcaError
from lgca_core.related.captions.retrieval import RetrievalResult, Ties, retrieved
from lgca_core.related.hada.items import SplitFeatures
from lgca_core.related.hada.model import HadaModel
from lgca_core.related.hada.train import RSUM_AT, fused_split

RSUM = "RSum"
RESHUFFLED = "RSum reshuffled"
SUM = "score sum"


def evaluate_fusion(
    model: HadaModel, of: SplitFeatures, device: torch.device, *, ties: Ties = "middle"
) -> RetrievalResult:
    """R@1, R@5, R@10 both ways (0 to 1), and ``RSum``, their sum (0 to 6; printed as 0 to 600).

    A picture is found where its best-ranked caption is within the first k, however many captions it has.
    """
    if not of.captions.pictures:
        raise LgcaError(f"{of.captions.name} ({of.captions.split}) has no pictures to find")
    result = retrieved(of.captions, *fused_split(model, of, device), RSUM_AT, ties=ties)
    result.metrics[RSUM] = sum(result.metrics.values())
    return result


def reshuffled_rsum(model: HadaModel, of: SplitFeatures, device: torch.device, seed: int = 0) -> float:
    """RSum where the items of every batch are in another order: the same, but for the fault of LAVIS."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randperm(len(of.captions.pictures), generator=generator)
    rank = pictures.argsort()
    captions = torch.randperm(len(of.picture_of), generator=generator)
    moved = SplitFeatures(
        of.captions,
        tuple(replace(one, starts=one.starts[pictures.numpy()], own=one.own[pictures]) for one in of.pictures),
        tuple(replace(one, starts=one.starts[captions.numpy()], own=one.own[captions]) for one in of.texts),
        of.picture_of,
    )
    images, texts = fused_split(model, moved, device)
    back = retrieved(of.captions, images[rank], texts[captions.argsort()], RSUM_AT)
    return sum(back.metrics.values())


def baselines(model: HadaModel) -> dict[str, HadaModel]:
    """Each model alone, by its name, and the sum of their scores with the shares that the validation chose."""
    number = len(model.models)
    plain = replace(model, kind="sum", network=None, settings=None, w=None, tau=1.0, tokens="own")
    names = [said.name for said in model.models]
    if len(set(names)) < number:
        names = [said.spec for said in model.models]
    alone = {name: replace(plain, shares=tuple(float(k == m) for k in range(number))) for m, name in enumerate(names)}
    return alone if model.kind == "sum" else {**alone, SUM: plain}


def rsum_by_picture(ranks: pd.DataFrame) -> pd.Series:
    """What each picture adds to RSum, by its name: its own recalls and its captions', weighted to have RSum as mean.

    Where all pictures have equally many captions: its own recalls, and the means of its captions', 0 to 6.
    """
    hits = sum((ranks["rank"] <= k).astype(float) for k in RSUM_AT)
    share = 1 / ranks.groupby("direction")["rank"].transform("size")  # of one query in its direction's recall
    return (hits * share).groupby(ranks["query"]).sum() * ranks["query"].nunique()
