"""What `make book` and `make reproduce` plan: evaluations, and what each page is made of."""

import json
from pathlib import Path

import pytest

from lgca_book.experiments import Evaluation, experiments
from lgca_book.places import folder_of_dataset, folder_of_encoder
from lgca_book.planning import digest_file, plan
from lgca_core.errors import LgcaError

FULL = {"profile": "full"}
TWO_BY_TWO = FULL | {"datasets": "pets,dtd", "encoders": "a:b,c:d"}
RECORDS = ["a-b/pets", "a-b/dtd", "c-d/pets", "c-d/dtd"]
IMAGENETS = "imagenet,imagenet-v2,imagenet-r,imagenet-sketch,imagenet-a"


def kept(root: Path, *names: str, weights: str = "w", pictures: str = "p") -> Path:
    """A checkout in which records of earlier runs lie."""
    record = {"dataset": {"manifest_sha256": pictures}, "encoder": {"weights_sha256": weights}}
    for name in names:
        (root / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "results" / name).write_text(json.dumps(record), encoding="utf-8")
    return root


# Evaluations


def test_the_embedded_world_is_evaluated_with_its_sweeps():
    made = plan({})
    assert made.full == {} and made.evaluations == made.embedded == experiments().embedded
    assert made.wanted == [f"_build/records/{name}/record.json" for name in made.embedded]
    after = {name: evaluation.after for name, evaluation in made.embedded.items() if evaluation.after}
    assert set(after) == {f"aviary-{sweep}" for sweep in experiments().sweeps}
    for name in after:  # each chain begins with the evaluation that encodes the most
        while name in after:
            name = after[name]
        assert name == "aviary"
    parts = {name: evaluation.parts for name, evaluation in made.embedded.items()}
    assert parts == dict.fromkeys(made.embedded, 1) | {"aviary": 3}
    assert {evaluation.parts for evaluation in plan({"parts": 2}).embedded.values()} == {2}


def test_a_full_run_evaluates_encoders_times_data_sets_in_parts():
    made = plan(TWO_BY_TWO | {"parts": 2, "gpus": 2})
    assert list(made.full) == RECORDS and made.gpus == 2
    assert made.wanted == [f"results/{name}/record.json" for name in RECORDS]
    assert {evaluation.parts for evaluation in made.full.values()} == {2}
    assert made.parts_of("c-d/dtd") == [f"_build/features/c-d/dtd/{k}-of-2.json" for k in (1, 2)]
    assert plan(TWO_BY_TWO).parts_of("c-d/dtd") == []
    assert made.evaluations == made.full  # nothing of the embedded world
    assert (made.full["c-d/pets"].encoder, made.full["c-d/pets"].dataset) == ("c:d", "pets")
    assert made.full["a-b/pets"].methods == experiments().full.methods + experiments().full.peers


def test_sweeps_follow_what_they_share_features_with_and_keep_the_seeds_that_their_pages_want():
    sweeps = ["ablation", "crops", "settings"]
    run = plan(TWO_BY_TWO | {"sweeps": ",".join(sweeps), "seeds": 1})
    made = run.full
    assert made.keys() == {*RECORDS, *(f"{name}-{sweep}" for name in RECORDS for sweep in sweeps)}
    assert {made[name].after for name in RECORDS} == {None}
    assert made["a-b/pets-crops"].after == "a-b/pets"
    assert run.before("a-b/pets-crops") == ["_build/evaluated/a-b/pets/record.json"] and run.before("a-b/pets") == []
    seeds = {name.removeprefix("a-b/"): made[name].seeds for name in made if name.startswith("a-b/pets")}
    assert seeds == {"pets": 1, "pets-ablation": 5, "pets-crops": 2, "pets-settings": 1}


