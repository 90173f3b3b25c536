"""Train an embedded encoder: `python -m lgca_core.aviary.train --out weights.safetensors [--sees colour|shape]`.

A CLIP on painted scenes of freely drawn species, every one at least three attributes away from the held-out ones.
Each step takes views at all zooms (whole pictures, random crops, close-ups of a part), says two captions of what
is in view, and lowers the symmetric InfoNCE loss; pairs that are true of each other are left out of the negatives.
Two more losses help it learn and leave nothing of their own in the shipped weights: linear read-outs of every visible
attribute, and of the part under every patch, which are thrown away in the end. The logit scale is not learned: it
rises on a schedule to CLIP's 100, since WCA's temperatures mean something only at cosines spread as CLIP spreads them.

The pictures are painted first (a cache file beside the checkpoint), training can be stopped and resumed, and the log
is a CSV. Only the validation species are ever looked at here.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from lgca_core.aviary import opencv as cv2
from lgca_core.aviary.language import HABITAT_PHRASES, THINGS, caption, claim_codes, descriptions
from lgca_core.aviary.painter import HABITATS, PARTS, STYLES, Scene, paint
from lgca_core.aviary.recipe import Config, Sees
from lgca_core.aviary.sees import ARCHITECTURES, MEAN, STD, folded, project
from lgca_core.aviary.species import ATTRIBUTES, VALUES, Species, draw_training_species
from lgca_core.aviary.splits import scenes
from lgca_core.encoders.embedded import WEIGHTS, add_to_open_clip
from lgca_core.files import draft_of

ATTRIBUTE_PART = {
    "body": "body",
    "cap": "cap",
    "belly": "belly",
    "wing": "wing",
    "wing_pattern": "wing",
    "beak": "beak",
    "beak_colour": "beak",
    "legs": "legs",
    "crest": "cap",
    "tail": "tail",
    "tail_colour": "tail",
    "ring": "eye",
}
"""The part that shows an attribute; the family shows only in a view of most of the bird."""
CAPTION_LENGTH = 24
"""Training captions are cut to this many tokens; few are longer."""
BLANK, START, END = 1, 2, 3
"""The token whose embedding stays zero, as an untrained word looks to the text tower; the two that frame a text."""
GROUP = 128
"""Captions of similar length that go through the text tower together."""


# --- pictures -------------------------------------------------------------------------------------


def _paint_block(seed: int, start: int, stop: int) -> tuple[np.ndarray, ...]:
    cv2.setNumThreads(1)  # the processes are the parallelism
    images, parts, codes, habitats, things = [], [], [], [], []
    for index in range(start, stop):
        rng = np.random.default_rng([seed, index])
        species = draw_training_species(rng)
        habitat = int(rng.integers(len(HABITATS)))
        painting = paint(Scene(species, HABITATS[habitat], int(rng.integers(2**62)), STYLES["test"]))
        images.append(painting.image)
        parts.append(painting.parts)
        codes.append(species.codes())
        habitats.append(habitat)
        boxes = np.full((len(THINGS), 4), -1, np.int16)
        for kind, colour, box in painting.objects:
            boxes[THINGS.index((kind, colour))] = box
        things.append(boxes)
    return np.stack(images), np.stack(parts), np.stack(codes), np.array(habitats, np.int8), np.stack(things)


def painted(config: Config, folder: Path) -> dict[str, np.ndarray]:
    """The training scenes, painted once and kept in `folder` as memory-mapped arrays."""
    names = ("images", "parts", "codes", "habitats", "things")
    files = {name: folder / f"scenes-{config.seed}-{config.scenes}-{name}.npy" for name in names}
    if not all(f.exists() for f in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        edges = [*range(0, config.scenes, 250), config.scenes]
        jobs = [config.seed] * (len(edges) - 1), edges[:-1], edges[1:]
        if len(edges) == 2:
            blocks = [*map(_paint_block, *jobs)]
        else:  # fresh processes: OpenCV's threads do not survive a fork
            with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
                blocks = list(pool.map(_paint_block, *jobs))
        for column, name in enumerate(names):
            with draft_of(files[name]) as draft:
                np.save(draft, np.concatenate([block[column] for block in blocks]))
        print(f"painted {config.scenes} scenes in {time.perf_counter() - started:.0f} s", flush=True)
    return {name: np.load(path, mmap_mode="r") for name, path in files.items()}


class TrainingViews(torch.utils.data.IterableDataset):
    """An endless, seeded stream of training batches: step -> views, captions and what they claim."""

    def __init__(
        self, config: Config, pictures: dict[str, np.ndarray], tokens: Vocabulary, first_step: int = 0
    ) -> None:
        self.config, self.pictures, self.tokens, self.first_step = config, pictures, tokens, first_step

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(self.first_step + offset, self.config.steps, stride):
            yield self.batch(step)

    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of one step; the same whenever and wherever it is made."""
        rng = np.random.default_rng([self.config.seed, 77, step])
        rows = [self.view(rng) for _ in range(self.config.batch)]
        columns = {key: np.stack([row[key] for row in rows]) for key in rows[0] if key != "captions"}
        said = [row["captions"][k] for k in (0, 1) for row in rows]
        ids = self.tokens.encode([c.text for c in said], length=CAPTION_LENGTH)
        blank = rng.random(ids.shape) < self.config.blank
        ids[blank & (ids != START) & (ids != END) & (ids != 0)] = BLANK
        batch = {key: torch.from_numpy(value) for key, value in columns.items()}
        batch["ids"] = torch.from_numpy(ids)
        batch["claims"] = torch.from_numpy(np.stack([claim_codes(c.claims) for c in said]))
        batch["claimed_habitat"] = torch.tensor([HABITATS.index(c.habitat) if c.habitat else -1 for c in said])
        batch["claimed_thing"] = torch.tensor([THINGS.index(c.thing) if c.thing else -1 for c in said])
        return batch

    def view(self, rng: np.random.Generator) -> dict[str, Any]:
        """One view of one scene: pixels, visible attributes, part under every patch, two captions."""
        index = int(rng.integers(self.config.scenes))
        image, parts = self.pictures["images"][index], self.pictures["parts"][index]
        size = image.shape[0]
        if rng.random() < 0.5:
            image, parts, mirrored = image[:, ::-1], parts[:, ::-1], True
        else:
            mirrored = False
        top, left, side = self._box(parts, rng)
        window = parts[top : top + side, left : left + side]
        all_pixels = np.bincount(parts.ravel(), minlength=len(PARTS) + 1)[1:]
        pixels = np.bincount(window.ravel(), minlength=len(PARTS) + 1)[1:]
        least = 4.0 * (side / 64) ** 2
        seen = (pixels >= least) & (pixels >= 0.35 * all_pixels)
        visible = [p for p, s in zip(PARTS, seen) if s]
        whole = bool(pixels.sum() >= 0.75 * all_pixels.sum() and visible)
        view = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
        if side != 64:
            view = view.resize((64, 64), Image.Resampling.BICUBIC)

        codes = self.pictures["codes"][index]
        shown = np.array([whole if a == "family" else ATTRIBUTE_PART[a] in visible for a in ATTRIBUTES])
        boxes = self.pictures["things"][index].astype(np.int32)
        if mirrored:
            boxes[:, 1] = size - boxes[:, 1] - boxes[:, 3]
        inside = (
            (boxes[:, 0] >= top)
            & (boxes[:, 1] >= left)
            & (boxes[:, 0] + boxes[:, 2] <= top + side)
            & (boxes[:, 1] + boxes[:, 3] <= left + side)
            & (boxes[:, 2] >= 0)
        )
        things = [THINGS[i] for i in np.flatnonzero(inside)]
        species = Species(*(VALUES[a][c] for a, c in zip(ATTRIBUTES, codes)))
        habitat = HABITATS[int(self.pictures["habitats"][index])]
        patches = np.asarray(Image.fromarray(np.ascontiguousarray(window)).resize((8, 8), Image.Resampling.NEAREST))
        return {
            "pixels": np.asarray(view).transpose(2, 0, 1),
            "codes": codes,
            "shown": shown,
            "habitat": self.pictures["habitats"][index],
            "things": boxes[:, 2] >= 0,
            "patches": patches.ravel().astype(np.int64),
            "captions": [caption(species, habitat, things, visible, rng, whole) for _ in range(2)],
        }

    def _box(self, parts: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int]:
        size = parts.shape[0]
        roll = rng.random()
        if roll < self.config.whole:
            return 0, 0, size
        if roll < self.config.whole + self.config.crops:
            side = int(size * rng.uniform(0.15, 0.95))
            return int(rng.integers(size - side + 1)), int(rng.integers(size - side + 1)), side
        present = np.unique(parts)
        present = present[present > 0]
        rows, columns = np.nonzero(parts == rng.choice(present)) if present.size else (np.array([size // 2]),) * 2
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        side = int(np.clip(extent * rng.uniform(1.1, 2.4), 20, size))
        top = int(np.clip((rows.min() + rows.max()) / 2 - side / 2 + rng.normal(0, 0.1 * side), 0, size - side))
        left = int(np.clip((columns.min() + columns.max()) / 2 - side / 2 + rng.normal(0, 0.1 * side), 0, size - side))
        return top, left, side


# --- words ----------------------------------------------------------------------------------------


class Vocabulary:
    """The tokens that training ever says, renumbered: 0 pads, `BLANK` stays zero, then the known ones."""

    def __init__(self) -> None:
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32")
        known = sorted({int(t) for text in _every_word() for t in self.tokenizer.encode(text)})
        special = [self.tokenizer.sot_token_id, self.tokenizer.eot_token_id]
        self.rows = np.array([0, 0, *special, *(t for t in known if t not in special)])
        self._number = {int(t): n for n, t in enumerate(self.rows) if n >= 2}
        self._known: dict[str, list[int]] = {}

    def encode(self, texts: list[str], length: int | None = None) -> np.ndarray:
        """(n, length) int64: start, the words (cut to fit), end, then zeros; `length` None is the longest text's."""
        words = [[t for word in text.split() for t in self._tokens(word)] for text in texts]
        length = length or min(77, max(map(len, words)) + 2)
        rows = [[START, *row[: length - 2], END] for row in words]
        ids = np.zeros((len(rows), length), np.int64)
        for n, row in enumerate(rows):
            ids[n, : len(row)] = row
        return ids

    def _tokens(self, word: str) -> list[int]:
        """The numbers of one word; the tokenizer never joins what white space parts, so words can be kept."""
        if word not in self._known:
            self._known[word] = [self._number.get(t, BLANK) for t in self.tokenizer.encode(word)]
        return self._known[word]


def _every_word() -> list[str]:
    """Text that contains every word of the training language: a large seeded sample of captions."""
    rng = np.random.default_rng(0)
    said = []
    species = draw_training_species(rng)
    for index in range(20000):
        if index % 10 == 0:
            species = draw_training_species(rng)
        habitat = HABITATS[index % len(HABITATS)]
        visible = [p for p in PARTS if rng.random() < 0.6] if index % 8 else []
        said.append(caption(species, habitat, [THINGS[index % len(THINGS)]], visible, rng, bool(index % 3)).text)
    return said + [phrase for phrases in HABITAT_PHRASES.values() for phrase in phrases]


# --- towers ---------------------------------------------------------------------------------------


def _blocks(x: Tensor, blocks: Any, mask: Tensor | None) -> Tensor:
    """open_clip's residual blocks in plain operations, which train faster on a CPU than its modules.

    x (n, length, width) -> the same.
    """
    n, length, width = x.shape
    for block in blocks:
        attention = block.attn
        heads = attention.num_heads
        qkv = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)  # (n, length, 3 width)
        q, k, v = qkv.view(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)  # (n, heads, length, 64) each
        scores = (q @ k.transpose(-1, -2)) * (width // heads) ** -0.5
        if mask is not None:
            scores = scores + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)
        x = x + attention.out_proj(mixed)
        # QuickGELU(h) = h sigmoid(1.702 h) = silu(1.702 h) / 1.702, its constants folded into the weights
        rise, fall = block.mlp.c_fc, block.mlp.c_proj
        hidden = F.silu(F.linear(block.ln_2(x), 1.702 * rise.weight, 1.702 * rise.bias))
        x = x + F.linear(hidden, fall.weight / 1.702, fall.bias)
    return x


class Trainee(nn.Module):
    """The open_clip model with training's helpers: renumbered words, linear read-outs, and blindness."""

    def __init__(self, words: int, sees: Sees = "all") -> None:
        super().__init__()
        add_to_open_clip()
        self.sees = sees
        self.clip = open_clip.create_model(ARCHITECTURES[sees], precision="fp32", load_weights=False)
        width = self.clip.visual.conv1.out_channels
        self.words = nn.Embedding(words, self.clip.token_embedding.embedding_dim)
        nn.init.normal_(self.words.weight, std=0.02)
        self.attributes = nn.ModuleList(nn.Linear(width, len(VALUES[a])) for a in ATTRIBUTES)
        self.patches = nn.Linear(width, len(PARTS) + 1)

    def warm_up(self, rows: np.ndarray) -> None:
        """Begin with the encoder that sees everything, but for what projects to vectors; its words by their rows."""
        known = {name: of.float() for name, of in load_file(WEIGHTS).items()}
        own = self.clip.state_dict()
        alike = {name: of for name, of in known.items() if own[name].shape == of.shape and name != "logit_scale"}
        self.clip.load_state_dict(own | alike)
        with torch.no_grad():
            self.words.weight[2:] = known["token_embedding.weight"][torch.from_numpy(rows[2:])]

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 3, 64, 64) normalised -> unit embedding (n, D), its width-wide input (n, W), patch tokens (n, 64, W)."""
        visual = self.clip.visual
        x = visual.conv1(project(pixels, self.sees)).flatten(2).transpose(1, 2)  # (n, 64, W)
        first = visual.class_embedding.expand(x.shape[0], 1, -1).to(x.dtype)
        x = torch.cat([first, x], 1) + visual.positional_embedding.to(x.dtype)  # (n, 65, W)
        x = _blocks(visual.ln_pre(x), visual.transformer.resblocks, None)
        x = visual.ln_post(x)
        return F.normalize((x[:, 0] @ visual.proj).float(), dim=-1), x[:, 0], x[:, 1:]

    def text(self, ids: Tensor) -> Tensor:
        """(n, length) renumbered tokens -> unit embedding (n, D).

        Sorted by length and cut to each group's longest: exact, since the tower is causal and reads the end token.
        """
        ends = (ids == END).to(torch.int32).argmax(1)
        order = ends.argsort()
        groups = [self._text(ids[rows, : int(ends[rows[-1]]) + 1], ends[rows]) for rows in order.split(GROUP)]
        return torch.cat(groups)[order.argsort()]

    def _text(self, ids: Tensor, ends: Tensor) -> Tensor:
        length = ids.shape[1]
        known = (ids != BLANK) & (ids != 0)
        x = self.words(ids) * known[..., None] + self.clip.positional_embedding[:length]
        x = _blocks(x, self.clip.transformer.resblocks, self.clip.attn_mask[:length, :length])
        x = self.clip.ln_final(x)
        return F.normalize((x[torch.arange(len(x)), ends] @ self.clip.text_projection).float(), dim=-1)


def true_pairs(batch: dict[str, Tensor]) -> Tensor:
    """(views, captions) bool: whether each caption, in all it claims, is true of each view's scene."""
    claims, codes = batch["claims"][None], batch["codes"][:, None]
    bird = ((claims == -1) | (claims == codes)).all(-1)
    place = (batch["claimed_habitat"][None] == -1) | (batch["claimed_habitat"][None] == batch["habitat"][:, None])
    wanted = batch["claimed_thing"]
    thing = (wanted[None] == -1) | batch["things"][:, wanted.clamp(min=0)]
    return bird & place & thing


def contrast(image: Tensor, text: Tensor, truth: Tensor, scale: float) -> Tensor:
    """Symmetric InfoNCE over (n, D) and (2n, D), both captions of a view positives of it, other true pairs left out."""
    n = image.shape[0]
    total = image.new_zeros(())
    for half in (0, 1):
        words = text[half * n : (half + 1) * n]
        logits = scale * image @ words.T  # (n, n)
        ignore = truth[:, half * n : (half + 1) * n].clone()
        ignore.fill_diagonal_(False)
        logits = logits.masked_fill(ignore, float("-inf"))
        target = torch.arange(n, device=image.device)
        total = total + (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 4
    return total


def losses(model: Trainee, batch: dict[str, Tensor], config: Config, scale: float) -> tuple[Tensor, dict[str, float]]:
    """The training loss of one batch and its terms."""
    mean, std = (torch.tensor(v, device=batch["pixels"].device).view(1, 3, 1, 1) for v in (MEAN, STD))
    image, pooled, tokens = model.image((batch["pixels"].float() / 255 - mean) / std)
    text = model.text(batch["ids"])
    clip_loss = contrast(image, text, true_pairs(batch), scale)
    attribute_loss = image.new_zeros(())
    for column, head in enumerate(model.attributes):
        target = torch.where(batch["shown"][:, column], batch["codes"][:, column].long(), -100)
        attribute_loss = attribute_loss + F.cross_entropy(head(pooled).float(), target, ignore_index=-100) / len(
            ATTRIBUTES
        )
    patch_loss = F.cross_entropy(model.patches(tokens).float().flatten(0, 1), batch["patches"].flatten())
    total = clip_loss + config.attributes * attribute_loss + config.patches * patch_loss
    return total, {
        "clip": clip_loss.item(),
        "attributes": attribute_loss.item(),
        "patches": patch_loss.item(),
    }


# --- the run --------------------------------------------------------------------------------------


def rate(config: Config, step: int) -> float:
    """Learning rate: linear warm-up, then cosine to zero."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    along = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * along))


def scale_at(config: Config, step: int) -> float:
    """Logit scale: geometric from first to last over the first four fifths of training, then constant."""
    along = min(1.0, step / (0.8 * config.steps))
    return config.first_scale * (config.last_scale / config.first_scale) ** along


@torch.inference_mode()
def validate(model: Trainee, tokens: Vocabulary, pictures: int = 12) -> dict[str, float]:
    """Top-1 on `pictures` of each validation species, whole, with plain prompts and with mean descriptions."""
    views, labels = [], []
    names: dict[str, int] = {}
    for name, number, scene in scenes("aviary-validation"):
        names.setdefault(name, len(names))
        if number < pictures:
            views.append(Image.fromarray(paint(scene).image).resize((64, 64), Image.Resampling.BICUBIC))
            labels.append(names[name])
    pixels = torch.from_numpy(np.stack([np.asarray(v) for v in views]).transpose(0, 3, 1, 2)).float() / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    device = next(model.parameters()).device
    image = torch.cat([model.image(p.to(device))[0] for p in ((pixels - mean) / std).split(250)])
    said = descriptions("validation")
    plain = model.text(torch.from_numpy(tokens.encode([f"a photo of a {n}." for n in names])).to(device))
    rich = torch.stack(
        [F.normalize(model.text(torch.from_numpy(tokens.encode(said[n])).to(device)).mean(0), dim=0) for n in names]
    )
    label = torch.tensor(labels, device=device)
    return {
        "plain": float(((image @ plain.T).argmax(1) == label).float().mean()),
        "described": float(((image @ rich.T).argmax(1) == label).float().mean()),
    }


def export(model: Trainee, tokens: Vocabulary, scale: float, path: Path) -> None:
    """Write the model as an OpenAI-format state dict in float16 safetensors; words never said in training are zero.

    The first convolution of a blind one is folded and stays in float32, in which the blindness is exact.
    """
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().clone() for k, v in model.clip.state_dict().items() if k != "attn_mask"}
    table = torch.zeros_like(state["token_embedding.weight"])
    table[torch.from_numpy(tokens.rows[2:])] = model.words.weight.detach().cpu()[2:]
    state["token_embedding.weight"] = table
    state["logit_scale"] = torch.tensor(math.log(scale))
    state = {k: v.half().contiguous() for k, v in state.items()}
    if model.sees != "all":
        state["visual.conv1.weight"] = folded(model.clip.visual.conv1.weight.detach().cpu(), model.sees)
    with draft_of(path) as draft:
        save_file(state, draft)


def train(
    config: Config,
    out: Path,
    *,
    work: Path,
    device: str = "cpu",
    workers: int = 1,
    every: int = 500,
    pictures: int = 12,
) -> None:
    """Run (or resume) a training run and write `out`.

    `work` holds the painted scenes, the checkpoint and the log. A checkpoint of another configuration is refused.
    `every` so many steps, the checkpoint is written and `pictures` of each validation species are classified.
    """
    torch.manual_seed(config.seed)
    painting, tokens = painted(config, work), Vocabulary()
    model = Trainee(len(tokens.rows), config.sees)
    if config.warm:
        model.warm_up(tokens.rows)
    model.to(device)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    other = [p for p in model.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": config.weight_decay}, {"params": other, "weight_decay": 0.0}],
        lr=config.lr,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )
    run = f"{config.seed}" if config.sees == "all" else f"{config.sees}-{config.seed}"
    checkpoint, log = work / f"checkpoint-{run}.pt", work / f"log-{run}.csv"
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        if saved["config"] != asdict(config):
            raise SystemExit(
                f"error: {checkpoint} belongs to a run with other settings; remove it or choose another --work folder."
            )
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
        print(f"resumed at step {first}", flush=True)
    loader = iter(
        torch.utils.data.DataLoader(
            TrainingViews(config, painting, tokens, first),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
    )
    started, model = time.perf_counter(), model.train()
    for step in range(first, config.steps):
        batch = {key: value.to(device, non_blocking=True) for key, value in next(loader).items()}
        for group in optimiser.param_groups:
            group["lr"] = rate(config, step)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
            loss, terms = losses(model, batch, config, scale_at(config, step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        last = step + 1 == config.steps
        if (step + 1) % 50 == 0 or last:
            row = {
                "step": step + 1,
                "seconds": round(time.perf_counter() - started, 1),
                "scale": round(scale_at(config, step), 2),
                **{k: round(v, 4) for k, v in terms.items()},
            }
            if (step + 1) % every == 0 or last:
                model.eval()
                row |= {k: round(v, 4) for k, v in validate(model, tokens, pictures).items()}
                model.train()
                state = {
                    "config": asdict(config),
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                }
                with draft_of(checkpoint) as draft:
                    torch.save(state, draft)
            _log(log, row)
    export(model.eval(), tokens, config.last_scale, out)
    print(f"wrote {out}", flush=True)


def _log(path: Path, row: dict[str, float]) -> None:
    columns = ("step", "seconds", "scale", "clip", "attributes", "patches", "plain", "described")
    new = not path.exists()
    with path.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, columns)
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(json.dumps(row), flush=True)


def main() -> None:
    """Command line of the training script."""
    parser = argparse.ArgumentParser(
        description="Train the aviary's encoder. Stop it at will: the same command resumes."
    )
    parser.add_argument("--out", type=Path, default=Path("aviary-weights.safetensors"), help="weights file to write")
    parser.add_argument("--work", type=Path, default=Path("aviary-training"), help="folder of scenes, checkpoint, log")
    parser.add_argument("--sees", choices=get_args(Sees), default="all", help="what the encoder is not blind to")
    parser.add_argument("--warm", action="store_true", help="begin with the weights of the one that sees everything")
    parser.add_argument("--seed", type=int, default=1, help="training seed; the shipped weights have seed 1")
    parser.add_argument("--steps", type=int, default=Config.steps)
    parser.add_argument("--batch", type=int, default=Config.batch)
    parser.add_argument("--scenes", type=int, default=Config.scenes, help="how many scenes to paint")
    parser.add_argument("--lr", type=float, default=Config.lr, help="largest learning rate")
    parser.add_argument("--attributes", type=float, default=Config.attributes, help="weight of their read-outs' loss")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default=Config.precision)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that cut views")
    given = parser.parse_args()
    keys = ("seed", "steps", "batch", "scenes", "lr", "attributes", "sees", "warm", "precision")
    fixed = {key: getattr(given, key) for key in keys}
    train(Config(**fixed), given.out, work=given.work, device=given.device, workers=given.workers)


if __name__ == "__main__":
    main()
