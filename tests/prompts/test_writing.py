"""Chat models are asked, answers taken, and files of sentences made, which an evaluation reads."""

import json
from pathlib import Path

import pytest

from lgca_core.errors import LgcaError
from lgca_core.prompts import chat as chat_module
from lgca_core.prompts.asking import in_batches, prompt_for
from lgca_core.prompts.chat import ChatServer
from lgca_core.prompts.files import ABOUT, read_descriptions
from lgca_core.prompts.survey import survey
from lgca_core.prompts.writing import ROUNDS, Sentences, write_sentences
from support import command_line
from support.chat_stub import Chat, chatting, classes_of, completion, told
from support.command_line import files
from support.stub_encoder import noise_folders

KEY = "sk-Sesame-0123456789"


def lgca(*words, typed=None):
    return command_line.lgca("prompts", *words, typed=typed)


@pytest.fixture
def chat(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(chat_module, "FIRST_PAUSE", 0.0)
    with chatting() as server:
        yield server


def server_of(chat: Chat, **more) -> tuple[ChatServer, list[float]]:
    """A client whose waits are noted instead of waited."""
    waits: list[float] = []
    return ChatServer(chat.url, "m", wait=waits.append, **more), waits


# ---- ask ---------------------------------------------------------------------------------------------------


def test_the_prompt_names_every_class_and_the_shape_of_the_answer(tmp_path):
    status, out, err = lgca("ask", "--classes", "heron,red_egret", "--about", "birds at a pond", "--sentences", "7")
    assert (status, err) == (0, "")
    assert classes_of(out) == ["heron", "red_egret"]
    assert "birds at a pond" in out and "7 different sentences" in out and "JSON" in out
    assert '"heron": ["A heron has ..."' in out and '"red_egret": ["A red egret has ..."' in out
    status, short, _ = lgca("ask", "--classes", "heron,egret", "--kind", "descriptors")
    assert "short descriptors" in short and "descriptors" not in out
    noise_folders(tmp_path / "photos", ["ibis", "crab"])
    assert classes_of(lgca("ask", "--images", tmp_path / "photos")[1]) == ["crab", "ibis"]
    (tmp_path / "names.txt").write_text("\ufeffMonk, the\n\n heron \n", encoding="utf-8")
    assert classes_of(lgca("ask", "--classes", tmp_path / "names.txt")[1]) == ["Monk, the", "heron"]


def test_many_classes_take_several_prompts():
    names = [f"c{n}" for n in range(45)]
    status, out, _ = lgca("ask", "--classes", ",".join(names))
    prompts = out.split("========\n\n")[1:]
    assert status == 0 and [len(classes_of(prompt)) for prompt in prompts] == [15, 15, 15]
    assert [name for prompt in prompts for name in classes_of(prompt)] == names
    assert all(json.dumps(name) in prompt for prompt in prompts for name in names)  # to be told apart from
    assert classes_of(lgca("ask", "--classes", ",".join(names), "--part", 3)[1]) == names[30:]
    assert "3 prompts" in command_line.refused("prompts", "ask", "--classes", ",".join(names), "--part", 4)
    assert in_batches([], 5) == []


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "--classes or --images"),
        (["--classes", "a,a"], "'a' is given twice"),
        (["--classes", "a,_about"], "'_about'"),
        (["--classes", "a,,b"], "--classes"),
        (["--classes", "none.txt"], "no such file"),
    ],
)
def test_wrong_classes_are_refused(words, fault):
    assert fault in command_line.refused("prompts", "ask", *words)


# ---- take --------------------------------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_taking_answers_makes_a_file_that_evaluations_read(there):
    Path("one.md").write_text("Hello!\n## Heron\n- A heron is tall.\n- a heron  is TALL.\n## ostrich\n- An ostrich.\n")
    Path("two.txt").write_bytes("egret: An egret is white.\r\n".encode("utf-16"))
    status, out, err = lgca("take", "one.md", "two.txt", "--classes", "heron,egret", "--out", "s.json", "--model", "M")
    assert (status, out) == (0, "s.json: 2 classes, 2 descriptions, 1 to 1 a class\n")
    assert "one.md, line 1 belongs to no class: 'Hello!'" in err and "line 6" in err
    assert "'ostrich'" in err and "1 were there already" in err
    told = {"heron": ["A heron is tall."], "egret": ["An egret is white."]}
    assert read_descriptions("s.json", ["egret", "heron"]) == {name: told[name] for name in ("egret", "heron")}
    assert read_descriptions("s.json") == told
    about = json.loads(Path("s.json").read_text())[ABOUT]
    assert [(source["model"], source["classes"]) for source in about["sources"]] == [("M", ["heron"]), ("M", ["egret"])]


