"""What was published of HADA, and of single models on the same test set, each number with its source."""

from pathlib import Path

import pandas as pd

_FILE = Path(__file__).with_name("published.csv")


def published_hada() -> pd.DataFrame:
    """A row a number: dataset, split, backbone, arm, metric, direction, value (percent, RSum of 600) and source."""
    return pd.read_csv(_FILE)
