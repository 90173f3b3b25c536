"""The training of HADA: AdamW, a cosine with warm restarts, early stopping on validation RSum; resumable to the bit."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.related.captions.retrieval import both_ways
from lgca_core.related.hada.averaging import AveragedCopy
from lgca_core.related.hada.items import SplitFeatures, TokensGiven
from lgca_core.related.hada.losses import BothSides, EmbeddingQueue, HadaWeights, Scalars, alpha_at, hada_losses
from lgca_core.related.hada.model import FUSION, FUSION_WEIGHTS, FusionKind, HadaModel, ModelSaid, build_network
from lgca_core.related.hada.network import SECOND_STAGE, FusionSettings, HadaNetwork
from lgca_core.related.training.metrics import Metrics
from lgca_core.related.training.runs import (
    CHECKPOINT,
    clear_run,
    finished_outcome,
    load_checkpoint,
    memory_of,
    save_checkpoint,
    write_report,
)
from lgca_core.seeding import generator

RSUM_AT = (1, 5, 10)
"""The k of R@k both ways that RSum adds up."""
_CHUNK = 256  # items that are fused at a time in evaluation
_NO_NUMBER = "{what}: lower --rate and begin anew"
_GRID = {2: 20, 3: 10}  # steps of a share from 0 to 1, by number of models


@checked
@dataclass(frozen=True)
class HadaSettings:
    """Everything that fixes a training but its data, its models and where it begins. Defaults: the first stage.

    ``improvement`` is in RSum as a sum of six shares (0.001 is 0.1 of 600 points): training stops once ``patience``
    epochs brought none. The learning rate falls from ``rate`` to ``floor`` by a cosine that starts again after
    ``restart`` epochs, then after twice as many, and so on. Weight decay falls on every parameter, tau and w included.
    ``share`` is w at the beginning of a second stage; None is a first stage. ``queue_begin``, ``teacher`` and ``head``
    are as released with "noise" and "released". ``tokens="copies"`` is a control.
    """

    kind: FusionKind = "graph"
    network: FusionSettings = field(default_factory=FusionSettings)
    weights: HadaWeights = field(default_factory=HadaWeights)
    epochs: int = 100
    batch: int = 20
    rate: float = 1e-4
    floor: float = 5e-6
    restart: int = 50
    weight_decay: float = 0.02
    patience: int = 20
    improvement: float = 0.001
    queue: int = 64_000
    queue_begin: Literal["empty", "noise"] = "empty"
    momentum: float = 0.995
    teacher: Literal["right", "released"] = "right"
    head: Literal["plain", "released"] = "plain"
    tau: float = 0.07
    least_tau: float = 0.01
    share: float | None = None
    tokens: TokensGiven = "own"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(HadaSettings).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise LgcaError(f"{name} must be one of {', '.join(get_args(hint))}, not {getattr(self, name)!r}")
        for name in ("epochs", "restart", "patience", "queue"):
            if getattr(self, name) < 1:
                raise LgcaError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch < 2:
            raise LgcaError("a batch needs 2 captions or more: a contrastive loss of one has nothing to tell apart")
        for name in ("rate", "floor", "weight_decay", "improvement"):
            if not 0 <= getattr(self, name) < math.inf:
                raise LgcaError(f"{name} must be a number from 0 on, got {getattr(self, name)}")
        if not self.rate:
            raise LgcaError("a rate of 0 trains nothing: raise it")
        if self.floor > self.rate:
            raise LgcaError(f"the rate cannot fall from {self.rate} to {self.floor}: lower the floor")
        if not 0 <= self.momentum <= 1:
            raise LgcaError(f"momentum must be from 0 to 1, got {self.momentum}")


def second_stage(settings: HadaSettings) -> HadaSettings:
    """The second stage after a first, as released: the stronger model's own score joins, and its share is learned.

    Half the rate, a quarter of the patience, no distillation; in the plain layout a dropout of 0.7 where none is given.
    """
    network, rate = settings.network, settings.rate / 2
    if network.layout == "plain" and network.dropouts is None:
        network = replace(network, dropouts=SECOND_STAGE.dropouts)
    return replace(
        settings,
        network=network,
        weights=replace(settings.weights, image=0.3, text=0.7, distil=0.0),
        rate=rate,
        floor=min(settings.floor, rate),
        patience=max(1, settings.patience // 4),
        restart=max(1, round(0.6 * settings.restart)),
        least_tau=0.001,
        share=0.5,
    )


@dataclass
class HadaOutcome:
    """What a training came to, for its record. RSum of the validation is a sum of six shares, 0 to 6.

    ``parameters`` are those that were trained on both sides, without the matching head. ``peak_memory`` is of the GPU,
    else of this process between steps, without what it reads from the store's files, in bytes.
    """

    steps: int
    epochs: int
    seconds: float
    peak_memory: int
    parameters: int
    best_epoch: int
    rsum: float
    tau: float
    w: float | None
    shares: tuple[float, ...]
    losses: dict[str, float]


@dataclass
class _Progress:
    """What a checkpoint keeps beside networks, copies, queue and optimiser."""

    step: int = 0
    seconds: float = 0.0
    peak: int = 0
    best: float = -1.0
    best_epoch: int = 0
    losses: dict[str, float] = field(default_factory=dict)


def rsum_of(images: Tensor, texts: Tensor, picture_of: Tensor) -> float:
    """The sum of R@1, R@5 and R@10 both ways, of unit vectors (n, D) and (m, D): 0 to 6."""
    return sum(both_ways(images, texts, picture_of.tolist()).recalls(*RSUM_AT).values())


def check_start(
    start: HadaModel, settings: HadaSettings, folder: Path, models: Sequence[ModelSaid] | None = None
) -> None:
    """Raises LgcaError where a trained fusion is no first stage for a second of these settings (and models)."""
    if start.network is None or start.w is not None:
        raise LgcaError(f"{folder} holds no first stage of a training: choose another --start")
    own, other = (replace(of, dropouts=None) for of in (settings.network, start.settings or FusionSettings()))
    if (start.kind, start.tokens, other) != (settings.kind, settings.tokens, own):
        raise LgcaError(f"{folder} is a first stage of another arm, or of another width: choose another --start")
    if models is not None and start.models != tuple(models):
        raise LgcaError(f"{folder} is a first stage of other models: choose another --start")


def finished_fusion(out: Path, identity: dict[str, Any], settings: HadaSettings) -> HadaOutcome | None:
    """What a training in a folder came to, if one ended there. LgcaError where it was another training."""
    found = finished_outcome(out, _whole(identity, settings), FUSION)
    if found is None:
        return None
    try:
        return HadaOutcome(**{**found, "shares": tuple(found["shares"])})
    except (TypeError, KeyError) as error:
        raise LgcaError(f"{out}: holds no report of a training: give --force to begin anew") from error


def clear_fusion(out: Path) -> None:
    """Remove what an earlier training left in its folder, and nothing else."""
    clear_run(out, (out / FUSION, out / FUSION_WEIGHTS))


def tuned_shares(
    validation: SplitFeatures, device: torch.device, shares: tuple[float, ...] | None = None
) -> tuple[tuple[float, ...], int]:
    """Shares of the models' own scores with the largest RSum of the validation, and which model alone is stronger.

    In steps of 0.05 of two models, of 0.1 of three, of 0.25 of more; of equal ones the first. Where ``shares`` are
    given, they are taken.
    """
    number = len(validation.pictures)
    steps = _GRID.get(number, 4)
    alone = [tuple(float(k == m) for k in range(number)) for m in range(number)]
    every = [tuple(part / steps for part in of) for of in product(range(steps + 1), repeat=number) if sum(of) == steps]
    tried = dict.fromkeys(alone if shares else every)
    seen, said = ([of.vectors().to(device) for of in side] for side in (validation.pictures, validation.texts))
    pictures = torch.arange(len(validation.captions.pictures))
    theirs = (pictures[:, None] == validation.picture_of).to(device)  # (n, m)
    rsum = dict.fromkeys(tried, 0.0)
    for side, others, own in ((seen, said, theirs), (said, seen, theirs.T)):
        for rows in torch.arange(len(own), device=device).split(_CHUNK):
            scores = [of[rows] @ other.T for of, other in zip(side, others, strict=True)]  # of each model (b, n')
            for of in tried:
                mixed = sum((share * score for share, score in zip(of, scores, strict=True)), scores[0].new_zeros(()))
                best = mixed.masked_fill(~own[rows], -2).amax(1, keepdim=True)
                ahead = ((mixed > best) & ~own[rows]).sum(1)
                rsum[of] += sum(float((ahead < k).sum()) for k in RSUM_AT) / len(own)
    by_model = [rsum[of] for of in alone]
    return shares or max(rsum, key=lambda of: rsum[of]), by_model.index(max(by_model))


def fuse(
    train: SplitFeatures,
    validation: SplitFeatures,
    models: Sequence[ModelSaid],
    settings: HadaSettings,
    out: Path,
    *,
    identity: dict[str, Any],
    device: torch.device,
    start: HadaModel | None = None,
    shares: tuple[float, ...] | None = None,
    every: float = 600.0,
    progress: Callable[[int, int, float], None] | None = None,
) -> HadaOutcome:
    """Train a fusion of frozen models and write it to the folder ``out``; begins where a checkpoint ended.

    Args:
        identity: what else must agree for a checkpoint to be taken up, such as hashes of data and models.
        start: the first stage of a second, with its networks and shares; tau and w begin anew, as released.
        shares: of a sum of scores, instead of those tuned on the validation.
        every: seconds between checkpoints; there is one after each epoch too.
        progress: called after each step with its number, the most there can be, and the best RSum so far.

    The networks of the epoch with the largest RSum of the validation are kept. Raises LgcaError for fewer captions than
    a batch, a checkpoint of another training, or losses that are no longer finite.
    """
    if start is None:
        tuned, stronger = tuned_shares(validation, device, shares)
    else:
        tuned, stronger = start.shares, start.stronger  # of the same models and validation
    identity = _whole(identity, settings)
    made = HadaModel(tuple(models), settings.kind, tuned, stronger=stronger, tokens=settings.tokens)
    if settings.kind == "sum":
        rsum = rsum_of(*fused_split(made, validation, device), validation.picture_of)
        outcome = HadaOutcome(0, 0, 0.0, memory_of(device), 0, 0, rsum, 1.0, None, tuned, {})
    else:
        if len(train.picture_of) < settings.batch:
            raise LgcaError(
                f"{len(train.picture_of)} captions are fewer than a batch of {settings.batch}: lower --batch"
            )
        trainer = _Trainer(models, settings, stronger, train, device, start)
        done = _train(trainer, validation, out, identity, every, progress)
        made = replace(made, network=trainer.network, settings=settings.network, w=trainer.w, tau=trainer.tau)
        steps = trainer.steps_an_epoch
        counted = sum(of.numel() for side in (trainer.network.image, trainer.network.text) for of in side.parameters())
        outcome = HadaOutcome(
            done.step, done.step // steps, done.seconds, done.peak, counted, done.best_epoch, done.best,
            made.tau, made.w, tuned, done.losses,
        )  # fmt: skip
    write_report(out, identity, asdict(outcome))
    made.save(out)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return outcome


def fused_split(model: HadaModel, of: SplitFeatures, device: torch.device) -> tuple[Tensor, Tensor]:
    """Unit vectors (n, D) of a split's pictures and (m, D) of its captions, some at a time."""
    tokens = model.reads
    n, m = len(of.captions.pictures), len(of.picture_of)
    pictures = [
        model.pictures(of.picture_items(range(at, min(at + _CHUNK, n)), device, tokens)) for at in range(0, n, _CHUNK)
    ]
    texts = [
        model.captions(of.caption_items(range(at, min(at + _CHUNK, m)), device, tokens)) for at in range(0, m, _CHUNK)
    ]
    return torch.cat(pictures), torch.cat(texts)


