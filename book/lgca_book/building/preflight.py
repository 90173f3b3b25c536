"""The pre-flight of a full run: all that can be wrong, found in seconds and told at once; then what the run will take.

Nothing is evaluated here. Passes are counted by running the methods on two pictures with a stand-in for the encoder;
seconds are passes over the rate at which the real encoder takes real crops, measured in about ten seconds.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgca_book.building import dependencies
from lgca_book.building.calibration import Cost, cost_of, rate_of
from lgca_book.experiments import experiments
from lgca_book.planning import CONTENTS, Plan, plan
from lgca_core.data import Manifest, open_dataset
from lgca_core.encoder import Encoder
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code
from lgca_core.evaluation.store.store import Store
from lgca_core.evaluation.targets import check_parent
from lgca_core.methods import check_methods, find
from lgca_core.prompts.class_prompts import ClassPrompts, prompts_of_dataset


@dataclass(frozen=True)
class _Loaded:
    """An encoder that a run names; None where its weights are still to be downloaded. ``rate`` is passes a second."""

    encoder: Encoder | None
    rate: float | None


class _Problems:
    """What is wrong, each once, in the order found."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}

    def attempt(self, check: Callable[..., Any], *arguments: Any) -> Any:
        """What a check returns; None, and its sentence noted, where it raises an :class:`LgcaError`."""
        try:
            return check(*arguments)
        except LgcaError as error:
            self.found[str(error)] = None
            return None

    def end(self) -> None:
        """Raise an :class:`LgcaError` that lists all of them, if there are any."""
        if len(self.found) == 1:
            raise LgcaError(next(iter(self.found)))
        if self.found:
            listed = "".join(f"\n  - {sentence}" for sentence in self.found)
            raise LgcaError(f"{len(self.found)} things are to be mended before anything is run:{listed}")


def check(config: Mapping[str, object], *, jobs: int = 1, cluster: bool = False) -> dict[str, str]:
    """Check all that a full run needs, and print what it will do.

    Args:
        config: of the run, as `lgca_book.planning.plan` takes it.
        jobs: how many jobs run side by side on this machine.
        cluster: whether the work goes elsewhere, so that its time cannot be told here.

    Returns:
        What lies behind each data set (hash of its manifest) and checkpoint file (hash of its weights), by spelling.

    Raises:
        LgcaError: with everything that is wrong.
    """
    problems = _Problems()
    for name in config.keys() - {"profile"}:  # each by itself, so that every slip is told
        problems.attempt(plan, {"profile": "full", name: config[name]})
    run = problems.attempt(plan, config) if not problems.found else None
    usual = run or plan({"profile": "full"})
    datasets = run.datasets if run else _listed(config, "datasets", usual.datasets)
    encoders = run.encoders if run else _listed(config, "encoders", usual.encoders)
    problems.attempt(check_methods, run.methods if run else _listed(config, "methods", usual.methods))
    known = [method for method in _methods(run, usual) if _is_method(method)]

    print("Checking", flush=True)
    manifests, prompts = {}, {}
    for spec in datasets:
        if (manifest := problems.attempt(open_dataset, spec)) is not None:
            manifests[spec] = manifest
            prompts[spec] = problems.attempt(_prompts, spec, manifest, known)
            _say(
                f"data set {spec}: {len(manifest.items):,} pictures in {len(manifest.classes):,} classes", manifest.note
            )
    device = str(config.get("device", experiments().full.device))
    loaded = {spec: problems.attempt(_loaded, spec, device, next(iter(manifests.values()), None)) for spec in encoders}
    targets = [Path("_build/choice.json"), *(Path("results", name, "record.json") for name in (run or usual).full)]
    for target in {_above(target): target for target in targets}.values():
        problems.attempt(_check_place, target, "the record")
    problems.attempt(_check_place, Store().root / "features", "features")
    contents = {spec: manifest.sha256 for spec, manifest in manifests.items()}
    contents |= {spec: of.encoder.sha256 for spec, of in loaded.items() if of and of.encoder and of.encoder.sha256}
    costs: dict[str, Cost] = {}
    if run:
        for page in experiments().pages:
            problems.attempt(run.compared_in, page)
        costs = _costs(run, manifests, prompts, loaded, problems)
    problems.end()
    assert run is not None, "a plan that cannot be made is a problem"
    made = plan({**config, CONTENTS: contents}, code=digest_of_code(dependencies.of_evaluations()))
    wanted = {name: cost for name, cost in costs.items() if not made.is_current(name)}
    problems.attempt(_check_disk, made, wanted)
    problems.end()
    _tell(made, manifests, loaded, costs, wanted, jobs=jobs, cluster=cluster)
    return contents


