"""The graph of `make related`: which trainings and records it makes, and that `lgca` understands its commands."""

import re
from collections import Counter

import pytest

from lgca_book.experiments import experiments
from support.planned_graph import commands_of, planned_graph, understood

GOAL, HADA = experiments().related.goal, experiments().related.hada


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> str:
    return planned_graph("related", tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def commands(planned) -> list[list[str]]:
    return commands_of("lgca", planned)


def test_every_arm_is_trained_by_every_seed_and_what_has_nothing_to_train_once(commands):
    seeds = Counter()
    for words in commands:
        if words[1] == "train":
            arm = words[words.index("--arm") + 1]
            three = "three-" if words.count("--encoder") == 3 else ""
            seeds[words[0], f"{three}{arm}{'-w' * ('--stage2' in words)}"] += 1
    wanted = {("goal", arm): GOAL.seeds for arm in GOAL.arms}
    wanted |= {("hada", arm): HADA.seeds for arm in HADA.trained} | {("hada", arm): 1 for arm in HADA.sums}
    wanted |= {("hada", f"three-{arm}"): HADA.seeds if arm == "hada" else 1 for arm in HADA.three}
    assert seeds == wanted


def test_a_second_stage_begins_with_the_first_of_its_arm_and_seed(commands):
    second = [words for words in commands if "--stage2" in words]
    assert len(second) == 2 * HADA.seeds
    for words in second:
        arm, seed = (words[words.index(name) + 1] for name in ("--arm", "--seed"))
        assert words[words.index("--start") + 1] == f"_build/related/hada/{arm}/seed-{seed}"


def test_every_training_is_ranked_and_some_classify(planned, commands):
    ranked = [words for words in commands if words[1] == "evaluate"]
    trained = [words for words in commands if words[1] == "train"]
    assert len(ranked) == len(trained) + 1  # and the encoder that GOAL begins with
    classify = [words for words in commands if words[0] == "evaluate"]
    sums = len(set(HADA.classified) & set(HADA.sums))
    wanted = 1 + len(GOAL.classified) * GOAL.seeds + sums + (len(HADA.classified) - sums) * HADA.seeds
    assert len(classify) == wanted
    kept = set(re.findall(r"results/related/\S+/(?:related|record)\.json", planned))
    assert len(kept) == len(ranked) + len(classify)


def test_lgca_understands_every_command(commands):
    assert len(commands) > 200
    for words in commands:
        understood(words)
