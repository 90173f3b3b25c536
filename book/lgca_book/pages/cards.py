"""Data cards: every data set, every prompt file, every encoder, with its licence, its source and its hash."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from IPython.display import HTML

from lgca_book.studies.flops import architecture
from lgca_book.style import NOT_AVAILABLE
from lgca_core.data.downloads import Archive
from lgca_core.data.manifest import Manifest
from lgca_core.data.table import DATASETS, Entry
from lgca_core.encoder import Encoder
from lgca_core.evaluation.paper_values import ARCHIVES, ENCODERS, TERMS
from lgca_core.prompts.published import ALIASES, FILES, FOLDERS, LICENCE, PromptFile
from lgca_core.prompts.sentences import digest

METHODS_OF = {
    "clip-e.json": "templates, for CLIP-E",
    "clip-d.json": "short descriptors, for CLIP-D and LaZSL",
    "cupl.json": "sentences, for CuPL, WCA and LGCA",
}
"""What each published prompt file is for, by its name."""


@dataclass(frozen=True)
class Card:
    """One thing: its title, an anchor to link to, and rows of (term, what is said of it), the latter in HTML."""

    title: str
    anchor: str
    rows: tuple[tuple[str, str], ...]


def show(cards: Iterable[Card]) -> HTML:
    """Cards one below the other, each a list of definitions that folds on a narrow screen."""
    return HTML('<div class="cards">' + "".join(map(_card, cards)) + "</div>")


def _card(card: Card) -> str:
    rows = "".join(f"<dt>{html.escape(term)}</dt><dd>{said}</dd>" for term, said in card.rows)
    return (
        f'<section class="fact-card" id="{card.anchor}"><p class="fact-title">{card.title}</p><dl>{rows}</dl></section>'
    )


# ---- data sets ---------------------------------------------------------------------------------------------


def data_sets(manifests: Iterable[Manifest]) -> list[Card]:
    """A card for each data set of the table; the hash of a manifest is told of those that are given."""
    hashes = {manifest.name: manifest.sha256 for manifest in manifests}
    return [_data_set(name, entry, hashes.get(name)) for name, entry in DATASETS.items()]


def _data_set(name: str, entry: Entry, manifest: str | None) -> Card:
    rows = [("What it is", html.escape(entry.summary))]
    source = entry.source
    facts = entry.facts()
    rows.append(("Split", html.escape(facts.split)))
    pictures, classes = f"{facts.images:,}", f"{facts.classes:,}"
    if source:
        each = f", {source.per_class} of each class" if source.per_class else ""
        pictures += f"{each} (counted by: {html.escape(source.counted)})"
        if (names := len(set(source.classes))) < facts.classes:
            classes += f", with {names:,} distinct names"
    rows += [("Pictures", pictures), ("Classes", classes)]
    licence = html.escape(facts.licence) + (f". {html.escape(_sentence(source.terms))}" if source else "")
    rows.append(("Licence", licence))
    if source:
        rows.append(("Where from", _link(source.homepage)))
        rows += [(f"Archive {archive.name}", _archive(archive)) for archive in source.archives]
        rows.append(("Layout", html.escape(source.layout)))
        prompts = FOLDERS[name]
        rows.append(("Prompts", f'<a href="#prompts-{prompts}">{prompts}</a>, published with WCA'))
        least = f"WCA's smallest crop is {source.alpha} of the shorter side, as its paper sets it here"
        rows.append(("Protocol", f"{least}. {html.escape(source.note)}".removesuffix(" ")))
    else:
        rows.append(
            ("Where from", "painted by this package (<code>lgca_core.aviary</code>) when it is first asked for")
        )
        rows.append(("Prompts", '<a href="#prompts-aviary">of the embedded world</a>'))
    rows.append(
        ("Manifest", _code(f"sha256:{manifest}") if manifest else f"{NOT_AVAILABLE}: its pictures were not at hand")
    )
    return Card(f"<code>{name}</code>", f"data-{name}", tuple(rows))


def _archive(archive: Archive) -> str:
    size = f"{archive.size:,} bytes" if archive.size else f"about {archive.about:,} bytes" if archive.about else ""
    asked = "each user asks for it on its page"
    said = [
        size or "size not published",
        _code(archive.checksum) if archive.checksum else "no checksum is published",
        " or ".join(map(_link, archive.urls)) or asked,
        f"source: {html.escape(archive.source)}",
    ]
    return "<br>".join(said)


# ---- prompts -----------------------------------------------------------------------------------------------


def prompt_sets() -> list[Card]:
    """A card for each folder of the published prompts, with every file in it; then the embedded world's."""
    folders: dict[str, list[PromptFile]] = {}
    for file in FILES.values():
        folders.setdefault(file.path.split("/")[1], []).append(file)
    read = {folder for folder in FOLDERS.values()}
    return [*(_prompt_set(folder, files, folder in read) for folder, files in folders.items()), _own_prompts()]