def _listed(config: Mapping[str, object], name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    found = config.get(name, usual)
    words = found if isinstance(found, list | tuple) else str(found).split(",")
    return tuple(str(word) for word in words if str(word))


def _methods(run: Plan | None, usual: Plan) -> list[str]:
    """All methods of all evaluations, each once."""
    return list(dict.fromkeys(method for of in (run or usual).full.values() for method in of.methods))


def _is_method(name: str) -> bool:
    try:
        find(name)
    except LgcaError:
        return False
    return True


def _prompts(spec: str, manifest: Manifest, methods: list[str]) -> ClassPrompts:
    """What the methods read of the classes; published files are fetched, if they are not here yet."""
    said = prompts_of_dataset(spec, manifest, [find(name).prompts for name in methods])
    try:
        for name in methods:
            said.of(find(name).prompts, method=name, seed=0)
    except LgcaError as error:
        raise LgcaError(
            f"{spec} is no published data set, and no sentences of its classes are known here: evaluate it with lgca "
            "evaluate --images FOLDER --descriptions FILE, whose record pages take as the parameter records"
        ) from error
    return said


def _loaded(spec: str, device: str, manifest: Manifest | None) -> _Loaded:
    """Load an encoder whose weights are here, and time it; of others, check what can be checked without them."""
    from lgca_book.building.downloads import not_yet, offline

    try:
        with offline():
            encoder = load_encoder(spec, device=device)  # type: ignore[arg-type]
    except LgcaError as error:
        if not_yet(error):
            _say(f"encoder {spec}: known; its weights are downloaded when the run begins")
            return _Loaded(None, None)
        raise
    rate = rate_of(encoder, manifest)
    _say(f"encoder {spec}: here, {encoder.precision} on {encoder.device.type}, {rate:,.0f} passes a second")
    return _Loaded(encoder, rate)


def _above(target: Path) -> Path:
    """The nearest folder above a file that is there."""
    return next(p for p in target.absolute().parents if p.exists())


def _check_place(target: Path, what: str) -> None:
    """Try the place of a file; a place that looks writable may not be."""
    check_parent(target, what)
    parent = _above(target)
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise LgcaError(
            f"{parent} cannot be written ({error.strerror}), so {what} cannot go to {target}: choose another folder"
        ) from error


def _costs(
    run: Plan,
    manifests: Mapping[str, Manifest],
    prompts: Mapping[str, ClassPrompts | None],
    loaded: Mapping[str, _Loaded | None],
    problems: _Problems,
) -> dict[str, Cost]:
    """What each evaluation takes, those that go before it counted; of those whose pictures and prompts are there."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, of in run.full.items():
            said, model = prompts.get(of.dataset), loaded.get(str(of.encoder))
            if said is None or model is None:
                continue
            first = of.after or name  # sweeps share its features
            store = Store(Path(folder) / hashlib.sha256(first.encode()).hexdigest())
            cost = problems.attempt(_cost, name, of, manifests[of.dataset], said, model.encoder, store)
            if cost is not None:
                found[name] = cost
    return found


def _cost(name: str, *arguments: Any) -> Cost:
    """:func:`cost_of`, whose error says of which evaluation it is."""
    try:
        return cost_of(*arguments)
    except LgcaError as error:
        raise LgcaError(f"the evaluation {name} cannot be run: {error}") from error


def _check_disk(made: Plan, costs: Mapping[str, Cost]) -> None:
    """Whether the features that are still to be kept fit on the disk."""
    store = Store()
    free = shutil.disk_usage(next(p for p in (store.root, *store.root.parents) if p.exists())).free
    needed = sum(cost.stored_bytes for cost in costs.values()) - sum(_held(made, name) for name in costs)
    if needed > free:
        raise LgcaError(
            f"the features need {_size(needed)} and {store.root} has {_size(free)} free: set LGCA_STORE to a folder on "
            "another disk, or run less at a time"
        )


def _held(made: Plan, name: str) -> int:
    """Bytes that the store holds of an evaluation's data set already, of any encoder's; those of sweeps count once."""
    of = made.full[name]
    if of.after is not None:
        return 0
    return sum(pool.size for pool in Store().stored() if pool.dataset == of.dataset.partition(":")[0])


def _tell(
    made: Plan,
    manifests: Mapping[str, Manifest],
    loaded: Mapping[str, _Loaded],
    costs: Mapping[str, Cost],
    wanted: Mapping[str, Cost],
    *,
    jobs: int,
    cluster: bool,
) -> None:
    """Print the plan: a line a record, what it takes, and what the pages will show."""
    side_by_side = made.gpus or min(jobs, max((of.parts for of in made.full.values()), default=1))
    rows = [["record", "pictures", "passes", "time", "features"]]
    seconds, unknown = 0.0, cluster
    for name, of in made.full.items():
        pictures = f"{len(manifests[of.dataset].items):,}"
        if name not in wanted:
            rows.append([f"results/{name}", pictures, "", "", "there, and up to date"])
            continue
        rate, cost = loaded[str(of.encoder)].rate, costs[name]
        own = None if rate is None or cluster else cost.passes / rate / side_by_side
        seconds, unknown = seconds + (own or 0), unknown or own is None
        again = "; made again" if Path("results", name, "record.json").is_file() else ""
        rows.append([f"results/{name}", pictures, f"{cost.passes:,}", _time(own), _size(cost.stored_bytes) + again])
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    print("The records, in this order; the pages after them")
    for row in rows:
        told = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4], strict=True)),
        ]
        print("  " + "  ".join([*told, row[4]]).rstrip())
    store = Store()
    held = any(_held(made, name) for name in wanted)
    if wanted and unknown:
        print("  The time is not known: " + ("a cluster does the work" if cluster else "some weights are not here yet"))
    elif wanted:
        print(f"  {_time(seconds)} in all, at the rates measured above, and some minutes for the pages")
    if wanted:
        free = shutil.disk_usage(next(p for p in (store.root, *store.root.parents) if p.exists())).free
        if any("made again" in row[4] for row in rows):
            print("  Made again: its pictures, weights, methods or code are others than when it was made")
        print(f"  Features go to {store.root}, where {_size(free)} are free")
    if held:
        print("  The store holds features of these pictures already, so passes, time and features are upper bounds")
    kinds = {page: made.reading(page).kind for page, own in experiments().pages.items() if own.full}
    for kind, label in (
        ("full", "of these records"),
        ("embedded", "of the embedded world"),
        ("none", "that lack records"),
    ):
        if pages := [page for page, of in kinds.items() if of == kind]:
            print(f"  Pages {label}: {', '.join(pages)}", flush=True)


def _say(line: str, note: str = "") -> None:
    print("  " + line + (f"; note: {note}" if note else ""), flush=True)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit in ("bytes", "kB") else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
