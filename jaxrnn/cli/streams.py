"""Safe standard streams for the command line: everything that it prints passes through them.

On a terminal, control characters in a text, a name or an error are shown as Python writes them: raw, they could move
the cursor, change the title, hide what was shown before or reverse the order of what follows. A pipe or a file gets
every character as it is, in UTF-8 unless PYTHONIOENCODING names another encoding. A closed stream acts as /dev/null, as
does a stderr that can't be written to: a run is worth more than its log.
"""

import codecs
import contextlib
import io
import os
import re
import secrets
import sys
from collections.abc import Iterator
from typing import TextIO

from jaxrnn.errors import StorageError

_STYLE = f"\x1b{secrets.token_hex(8)}"  # begins an escape code of ours; no text can contain it
_CONTROLS = r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_OUR_STYLES = re.compile(rf"{_STYLE}(\[\d+m)|{_CONTROLS}")
_ALL_STYLES = re.compile(rf"\x1b(\[[\d;]*m)|{_CONTROLS}")
_SURROGATES, _NO_BYTES = re.compile("[\ud800-\udfff]"), re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Stream(io.TextIOWrapper):
    """A standard stream of the system.

    Attributes:
        unfiltered: the stream without a filter, for progress bars.
        shows_styles: whether any color or style may pass, as tyro writes them.
    """

    def __init__(self, stream: io.TextIOWrapper, *, may_fail: bool = False) -> None:
        """Take the place of a stream; one that `may_fail` discards what it can't write."""
        self.unfiltered, self.shows_styles, self._may_fail = stream, False, may_fail
        self._is_terminal, self._held, self._said = stream.isatty(), "", False
        encoding = stream.encoding if self._is_terminal or os.environ.get("PYTHONIOENCODING") else "utf-8"
        codec = codecs.lookup(encoding).name
        self._is_unicode = codec.startswith("utf")
        newline = None if self._is_terminal else "\n"
        is_utf_8 = codec.startswith("utf-8")  # others have no place for a single byte
        errors = "surrogateescape" if is_utf_8 and not self._is_terminal else "backslashreplace"
        super().__init__(stream.buffer, encoding, errors, newline, stream.line_buffering, stream.write_through)

    def write(self, text: str) -> int:
        """Write a text, with its control characters escaped if this is a terminal."""
        shown = text
        if self._is_terminal:
            shown = self._held + text
            self._held = "\r" if shown.endswith("\r") else ""  # a newline may follow
            styles = _ALL_STYLES if self.shows_styles else _OUR_STYLES
            shown = styles.sub(_escaped, shown.removesuffix("\r"))
        shown = (_SURROGATES if self.errors == "backslashreplace" else _NO_BYTES).sub(_escaped, shown)
        if not self._is_unicode and not self._said:
            self._say_what_is_missing(shown)
        with self._failing():
            super().write(shown)
        return len(text)

    def flush(self) -> None:
        """Write what is left."""
        with self._failing():
            super().flush()

    def _say_what_is_missing(self, text: str) -> None:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            self._said = True
            where = "this terminal" if self._is_terminal else "the output"
            print(
                f"jaxrnn: the encoding of {where} is {self.encoding}; characters that it lacks are shown as escapes, "
                "such as \\u0416. Use a UTF-8 locale, or set PYTHONIOENCODING=utf-8",
                file=sys.stderr,
            )

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._may_fail:
                discard(self)
            elif isinstance(error, BrokenPipeError):
                raise
            else:
                reason = error.strerror or error
                raise StorageError(f"can't write to stdout ({reason}); make room, or write elsewhere") from None


def _escaped(match: re.Match[str]) -> str:
    if match.re in (_OUR_STYLES, _ALL_STYLES) and match[1]:
        return f"\x1b{match[1]}"
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(match[0])[1:-1]


def style(text: str, code: str) -> str:
    """Return a text with the escape codes of a style, to be written to a `Stream`."""
    return f"{_STYLE}[{code}m{text}{_STYLE}[0m"


def as_unicode(text: str) -> str:
    """Return a text without lone surrogates: bytes of UTF-8 that they stand for are decoded, others are escaped."""
    decoded = _NO_BYTES.sub(_escaped, text).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return _SURROGATES.sub(_escaped, decoded)


def discard(stream: TextIO) -> None:
    """Redirect a stream to /dev/null, with what it still holds: else Python would fail again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Replace stdin, stdout and stderr by safe ones."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_nowhere(number)  # else the next file opened gets this number, and with it what JAX logs
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdin, io.TextIOWrapper) and not os.environ.get("PYTHONIOENCODING"):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    streams = [stream or open(os.devnull, "w", encoding="utf-8") for stream in before]  # noqa: PTH123, SIM115
    sys.stdout, sys.stderr = (
        Stream(stream, may_fail=stream is streams[1]) if isinstance(stream, io.TextIOWrapper) else stream
        for stream in streams
    )
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Stream):
                with contextlib.suppress(OSError, ValueError):
                    stream.detach()  # after a flush
                # Loggers that begin meanwhile keep the stream; JAX's write to it when Python exits.
                vars(stream).update(write=stream.unfiltered.write, flush=stream.unfiltered.flush)
        sys.stdout, sys.stderr = before


def _open_nowhere(number: int) -> None:
    """Open /dev/null with a number that no file has."""
    try:
        os.fstat(number)
    except OSError:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