@pytest.mark.parametrize(("crops", "least_left_out"), [(60, None), (30, 60), (10, 15)])
def test_a_sweep_draws_no_more_crops_than_the_run(crops, least_left_out):
    methods = plan(FULL | {"datasets": "pets", "encoders": "a:b", "sweeps": "crops", "crops": crops}).full[
        "a-b/pets-crops"
    ]
    drawn = {method: int(method.partition("n=")[2]) for method in experiments().sweeps["crops"].methods}
    assert set(methods.methods) == {method for method, n in drawn.items() if n <= crops}
    assert min((n for n in drawn.values() if n > crops), default=None) == least_left_out


def test_methods_of_the_user_may_draw_more_crops():
    made = plan(FULL | {"datasets": "pets", "encoders": "a:b", "methods": "wca:n=90", "crops": 60}).full
    assert made["a-b/pets"].methods == ("wca:n=90",)


def test_options_are_words_for_the_shell():
    evaluation = Evaluation(dataset="a b", methods=("wca", "lgca"), seeds=2, n=3, device="cpu", parts=4, after="c")
    assert evaluation.options() == "--method wca,lgca --dataset 'a b' --seeds 2 --n 3 --device cpu"


# Pages


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_a_page_without_its_full_records_shows_the_embedded_world(tmp_path):
    """Of the data sets that Table 2 is about none is asked for. But only what is there and current is shown."""
    made = plan(TWO_BY_TWO, tmp_path, "code")
    assert made.reading("table1").records == ["results/a-b/pets/record.json", "results/a-b/dtd/record.json"]
    assert made.reading("table2").kind == "none"
    for name in experiments().page("table2").reads:
        write(tmp_path / f"_build/records/{name}/record.json", "{}")
        write(tmp_path / digest_file(name, full=False), made.digest_of(name) + "\n")
    assert made.reading("table2").kind == "embedded"
    assert "_build/records/aviary-night-1/record.json" in made.reading("table2").records
    assert made.parameters_of("table2") == {"wanted": "full"}
    assert plan(TWO_BY_TWO, tmp_path, "other code").reading("table2").kind == "none"
    assert plan({}).reading("table1").records == ["_build/records/aviary/record.json"]


def test_a_short_page_says_what_is_missing_and_the_command_that_makes_it():
    made = plan(FULL | {"datasets": "dtd:/my/copy", "encoders": "ViT-B-32:/my/fine tuned.pt"})
    said = made.missing_told("figure3")
    assert "`results/ViT-B-32-fine-tuned.pt/dtd-crops`" in said
    assert "make reproduce DATASETS=dtd:/path/to/copy 'ENCODERS=ViT-B-32:/path/to/fine tuned.pt' SWEEPS=crops" in said
    assert "/my/" not in said
    assert "SWEEPS=ranges,released" in made.missing_told("released")
    assert f"DATASETS={IMAGENETS}" in made.missing_told("table2")


def test_a_page_can_read_a_record_that_is_there_and_not_asked_for(tmp_path):
    """Table 2 of an earlier run's ImageNet and this run's variants."""
    variants = FULL | {"encoders": "a:b", "datasets": IMAGENETS.removeprefix("imagenet,")}
    assert plan(variants, tmp_path).reading("table2").lacks == ("results/a-b/imagenet/record.json",)
    made = plan(variants, kept(tmp_path, "a-b/imagenet/record.json"))
    assert "results/a-b/imagenet/record.json" in made.reading("table2").records
    assert "results/a-b/imagenet/record.json" not in made.wanted
    assert made.parameters_of("table2")["records"] == "../results/a-b"


@pytest.mark.parametrize(("contents", "kind"), [({"a:b": "w"}, "full"), ({"a:b": "of another file"}, "none")])
def test_an_earlier_record_of_other_weights_is_not_believed(tmp_path, contents, kind):
    kept(tmp_path, "a-b/dtd-crops/record.json", weights="w")
    made = plan(FULL | {"encoders": "a:b", "datasets": "dtd", "contents": contents}, tmp_path)
    assert made.reading("figure3").kind == kind


