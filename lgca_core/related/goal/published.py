"""What was published of GOAL and its successor FAST-GOAL (arXiv 2605.26615), each number with its source."""

from pathlib import Path

import pandas as pd

FILE = Path(__file__).with_name("published.csv")


def published_goal() -> pd.DataFrame:
    """A row a number; columns dataset, split, backbone, arm, metric, direction (I2T, T2I), value (percent), source."""
    return pd.read_csv(FILE)
