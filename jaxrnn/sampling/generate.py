"""Text from a trained network, piece by piece.

`write` streams one text and `write_many` returns several that are drawn side by side. Both are loops over a `Writer`,
which draws the next characters of texts that stand at a `Position`.
"""

import dataclasses
from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.lib.stride_tricks import sliding_window_view

from jaxrnn.config import ModelConfig, SampleConfig, Unknown
from jaxrnn.config.fields import check_arguments
from jaxrnn.distributed.mesh import by_lanes, check_divides, replicate
from jaxrnn.errors import JaxrnnError
from jaxrnn.network import Carry, Params, initial_carry
from jaxrnn.sampling.draw import check_draw
from jaxrnn.sampling.likelihood import log_probabilities
from jaxrnn.sampling.sample import advance, sample
from jaxrnn.text import Tokens, Vocabulary, document_starts, encode_separator
from jaxrnn.text.characters import name_of
from jaxrnn.text.vocabulary import Decoder

PIECE = 100  # characters per dispatch: few enough to stream visibly, enough to be fast
_READ_LENGTHS = (256, 16, 1)  # characters read per dispatch: three programs read a text of any length


def write(
    params: Params, vocabulary: Vocabulary, config: ModelConfig, options: SampleConfig, *, reset_on: str = ""
) -> Iterator[str]:
    r"""Return what the network writes after the prompt, in pieces as they are drawn; the prompt is not included.

    The network starts from the initial carry and reads the prompt. Without a prompt it reads a newline (or the first
    symbol, if the vocabulary has no newline). With documents it starts a new one: it reads the last symbol of the
    separator, then the prompt. With the same seed, a longer text begins with the shorter one. With `options.stop` the
    text ends right after the first place where the network has written that string; the prompt may contain it.
    `options.num_samples` is ignored. `reset_on` is the separator of documents, as in training: the carry is reset at
    its last symbol.

    Example:
        >>> from jaxrnn.network.model import init_params
        >>> config = ModelConfig(vocab_size=4)
        >>> params = init_params(jax.random.key(0), config)
        >>> text = "".join(write(params, Vocabulary("\nabc"), config, SampleConfig(prompt="cab", length=250)))
        >>> len(text), set(text) <= set("\nabc")
        (250, True)

    Raises JaxrnnError at the call if the vocabulary lacks characters of the prompt (unless `options.unknown` maps or
    drops them) or of the stop string, if the stop string is longer than `options.length`, or if `top_k` exceeds the
    size of the vocabulary.
    """
    check_arguments(write, locals())
    writer = Writer(params, vocabulary, config, reset_on)
    return writer.pieces(writer.checked(dataclasses.replace(options, num_samples=1)))


def write_many(
    params: Params,
    vocabulary: Vocabulary,
    config: ModelConfig,
    options: SampleConfig,
    *,
    reset_on: str = "",
    mesh: Mesh | None = None,
) -> list[str]:
    """Return `options.num_samples` texts that the network writes after the prompt, drawn side by side.

    Text i is what `write` returns for the seed `options.seed + i`, however many there are. (Except for rounding, which
    depends on the size of the matrix products and changes a draw very rarely.) The devices of a mesh, from
    `jaxrnn.make_mesh`, share the texts evenly. Raises JaxrnnError as `write` does, or if they can't.
    """
    check_arguments(write_many, locals())
    check_divides(mesh, "num_samples", options.num_samples)
    writer = Writer(params, vocabulary, config, reset_on, mesh)
    options = writer.checked(options)
    return [writer.decode(tokens, options.prompt) for tokens in writer.write_many(options)]


class Position(NamedTuple):
    """Where texts stand, one per lane: all that the network needs to continue them."""

    carry: Carry  # before the unread tokens
    tokens: Tokens  # int [N, lanes], the end of the texts; N = 0: they are empty
    unread: int  # how many of the last tokens the network has not read yet
    drawn: int  # characters drawn so far, from which the next random keys are derived

    def extend(self, tokens: Tokens) -> "Position":
        """Return the position after a single text has grown by tokens, int [N], that are still to be read."""
        grown = np.concatenate([self.tokens, tokens[:, None].astype(np.int32)])
        return self._replace(tokens=grown, unread=self.unread + len(tokens))


