"""The page of speed: each target reads the record that it names, and what no record tells is said to be so."""

import pandas as pd

from lgca_book.pages import speed

MACHINE = {"accelerator": None, "processor": "Some Processor", "cores": 2, "threads": 2}


def record(benchmark: str, utc: str = "2026-01-02T03:04:05Z", **fields) -> dict:
    common = {"encoder": "aviary", "device": "cpu", "precision": "float32", "machine": MACHINE}
    return {"benchmark": benchmark, "utc": utc} | common | fields


def pipeline(share: float, utc: str = "2026-01-02T03:04:05Z", **fields) -> dict:
    ratios = {"share_of_encoder": share, "times_peers": 2.5, "lgca_to_wca": 1.0}
    seconds = {"wca": 4.0, "encoder alone": 4 * share, "decode": 0.2, "resample": 0.1, "all but the encoder": 1.0}
    seconds |= {"lgca at equal passes": 4.0, "peers' wca": 10.0}
    work, peaks = {"pictures": 8, "n": 59, "workers": 2}, {"4": None, "8": None}
    return record(
        "pipeline",
        utc,
        crops_per_second={"wca": 100.0, "encoder alone": 125.0},
        ratios=ratios,
        seconds={arm: [spent, 1.25 * spent, spent] if arm == "wca" else [spent] * 3 for arm, spent in seconds.items()},
        median_seconds=seconds,
        work=work,
        peak_device_memory=peaks,
        **fields,
    )


def rows(records: list[dict]) -> pd.DataFrame:
    return speed.targets(records).set_index("what")


def test_without_records_nothing_is_available():
    assert set(rows([]).measured) == set(rows([]).reached) == {"not available"}
    assert speed.told([pipeline(0.5)]) == "1 record, 2026-01-02, of Some Processor, 2 cores."
    assert "No benchmark" in speed.told([])
    assert "not available" in speed.precision_told([]) and len(speed.precisions([])) == len(speed.stages([])) == 0


def test_the_newest_record_of_the_encoder_and_device_counts():
    b32 = {"encoder": "ViT-B-32-quickgelu"}
    found = rows([pipeline(0.5, "2026-01-01T00:00:00Z", **b32), pipeline(0.97, **b32), pipeline(0.1)])
    cpu = found.loc["files to WCA's logits, ViT-B/32, CPU"]
    assert (cpu.measured, cpu.reached, cpu.target) == ("0.970", "yes", "at least 0.950")
    assert cpu.machine == "Some Processor, 2 cores, float32" and cpu.utc == "2026-01-02"
    assert found.loc["files to WCA's logits, ViT-B/32, GPU"].measured == "not available"
    told = speed.machines_told(found.reset_index())
    assert told.count("Measured on") == 1 and "(2026-01-02): files to WCA's logits, embedded encoder, CPU; " in told
    assert cpu.turns == "0.78 to 0.97"
    assert rows([pipeline(0.5, **b32)]).loc["files to WCA's logits, ViT-B/32, CPU"].reached == "no"


def test_the_peers_loop_counts_with_the_workers_of_the_target():
    gpu = pipeline(0.9, encoder="ViT-B-32-quickgelu", device="cuda")
    of = ("the same", "the peers' loop, 16 workers")
    for workers, measured in ((2, "not available"), (16, "2.5 ×")):
        found = speed.targets([gpu | {"work": gpu["work"] | {"workers": workers}}]).set_index(["what", "against"])
        assert found.loc[of].measured == measured


def test_a_goal_at_most_is_reached_from_below():
    gpu = pipeline(0.9, encoder="ViT-B-32-quickgelu", device="cuda")
    for many, reached in ((100, "yes"), (200, "no")):
        grown = rows([gpu | {"peak_device_memory": {"4": 100, "8": many}}]).loc["peak GPU memory, twice the pictures"]
        assert (grown.measured, grown.reached, grown.turns) == (f"{many / 100:.2f}", reached, "")
    alone = rows([gpu | {"peak_device_memory": {"1": 100}}]).loc["peak GPU memory, twice the pictures"]
    assert alone.measured == "not available"


