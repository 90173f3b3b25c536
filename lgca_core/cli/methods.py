"""``lgca methods``: what ``--method`` takes."""

from lgca_core.cli.base import app
from lgca_core.cli.output import listing, say


@app.command()
def methods() -> None:
    """List what --method takes.

    A name can carry settings of its own, which take the place of the run's
    options: wca:n=8, lgca-equal:steps=1:gamma=1.5, lgca:start=0.1-0.3.
    """
    from dataclasses import fields

    from lgca_core.methods import METHODS, TUNED

    listing([{"method": name, "what": of.summary, "reads": of.prompts} for name, of in METHODS.items()])
    for settings_group, tuned in TUNED.items():
        own = {name: of for name, of in METHODS.items() if of.settings_group == settings_group}
        say("", f"settings of {', '.join(own)}:")
        say("  " + ", ".join(field.name for field in fields(tuned)))
        for name, of in own.items():
            if of.fixed_settings:
                say(f"  but {name} decides {', '.join(sorted(of.fixed_settings))} itself")
