"""Classes that an encoder cannot tell apart, and sentences that it cuts, are said before the work and kept."""

import torch

from lgca_core.evaluation import evaluate
from lgca_core.evaluation.alike import BLOCK, cut_by, equal_vectors
from lgca_core.evaluation.jobs import prepare_jobs
from lgca_core.evaluation.store.store import Store
from lgca_core.lgca import LGCA
from lgca_core.methods import Settings
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.wca import WCA
from support.stub_encoder import noise_folders, rich, stub

QUICK = {"wca": WCA(n=4), "lgca": LGCA(n=4, steps=1)}


def folding(**other):
    """An encoder that reads no case, no more than five words, and every text a little otherwise, as batches do."""
    read = rich().text

    def text(texts):
        vectors = read([" ".join(text.casefold().split()[:5]) for text in texts])
        return vectors + 1e-6 * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(len(texts)))

    return stub(rich().image, text, batch_size=3, **other)


class FiveWords:
    """A tokenizer as open_clip's, whose tokens are words."""

    context_length = 6

    def __call__(self, texts, context_length):
        ids = [[*[len(word) for word in text.split()][: context_length - 1], 99] for text in texts]
        return torch.tensor([row + [0] * (context_length - len(row)) for row in ids])


def notes(encoder, classes, methods, store=None, **said):
    jobs, _ = prepare_jobs(encoder, ClassPrompts.by_name(classes, **said), methods, [0, 1], Settings(**QUICK), store)
    return list(jobs.notes)


def test_equal_vectors_are_found_in_groups_but_for_rounding():
    vectors = torch.nn.functional.normalize(torch.randn(2 * BLOCK + 9, 16), dim=1)
    vectors[2 * BLOCK + 5] = vectors[BLOCK] = vectors[3]
    vectors[7] = vectors[2 * BLOCK]
    vectors += 1e-6 * torch.randn(vectors.shape)
    assert equal_vectors(vectors) == [[3, BLOCK, 2 * BLOCK + 5], [7, 2 * BLOCK]]


def test_classes_that_read_alike_are_named_with_the_methods_concerned(tmp_path):
    classes = ["apple", "pear", "Apple"]
    told = {"apple": ["a red fruit."], "pear": ["a green fruit."], "Apple": ["a computer."]}
    for store in (None, Store(tmp_path / "store")):
        [note] = notes(folding(sha256="0" * 64), classes, ["clip", "waffle", "cupl", "wca"], store, descriptions=told)
        assert "'apple' and 'Apple'" in note and "clip, waffle cannot" in note and "pear" not in note
    same = {**told, "Apple": ["A red fruit."]}
    [note] = notes(folding(), classes, ["cupl", "wca", "lgca"], descriptions=same)
    assert "'apple' and 'Apple'" in note and "cupl, wca, lgca cannot" in note
    assert notes(rich(), classes, ["clip", "cupl"], descriptions=same) == []


def test_classes_of_one_name_are_counted():
    [note] = notes(rich(), ["church", "field", "church"], ["clip"])
    assert "'church' (2 classes)" in note


def test_many_groups_are_not_all_spelt():
    names = [spelling for n in range(5) for spelling in (f"c{n}", f"C{n}")]
    [note] = notes(folding(), names, ["clip"])
    assert "'c2' and 'C2'" in note and "2 more such groups" in note and "c3" not in note


def test_sentences_that_are_cut_are_counted_and_those_alike_after_the_cut():
    told = {"a": ["one two three four five six", "short one"], "b": ["one two three four five seven", "x y z w"]}
    cut = notes(folding(tokenizer=FiveWords()), ["a", "b"], ["cupl"], descriptions=told)
    assert cut == [
        "2 of 4 sentences are longer than the encoder reads, and their end is cut; 2 of them read alike after the cut; "
        "the first is 'one two three four five six' of 'a'."
    ]


def test_an_evaluation_says_so_before_the_work_and_its_record_keeps_it(tmp_path):
    manifest = noise_folders(tmp_path / "pictures", ("Apple", "apple"))
    said, order = ClassPrompts.by_name(manifest.classes), []
    record, _ = evaluate.evaluate(
        manifest, folding(), ["clip"], said, notice=order.append, progress=lambda *done: order.append(done)
    )
    assert order == [*record.notes, (2, 2)] and "'Apple' and 'apple'" in record.notes[0]
    heard = []
    encoder = folding(sha256="0" * 64)
    evaluate.encode(manifest, encoder, ["clip"], said, Store(tmp_path / "store"), notice=heard.append)
    assert heard == record.notes


def test_the_tokenizer_says_what_it_cuts():
    import open_clip

    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")
    texts = ["", "word", "word " * 75, "word " * 76, "word " * 200]
    assert cut_by(tokenizer, texts) == texts[3:]


def test_the_embedded_encoder_knows_its_context_and_reads_no_case():
    from lgca_core.encoders.registry import load_encoder

    encoder = load_encoder("aviary", device="cpu")
    assert cut_by(encoder.tokenizer, ["A bird.", "very " * 200]) == ["very " * 200]
    [note] = notes(encoder, ["apple", "red finch", "Apple"], ["clip"])
    assert "'apple' and 'Apple'" in note
