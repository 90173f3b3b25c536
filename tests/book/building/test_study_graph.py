"""The graph of `make study`: every training once and the evaluation of each, in words that the programs understand."""

import pytest

from lgca_book.experiments import experiments
from lgca_book.studies import large_study
from lgca_core.aviary import train
from lgca_core.aviary.splits import SPLITS
from support.planned_graph import commands_of, planned_graph, understood

STUDY = experiments().study


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return planned_graph("study", tmp_path_factory.mktemp("checkout"))


def test_every_seed_is_trained_by_one_recipe(planned, monkeypatch):
    trained = []
    monkeypatch.setattr(train, "train", lambda config, out, **rest: trained.append((config, str(out), rest["work"])))
    for words in commands_of("python", planned):
        assert words[:2] == ["-m", "lgca_core.aviary.train"]
        monkeypatch.setattr("sys.argv", words[1:])
        train.main()
    assert sorted(config.seed for config, _, _ in trained) == list(range(1, STUDY.trainings + 1))
    assert len({work for _, _, work in trained}) == STUDY.trainings  # each its own scenes and checkpoint
    for config, out, _ in trained:
        assert {name: getattr(config, name) for name in STUDY.training} == STUDY.training
        assert out.endswith(f"seed-{config.seed}.safetensors") and config.sees == "all" and not config.warm


def test_every_training_is_evaluated_by_the_methods_of_the_study(planned):
    evaluated = []
    for words in commands_of("lgca", planned):
        given = understood(words)
        evaluated.append(given["encoder"])
        assert given["method"].split(",") == list(STUDY.methods)
        assert (given["dataset"], given["n"], given["seeds"]) == (STUDY.dataset, STUDY.n, STUDY.seeds)
    assert sorted(evaluated) == [
        f"aviary:{large_study.WORK}/weights/seed-{seed}.safetensors" for seed in range(1, STUDY.trainings + 1)
    ]


def test_the_study_is_of_species_that_nothing_else_shows():
    own = SPLITS[STUDY.dataset]
    assert own.species not in {split.species for name, split in SPLITS.items() if name != STUDY.dataset}
