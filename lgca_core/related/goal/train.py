"""The training of GOAL: AdamW and a cosine, float32 weights, resumable to the bit, on one device or several."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lgca_core.encoder import Encoder
from lgca_core.encoders.folders import OPEN_CLIP, OPEN_CLIP_WEIGHTS
from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.pixels.cropping import normalised
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.related.goal.batches import Collated, Order, PairData, PairSettings, PairWeights, collate
from lgca_core.related.goal.encoder import LONG_CONTEXT, context_of, lengthen, save_model
from lgca_core.related.goal.geometry import BoxRule, CaptionReader, PatchGrid, SpanRule
from lgca_core.related.goal.losses import LossWeights, Matrix, RegionRows, Vectors, goal_losses
from lgca_core.related.goal.pairs import PairedPicture
from lgca_core.related.goal.sharing import Gather, gathered, ranks, summed
from lgca_core.related.goal.towers import Batch, Towers
from lgca_core.related.training.metrics import Metrics
from lgca_core.related.training.runs import (
    CHECKPOINT,
    REPORT,
    clear_run,
    finished_outcome,
    load_checkpoint,
    peak_memory_of,
    save_checkpoint,
    write_report,
)

LARGEST_SCALE = math.log(100)


@checked
@dataclass(frozen=True)
class TrainSettings:
    """Everything that fixes a training but its data and the model it begins with. Defaults: GOAL as released.

    Weight decay falls on every parameter, as released. The logit scale is held at 100 or below, as OpenAI's training
    does; as released it is free (``clamp=False``). ``weights="bfloat16"`` rounds the weights, their gradients
    and Adam's moments after each step, as if all were kept in it, which the released baselines do; ``autocast`` leaves
    them float32. ``chunks`` bounds the memory: the batch is encoded in so
    many parts, twice, and the loss is still that of the whole batch. ``gather="mixed"``: with several processes, the
    released code cuts the gathered rows in the middle, and so mixes whole pictures with regions.
    """

    epochs: int = 10
    batch: int = 16
    rate: float = 5e-6
    weight_decay: float = 0.05
    whole: float = 1.0
    local: float = 0.5
    tokens: float = 1.0
    matrix: Matrix = "diagonal"
    boxes: BoxRule = "right"
    spans: SpanRule = "right"
    pairs: int = 1
    pair_weights: PairWeights = "equal"
    weights: Literal["float32", "bfloat16"] = "float32"
    autocast: Literal["float32", "bfloat16"] = "float32"
    gather: Gather = "apart"
    clamp: bool = True
    chunks: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(TrainSettings).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise LgcaError(f"{name} must be one of {', '.join(get_args(hint))}, not {getattr(self, name)!r}")
        counts = {"epochs": self.epochs, "batch": self.batch, "pairs": self.pairs, "chunks": self.chunks}
        for name, value in counts.items():
            if value < 1:
                raise LgcaError(f"{name} must be at least 1, got {value}")
        numbers = {"rate": self.rate, "weight decay": self.weight_decay, "whole": self.whole, "local": self.local}
        for name, number in {**numbers, "tokens": self.tokens}.items():
            if not 0 <= number < math.inf:
                raise LgcaError(f"{name} must be a number from 0 on, got {number}")
        if self.batch < 2:
            raise LgcaError("a batch needs 2 pictures or more: a contrastive loss of one has nothing to tell apart")
        if self.batch % self.chunks:
            raise LgcaError(f"a batch of {self.batch} cannot be cut into {self.chunks} equal chunks")
        if self.gather == "mixed" and self.pairs > 1:
            raise LgcaError(
                f"mixed gathering is of one pair a picture, as released: lower pairs from {self.pairs} to 1"
            )
        if not self.whole + self.local + self.tokens:
            raise LgcaError("all three losses have weight 0: give one of them another")

    @property
    def loss(self) -> LossWeights:
        """The weights of the losses."""
        return LossWeights(self.whole, self.local, self.tokens, self.matrix)

    @property
    def needs_pairs(self) -> bool:
        """Whether a loss looks at regions."""
        return bool(self.local or self.tokens)


@dataclass
class Outcome:
    """What a training came to, for its record; ``moved`` is the share of weights, of those not zero, that changed."""

    steps: int
    seconds: float
    peak_memory: int
    moved: float
    counts: dict[str, int]
    losses: dict[str, float]

    @property
    def seconds_a_step(self) -> float:
        """Mean over all steps, reading the pictures included."""
        return self.seconds / self.steps


def finished(out: Path, identity: dict[str, Any], settings: TrainSettings) -> Outcome | None:
    """What a training in a folder came to, if one ended there. LgcaError where it was another training."""
    outcome = finished_outcome(out, _whole(identity, settings), OPEN_CLIP)
    try:
        return None if outcome is None else Outcome(**outcome)
    except TypeError as error:
        raise LgcaError(f"{out / REPORT}: is no report of a training: give --force to begin anew") from error


def clear_training(out: Path) -> None:
    """Remove what an earlier training left in its folder, and nothing else."""
    clear_run(out, (out / OPEN_CLIP, out / OPEN_CLIP_WEIGHTS[0], *out.glob("pairs-*.json")))


_NO_NUMBER = "{what}: lower --rate and begin anew"


def _whole(identity: dict[str, Any], settings: TrainSettings) -> dict[str, Any]:
    return {**identity, "settings": asdict(settings)}


@dataclass
class _State:
    """What a checkpoint keeps beside model and optimiser."""

    step: int = 0
    seconds: float = 0.0
    peak: int = 0
    counts: Counter = field(default_factory=Counter)
    losses: dict[str, float] = field(default_factory=dict)


def check_trainable(encoder: Encoder) -> None:
    """Raises LgcaError for an encoder that :func:`tune` cannot train; nothing of it is changed."""
    if encoder.parts is None or encoder.precision != "float32":
        raise LgcaError(f"the encoder {encoder.name} cannot be trained: give one of open_clip, in float32")
    Towers(encoder.parts.model)
    CaptionReader(encoder.tokenizer, context_of(encoder.parts))


def tune(
    pictures: Sequence[PairedPicture],
    encoder: Encoder,
    settings: TrainSettings,
    out: Path,
    *,
    identity: dict[str, Any],
    checkpointing: bool = False,
    compiled: bool = False,
    workers: int = 0,
    every: float = 600.0,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Outcome:
    """Train an encoder's model on paired pictures and write it to the folder ``out``; begins where a checkpoint ended.

    Args:
        encoder: float32, of open_clip; its model is changed in place, and its text positions stretched to 248.
        identity: what else must agree for a checkpoint to be taken up, such as hashes of data and first weights.
        checkpointing: recompute activations in the backward pass, for less memory.
        compiled: run the towers through `torch.compile`.
        workers: processes that read pictures beside the training.
        every: seconds between checkpoints; there is one after each epoch too.
        progress: called after each step with its number, how many there are, and the losses.

    Under `torchrun` each process takes an equal share of every batch, and the losses are those of the whole batch.
    Raises LgcaError for a model that cannot be trained so, fewer pictures than a batch, a checkpoint of another
    training, a picture that cannot be read, or losses that are no longer finite.
    """
    rank, processes = ranks()
    if settings.batch % (processes * settings.chunks):
        raise LgcaError(f"a batch of {settings.batch} cannot be shared by {processes} x {settings.chunks} equally")
    if len(pictures) < settings.batch:
        raise LgcaError(
            f"{len(pictures)} pictures with pairs are fewer than a batch of {settings.batch}: lower --batch"
        )
    torch.manual_seed(settings.seed)
    trainer = _Trainer(encoder, settings, checkpointing, compiled)
    first_weights = [parameter.detach().clone() for parameter in trainer.parameters]
    identity = _whole(identity, settings)
    state = trainer.resume(out, identity)
    data = PairData(pictures, encoder, trainer.grid, trainer.reader, trainer.pair_settings)
    order = Order(len(data), settings.batch, settings.epochs, settings.seed, state.step, rank, processes)
    total = settings.epochs * order.steps_an_epoch
    loader = torch.utils.data.DataLoader(
        data, batch_sampler=order, collate_fn=collate, num_workers=workers, pin_memory=encoder.device.type == "cuda",
        multiprocessing_context="spawn" if workers else None,
    )  # fmt: skip
    began = saved = time.perf_counter()
    before = state.seconds
    with Metrics(out, state.step) if rank == 0 else nullcontext() as metrics:
        for batch in loader:
            if isinstance(batch, str):
                raise LgcaError(batch)
            rate = settings.rate * 0.5 * (1 + math.cos(math.pi * state.step / total))
            losses = trainer.step(batch, rate)
            trainer.count(state.counts, batch)
            state.step += 1
            if not math.isfinite(losses["loss"]):
                raise LgcaError(_NO_NUMBER.format(what=f"the loss of step {state.step} is {losses['loss']}"))
            now = time.perf_counter()
            state.seconds, state.losses = before + now - began, losses
            state.peak = max(state.peak, peak_memory_of(encoder.device))
            if metrics:
                metrics.add(state.step, {**losses, "rate": rate, "scale": trainer.scale})
            ended = state.step % order.steps_an_epoch == 0
            if metrics and (ended or now - saved > every):
                metrics.flush()
                trainer.save(out, identity, state)
                saved = time.perf_counter()
            if progress and rank == 0:
                progress(state.step, total, losses)
    pairs = [*zip(first_weights, trainer.parameters, strict=True)]
    moved = sum(int(((old != new) & (old != 0)).sum()) for old, new in pairs)
    share = moved / sum(int((old != 0).sum()) for old in first_weights)
    outcome = Outcome(state.step, state.seconds, state.peak, share, dict(state.counts), state.losses)
    if rank == 0:
        write_report(out, identity, asdict(outcome))
        save_model(trainer.parts, out)
        (out / CHECKPOINT).unlink(missing_ok=True)  # as large as three models
    return outcome


class _Trainer:
    """Model, optimiser and one step."""

    def __init__(self, encoder: Encoder, settings: TrainSettings, checkpointing: bool, compiled: bool) -> None:
        check_trainable(encoder)
        assert encoder.parts is not None
        self.encoder, self.settings = encoder, settings
        self.parts = lengthen(encoder.parts)
        model = self.parts.model
        towers = Towers(model)
        self.pair_settings = PairSettings(
            settings.pairs, settings.pair_weights, settings.boxes, settings.spans, settings.seed
        )
        self.grid = PatchGrid(encoder.size, model.visual.patch_size[0], encoder.resize)
        self.reader = CaptionReader(encoder.tokenizer, min(LONG_CONTEXT, context_of(self.parts)))
        model.train().requires_grad_(True)
        model.logit_scale.requires_grad_(bool(settings.whole or settings.local))
        if getattr(model, "logit_bias", None) is not None:
            model.logit_bias.requires_grad_(False)  # of another loss
        if checkpointing:
            model.set_grad_checkpointing(True)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=settings.rate, weight_decay=settings.weight_decay, betas=(0.9, 0.999), fused=True
        )
        if settings.weights == "bfloat16":
            _round(self.parameters)
        self.towers: nn.Module = torch.compile(towers, dynamic=True) if compiled else towers  # type: ignore[assignment]
        self.together = ranks()[1] > 1
        if self.together:
            self.towers = DistributedDataParallel(self.towers)

    @property
    def scale(self) -> float:
        """The logit scale."""
        return float(self.parts.model.logit_scale.detach().exp())

    def step(self, collated: Collated, rate: float) -> dict[str, float]:
        """One step of the optimiser: the losses before it, of the whole batch."""
        chunks = [self._batch(collated, part) for part in range(self.settings.chunks)]
        rows = RegionRows(*(to_device(of, self.encoder.device) for of in collated.rows))
        self.optimiser.zero_grad(set_to_none=True)
        if len(chunks) == 1:
            losses = self._losses(self._encode(chunks[0]), rows)
            losses["loss"].backward()
        else:
            losses = self._in_chunks(chunks, rows)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.settings.weights == "bfloat16":
            _round([parameter.grad for parameter in self.parameters])
        self.optimiser.step()
        if self.settings.weights == "bfloat16":
            moments = [of for state in self.optimiser.state.values() for of in (state["exp_avg"], state["exp_avg_sq"])]
            _round([*self.parameters, *moments])
        if self.settings.clamp:
            with torch.no_grad():
                self.parts.model.logit_scale.clamp_(max=LARGEST_SCALE)
        return {name: float(term.detach()) for name, term in losses.items()}

    def _in_chunks(self, chunks: Sequence[Batch], rows: RegionRows) -> dict[str, Tensor]:
        """The losses of a batch that is encoded in parts, and their gradients.

        All parts are encoded without a graph, the losses give the gradient of every vector, and each part is encoded
        once more to hand it on (Gao et al., arXiv 2101.06983).
        """
        with torch.no_grad():
            parts = [self._encode(chunk) for chunk in chunks]
        vectors = Vectors(*(torch.cat(of) if of[0].ndim else of[0] for of in zip(*parts, strict=True)))
        leaves = Vectors(*(of.detach().requires_grad_() for of in vectors))
        losses = self._losses(leaves, rows)
        losses["loss"].backward()
        sizes = [[len(of) if of.ndim else 1 for of in part] for part in parts]
        places = [0] * len(leaves)
        for number, chunk in enumerate(chunks):
            last = number + 1 == len(chunks)
            with self._unshared() if not last else nullcontext():
                again = self._encode(chunk)
                heads, gradients = [], []
                for column, (of, leaf) in enumerate(zip(again, leaves, strict=True)):
                    gradient = leaf.grad
                    begin = places[column]
                    places[column] += sizes[number][column]
                    if gradient is None or not of.requires_grad:
                        continue
                    heads.append(of)
                    whole = gradient / len(chunks) if not of.ndim else gradient[begin : places[column]]
                    gradients.append(whole)  # the scale's is shared out evenly
                torch.autograd.backward(heads, gradients)
        return losses

    def _unshared(self) -> AbstractContextManager:
        return self.towers.no_sync() if isinstance(self.towers, DistributedDataParallel) else nullcontext()

    def _encode(self, batch: Batch) -> Vectors:
        kind = getattr(torch, self.settings.autocast)
        with torch.autocast(self.encoder.device.type, dtype=kind, enabled=kind != torch.float32):
            return self.towers(batch)

    def _losses(self, vectors: Vectors, rows: RegionRows) -> dict[str, Tensor]:
        if self.together:
            vectors, rows = gathered(vectors, rows, self.settings.gather)
        return goal_losses(vectors, rows, self.settings.loss)

    def _batch(self, collated: Collated, part: int) -> Batch:
        """One of ``chunks`` equal parts of a batch, on the device."""
        of = self.settings.chunks
        pictures = len(collated.captions)
        regions = len(collated.sentences)
        p = slice(part * pictures // of, (part + 1) * pictures // of)
        r = slice(part * regions // of, (part + 1) * regions // of)
        if not self.settings.needs_pairs:
            r = slice(0, 0)
        pixels = torch.cat([collated.pixels[:pictures][p], collated.pixels[pictures:][r]])
        encoder = self.encoder
        seen = normalised(to_device(pixels, encoder.device), encoder.mean, encoder.std, torch.float32)
        texts = (collated.captions[p], collated.sentences[r], collated.touched[r], collated.spoken[r])
        captions, sentences, touched, spoken = (to_device(text, encoder.device) for text in texts)
        whole = p.stop - p.start
        return Batch(seen[:whole], captions, seen[whole:], sentences, touched, spoken)

    def count(self, counts: Counter, batch: Collated) -> None:
        """Add the pairs and captions of a step, of all processes, and those that a term had to do without."""
        there = batch.rows.weight > 0
        seen = {"captions": len(batch.captions), "captions cut": batch.cut}
        if self.settings.needs_pairs:
            outside = (int((there & ~of).sum()) for of in (batch.rows.has_patches, batch.rows.has_words))
            seen |= zip(("pairs", "regions outside", "sentences outside"), (int(there.sum()), *outside), strict=True)
        if self.together:
            seen = summed(seen, self.encoder.device)
        counts.update(seen)

    def save(self, out: Path, identity: dict[str, Any], state: _State) -> None:
        """Write a checkpoint, all or nothing. LgcaError where the last step left weights that are no numbers."""
        if not all(bool(of.detach().isfinite().all()) for of in self.parameters):
            raise LgcaError(_NO_NUMBER.format(what=f"weights are no longer finite after step {state.step}"))
        model, optimiser = self.parts.model.state_dict(), self.optimiser.state_dict()
        said = {**asdict(state), "counts": dict(state.counts)}
        save_checkpoint(out, identity, {"state": said, "model": model, "optimiser": optimiser})

    def resume(self, out: Path, identity: dict[str, Any]) -> _State:
        """Take up a checkpoint, if there is one of the same training. LgcaError for one of another."""
        saved = load_checkpoint(out, identity, self.encoder.device)
        if saved is None:
            return _State()
        self.parts.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        state = _State(**saved["state"])
        state.counts = Counter(state.counts)
        return state


def _round(tensors: Iterable[Tensor | None]) -> None:
    """Round to bfloat16 in place, as if they were kept so; a CPU without AMX computes in it twenty times slower."""
    with torch.no_grad():
        for tensor in tensors:
            if tensor is not None:
                tensor.copy_(tensor.bfloat16())
