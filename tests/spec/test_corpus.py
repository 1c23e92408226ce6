"""The text: where it comes from, and the chapter's pipeline."""

from __future__ import annotations

import hashlib
import http.server
import threading

import numpy as np
import pytest

from shared_spec import language_model
from shared_spec.errors import CorpusError
from shared_spec.language_model import corpus

SPEC = language_model.specification()
SEPARATORS = SPEC.text["separators"]


def sha1(raw):
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOGRU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server():
    """Serves what the test puts into `pages`, on loopback; counts requests."""
    pages, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = pages.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", pages, asked
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def settings(base, text):
    second = {"address": f"{base}/second", "first_line": "The Title", "end_marker": "End of Project"}
    return {"title": "A Text", "sha1": sha1(text), "address": f"{base}/first", "second": second}


def test_fetched_once_verified_and_kept(server, cache):
    base, pages, asked = server
    pages["/first"] = b"the right text\n"
    for _ in range(2):
        text = corpus.find(settings(base, b"the right text\n"))
        assert (text.text, text.source) == ("the right text\n", "fetched")
    assert asked == ["/first"]
    assert [file.name for file in cache.iterdir()] == [f"corpus-{sha1(b'the right text' + bytes([10]))}.txt"]


def test_a_wrong_text_is_never_used_and_never_cached(server, cache):
    base, pages, asked = server
    pages["/first"] = pages["/second"] = b"The Title\nanother text\nEnd of Project\n"
    text = corpus.find(settings(base, b"the right text\n"))
    assert text.source == "built-in"
    assert asked == ["/first", "/second"]
    assert not cache.exists() or not list(cache.iterdir())


def test_a_damaged_cache_is_fetched_anew(server, cache):
    base, pages, _ = server
    pages["/first"] = b"the right text\n"
    corpus.find(settings(base, b"the right text\n"))
    (kept,) = cache.iterdir()
    kept.write_bytes(b"the wrong text\n")
    assert corpus.find(settings(base, b"the right text\n")).text == "the right text\n"
    assert kept.read_bytes() == b"the right text\n"


def test_a_cache_that_cannot_be_written_does_not_matter(server, tmp_path, monkeypatch):
    base, pages, _ = server
    pages["/first"] = b"the right text\n"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ISOGRU_CACHE", str(tmp_path / "file"))
    assert corpus.find(settings(base, b"the right text\n")).source == "fetched"


def test_another_text_needs_a_file(cache):
    with pytest.raises(CorpusError, match="a text of sha1 abc is asked for, and no file"):
        corpus.find(SPEC.corpus, sha1="abc")


def test_the_second_source_is_cut_to_the_same_text(server, cache):
    base, pages, _ = server
    pages["/second"] = (
        b"\xef\xbb\xbfnotice\r\n\r\nThe Title\r\n\r\nstory\r\n\r\n\r\nEnd of Project Gutenberg's\r\nlicence\r\n"
    )
    text = corpus.find(settings(base, b"The Title\n\nstory\n"))
    assert (text.text, text.source) == ("The Title\n\nstory\n", "fetched")


def test_without_a_network_the_story_is_used_loudly(cache):
    text = corpus.find(settings("http://127.0.0.1:9", b"the right text\n"))
    assert text.source == "built-in"
    assert text.notice.startswith(
        "corpus: THE BUILT-IN STORY stands in for A Text, which could not be fetched (no conn"
    )
    assert "ISOGRU_CORPUS" in text.notice
    assert text.sha1 == sha1(corpus.BUILT_IN.read_bytes())


def test_a_given_text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(b"some text")
    text = corpus.find(SPEC.corpus, path=file, sha1=sha1(b"some text"))
    assert (text.text, text.source) == ("some text", "given")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"another text", r"has sha1 [0-9a-f]{40}, not 090b5e7e.*--corpus-sha1"),
    ],
)
def test_a_given_text_that_is_refused(tmp_path, content, said):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CorpusError, match=said):
        corpus.find(SPEC.corpus, path=file)


def test_a_given_text_must_be_text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(b"abc\xff")
    with pytest.raises(CorpusError, match="byte 3 is 0xff"):
        corpus.find(SPEC.corpus, path=file, sha1=sha1(b"abc\xff"))


def test_clean():
    assert corpus.clean("The Time--Machine,\n 1895: x\u00e9y", SEPARATORS) == "the time machine x y"


def test_the_built_in_story_has_the_vocabulary_and_the_windows():
    story = corpus.built_in(SPEC.corpus, "")
    for num_steps in (32, 128):
        problem = language_model.problem(language_model.recipe("gru", num_steps=num_steps), story)
        assert problem.vocabulary.tokens == (" ", "<unk>", *"abcdefghijklmnopqrstuvwxyz")
        assert problem._windows.shape == (15_000, num_steps + 1)


def test_vocabulary():
    vocabulary = corpus.vocabulary("b a cab", "<unk>")
    assert vocabulary.tokens == (" ", "<unk>", "a", "b", "c")
    assert vocabulary.encode("cab?").tolist() == [4, 2, 3, 1]
    assert vocabulary.decode(np.array([4, 2, 3])) == "cab"


def test_windows_are_views_shifted_by_one():
    tokens = np.arange(20, dtype=np.int32)
    windows = corpus.windows(tokens, num_steps=4, count=10)
    assert windows.shape == (10, 5)
    assert windows[3].tolist() == [3, 4, 5, 6, 7]
    assert np.shares_memory(windows, tokens)


def test_a_text_too_short():
    with pytest.raises(CorpusError, match="has 13 characters after cleaning; 10 windows of 4 steps need 14"):
        corpus.windows(np.zeros(13, np.int32), num_steps=4, count=10)
    short = corpus.Corpus("too short", "", "given", "")
    with pytest.raises(CorpusError, match="has 9 characters after cleaning; 15000 windows of 32 steps need 15032"):
        language_model.problem(language_model.recipe("gru"), short)


def test_batches_keep_the_last_one():
    rows = corpus.windows(np.arange(40, dtype=np.int32), num_steps=3, count=10)
    batches = list(corpus.batches(rows, 4))
    assert [len(inputs) for inputs, _ in batches] == [4, 4, 2]
    for inputs, targets in batches:
        np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
        assert inputs.flags.c_contiguous
        assert targets.flags.c_contiguous


def test_the_order_of_an_epoch_is_frozen():
    orders = [corpus.order(10, epoch=epoch, seed=10).tolist() for epoch in (0, 1)]
    assert orders == [[2, 6, 1, 7, 8, 0, 4, 9, 3, 5], [4, 3, 0, 5, 1, 8, 9, 2, 6, 7]]
    assert sorted(orders[0]) == list(range(10))
