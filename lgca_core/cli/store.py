"""``lgca store``: look after the features on disk."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from lgca_core.cli.base import app
from lgca_core.cli.output import say, shown, stderr, stdout
from lgca_core.cli.removal import agreed, in_words
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.evaluation.store.listing import Damage, Stored
    from lgca_core.evaluation.store.store import Store

NAME_LENGTH = 12  # of 64 hexadecimal digits: enough to tell pools apart

store_app = typer.Typer(
    help="List and look after stored features: LGCA_STORE, else the folder store of LGCA_HOME.",
    invoke_without_command=True,
)
app.add_typer(store_app, name="store")

Pools = Annotated[
    list[str] | None, typer.Argument(metavar="POOL", help="Names, or their first letters.", show_default=False)
]


@store_app.callback()
def store(context: typer.Context) -> None:
    """List what is stored, or look after it."""
    if context.invoked_subcommand is None:
        ls()


@store_app.command()
def ls() -> None:
    """List what is stored: a line a set of features, of a data set, an encoder and a plan of boxes."""
    from lgca_core.evaluation.store.store import Store

    store = Store()
    pools = store.stored()
    if not pools:
        say(f"The store {store.root} is empty.")
        return
    _table(pools)
    stdout().print(f"{_pools(pools)}, {_size(pools)} in {store.root}", soft_wrap=True)


@store_app.command(
    epilog="\b\nExamples:\n"
    "  lgca store rm 3f2a91\n"
    "  lgca store rm --dataset pets --encoder ViT-B-32-quickgelu:openai\n"
    "  lgca store rm --all --yes"
)
def rm(
    pools: Pools = None,
    everything: Annotated[bool, typer.Option("--all", help="Every pool.")] = False,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Every pool of a data set.")] = None,
    encoder: Annotated[str | None, typer.Option(metavar="NAME", help="Every pool of an encoder.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove pools. Whatever is still wanted of them is encoded again when an evaluation needs it.

    Both --dataset and --encoder: the pools of that data set and that encoder.
    """
    from lgca_core.evaluation.store.store import Store

    store = Store()
    chosen = _chosen(store, pools or [], everything, dataset, encoder)
    if not chosen:
        say(f"The store {store.root} is empty: nothing to remove.")
        return
    what = f"{_pools(chosen)}, {_size(chosen)}"
    if not yes:
        _table(chosen)
        if not agreed(f"Remove {what}?"):
            return
    for pool in chosen:
        pool.remove()
    say(f"Removed {what}.")


@store_app.command(epilog="\b\nExamples:\n  lgca store verify\n  lgca store verify 3f2a91 --fix")
def verify(
    pools: Pools = None,
    fix: Annotated[bool, typer.Option("--fix", help="Remove what is damaged; it is encoded again.")] = False,
) -> None:
    """Read every shard and name the damaged ones. Exit status 2 if any is damaged and left there.

    What killed processes left half-written is removed.
    """
    from lgca_core.evaluation.store.store import Store

    store = Store()
    chosen = store.find(pools) if pools else store.stored()
    if not chosen:
        say(f"The store {store.root} is empty.")
        return
    terminal = stderr()
    damaged: list[Damage] = []
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=sum(pool.size for pool in chosen))
        for pool in chosen:
            damaged += pool.verify(fix=fix, progress=lambda file: bar.advance(task, file.size))
    for damage in damaged:
        say(f"damaged: {damage.path}: {damage.reason}")
    shards = sum(len(pool.files) for pool in chosen)
    where = f"{_count(shards, 'shard')} in {_pools(chosen)}"
    sentence = f"{len(damaged)} of {where} {'is' if len(damaged) == 1 else 'are'} damaged"
    if damaged and not fix:
        raise LgcaError(f"{sentence}: remove with lgca store verify --fix what is then encoded again")
    say(f"{sentence}, and removed." if damaged else f"{where}, {_size(chosen)}: sound.")


def _chosen(
    store: "Store", prefixes: Sequence[str], everything: bool, dataset: str | None, encoder: str | None
) -> "list[Stored]":
    """The pools that `rm` is asked to remove. LgcaError unless it is said in one way which."""
    if bool(prefixes) + everything + (dataset is not None or encoder is not None) != 1:
        raise LgcaError("say which pools to remove: their names, --all, or --dataset NAME and --encoder NAME")
    if prefixes:
        return store.find(prefixes)
    pools = store.stored()
    if everything:
        return pools
    chosen = [
        pool
        for pool in pools
        if dataset in (None, pool.dataset) and encoder in (None, pool.encoder, pool.encoder.split(":")[0])
    ]
    if not chosen:
        asked = " and ".join(
            f"of the {what} {name!r}"
            for what, name in (("data set", dataset), ("encoder", encoder))
            if name is not None
        )
        raise LgcaError(f"the store {store.root} has no pool {asked}: see lgca store ls")
    return chosen


def _table(pools: "Sequence[Stored]") -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pool", "data set", "encoder", "precision", "boxes"):
        table.add_column(heading, overflow="fold")
    for heading in ("pictures", "shards", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pool in pools:
        known = pool.label is not None
        table.add_row(
            pool.folder.name[:NAME_LENGTH],
            shown(pool.dataset or "(unnamed)") if known else "(no pool.json)",
            shown(pool.encoder),
            pool.precision,
            pool.plan,
            str(pool.pictures) if known else "?",
            f"{pool.present}/{pool.expected}" if known else f"{pool.present}/?",
            _size([pool]),
        )
    stdout().print(table)


def _pools(pools: "Sequence[Stored]") -> str:
    return _count(len(pools), "pool")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _size(pools: "Sequence[Stored]") -> str:
    return in_words(sum(pool.size for pool in pools))