def _whole(identity: dict[str, Any], settings: HadaSettings) -> dict[str, Any]:
    return json.loads(json.dumps({**identity, "settings": asdict(settings)}))  # tuples as lists


def _train(
    trainer: "_Trainer", validation: SplitFeatures, out: Path, identity: dict[str, Any], every: float,
    progress: Callable[[int, int, float], None] | None,
) -> _Progress:  # fmt: skip
    """All epochs, or as many as early stopping leaves; the best networks and scalars are in the trainer afterwards."""
    settings, of_epoch = trainer.settings, trainer.steps_an_epoch
    done = trainer.resume(out, identity)
    began = saved = time.perf_counter()
    before = done.seconds
    with Metrics(out, done.step) as metrics:
        while done.step < settings.epochs * of_epoch and done.step // of_epoch - done.best_epoch < settings.patience:
            epoch = done.step // of_epoch
            order = generator(settings.seed, "epoch", str(epoch)).permutation(len(trainer.train.picture_of))
            for number in range(done.step % of_epoch, of_epoch):
                rows = order[number * settings.batch : (number + 1) * settings.batch]
                losses, rate = trainer.step(rows.tolist(), done.step)
                done.step += 1
                if not math.isfinite(losses["loss"]):
                    raise LgcaError(_NO_NUMBER.format(what=f"the loss of step {done.step} is {losses['loss']}"))
                row = {**losses, "rate": rate, "tau": trainer.tau}
                if trainer.w is not None:
                    row["w"] = trainer.w
                ended = number + 1 == of_epoch
                if ended:
                    rsum = trainer.validated(validation)
                    row["RSum of the validation"] = rsum
                    if not done.best_epoch or rsum >= done.best + settings.improvement:
                        done.best, done.best_epoch = rsum, epoch + 1
                        trainer.keep()
                metrics.add(done.step, row if ended else {**row, "RSum of the validation": math.nan})
                now = time.perf_counter()
                done.seconds, done.losses = before + now - began, losses
                done.peak = max(done.peak, memory_of(trainer.device))
                if ended or now - saved > every:
                    metrics.flush()
                    trainer.save(out, identity, done)
                    saved = time.perf_counter()
                if progress:
                    progress(done.step, settings.epochs * of_epoch, max(done.best, 0.0))
    trainer.take_best()
    return done