def test_nothing_is_written_unless_every_class_has_its_sentences(there):
    Path("a.txt").write_text("- heron: A heron is tall.\n")
    words = ("take", "a.txt", "--classes", "heron,egret", "--out", "s.json")
    status, out, err = lgca(*words)
    assert (status, out, files(there)) == (2, "", {"a.txt"})
    assert "error: a.txt: no sentences for 'egret'" in err and "--partial" in err
    status, out, err = lgca(*words, "--partial")
    assert status == 0 and "no sentences for 'egret'" in err
    assert lgca("take", "-", *words[2:], typed="egret: An egret is white.\nheron: A heron wades.")[0] == 0
    assert read_descriptions("s.json") == {
        "heron": ["A heron is tall.", "A heron wades."],
        "egret": ["An egret is white."],
    }
    assert "fewer than 2 sentences for 'egret'" in lgca("take", "-", *words[2:], "--sentences", "2", typed="")[2]
    status, out, _ = lgca("take", "-", "--classes", "ibis", "--out", "s.json", typed="- An ibis is dark.")
    assert status == 0 and "It also describes 'heron', 'egret'" in out
    assert list(read_descriptions("s.json")) == ["ibis", "heron", "egret"]


def test_what_prompts_check_would_say_is_said(there):
    long = "very " * 90
    Path("a.json").write_text(json.dumps({"a": [f"{long} one.", f"{long} two.", "Tall."], "b": ["Tall."]}))
    _, out, _ = lgca("take", "a.json", "--classes", "a,b", "--out", "s.json")
    assert "2 of them have more than the 77 tokens" in out and "1 of them read to CLIP like another" in out
    assert "said of several classes" in out and "single word" in out
    _, out, _ = lgca("take", "a.json", "--classes", "a,b", "--out", "d.json", "--kind", "descriptors")
    assert "single word" not in out
    assert "holds descriptors, not descriptions" in lgca("take", "a.json", "--classes", "a,b", "--out", "d.json")[2]


def test_the_survey_counts_what_the_tokenizer_makes_alike():
    found = survey({"apple": ["an apple, red", "an apple , red"], "Apple": ["An Apple, red", "a pear"]})
    assert found.alike == [("apple", "an apple , red")]


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"\xff\xfaheron", "UTF-8"), (None, "cannot be read")],
)
def test_answers_that_cannot_be_read(there, content, fault):
    if content:
        Path("a.txt").write_bytes(content)
    err = command_line.refused("prompts", "take", "a.txt", "--classes", "heron", "--out", "s.json")
    assert "a.txt" in err and fault in err and not Path("s.json").exists()


def test_a_class_with_the_reserved_name_is_refused(there):
    Path("s.json").write_text('{"_about": ["A sentence."], "b": ["x y"]}')
    with pytest.raises(LgcaError, match=r"s\.json: a class cannot be called '_about'"):
        read_descriptions("s.json")
    Path("s.json").write_text('{"b": ["x y"]}')
    with pytest.raises(LgcaError, match="a class cannot be called '_about'"):
        read_descriptions("s.json", ["_about", "b"])


def test_a_class_that_no_text_can_name_is_kept(there):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    made = Sentences.of(Path("s.json"), [name])
    made.table[name].append("A café.")
    made.save()
    assert Sentences.of(Path("s.json"), [name]).table == {name: ["A café."]}
    assert r'"caf\udce9"' in prompt_for([name]).encode().decode()


# ---- write -------------------------------------------------------------------------------------------------


