"""Pack the built book for a release: one archive that opens from a disk, and its checksum.

    python -m lgca_book.building.release _build/html _build/release

The same site gives the same bytes: files in order, without owners, with the time of the commit.
"""

import argparse
import gzip
import hashlib
import io
import subprocess
import tarfile
from importlib import metadata
from pathlib import Path

from lgca_book.building import exit_status
from lgca_core.errors import LgcaError
from lgca_core.files import write_whole


def pack(site: Path, folder: Path) -> Path:
    """Write ``lgca-companion-VERSION.tar.gz`` of a built site into a folder, and ``.sha256`` beside it.

    Raises:
        LgcaError: no built site.
    """
    if not (site / "index.html").is_file():
        raise LgcaError(f"{site} holds no built book: run `make book` first")
    name = f"lgca-companion-{metadata.version('lgca-core')}"
    tarred, moment = io.BytesIO(), _moment()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(path for path in site.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(f"{name}/{path.relative_to(site).as_posix()}")
            entry.size, entry.mtime, entry.mode = path.stat().st_size, moment, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    packed = gzip.compress(tarred.getvalue(), mtime=0)
    target = folder / f"{name}.tar.gz"
    write_whole(target, packed)
    write_whole(folder / f"{target.name}.sha256", f"{hashlib.sha256(packed).hexdigest()}  {target.name}\n".encode())
    return target


def _moment() -> int:
    """The time of the commit, in seconds since 1970; 0 outside a checkout."""
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0


def main(arguments: list[str] | None = None) -> int:
    """Command line: exit status 2 and one sentence on stderr for every :class:`LgcaError`."""
    parser = argparse.ArgumentParser(prog="python -m lgca_book.building.release", description=__doc__.split("\n\n")[0])
    parser.add_argument("site", type=Path, help="the built book")
    parser.add_argument("folder", type=Path, help="where the archive goes")
    given = parser.parse_args(arguments)
    return exit_status(lambda: print(f"The release: {pack(given.site, given.folder)}"))


if __name__ == "__main__":
    raise SystemExit(main())
