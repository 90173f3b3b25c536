"""What the page of costs shows of recorded growth: the newest record of each precision and device, and no other."""

from lgca_book.pages import growth
from lgca_core.bench.record import read_all
from support.shared import ROOT

MACHINE = {"accelerator": None, "processor": "Some Processor", "cores": 2, "threads": 2}


def record(utc: str = "2026-01-02T03:04:05Z", axes: str = "BT", **fields) -> dict:
    common = {"benchmark": "growth", "precision": "float32", "device": "cpu", "machine": MACHINE, "fixed": {"B": 8}}
    rows = [{"what": "WCA", "symbol": s, "value": v, "ms": 1.0 + v, "turns": []} for s in axes for v in (0, 1, 10)]
    fitted = [{"what": "WCA", "symbol": s, "expected": "1", "exponent": -0.5, "error": 0.25, "r2": 1.0} for s in axes]
    return common | {"utc": utc, "rows": rows, "fitted": fitted} | fields


def test_the_newest_record_of_each_precision_and_device_is_shown():
    old, new = record("2026-01-01T00:00:00Z"), record("2026-01-02T00:00:00Z")
    half = record(precision="bfloat16")
    found = growth.recorded([old, new, half, {"benchmark": "encoding"}])
    assert found == {"bfloat16, cpu": half, "float32, cpu": new}
    said = growth.sentence_about_growth(found)
    assert "float32, cpu: on Some Processor, 2 cores (2026-01-02)" in said and "*B* = 8" in said


def test_without_a_record_growth_is_not_available():
    assert growth.recorded([]) == {}
    assert "*not available*" in growth.sentence_about_growth({})


def test_every_axis_has_a_panel_and_every_run_a_line():
    found = growth.recorded([record(), record(precision="bfloat16", axes="B")])
    table = growth.times(found)
    assert len(table) == 9 and list(table) == ["run", "what", "symbol", "value", "ms"]
    figure = growth.curves(table)
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "linear"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["bfloat16, cpu", "float32, cpu"]
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == [0.001, 0.002, 0.011]


def test_powers_stand_side_by_side():
    shown = growth.powers(growth.recorded([record(), record(precision="bfloat16", axes="B")])).data
    assert shown.to_dict("records") == [
        {
            "time of": "WCA",
            "grows with": "B",
            "by theory": "1",
            "bfloat16, cpu": "−0.50 ± 0.25",
            "float32, cpu": "−0.50 ± 0.25",
        },
        {
            "time of": "WCA",
            "grows with": "T",
            "by theory": "none",
            "bfloat16, cpu": "not available",
            "float32, cpu": "−0.50 ± 0.25",
        },
    ]


def test_the_records_that_are_there_can_be_shown():
    found = growth.recorded(read_all(ROOT / "results" / "bench"))
    assert {"float32, cpu", "bfloat16, cpu"} <= found.keys()
    assert len(growth.curves(growth.times(found)).axes) == 5 == len(growth.powers(found).data)