def test_a_server_writes_the_file(chat, there, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    names = ["heron", "egret", "ibis"]
    options = ("--server", chat.url, "--model", "M", "--classes", ",".join(names), "--sentences", "2", "--batch", "2")
    status, out, err = lgca("write", *options, "--out", "s.json", "--about", "birds")
    assert (status, err) == (0, "")
    assert out.startswith("s.json: 3 classes, 6 descriptions, 2 to 2 a class\n")
    assert {name: len(said) for name, said in read_descriptions("s.json", names).items()} == dict.fromkeys(names, 2)
    assert [headers["Authorization"] for headers in chat.headers] == [f"Bearer {KEY}"] * 2
    assert [(body["model"], body["path"]) for body in chat.bodies] == [("M", "/v1/chat/completions")] * 2
    [source] = json.loads(Path("s.json").read_text())[ABOUT]["sources"]
    assert (source["model"], source["server"], sorted(source["classes"])) == ("M", chat.url, sorted(names))
    assert "birds" in source["prompt"] and source["date"][:2] == "20"
    assert lgca("write", *options, "--out", "s.json")[0] == 0
    assert len(chat.prompts) == 2  # nothing is asked again
    assert KEY not in Path("s.json").read_text()


@pytest.mark.parametrize(
    "reply",
    [
        (401, {}, json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}}).encode()),
        (429, {}, json.dumps({"error": {"message": KEY, "code": "insufficient_quota"}}).encode()),
        (302, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
        (404, {}, f"<html>{KEY}\x1b[31m".encode()),
        (500, {}, KEY.encode()),
        completion(f"{KEY} says no"),
        (200, {}, KEY.encode()),
        completion(None, refusal=f"I refuse {KEY}"),
    ],
)
def test_the_key_is_never_shown_or_written(chat, there, monkeypatch, reply):
    monkeypatch.setenv("MY_KEY", KEY)
    chat.usual = lambda prompt: reply
    words = ("--server", chat.url, "--model", "M", "--classes", "heron", "--out", "s.json", "--key-from", "MY_KEY")
    status, out, err = lgca("write", *words)
    assert status == 2 and err.splitlines()[-1].startswith("error: ")
    assert KEY not in out + err and "\x1b" not in err
    assert all(KEY not in path.read_text() for path in there.iterdir())
    assert KEY not in repr(ChatServer(chat.url, "M", KEY))
    assert {headers["Authorization"] for headers in chat.headers} == {f"Bearer {KEY}"}


def test_a_wrong_server_or_key_is_refused_before_anything_is_asked(there, monkeypatch):
    words = ("--model", "M", "--classes", "heron", "--out", "s.json")
    for url in (
        "ftp://host/v1",
        "file:///etc/passwd",
        "host/v1",
        "http://",
        "http://[::1",
        "http://h:x/",
        "http://a b/",
    ):
        assert "http or https" in command_line.refused("prompts", "write", "--server", url, *words)
    for url in ("https://me:secret@host/v1", "https://host/v1?key=secret", "https://host/v1#secret"):
        err = command_line.refused("prompts", "write", "--server", url, *words)
        assert "secret" not in err and "environment variable" in err
    monkeypatch.delenv("NONE", raising=False)
    assert "'NONE'" in command_line.refused("prompts", "write", "--server", "http://h", *words, "--key-from", "NONE")
    monkeypatch.setenv("NONE", "a\nb: c")
    assert "a line's end" in command_line.refused(
        "prompts", "write", "--server", "http://h", *words, "--key-from", "NONE"
    )
    assert "a file" in command_line.refused("prompts", "write", "--server", "http://h", *words[:-1], "/dev/null/s.json")
    assert files(there) == set()


def test_a_busy_server_is_waited_for(chat, monkeypatch):
    server, waits = server_of(chat)
    chat.replies = [
        (429, {"Retry-After": "7"}, b""),
        (503, {}, b""),
        (500, {}, b""),
        (429, {"Retry-After": "soon"}, b""),
    ]
    server.waiting = lambda seconds, reason: None
    monkeypatch.setattr(chat_module, "FIRST_PAUSE", 2.0)
    assert server.answer(prompt_for(["heron"])).startswith('{"heron"')
    assert waits == [7.0, 4.0, 8.0, 16.0]
    chat.replies = [(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"")]
    server.answer(prompt_for(["heron"]))
    assert waits[4:] == [0.0]