class _Trainer:
    """Networks, their averaged copies, the queue, the optimiser, and one step."""

    def __init__(
        self, models: Sequence[ModelSaid], settings: HadaSettings, stronger: int, train: SplitFeatures,
        device: torch.device, start: HadaModel | None,
    ) -> None:  # fmt: skip
        torch.manual_seed(settings.seed)
        self.settings, self.stronger, self.train, self.device = settings, stronger, train, device
        self.reads: TokensGiven = settings.tokens if settings.kind == "graph" else "cls"
        self.network: HadaNetwork = build_network(
            models, settings.kind, settings.network, settings.head if settings.weights.matching else None
        ).to(device)
        if start is not None:
            assert start.network is not None, "a second stage begins with the networks of a first"
            missing, unknown = self.network.load_state_dict(start.network.state_dict(), strict=False)
            assert not unknown and all(name.startswith("head.") for name in missing)  # the head begins anew
        self.copy = AveragedCopy(self.network, settings.momentum, released=settings.teacher == "released").to(device)
        self.scalars = Scalars(settings.tau, (settings.least_tau, 0.5), settings.share).to(device)
        own = models[stronger].picture[1] if settings.share is not None else None
        self.queue = EmbeddingQueue(settings.queue, settings.network.width, own, begin=settings.queue_begin).to(device)
        self.optimiser = torch.optim.AdamW(
            [*self.network.parameters(), *self.scalars.parameters()],
            lr=settings.rate, weight_decay=settings.weight_decay,
        )  # fmt: skip
        self.schedule = CosineAnnealingWarmRestarts(self.optimiser, settings.restart, T_mult=2, eta_min=settings.floor)
        self.steps_an_epoch = len(train.picture_of) // settings.batch
        self.best: dict[str, dict[str, Tensor]] = {}
        self.terms = [name for name in ("image", "text", "matching") if getattr(settings.weights, name)] + ["loss"]

    @property
    def tau(self) -> float:
        """The temperature."""
        return float(self.scalars.tau.detach())

    @property
    def w(self) -> float | None:
        """The share of the stronger model, None in a first stage."""
        return None if self.scalars.w is None else float(self.scalars.w.detach())

    def step(self, rows: list[int], number: int) -> tuple[dict[str, float], float]:
        """One step of the optimiser on captions ``rows`` and their pictures: the losses before it, and its rate."""
        settings, ids = self.settings, self.train.picture_of[rows]
        pictures = self.train.picture_items(ids.tolist(), self.device, self.reads)
        captions = self.train.caption_items(rows, self.device, self.reads)
        ids = ids.to(self.device)
        self.network.train()
        self.copy.train()
        self.scalars.hold()
        self.schedule.step(number / self.steps_an_epoch)
        online = BothSides(*self.network(pictures, captions))
        if not all(bool(of.isfinite().all()) for of in online):
            raise LgcaError(_NO_NUMBER.format(what=f"vectors are no longer finite at step {number + 1}"))
        self.copy.update(self.network)
        teacher = BothSides(*self.copy(pictures, captions))
        own = None
        if settings.share is not None:
            own = BothSides(pictures.pooled[self.stronger], captions.pooled[self.stronger])
        weights = settings.weights
        if (weights.image or weights.text) and bool((ids == ids[0]).all()):
            weights = replace(weights, matching=0.0)  # by chance, of one picture: there is no negative to draw
        losses = hada_losses(
            online, teacher, ids, self.queue.rows(), self.scalars, weights,
            alpha=alpha_at(number, self.steps_an_epoch, settings.weights.distil), head=self.network.head, own=own,
        )  # fmt: skip
        self.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.optimiser.step()
        self.queue.push(teacher, ids, own)
        rate = float(self.optimiser.param_groups[0]["lr"])
        told = {name: float(losses[name].detach()) if name in losses else math.nan for name in self.terms}
        return told, rate

    def validated(self, validation: SplitFeatures) -> float:
        """RSum of the validation, with the share of the stronger model where there is one."""
        self.scalars.hold()
        settings, w = self.settings, self.w
        model = HadaModel((), settings.kind, (), self.network, w=w, stronger=self.stronger, tokens=settings.tokens)
        return rsum_of(*fused_split(model, validation, self.device), validation.picture_of)

    def keep(self) -> None:
        """Remember networks and scalars as the best so far."""
        parts = {"network": self.network, "scalars": self.scalars}
        self.best = {name: {key: of.clone() for key, of in part.state_dict().items()} for name, part in parts.items()}

    def take_best(self) -> None:
        """Go back to what was best."""
        self.network.load_state_dict(self.best["network"])
        self.scalars.load_state_dict(self.best["scalars"])
        self.network.eval().requires_grad_(False)

    def save(self, out: Path, identity: dict[str, Any], done: _Progress) -> None:
        """Write a checkpoint, all or nothing."""
        parts = (self.network, self.copy, self.queue, self.scalars, self.optimiser)
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        content = {"parts": [of.state_dict() for of in parts], "best": self.best, "done": asdict(done)}
        save_checkpoint(out, identity, {**content, "random": torch.get_rng_state(), "cuda": cuda})

    def resume(self, out: Path, identity: dict[str, Any]) -> _Progress:
        """Take up a checkpoint, if there is one of the same training. LgcaError for one of another."""
        saved = load_checkpoint(out, identity, self.device)
        if saved is None:
            return _Progress()
        parts: tuple[Any, ...] = (self.network, self.copy, self.queue, self.scalars, self.optimiser)
        for of, state in zip(parts, saved["parts"], strict=True):
            of.load_state_dict(state)
        self.best = saved["best"]
        torch.set_rng_state(saved["random"].cpu())
        if saved["cuda"] is not None:
            torch.cuda.set_rng_state(saved["cuda"].cpu(), self.device)
        return _Progress(**saved["done"])
