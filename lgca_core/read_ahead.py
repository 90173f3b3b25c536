"""Pictures in files as Views, a chunk at a time; background threads read the next chunk."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.pixels.pictures import open_picture
from lgca_core.views import Views


def views_of_files(
    encoder: Encoder, paths: Sequence[Path | str], *, chunk: int = 32, scale_grey: bool = False, on_white: bool = False
) -> Iterator[tuple[range, Views]]:
    """Yields the positions of `chunk` pictures in `paths`, and the pictures; threads read the next ones meanwhile.

    `scale_grey` and `on_white` are those of :func:`~lgca_core.pixels.open_picture`.

    Raises LgcaError, when its chunk is reached, for a file that cannot be read.
    """
    if chunk < 1:
        raise LgcaError(f"a chunk must hold at least one picture, not {chunk}")
    read = partial(open_picture, scale_grey=scale_grey, on_white=on_white)
    parts = [range(start, min(start + chunk, len(paths))) for start in range(0, len(paths), chunk)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        reading = [threads.submit(read, paths[at]) for at in (parts[0] if parts else [])]
        try:
            for part, following in zip(parts, [*parts[1:], range(0)]):
                pictures = [future.result() for future in reading]
                reading = [threads.submit(read, paths[at]) for at in following]
                yield part, Views(encoder, pictures)
        finally:
            threads.shutdown(cancel_futures=True)
