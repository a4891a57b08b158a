import gc
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from jaxrnn.errors import JaxrnnError
from jaxrnn.text import fetch, load_corpus

TEXT = ("First Citizen:\nBefore we proceed any further, hear me speak.\n" * 2000).encode()


def answer(handler, body, status=200, length=None):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def chunked(handler, body):
    """Send one chunk and hang up before the one that ends the text."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))


def redirect(handler):
    if handler.path == "/moved":
        return answer(handler, TEXT)
    handler.send_response(302)
    handler.send_header("Location", "/moved")
    handler.end_headers()


@pytest.fixture
def server(monkeypatch):
    """A server on this machine from which the corpus "play" is fetched: set `respond`, count `requests`."""
    state = SimpleNamespace(respond=lambda handler: answer(handler, TEXT), requests=0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests += 1
            state.respond(self)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        http.handle_error = lambda *_: None  # a client may hang up
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def stop():
            http.shutdown()
            http.server_close()
            thread.join()

        state.stop = stop
        state.url = f"http://127.0.0.1:{http.server_port}/play.txt"
        play = fetch.RemoteText(state.url, len(TEXT), hashlib.sha256(TEXT).hexdigest())
        monkeypatch.setattr(fetch, "REMOTE", {"play": play})
        monkeypatch.setattr(fetch, "NAMED", (fetch.BUILT_IN, "play"))
        yield state
        stop()


@pytest.fixture
def cached():
    return fetch.cache_directory() / "play.txt"


def in_cache():
    """Every file in the cache, a forgotten temporary one too."""
    return [path.name for path in fetch.cache_directory().parent.rglob("*") if path.is_file()]


def test_a_text_is_fetched_once_and_then_read_without_the_server(server, cached):
    assert fetch.read_named_corpus("play") == TEXT
    assert (server.requests, cached.read_bytes(), in_cache()) == (1, TEXT, ["play.txt"])
    assert fetch.read_named_corpus("play") == TEXT
    assert server.requests == 1
    server.stop()
    assert fetch.read_named_corpus("play") == TEXT


def test_a_fetched_text_is_a_corpus(server):
    corpus = load_corpus("play")
    assert (corpus.source, corpus.name, corpus.sha256) == ("play", "play", hashlib.sha256(TEXT).hexdigest())
    assert corpus.vocabulary.decode(corpus.tokens).encode() == TEXT


def test_a_redirection_is_followed(server):
    server.respond = redirect
    assert fetch.read_named_corpus("play") == TEXT
    assert server.requests == 2


@pytest.mark.parametrize(
    ("respond", "message"),
    [
        (lambda handler: answer(handler, TEXT[:-1] + b"?"), "is not play"),
        (lambda handler: answer(handler, b"<html>Please log in</html>"), "is not play"),
        (lambda handler: answer(handler, b""), "is not play"),
        (lambda handler: answer(handler, TEXT + b"\n"), "is not play"),
        (lambda handler: answer(handler, TEXT * 100), "is not play"),
        (lambda handler: answer(handler, TEXT[: len(TEXT) // 2], length=len(TEXT)), "play (is|from|sent)|is not play"),
        (lambda handler: chunked(handler, TEXT[: len(TEXT) // 2]), "play"),
        (lambda handler: answer(handler, b"gone", 404), "Not Found"),
        (lambda handler: answer(handler, TEXT, 500), "Internal Server Error"),
        (lambda handler: None, "can't fetch play"),  # it hangs up
        (lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n"), "can't fetch play"),
    ],
    ids=[
        "other bytes", "log-in page", "nothing", "longer", "much longer", "truncated", "truncated chunks",
        "404", "500", "hung up", "no HTTP",
    ],
)  # fmt: skip
def test_what_is_not_the_text_is_refused_and_not_kept(server, cached, respond, message):
    server.respond = respond
    with pytest.raises(JaxrnnError, match=message) as caught:
        fetch.read_named_corpus("play")
    assert server.url in str(caught.value)
    assert f"fetch it by hand and put it at {cached}" in str(caught.value)
    assert caught.value.exit_code == 2
    assert in_cache() == []
    server.respond = lambda handler: answer(handler, TEXT)
    assert fetch.read_named_corpus("play") == TEXT  # a failure leaves nothing behind that stands in the way


def test_offline_the_error_says_where_to_put_the_file_and_there_it_is_used(server, cached):
    server.stop()
    with pytest.raises(JaxrnnError) as caught:
        load_corpus("play")
    for part in ("can't fetch play", server.url, "Connection refused", f"fetch it by hand and put it at {cached}"):
        assert part in str(caught.value)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(TEXT)
    assert fetch.read_named_corpus("play") == TEXT


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_leaves_no_connection_open(server, status):
    server.respond = lambda handler: answer(handler, b"", status)

    def refused():
        with pytest.raises(JaxrnnError) as caught:
            fetch.read_named_corpus("play")
        assert "can't fetch play" in str(caught.value)  # the error and this frame hold each other, until collected

    refused()
    gc.collect()  # what is still open now is a warning, and warnings are errors


@pytest.mark.parametrize(
    "damaged", [b"", TEXT[:-1], TEXT + b"\n", b"?" + TEXT[1:]], ids=["empty", "short", "long", "other"]
)
def test_a_damaged_file_in_the_cache_is_fetched_again(server, cached, damaged):
    cached.parent.mkdir(parents=True)
    cached.write_bytes(damaged)
    assert fetch.read_named_corpus("play") == TEXT
    assert (server.requests, cached.read_bytes(), in_cache()) == (1, TEXT, ["play.txt"])


def test_a_damaged_file_in_the_cache_is_never_used(server, cached):
    cached.parent.mkdir(parents=True)
    cached.write_bytes(TEXT[:-1])
    server.stop()
    with pytest.raises(JaxrnnError, match="can't fetch play"):
        fetch.read_named_corpus("play")


def test_a_cache_directory_that_cannot_be_made_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(JaxrnnError) as caught:
        fetch.read_named_corpus("play")
    for part in ("can't make", str(tmp_path / "file" / "cache" / "jaxrnn"), "Not a directory"):
        assert part in str(caught.value)


def test_a_text_that_cannot_be_kept_leaves_no_temporary_file(server, cached):
    (cached / "a folder in its place").mkdir(parents=True)
    with pytest.raises(JaxrnnError, match=r"can't write .*play.txt"):
        fetch.read_named_corpus("play")
    assert in_cache() == []


def test_without_xdg_cache_home_the_cache_is_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("XDG_CACHE_HOME")
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert fetch.cache_directory() == tmp_path / ".cache" / "jaxrnn"


def test_the_registered_tinyshakespeare_is_the_real_one(tinyshakespeare):
    data = tinyshakespeare.read_bytes()
    remote = fetch.REMOTE["tinyshakespeare"]
    assert (remote.size, remote.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_real_tinyshakespeare_is_read_from_the_cache(tinyshakespeare):
    fetch.cache_directory().mkdir(parents=True)
    (fetch.cache_directory() / "tinyshakespeare.txt").symlink_to(tinyshakespeare)
    assert len(load_corpus("tinyshakespeare").vocabulary) == 65
