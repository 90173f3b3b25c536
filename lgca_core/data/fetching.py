"""Published data sets: download, verify and unpack one whole or not at all; compare a copy with the table."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from lgca_core.data.archives import unpack
from lgca_core.data.copies import downloads_of, fetched_of, how_to_get, place_of, read_copy, what_helps
from lgca_core.data.downloads import Archive, NotServed, Progress, check_space, download, fault_of, received
from lgca_core.data.layouts import compare_copy
from lgca_core.data.opening import all_unpacked, remove_folder
from lgca_core.data.source import Source
from lgca_core.data.table import DATASETS, holds_something, near_names, split_spec
from lgca_core.errors import LgcaError
from lgca_core.files import home, make_folder, remove_drafts


def published(spec: str) -> tuple[str, Source, Path | None]:
    """Name, source and path of ``NAME`` or ``NAME:/path``. Raises LgcaError where NAME is no published data set."""
    name, copy = split_spec(spec)
    if name not in DATASETS:
        close = near_names(name)
        raise LgcaError(f"{name!r} is no data set: {f'did you mean {close[0]}' if close else 'see lgca datasets'}")
    source = DATASETS[name].source
    if not source:
        raise LgcaError(f"{name} is made on demand: there is nothing to fetch or check")
    return name, source, copy


def fetch(spec: str, *, progress: Progress | None = None) -> tuple[Path, bool]:
    """Download, verify and unpack a published data set; one that is there already is compared and left alone.

    ``NAME:/path`` takes the archives that lie in that folder, and downloads the others. Archives that the user brought
    stay where they are; downloaded ones are removed once they are unpacked.

    Returns:
        The data set's folder, and whether the data set was there already.

    Raises:
        LgcaError: no published data set; one that is there and is not whole; one that each user must download; no
            room; a download that fails (it goes on the next time); an archive that is not the published one, or is
            refused; another process that fetches the same.
    """
    from filelock import FileLock, Timeout

    name, source, brought = published(spec)
    place, downloads = place_of(source), downloads_of(source)
    if _there(name, source):
        return place, True
    if brought:
        _check_brought(name, source, brought)
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(downloads.with_name(f".{source.folder}.lock")).acquire(timeout=0)
    except Timeout:
        raise LgcaError(f"another process is fetching {name}: wait until it is done") from None
    except OSError as error:
        raise LgcaError(f"cannot write to {home()} ({error.strerror}): set LGCA_HOME to another folder") from error
    with lock:
        if _there(name, source):  # since another process was first
            return place, True
        remove_drafts(place)
        archives = _archives(name, source, brought, progress)

        def fill(draft: Path) -> None:
            for archive, packed in zip(source.archives, archives, strict=True):
                unpack(packed, draft / archive.into, progress=progress)
            if fault := _fault(source, draft):
                raise LgcaError(
                    f"{name} as unpacked is not what its table says ({fault}): unpack "
                    f"{' and '.join(map(str, archives))} yourself, and use {name}:/path/to/copy"
                )

        make_folder(place, fill)
        shutil.rmtree(fetched_of(source), ignore_errors=True)
    return place, False


def places_of(name: str) -> list[Path]:
    """The folders here that belong to a data set, or to unpacked archives of a name or the beginning of a hash.

    Raises:
        LgcaError: no such data set and no such archive; a path to a copy, which is the user's own.
    """
    known, copy = split_spec(name)
    if copy:
        raise LgcaError(f"{copy} is a copy of yours: remove it yourself, or name {known} for the one that was fetched")
    if entry := DATASETS.get(known):
        place = entry.facts().place
        return [place, *([fetched_of(entry.source)] if entry.source else [])]
    places = [
        one.place for one in all_unpacked() if one.name == name or (len(name) > 5 and one.place.name.startswith(name))
    ]
    if not places:
        close = near_names(name)
        hint = f"did you mean {close[0]}?" if close else "lgca datasets lists both"
        raise LgcaError(f"{name!r} is no data set and no archive that was unpacked here: {hint}")
    return places


def remove_all(name: str) -> None:
    """Remove what :func:`places_of` names. Raises LgcaError where another process is fetching it, or that fails."""
    from filelock import FileLock, Timeout

    places, entry = places_of(name), DATASETS.get(name)
    with ExitStack() as held:
        if entry and entry.source and (downloads := downloads_of(entry.source)).parent.is_dir():
            try:
                held.enter_context(FileLock(downloads.with_name(f".{entry.source.folder}.lock")).acquire(timeout=0))
            except Timeout:
                raise LgcaError(f"another process is fetching {name}: wait until it is done") from None
        for place in places:
            if place.exists():
                remove_folder(place)


def _there(name: str, source: Source) -> bool:
    """Whether a data set is in its place. Raises LgcaError where it is there but not whole."""
    place = place_of(source)
    if not holds_something(place):
        return False
    if fault := _fault(source, place):
        raise LgcaError(f"{place} is there and not whole ({fault}): {what_helps(name, source, None)} again")
    return True


def _fault(source: Source, place: Path) -> str:
    """First difference of a copy from the whole data set; empty where there is none."""
    try:
        _, faults = compare_copy(source, source.read(source, place))
    except LgcaError as error:
        return str(error)
    return faults[0] if faults else ""


def _check_brought(name: str, source: Source, brought: Path) -> None:
    """Check that a folder holds one of the archives at least. Raises LgcaError where it does not."""
    if any((brought / archive.name).is_file() for archive in source.archives):
        return
    try:
        source.read(source, brought)
    except LgcaError:
        names = " or ".join(archive.name for archive in source.archives)
        raise LgcaError(f"{brought} does not hold {names}: name the folder that does") from None
    raise LgcaError(f"{brought} is unpacked already and needs no fetching: use {name}:{brought} as it is")


def _archives(name: str, source: Source, brought: Path | None, progress: Progress | None) -> list[Path]:
    """The verified archives of a data set, wherever they lie; those that lie nowhere are downloaded."""
    into = fetched_of(source)
    folders = [folder for folder in (brought, downloads_of(source), into) if folder]
    held = {
        archive: next((folder for folder in folders if (folder / archive.name).is_file()), None)
        for archive in source.archives
    }
    lacking = [archive for archive, folder in held.items() if folder is None]
    for archive in lacking:
        if not archive.urls:
            raise LgcaError(f"{archive.name} of {name} is not there: {how_to_get(name, source)}")
    needed = sum(archive.unpacked or archive.bytes for archive in source.archives)
    needed += sum(max(0, archive.bytes - received(archive, into)) for archive in lacking)
    check_space(downloads_of(source), name, needed)
    found = []
    for archive, folder in held.items():
        found.append((folder or into) / archive.name)
        if folder is None:
            _download(archive, into, progress)
        elif fault := fault_of(archive, found[-1], progress=progress):
            again = (
                f"lgca datasets fetch {name} downloads it" if archive.urls else f"download it from {source.homepage}"
            )
            raise LgcaError(f"{found[-1]} is not the published archive ({fault}): remove it, and {again}")
    return found


def _download(archive: Archive, folder: Path, progress: Progress | None) -> None:
    """Download an archive. Raises LgcaError, which says how else to get it."""
    try:
        download(archive, folder, progress=progress)
    except NotServed as error:
        count = received(archive, folder)
        kept = f"; {count:,} bytes are kept in {folder}" if count else ""
        raise LgcaError(
            f"{error}{kept}: run the same command again later, or get {archive.name} by other means and write :FOLDER "
            "behind the data set's name, where FOLDER is the folder with the file"
        ) from error


def check(spec: str) -> tuple[Path, list[tuple[str, str]], list[str], str]:
    """Compare a copy with the table, by its own annotation: counts, classes, and whether the pictures are there.

    Returns:
        The copy's folder, rows of (what, finding), faults in words (none where the copy is whole), and how to mend
        them.

    Raises:
        LgcaError: no published data set, or none there; a copy that is not laid out as the original.
    """
    name, source, copy = published(spec)
    if not copy and not holds_something(place_of(source)):
        raise LgcaError(
            f"{name} is not in {place_of(source)}: {how_to_get(name, source)}; a copy elsewhere is {name}:/path/to/copy"
        )
    found = read_copy(name, source, copy)
    return found.root, *compare_copy(source, found), what_helps(name, source, copy)