def test_resampling_may_take_a_twentieth_of_the_encoding():
    row = "resampling and sending"
    gpu = pipeline(0.9, encoder="ViT-B-32-quickgelu", device="cuda")
    for seconds, reached in ((0.17, "yes"), (0.19, "no")):  # of 3.6
        spent = {"resample": seconds}, {"resample": [seconds] * 3}
        took = {"median_seconds": gpu["median_seconds"] | spent[0], "seconds": gpu["seconds"] | spent[1]}
        assert rows([gpu | took]).loc[row].reached == reached
    assert rows([pipeline(0.9)]).loc[row].measured == "not available"


def test_what_was_tried_and_the_profile_are_of_the_newest_record():
    def encoding(utc, **more):
        fields = {"median_seconds": {"ours": 2.0, "open_clip": 4.0}, "times_ours": {"ours": 1.0, "open_clip": 0.5}}
        return record(
            "encoding", utc, **fields, crops_per_second={"ours": 1500.0, "open_clip": 750.0}, crops=64, **more
        )

    of_first = [{"operator": "addmm", "share": 0.75}, {"operator": "others", "share": 0.25}]
    of_half = [{"operator": "copy_", "share": 0.5}, {"operator": "others", "share": 0.5}]
    records = [
        encoding("2026-01-01T00:00:00Z", operators=of_half),
        encoding("2026-01-02T00:00:00Z", operators=of_first),
        encoding("2026-01-03T00:00:00Z", operators=of_half, precision="bfloat16"),
    ]
    tried = speed.tried(records)
    assert len(tried) == 4 and tried.loc[1].tolist() == [
        "aviary, float32, cpu",
        "open_clip's own model",
        "750",
        "0.50 ×",
    ]
    assert speed.operators(records).to_dict("list") == {
        "operator": ["addmm", "copy_", "others"],
        "aviary, float32, cpu, %": ["75.0", "in others", "25.0"],
        "aviary, bfloat16, cpu, %": ["in others", "50.0", "50.0"],
    }
    assert "aviary, bfloat16, cpu: 64 crops, on Some Processor, 2 cores" in speed.tried_told(records)
    assert speed.tried([]).empty and speed.operators([]).empty and "not available" in speed.tried_told([])


def test_resampling_is_told_for_each_device_and_size():
    cut = {"all at once": 0.1, "torchvision": 0.2, "pillow": 0.5}
    ratios = {"times_torchvision": 2.0, "times_pillow": 5.0}
    of = {"median_seconds": cut, "ratios": ratios, "crops_per_second": {arm: 480 / spent for arm, spent in cut.items()}}
    frame = speed.resampled([record("resample", size=64, **of), record("resample", size=224, **of)])
    assert frame["on"].tolist() == ["cpu, to 64 pixels"] * 3 + ["cpu, to 224 pixels"] * 3
    assert frame["crops a second"].tolist()[:3] == ["4,800", "2,400", "960"]
    assert frame["ours is faster"].tolist()[:3] == ["", "2.0 ×", "5.0 ×"]
    assert len(speed.resampled([])) == 0 and "not available" in speed.resampled_told([])
    other = {"machine": MACHINE | {"processor": "Another"}}
    assert speed.resampled_told([record("resample", size=64, **of), record("resample", size=224, **of, **other)]) == (
        "Timed on Some Processor, 2 cores: cpu, to 64 pixels. Timed on Another, 2 cores: cpu, to 224 pixels."
    )


def test_stages_are_milliseconds_a_picture_in_one_order():
    frame = speed.stages([pipeline(0.5)])
    assert frame.stage.tolist()[:2] == ["files to logits", "encoder alone"] and len(frame) == 7
    assert frame.ms.tolist()[:2] == [500, 250]
    [ax] = speed.bars(frame).axes
    assert ax.get_title() == f"aviary, float32, cpu\n{frame.machine[0]}" and ax.get_xlabel() == "milliseconds a picture"


def test_precision_is_told_with_its_figures():
    flips = record(
        "precision",
        precision="bfloat16",
        pictures=600,
        n=30,
        flips_per_10000={"wca": 33.3},
        accuracy_points={"wca": -0.2},
        accuracy_interval={"wca": [-0.5, 0.1]},
    )
    assert speed.precisions([flips]).iloc[0].tolist() == ["bfloat16, cpu", "WCA", "33", "−0.2 (−0.5 to +0.1)"]
    assert "600 pictures, 30 crops of each, in bfloat16" in speed.precision_told([flips])