def test_a_server_that_stays_busy_is_given_up(chat, there):
    server, waits = server_of(chat)
    chat.usual = lambda prompt: (503, {}, b"")
    with pytest.raises(LgcaError, match=r"did not answer in 6 attempts \(503"):
        server.answer("x")
    assert len(waits) == 5
    chat.usual = lambda prompt: (429, {"Retry-After": "86400"}, b"")
    with pytest.raises(LgcaError, match="asks to wait 86400 s: run the same command again"):
        server.answer("x")
    assert len(waits) == 5


def test_an_answer_has_bounds(chat, there, monkeypatch):
    server, _ = server_of(chat)
    monkeypatch.setattr(chat_module, "ANSWER_LIMIT", 1000)
    chat.usual = lambda prompt: completion("x" * 2000)
    with pytest.raises(LgcaError, match="ask for fewer classes at once"):
        server.answer("x")
    monkeypatch.setattr(chat_module, "ANSWER_LIMIT", 1 << 20)
    ticks = iter(range(0, 10**6, 1000))
    slow, waits = server_of(chat, clock=lambda: next(ticks), timeout=300)
    with pytest.raises(LgcaError, match="no whole answer in 300 s"):
        slow.answer("x")
    assert len(waits) == 5


BAD = {
    "refused": completion(None, refusal="I cannot."),
    "filtered": (200, {}, b'{"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}'),
    "empty": completion("  "),
    "prose": completion("I would rather talk of cats."),
    "malformed": (200, {}, b"<html>"),
    "no choices": (200, {}, b'{"choices": []}'),
    "no message": (200, {}, b'{"choices": [null]}'),
    "others": completion('{"cat": ["A cat."]}'),
}


@pytest.mark.parametrize("kind", BAD)
def test_answers_of_no_use_are_asked_for_again_and_named(chat, there, kind):
    chat.replies = [BAD[kind]]
    words = ("--server", chat.url, "--model", "M", "--classes", "heron,egret", "--sentences", "2", "--out", "s.json")
    status, _, err = lgca("write", *words)
    assert status == 0 and len(chat.prompts) == 2
    assert "note: 'heron', 'egret': " in err
    Path("s.json").unlink()
    chat.usual = lambda prompt: BAD[kind]
    status, _, err = lgca("write", *words)
    assert status == 2 and "nothing that could be read for 'heron', 'egret'" in err and len(chat.prompts) == 2 + ROUNDS
    assert not Path("s.json").exists()


def test_what_a_class_lacks_is_asked_for_again(chat, there):
    chat.replies = [
        completion('{"heron": ["One.", "Two.", "Three."], "egret": ["One."]}'),
        completion('{"egret": ["one."]}'),
    ]
    made = Sentences.of(Path("s.json"), ["heron", "egret"])
    server, _ = server_of(chat)
    seen: list[tuple[int, int]] = []
    write_sentences(made, server, count=2, progress=lambda *done: seen.append(done))
    assert made.table == {"heron": ["One.", "Two."], "egret": ["One.", "A egret has 0 of these."]}
    assert [classes_of(prompt) for prompt in chat.prompts] == [["heron", "egret"], ["egret"], ["egret"]]
    assert seen == [(0, 2), (1, 2), (1, 2), (2, 2)]


def test_a_run_that_breaks_off_goes_on_where_it_was(chat, there):
    """Whatever comes between two questions, what was answered is in the file."""
    names = ["a", "b", "c", "d", "e"]
    path = Path("s.json")
    for broken in range(1, 6):
        chat.replies = [told, (401, {}, b"no")]
        server, _ = server_of(chat)
        made = Sentences.of(path, names)
        if broken < 5:
            with pytest.raises(LgcaError, match="401"):
                write_sentences(made, server, count=2, batch=1)
            assert list(read_descriptions(path)) == names[:broken]
        else:
            write_sentences(made, server, count=2, batch=1)
    asked = [classes_of(prompt) for prompt in chat.prompts]
    assert asked == [["a"], ["b"], ["b"], ["c"], ["c"], ["d"], ["d"], ["e"], ["e"]]
    assert files(there) == {"s.json"}
