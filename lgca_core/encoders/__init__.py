"""Where encoders come from: open_clip's models, checkpoint files, the embedded one, and what others register."""

from lgca_core.encoders import embedded  # noqa: F401  registers itself
from lgca_core.encoders.devices import Device, Precision, pick_device
from lgca_core.encoders.registry import list_encoders, load_encoder, register

__all__ = ["Device", "Precision", "list_encoders", "load_encoder", "pick_device", "register"]
