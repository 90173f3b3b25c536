"""What is told of the machine, and the memory that a job takes on it."""

import math
import os
import platform

import pytest
import torch

from lgca_core.encoders import devices
from lgca_core.errors import LgcaError
from lgca_core.evaluation import machine


def test_memory_is_counted_from_before_the_job_to_its_peak(monkeypatch, tmp_path):
    """With a stand-in for the system's numbers: what the allocator hands back, and when, is its own affair."""
    reset, told = tmp_path / "clear_refs", {"VmRSS": 100, "VmHWM": 100}
    monkeypatch.setattr(machine, "_RESET", reset)
    monkeypatch.setattr(machine, "_resident", lambda field: told[field])

    def job():
        assert reset.read_text() == "5"  # the record of the peak was set back first
        told.update(VmRSS=120, VmHWM=350)
        return 7

    assert machine.peak_growth(job) == (7, 250.0)
    told.update(VmRSS=400)
    assert machine.peak_growth(lambda: 7) == (7, 0.0)


@pytest.mark.skipif(not os.access(machine._RESET, os.W_OK), reason=f"{machine._RESET} cannot be written: not Linux")
def test_the_system_tells_of_memory_that_a_job_freed_again():
    result, grown = machine.peak_growth(lambda: bytearray(b"x" * 50_000_000)[:1])  # twice as much, for a moment
    assert result == b"x" and grown > 25e6


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


def test_the_processor_has_a_name():
    assert machine.processor()
