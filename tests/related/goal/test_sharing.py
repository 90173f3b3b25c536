"""Two processes that share a training, against one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lgca_core.related.goal.arms import settings_of
from support import tiny_clip
from support.goal_runs import SETTINGS, gradients, losses, paired, run, weights

CASES = {"goal": ("goal", 1), "chunks": ("goal", 2), "global": ("global", 1)}
"""Name -> arm and chunks of the processes' training; one process has no chunks."""
OWN = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
import torch.distributed as dist
sys.path.insert(0, sys.argv[1])
from lgca_core.related.goal.arms import settings_of
from lgca_core.related.goal.losses import RegionRows, Vectors
from lgca_core.related.goal.sharing import gathered
from lgca_core.related.goal.sharing import is_first, join_processes
from support.goal_runs import SETTINGS, gradients, paired, run

out = Path(sys.argv[2])
torch.set_num_threads(1)
assert join_processes("cpu") == "cpu"
rank = dist.get_rank()
pictures = paired(out / f"pictures {rank}")
for name, (arm, chunks) in json.loads(sys.argv[3]).items():
    with gradients() as found:
        run(pictures, f"local-dir:{out / 'start'}", out / name, replace(settings_of(arm, SETTINGS), chunks=chunks))
    if is_first():
        torch.save(found[0], out / name / "gradients.pt")
rows = [torch.full((2, 1), 10.0 * rank + kind) + torch.arange(2.0)[:, None] / 10 for kind in range(6)]
of = RegionRows(torch.ones(2), torch.tensor([True, rank > 0]), torch.tensor([rank < 1, True]))
both = {how: gathered(Vectors(*rows, torch.ones(())), of, how) for how in ("apart", "mixed")}
if is_first():
    torch.save({how: (dict(of[0]._asdict()), tuple(of[1])) for how, of in both.items()}, out / "gathered.pt")
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder with what two processes made of every case."""
    out = tmp_path_factory.mktemp("shared")
    tiny_clip.write(out / "start")
    (out / "own.py").write_text(OWN)
    words = [str(out / "own.py"), str(Path(__file__).parents[2]), str(out), json.dumps(CASES)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_gradients_losses_and_weights_of_one(shared, tmp_path, name):
    arm, _ = CASES[name]
    with gradients() as found:
        run(paired(tmp_path / "pictures"), f"local-dir:{shared / 'start'}", tmp_path, settings_of(arm, SETTINGS))
    for one, two in zip(found[0], torch.load(shared / name / "gradients.pt"), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    rows = [*zip(losses(tmp_path), losses(shared / name), strict=True)]
    for step, (one, two) in enumerate(rows):
        assert one.keys() == two.keys()
        for key, value in one.items():  # Adam blows rounding up from step to step
            assert float(value) == pytest.approx(float(two[key]), rel=2e-4 if step else 1e-5, abs=1e-6), key
    for key, one in weights(tmp_path).items():
        both = one, weights(shared / name)[key]
        if key.endswith("in_proj_bias"):  # a bias of keys has no gradient but rounding
            both = tuple(torch.cat([of.chunk(3)[0], of.chunk(3)[2]]) for of in both)
        torch.testing.assert_close(*both, rtol=0, atol=1e-4)
    counts = [json.loads((of / "training.json").read_text())["outcome"]["counts"] for of in (tmp_path, shared / name)]
    assert counts[0] == counts[1] and counts[0]["captions"] == 16


@pytest.mark.slow
def test_rows_are_gathered_kind_by_kind_and_by_the_arm_cut_in_the_middle(shared):
    gathered = torch.load(shared / "gathered.pt")
    vectors, rows = gathered["apart"]
    for kind, name in enumerate(("image", "text", "region", "sentence", "patches", "words")):
        assert vectors[name][:, 0].tolist() == pytest.approx([kind, kind + 0.1, kind + 10, kind + 10.1])
    assert [of.tolist() for of in rows[1:]] == [[True, False, True, True], [True, True, False, True]]
    mixed, _ = gathered["mixed"]
    # The first process's pictures (0) and regions (2), then the second's (10 and 12), cut in the middle.
    assert mixed["image"][:, 0].tolist() == pytest.approx([0, 0.1, 2, 2.1])
    assert mixed["region"][:, 0].tolist() == pytest.approx([10, 10.1, 12, 12.1])
    assert mixed["text"][:, 0].tolist() == pytest.approx([1, 1.1, 3, 3.1])
    assert torch.equal(mixed["patches"], vectors["patches"])