def _prompt_set(folder: str, files: Sequence[PromptFile], read: bool) -> Card:
    users = [name for name, own in FOLDERS.items() if own == folder]
    said = _joined(f'<a href="#data-{name}">{name}</a>' if name in DATASETS else name for name in users)
    if not read:
        said = (
            f"nothing here: <code>{ALIASES.get(folder, folder)}</code> reads those of ImageNet, which has its classes"
        )
    repository, commit = files[0].repository, files[0].commit
    address = f"https://github.com/{repository}/tree/{commit}"
    rows = [
        ("Read by", said),
        ("Where from", f"{_link(address, repository)}, commit {_code(commit)}"),
        ("Licence", f"{LICENCE} (LICENSE.md of that repository)"),
        *((file.path, _prompt_file(file, read)) for file in files),
    ]
    return Card(f"Prompts <code>{folder}</code>", f"prompts-{folder}", tuple(rows))


def _prompt_file(file: PromptFile, read: bool) -> str:
    used = METHODS_OF.get(file.path.split("/")[-1]) if read and file.path.startswith("prompts/") else None
    return "<br>".join(
        [
            used or "read by no method here",
            "size not known" if file.size is None else f"{file.size:,} bytes",
            f"git blob {_code(file.blob)}",
            _code(f"sha256:{file.sha256}") if file.sha256 else "sha256 not known: verified by its git blob",
        ]
    )


def _own_prompts() -> Card:
    from lgca_core.aviary import splits

    sentences = splits.descriptions_of()
    counts = sorted({len(own) for own in sentences.values()})
    rows = (
        ("Read by", _joined(f'<a href="#data-{name}">{name}</a>' for name in DATASETS if name in splits.SPLITS)),
        ("Where from", "<code>lgca_core/aviary/language.py</code>, fixed with the species"),
        ("Licence", "MIT, as this package"),
        ("Sentences", f"{' or '.join(map(str, counts))} for each of {len(sentences)} classes of the test species"),
        ("Hash", _code(f"sha256:{digest({'descriptions': list(sentences.values())})}")),
    )
    return Card("Prompts of the embedded world", "prompts-aviary", rows)


# ---- encoders ----------------------------------------------------------------------------------------------


def encoders(embedded: Encoder) -> list[Card]:
    """A card for the embedded encoder, as it was loaded, and one for each of the papers' backbones."""
    from lgca_core.encoders.embedded import WEIGHTS, WORLD_COMMIT

    own = (
        ("What it is", "a small CLIP, trained on captioned paintings of other species than those it is tested on"),
        *_model("aviary"),
        ("Activation", f"<code>{embedded.activation}</code>"),
        ("Weights", f"{WEIGHTS.stat().st_size:,} bytes, in this package<br>{_code(f'sha256:{embedded.sha256}')}"),
        ("World fixed in", f"commit {_code(WORLD_COMMIT)}"),
        ("Licence", "MIT, as this package"),
    )
    return [Card("<code>aviary</code>", "encoder-aviary", own), *(_backbone(*names) for names in ENCODERS.items())]


def _backbone(paper: str, name: str) -> Card:
    import open_clip

    model, tag = name.split(":")
    config = open_clip.get_pretrained_cfg(model, tag)
    rows = (
        ("What it is", f"{paper} of the papers: OpenAI's CLIP, downloaded by open_clip when it is first asked for"),
        *_model(name),
        ("Activation", "<code>quick_gelu</code>" if config.get("quick_gelu") else "<code>gelu</code>"),
        ("Weights", f"OpenAI's archive: {_code(f'sha256:{ARCHIVES[name]}')}"),
        (
            "Where from",
            " or ".join([_link(config["url"]), _link(f"https://huggingface.co/{config['hf_hub'].strip('/')}")]),
        ),
        ("Licence", html.escape(TERMS)),
    )
    return Card(f"<code>{name}</code>", f"encoder-{paper.lower().replace('/', '-')}", rows)


def _model(name: str) -> list[tuple[str, str]]:
    config = architecture(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    side, patch = vision.get("image_size", 224), vision["patch_size"]
    return [
        ("Input", f"{side} x {side} pixels in patches of {patch} x {patch}; {text['context_length']} text tokens"),
        (
            "Size",
            f"pictures: {vision['layers']} layers, {vision['width']} wide; "
            f"text: {text['layers']} layers, {text['width']} wide",
        ),
        ("Vectors", f"{config['embed_dim']} numbers"),
    ]


# ---- pieces ------------------------------------------------------------------------------------------------


def _link(address: str, said: str = "") -> str:
    return f'<a href="{html.escape(address)}">{html.escape(said or address)}</a>'


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)
