"""Files that may lie beside the checkout and are no part of it; tests of them are skipped where they are not."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""

SHARED = ROOT.parent / "shared"

PROMPTS = Path(os.environ.get("LGCA_TEST_PROMPTS") or SHARED / "prompts")
"""One folder of published prompt files a data set, as WCA has them under prompts/, each with its classes.json."""