def test_another_content_is_another_record_for_an_evaluation(tmp_path):
    def planned(**contents: str):
        return plan(FULL | {"encoders": "a:b", "datasets": "pets,dtd", "contents": contents}, tmp_path, "code")

    name = "a-b/dtd"
    write(tmp_path / "results" / name / "record.json", "{}")
    write(tmp_path / digest_file(name, full=True), planned(dtd="1").digest_of(name) + "\n")
    assert planned(dtd="1", pets="7").is_current(name)
    assert not planned(dtd="2").is_current(name)
    assert not plan(FULL | {"encoders": "a:b", "datasets": "pets,dtd", "seeds": 2}, tmp_path, "code").is_current(name)


@pytest.mark.parametrize(
    ("encoder", "folder"),
    [
        ("ViT-B-32-quickgelu:openai", "ViT-B-32-quickgelu-openai"),
        ("ViT-B-32-quickgelu:/home/me/models/file.pt", "ViT-B-32-quickgelu-file.pt"),
        ("ViT-B-32:~/it's mine.pt", "ViT-B-32-it-s-mine.pt"),
        ("hf-hub:org/name", "hf-hub-org-name"),
        ("aviary", "aviary"),
    ],
)
def test_a_folder_is_named_after_the_encoder_and_not_after_where_it_lies(encoder, folder):
    assert folder_of_encoder(encoder) == folder


def test_a_folder_is_named_after_the_data_set_and_not_after_where_its_copy_lies(tmp_path, monkeypatch):
    (tmp_path / "My birds").mkdir()
    monkeypatch.chdir(tmp_path / "My birds")
    assert folder_of_dataset("dtd:/some/where else") == folder_of_dataset("dtd") == "dtd"
    assert folder_of_dataset(str(tmp_path / "My birds")) == folder_of_dataset(".") == "My-birds"
    with pytest.raises(LgcaError, match="leaves no name"):
        folder_of_dataset("/tmp/...")


def test_pages_show_records_of_results_beside_their_own(tmp_path):
    names = ["training-seeds/seed-2/record.json", "e-f/cub/record.json", ".draft/cub/record.json", "bench/lately.json"]
    made = plan(TWO_BY_TWO, kept(tmp_path, *names))
    every = sorted(f"results/{name}" for name in [*(f"{name}/record.json" for name in RECORDS), *names[:2]])
    assert [made.kept_of(page) for page in ("table1", "table2", "reproduce")] == [every] * 3
    assert made.kept_of("significance") == ["results/training-seeds/seed-2/record.json"]
    assert made.kept_of("speed") == ["results/bench/lately.json"]
    assert made.kept_of("figure2") == []
    assert plan({}, tmp_path).kept_of("table1") == sorted(f"results/{name}" for name in names[:2])


def test_pages_that_are_the_same_under_every_profile_are_given_nothing():
    for page in ("reproduce", "cards", "speed"):
        assert plan(TWO_BY_TWO).parameters_of(page) == {}
        assert plan(TWO_BY_TWO).reading(page).records == []  # none of the embedded world is there
    assert all(plan({}).parameters_of(page) == {} for page in experiments().pages)


def test_pages_are_given_what_was_chosen():
    made = plan(TWO_BY_TWO | {"seeds": 3})
    common = {
        "profile": "full",
        "wanted": "full",
        "encoder": "a:b",
        "datasets": ["pets", "dtd"],
        "records": "../results/a-b",
    }
    assert made.parameters_of("method") == common
    assert made.parameters_of("table1") == common | {"methods": list(experiments().full.methods), "seeds": 3}
    some = plan(TWO_BY_TWO | {"methods": "wca,lgca"})
    assert some.parameters_of("table1")["methods"] == ["wca", "lgca"]
    of_imagenet = plan(FULL | {"datasets": IMAGENETS})
    assert of_imagenet.parameters_of("table2")["datasets"] == IMAGENETS.split(",")