class Writer:
    """A network that continues texts; the caller keeps their `Position`."""

    def __init__(
        self, params: Params, vocabulary: Vocabulary, config: ModelConfig, reset_on: str = "", mesh: Mesh | None = None
    ) -> None:
        """Take the arguments of `write_many`; raise JaxrnnError unless the vocabulary has the network's size."""
        vocabulary.check_size(params.by.size)
        self.vocabulary = vocabulary
        self._params, self._config, self._mesh = params, config, mesh
        self._replicated_params = replicate(params, mesh) if mesh else params
        self._separator = encode_separator(vocabulary, reset_on)
        self._first = np.array([max(0, vocabulary.symbols.find("\n"))])

    def checked(self, options: SampleConfig) -> SampleConfig:
        """Return options with the prompt that the network reads; raise JaxrnnError if it can't write with them."""
        options = dataclasses.replace(options, prompt=self.adapted(options.prompt, options.unknown))
        self._stop_tokens(options)
        check_draw(len(self.vocabulary), options.temperature, options.top_k, options.top_p)
        return options

    def adapted(self, prompt: str, unknown: Unknown) -> str:
        """Return a prompt with unknown characters treated as `unknown` says; raise JaxrnnError if any are left."""
        prompt = self.vocabulary.adapt(prompt, unknown)
        try:
            self.vocabulary.encode(prompt)
        except JaxrnnError as error:
            can_map = self.vocabulary.knows(self.vocabulary.adapt(prompt, "map"))
            others = "unknown=map or drop" if can_map else "unknown=drop"
            raise JaxrnnError(f"{error}; {others} adapts a prompt (--unknown)") from None
        return prompt

    def _stop_tokens(self, options: SampleConfig) -> Tokens:
        """Return the stop string as tokens, int [S]; raise JaxrnnError if the network can't write it."""
        # A character that encodes as the unknown symbol is never written as itself.
        vocabulary = dataclasses.replace(self.vocabulary, unknown=False)
        if missing := [symbol for symbol in options.stop if not vocabulary.knows(symbol)]:
            raise JaxrnnError(
                f"the stop string {options.stop!r} can't occur: the model has never seen {name_of(missing[0])}; "
                "`jaxrnn info RUN --vocabulary` lists what it knows"
            )
        tokens = vocabulary.encode(options.stop)
        if len(tokens) > options.length:
            raise JaxrnnError(
                f"the stop string {options.stop!r} can't occur: it is {len(tokens)} {self.vocabulary.kind} long, and "
                f"length is {options.length}; make length larger"
            )
        return tokens

    def begin(self) -> Position:
        """Return the position of one empty text; where there are documents, of a new one, after the separator."""
        separator = self._separator[:, None].astype(np.int32)
        return Position(initial_carry(1, self._config), separator, unread=min(1, len(separator)), drawn=0)

    def write(self, position: Position, options: SampleConfig) -> Iterator[tuple[list[Tokens], Position]]:
        """Continue texts: yield the next tokens of each lane, int [N], and the position after them.

        One text branches into `options.num_samples` lanes. A lane that has written the stop string gets empty pieces.
        The last position is meaningful for a single lane only.
        """
        position = self._something_to_continue(position)
        stop, left, ended = self._stop_tokens(options), options.length, np.zeros(options.num_samples, np.bool_)
        tail = np.full((max(0, len(stop) - 1), len(ended)), -1)  # where the stop string may have begun
        while left > 0 and not ended.all():
            tokens, drawn = self._draw(position, options)
            tokens = tokens[:left]
            lengths = np.where(ended, 0, len(tokens))
            if len(stop):
                stream = np.concatenate([tail, tokens])
                is_end = (sliding_window_view(stream, len(stop), axis=0) == stop).all(axis=-1)  # [N, lanes]
                lengths = np.where(is_end.any(axis=0) & ~ended, is_end.argmax(axis=0) + 1, lengths)
                ended, tail = ended | is_end.any(axis=0), stream[len(tokens) :]
            pieces = [tokens[:length, lane] for lane, length in enumerate(lengths)]
            is_cut = len(pieces) == 1 and len(pieces[0]) < PIECE
            position = position.extend(pieces[0])._replace(drawn=drawn.drawn) if is_cut else drawn
            yield pieces, position
            left -= PIECE

    def write_many(self, options: SampleConfig) -> list[Tokens]:
        """Return `options.num_samples` texts that follow the prompt, as tokens, int [N] each."""
        pieces = (lanes for lanes, _ in self.write(self._after(options.prompt), options))
        return [np.concatenate(lane) for lane in zip(*pieces, strict=True)]

    def pieces(self, options: SampleConfig, *, raw: bool = False) -> Iterator[str]:
        """Yield the text that follows the prompt in pieces, from a `raw` decoder or not."""
        decoder = self._decoder(options.prompt, raw)
        for (tokens,), _ in self.write(self._after(options.prompt), options):
            yield decoder.decode(tokens)
        yield decoder.decode([], final=True)

    def decode(self, tokens: Tokens, prompt: str, *, raw: bool = False) -> str:
        """Return tokens that were written after a prompt as text."""
        return self._decoder(prompt, raw).decode(tokens, final=True)

    def _decoder(self, prompt: str, raw: bool) -> Decoder:
        """Return a decoder that has decoded the prompt: one of bytes may end within a character."""
        decoder = self.vocabulary.decoder(raw=raw)
        decoder.decode(self.vocabulary.encode(prompt))
        return decoder

    def _after(self, prompt: str) -> Position:
        return self.begin().extend(self.vocabulary.encode(prompt))

    def _something_to_continue(self, position: Position) -> Position:
        """Return a position whose text is not empty: an empty one gets a newline (or the first symbol) to read."""
        return position if len(position.tokens) else position.extend(self._first)

    def log_probabilities(self, texts: list[Tokens], options: SampleConfig) -> tuple[list[float], list[float]]:
        """Return ln of the probability of each text written with these options: under the network, and as drawn."""
        position = self._something_to_continue(self._after(options.prompt))
        before = position.tokens[:, 0]
        first = len(before) - position.unread
        return log_probabilities(self._params, self._config, options, before, texts, self._separator, first)

    def _draw(self, position: Position, options: SampleConfig) -> tuple[Tokens, Position]:
        """Return the next tokens of every lane, int [PIECE, lanes], and the position after them.

        What lane i draws depends on the seed `options.seed` + i.
        """
        lanes, position = options.num_samples, self._read(position)
        seeds = np.arange(lanes, dtype=np.uint32) + np.uint32(options.seed)
        keys, carry, recent = _keys(seeds, _words(position.drawn)), position.carry, position.tokens
        if recent.shape[1] < lanes:  # all lanes begin with the same text, which is read once
            carry = jax.tree.map(lambda entry: jnp.repeat(entry, lanes, axis=0), carry)
            recent = np.repeat(recent, lanes, axis=1)
        last = jnp.asarray(recent[-1:])
        if self._mesh:  # the computation follows the placement of its inputs
            keys, carry = jax.device_put((keys, carry), by_lanes(self._mesh, 0))
            last = jax.device_put(last, by_lanes(self._mesh, 1))
        documents = len(self._separator) > 0
        drawn, carry = sample(
            keys,
            self._replicated_params,
            carry,
            last,
            self._config,
            length=PIECE,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            greedy=options.greedy,
            separator=jnp.asarray(self._separator, jnp.int32) if documents else None,
            before=jnp.asarray(recent[:-1]) if documents else None,
        )
        tokens = np.asarray(drawn)
        recent = np.concatenate([recent, tokens])[-max(1, len(self._separator)) :]
        return tokens, Position(carry, recent, unread=1, drawn=position.drawn + PIECE)

    def _read(self, position: Position) -> Position:
        """Read all unread tokens but the last, which `sample` takes; keep as many as a separator has."""
        separator, carry = self._separator, position.carry
        begin = len(position.tokens) - position.unread
        unread, starts = position.tokens[begin:-1], None
        if len(separator):
            starts = document_starts(position.tokens[:-1, 0], separator)[begin:, None]
        for length in _READ_LENGTHS:
            while len(unread) >= length:
                part = None if starts is None else jnp.asarray(starts[:length])
                carry = advance(self._params, carry, jnp.asarray(unread[:length]), self._config, part)
                unread, starts = unread[length:], None if starts is None else starts[length:]
        return position._replace(carry=carry, tokens=position.tokens[-max(1, len(separator)) :], unread=1)


@jax.jit
def _keys(seeds: jax.Array, words: list[np.uint32]) -> jax.Array:
    """Return the keys of a piece, one per lane; for a single lane a scalar key, which draws the same but faster.

    `words` are the 32-bit words of the characters drawn so far, the lowest first.
    """
    keys = jax.vmap(lambda seed: reduce(jax.random.fold_in, words, jax.random.key(seed)))(seeds)
    return keys[0] if len(seeds) == 1 else keys


def _words(number: int) -> list[np.uint32]:
    low, high = np.uint32(number % 2**32), number >> 32
    return [low, *_words(high)] if high else [low]
