"""The predictions of a record: a row a picture, method and seed."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

TOP = 5
"""How many classes of a picture are kept, the best first."""

BYTES_A_ROW = 60
"""What a row of the predictions takes in a file, about: of ImageNet's 50,000 pictures, 13 methods and 5 seeds, 56."""

COLUMNS: dict[str, str] = {
    "path": "str",  # relative to the data set's root: the key of a picture within a record
    "image": "category",  # sha256 of the file: the identity that keys its boxes
    "label": "int64",
    "label_name": "category",
    "method": "str",
    "seed": "int64",
    "prediction": "int64",
    "prediction_name": "category",
    "margin": "float32",  # best score minus the second best, in cosine units
    **{f"class_{rank}": "int64" for rank in range(2, TOP + 1)},  # next to the prediction; -1 where there is none
    **{f"score_{rank}": "float32" for rank in range(1, TOP + 1)},  # in cosine units; NaN where there is none
    "probability": "float32",  # of the prediction among the classes; NaN where the encoder does not say its scale
}
"""Columns of the predictions, in order, with dtypes. Labels and classes index the record's classes.

Records made before ``class_2`` and what follows it was kept have -1 and NaN there.
"""

FILLED_IN = [name for name in COLUMNS if name.rpartition("_")[2] in ("name", "probability", *"12345")]
"""Columns that follow from the record, or that a record made earlier may lack."""

RANKED = ["prediction", *(f"class_{rank}" for rank in range(2, TOP + 1))]
"""The columns that hold a picture's best classes, the best first."""


def completed(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The predictions with every column of :data:`COLUMNS`: names by the record's `classes`, -1 and NaN for the rest.

    Args:
        predictions: with labels and predictions that index `classes`.
    """
    given = {name: predictions[name] for name in COLUMNS if name in predictions}
    given |= {f"{of}_name": _named(predictions[of].to_numpy(), classes) for of in ("label", "prediction")}
    missing = {name: -1 if name.startswith("class_") else np.float32(np.nan) for name in COLUMNS if name not in given}
    columns = {name: (given | missing)[name] for name in COLUMNS}
    return pd.DataFrame(columns, index=predictions.index).astype(COLUMNS).reset_index(drop=True)


def to_parquet(predictions: pd.DataFrame) -> bytes:
    """As a parquet file, which repeats no string: equal predictions give equal bytes."""
    buffer = BytesIO()
    predictions.to_parquet(buffer, index=False, compression="zstd", dictionary_pagesize_limit=1 << 26)
    return buffer.getvalue()


def repeated(values: Sequence[str], times: int) -> pd.Categorical:
    """Strings, so often one after the other, each distinct one held once."""
    codes, distinct = pd.factorize(np.array(values, dtype=object))
    return pd.Categorical.from_codes(np.tile(codes.astype(np.int32), times), distinct)


def _named(numbers: ArrayLike, classes: Sequence[str]) -> pd.Categorical:
    """The name of each class by its number; two classes may share one."""
    codes, distinct = pd.factorize(np.array(classes, dtype=object))
    return pd.Categorical.from_codes(codes.astype(np.int32)[numbers], distinct)