def test_figure_1_is_the_paper_s_tern_where_its_pictures_are():
    made = plan(FULL | {"datasets": "pets,cub"}).parameters_of("figure1")
    assert (made["datasets"], made["of_class"]) == (["cub"], "Caspian Tern")
    assert "of_class" not in plan(FULL | {"datasets": "pets"}).parameters_of("figure1")


@pytest.mark.parametrize(
    ("config", "page", "method"),
    [
        ({"sweeps": "settings", "methods": "clip,cupl,wca,lgca"}, "figure4", "lgca-equal"),
        ({"datasets": IMAGENETS, "methods": "wca,lgca"}, "table2", "clip"),
        ({"methods": "clip,wca"}, "figure2", "lgca"),
        ({"datasets": "aviary", "sweeps": "ranges", "methods": "clip,wca,lgca,lgca-equal"}, "figure5", "cupl"),
    ],
)
def test_records_without_what_pages_compare_are_refused_where_pages_are_made_of_them(config, page, method):
    made = plan(FULL | config)
    assert made.full and made.reading(page).records
    with pytest.raises(LgcaError, match=f"methods= lacks {method}, which the page {page} compares"):
        made.compared_in(page)


def test_what_a_page_does_not_compare_may_be_missing():
    made = plan(FULL | {"datasets": "pets", "sweeps": "ranges", "methods": "clip"})
    assert made.compared_in("figure5") == made.reading("figure5").records  # where the birds are is not known of pets
    assert made.compared_in("table2") == made.reading("table2").records == []


# Slips


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"profile": "fulll"}, "there is no profile 'fulll': profile= must be embedded or full"),
        (
            FULL | {"dataset": "pets"},
            "there is no setting 'dataset' under the profile full: "
            "there are parts, gpus, datasets, encoders, methods, seeds, crops, sweeps, device, repository",
        ),
        ({"seeds": 2}, "there is no setting 'seeds' under the profile embedded: there are parts, gpus, repository"),
        (
            FULL | {"encoders": "a:b,a-b"},
            "a:b and a-b of encoders= would share the folder a-b of results/: leave one out, or give its file or "
            "folder another name",
        ),
        (
            FULL | {"encoders": "a:/x/best.pt,a:/y/best.pt"},
            "a:/x/best.pt and a:/y/best.pt of encoders= would share the folder a-best.pt of results/: leave "
            "one out, or give its file or folder another name",
        ),
        (
            FULL | {"datasets": "pets,pets:/a/copy"},
            "pets and pets:/a/copy of datasets= would share the folder pets of results/: leave one out, "
            "or give its file or folder another name",
        ),
        (
            FULL | {"datasets": "pets,/my/pets-crops", "sweeps": "crops"},
            "pets-crops and /my/pets-crops of datasets= would share the folder pets-crops of results/: leave "
            "one out, or give its file or folder another name",
        ),
        (
            FULL | {"sweeps": "crops,cropss"},
            "there is no sweep 'cropss': sweeps= can name ablation, crops, settings, ranges, released",
        ),
        ({"parts": 0}, "parts=0 must be a whole number from 1 on"),
        ({"parts": True}, "parts=True must be a whole number from 1 on"),
        ({"gpus": -1}, "gpus=-1 must be a whole number from 0 on"),
        (FULL | {"crops": 1.5}, "crops=1.5 must be a whole number from 1 on"),
        (FULL | {"seeds": "two"}, "seeds=two must be a whole number from 1 on"),
        (FULL | {"datasets": ""}, "datasets= names nothing: give at least one, or leave it out for pets,dtd"),
        (
            FULL | {"encoders": ","},
            "encoders= names nothing: give at least one, or leave it out for ViT-B-32-quickgelu:openai",
        ),
    ],
)
def test_a_slip_gets_one_sentence(config, said):
    with pytest.raises(LgcaError) as error:
        plan(config)
    assert str(error.value) == said
