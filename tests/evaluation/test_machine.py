"""What is told of the machine, and the memory that a job takes on it."""

import math
import os
import platform

import pytest
import torch

from lgca_core.encoders import devices
from lgca_core.errors import LgcaError
from lgca_core.evaluation import machine


@pytest.mark.skipif(not os.access(machine._RESET, os.W_OK), reason=f"{machine._RESET} cannot be written: not Linux")
def test_memory_that_a_job_takes_is_seen_and_what_it_frees_is_seen_again():
    for _ in range(2):
        result, grown = machine.peak_growth(lambda: bytearray(b"x" * 50_000_000)[:1])
        assert result == b"x"
        assert 45e6 < grown < 250e6
    _, little = machine.peak_growth(lambda: None)
    assert little < 5e6


def test_memory_elsewhere_is_not_known(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_RESET", tmp_path / "absent" / "clear_refs")
    result, grown = machine.peak_growth(lambda: 7)
    assert result == 7 and math.isnan(grown)


def test_a_process_knows_its_own_peak():
    own = machine.peak_memory()
    assert isinstance(own, int) and own > 50e6  # torch alone takes more
    assert machine.peak_memory() >= own


def test_records_say_where_an_encoder_ran(monkeypatch):
    assert (
        machine.recorded(torch.device("cpu")) == f"cpu: {os.cpu_count()} processors, {torch.get_num_threads()} threads"
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"number {device.index}")
    assert machine.recorded(torch.device("cuda", 3)) == "cuda:3: number 3"


def test_money_is_hours_times_a_price():
    assert machine.money(7200, 1.5) == 3.0
    assert math.isnan(machine.money(7200, None))
    with pytest.raises(LgcaError, match="negative"):
        machine.money(1, -1)


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_processor_is_told_with_the_units_that_make_half_the_bits_fast(monkeypatch, architecture, amx):
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert devices.has_amx() is amx
    told = machine.processor().endswith(f", {'with' if amx else 'without'} AMX")
    assert told == (architecture == "x86_64") and ("AMX" in machine.processor()) == told


def test_the_processor_has_a_name_and_is_told_with_its_threads():
    assert machine.processor()
    assert machine.described("cpu").startswith(machine.processor()) and "of torch" in machine.described("cpu")
