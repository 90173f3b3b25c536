"""``lgca goal``: tune a CLIP on long captions and local matches (GOAL)."""

import typer

from lgca_core.cli.base import app

goal = typer.Typer(help="GOAL: tune a CLIP on long captions and local matches.", no_args_is_help=True)
app.add_typer(goal, name="goal")
