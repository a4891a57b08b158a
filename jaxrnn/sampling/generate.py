"""Text from a trained network, piece by piece."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig, SampleConfig
from jaxrnn.distributed.mesh import by_lanes, check_divides, on_mesh
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.model import Carry, Params, initial_carry
from jaxrnn.sampling.sample import check_draw, read, sample
from jaxrnn.text import Tokens, Vocabulary, document_starts

PIECE = 100  # characters drawn in one dispatch: few enough to be seen streaming, enough to be fast
_READ = (256, 16, 1)  # characters read in one dispatch: a text of any length by programs of three lengths


def write(
    params: Params, vocabulary: Vocabulary, model: ModelConfig, config: SampleConfig, *, reset_on: str = ""
) -> Iterator[str]:
    r"""Return the prompt and what the network writes after it, in pieces as they are drawn.

    The network starts from a zero carry and reads the prompt; without a prompt it reads a new line (the first symbol of
    a vocabulary that has none), which is not shown. With documents it begins one: it reads the last symbol of what
    separates them, which is not shown, then the prompt. A longer text of the same seed begins with the shorter one.
    With `config.stop` the text ends right after the first place where the network has written it; the prompt may hold
    it.

    Example:
        >>> from jaxrnn.network.model import init_params
        >>> model = ModelConfig(vocab_size=4)
        >>> params = init_params(jax.random.key(0), model)
        >>> text = "".join(write(params, Vocabulary("\nabc"), model, SampleConfig(prompt="cab", length=250)))
        >>> len(text), text[:3]
        (253, 'cab')

    Args:
        params: the parameters.
        vocabulary: the symbols.
        model: the network's configuration.
        config: what to write; of its samples the first one.
        reset_on: what separates documents, as in training: the carry starts anew at its last symbol.

    Raises:
        JaxrnnError: at once, if the prompt or the stop string has characters that the vocabulary lacks, the stop string
            is longer than `config.length`, or `top_k` is above the number of characters.
    """
    config = dataclasses.replace(config, num_samples=1)
    pieces = _pieces(Writer(params, vocabulary, model, reset_on), config, with_prompt=True)
    return (text for texts in pieces for text in texts)


def write_many(
    params: Params,
    vocabulary: Vocabulary,
    model: ModelConfig,
    config: SampleConfig,
    *,
    reset_on: str = "",
    mesh: Mesh | None = None,
) -> list[str]:
    """Return what the network writes after the prompt, `config.num_samples` times; without the prompt.

    They are drawn side by side. Sample i is the text that `write` writes with the seed `config.seed + i`, however many
    there are: each has randomness of its own. (But for the rounding of matrix products of another size, which turns a
    draw once in a great many.)

    Args: as those of `write`, which raises the same; and a mesh, from `sharding.make_mesh`, whose devices divide the
    samples and draw each a part of them.
    """
    check_divides(mesh, "num_samples", config.num_samples)
    written = zip(*_pieces(Writer(params, vocabulary, model, reset_on, mesh), config, with_prompt=False), strict=True)
    return ["".join(pieces) for pieces in written]


class Place(NamedTuple):
    """Where texts stand, one a lane: all that the network needs to go on with them.

    Attributes:
        carry: after all of a text but its last character.
        recent: int [k, lanes], the last characters; the very last is still to be read. k = 0: the text is empty.
        drawn: characters drawn so far: what the keys of the next ones are made of.
    """

    carry: Carry
    recent: Tokens
    drawn: int


class Writer:
    """A network that reads and writes in turns; where a text stands is the caller's to keep."""

    def __init__(
        self,
        params: Params,
        vocabulary: Vocabulary,
        model: ModelConfig,
        reset_on: str = "",
        mesh: Mesh | None = None,
    ) -> None:
        """Take what `write` takes; and a mesh, whose devices divide the lanes of every place that is drawn at.

        Raises:
            JaxrnnError: the vocabulary lacks symbols of `reset_on`.
        """
        self.vocabulary = vocabulary
        self._params, self._model, self._mesh = params, model, mesh
        self._params_to_draw = on_mesh(params, mesh) if mesh else params
        self._separator = vocabulary.encode(reset_on)
        self._start = vocabulary.encode("\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0])

    def check(self, config: SampleConfig) -> None:
        """Raise JaxrnnError if this network can't write so; the message says why."""
        self.stop(config)
        check_draw(len(self.vocabulary), temperature=config.temperature, top_k=config.top_k, top_p=config.top_p)

    def stop(self, config: SampleConfig) -> Tokens:
        """Return the stop string as tokens, int [S].

        Raises:
            JaxrnnError: it can't occur.
        """
        try:
            # What would become the unknown symbol is never written as itself.
            stop = dataclasses.replace(self.vocabulary, unknown=False).encode(config.stop)
        except JaxrnnError as error:
            raise JaxrnnError(f"the stop string {config.stop!r} can't occur: {error}") from None
        if len(stop) > config.length:
            raise JaxrnnError(
                f"the stop string {config.stop!r} can't occur: it is {len(stop)} {self.vocabulary.kind} long, and "
                f"length is {config.length}; make length larger"
            )
        return stop

    def begin(self) -> Place:
        """Return the beginning of a text; of a document, where there are some: what separates them has been read."""
        return Place(initial_carry(self._model, 1), self._separator[:, None].astype(np.int32), 0)

    def start(self, place: Place) -> Place:
        """Return a place to draw at: where nobody has begun the text, after a new line, which is no part of it."""
        return place if len(place.recent) else self.read(place, self._start)

    def read(self, place: Place, tokens: Tokens) -> Place:
        """Return the place after a text of one lane has grown by tokens, int [N], that the network did not draw."""
        grown = np.concatenate([place.recent[:, 0], tokens]).astype(np.int32)
        size = len(self._separator)
        unread = grown[max(0, len(place.recent) - 1) : -1]
        starts = document_starts(unread, self._separator, place.recent[:-1, 0]) if size else None
        carry, done = place.carry, 0
        for length in _READ:
            while len(unread) - done >= length:
                part = slice(done, done + length)
                column = None if starts is None else jnp.asarray(starts[part, None])
                carry = read(self._params, carry, jnp.asarray(unread[part, None]), self._model, column)
                done += length
        return Place(carry, grown[-max(1, size) :, None], place.drawn)

    def draw(self, place: Place, config: SampleConfig) -> tuple[Tokens, Place]:
        """Return the next characters of every text, int [PIECE, lanes], and the place after them; none may be empty.

        What lane i draws belongs to the seed `config.seed` + i.
        """
        lanes = place.recent.shape[1]
        seeds = np.arange(lanes, dtype=np.uint32) + np.uint32(config.seed)
        documents = len(self._separator) > 0
        keys, carry, last = _keys(seeds, place.drawn), place.carry, jnp.asarray(place.recent[-1:])
        if self._mesh:  # what is computed follows what it is computed from
            lanes_of_keys, lanes_of_tokens = by_lanes(self._mesh, 0), by_lanes(self._mesh, 1)
            keys, carry, last = jax.device_put((keys, carry, last), (lanes_of_keys, lanes_of_keys, lanes_of_tokens))
        drawn, carry = sample(
            keys,
            self._params_to_draw,
            carry,
            last,
            self._model,
            length=PIECE,
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=config.top_p,
            greedy=config.greedy,
            separator=jnp.asarray(self._separator, jnp.int32) if documents else None,
            before=jnp.asarray(place.recent[:-1]) if documents else None,
        )
        tokens = np.asarray(drawn)
        recent = np.concatenate([place.recent, tokens])[-len(place.recent) :]
        return tokens, Place(carry, recent, place.drawn + PIECE)

    def write(self, place: Place, config: SampleConfig) -> Iterator[tuple[Tokens, Place]]:
        """Go on with a text of one lane: give its next tokens, int [N], piece by piece, and the place after each.

        Raises:
            JaxrnnError: at once, if `check` does.
        """
        self.check(config)
        return self._write(place, config)

    def _write(self, place: Place, config: SampleConfig) -> Iterator[tuple[Tokens, Place]]:
        left, end, place = config.length, _Stop(self.stop(config)), self.start(place)
        while left > 0 and not end.reached:
            tokens, after = self.draw(place, config)
            written = end.cut(tokens[:left, 0])
            place = after if len(written) == PIECE else self.read(place, written)._replace(drawn=after.drawn)
            yield written, place
            left -= PIECE


def _pieces(writer: Writer, config: SampleConfig, with_prompt: bool) -> Iterator[list[str]]:
    """Return pieces of samples that are drawn side by side; all mistakes are found now, before the first is drawn."""
    prompt = writer.vocabulary.encode(config.prompt)
    writer.check(config)
    return _drawn(writer, config, prompt, with_prompt)


def _drawn(writer: Writer, config: SampleConfig, prompt: Tokens, with_prompt: bool) -> Iterator[list[str]]:
    """Draw; a lane that has come to its stop string gets empty pieces."""
    lanes = range(config.num_samples)
    decoders = [writer.vocabulary.decoder() for _ in lanes]
    if config.prompt:
        prompts = [decoder.decode(prompt) for decoder in decoders]
        if with_prompt:
            yield prompts
    place = writer.start(writer.read(writer.begin(), prompt))
    # All lanes begin with the same prompt: it is read once.
    carry, recent = jax.tree.map(lambda entry: jnp.repeat(entry, len(lanes), axis=0), place.carry), place.recent
    place = place._replace(carry=carry, recent=np.tile(recent, (1, len(lanes))))
    ends = [_Stop(writer.stop(config)) for _ in lanes]
    left = config.length
    while left > 0 and not all(end.reached for end in ends):
        tokens, place = writer.draw(place, config)
        texts = []
        for lane in lanes:
            written = ends[lane].cut(tokens[:left, lane])
            texts.append(decoders[lane].decode(written, final=ends[lane].reached or left <= PIECE))
        yield texts
        left -= PIECE


@jax.jit
def _keys(seeds: jax.Array, begin: int) -> jax.Array:
    """Return the keys of a piece, one a lane; for a single lane the key itself, which draws the same and faster."""
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), begin))(seeds)
    return keys[0] if len(seeds) == 1 else keys


class _Stop:
    """Ends a stream of tokens right after the first place where it holds certain ones."""

    def __init__(self, stop: Tokens) -> None:
        self.reached = False
        self._stop = stop
        self._before = stop[:0]  # the last tokens of the stream, which may be the beginning of the stop string

    def cut(self, tokens: Tokens) -> Tokens:
        """Return as many of the next tokens as come before the end, int [N]."""
        if self.reached:
            return tokens[:0]
        length = len(self._stop)
        if not length:
            return tokens
        stream = np.concatenate([self._before, tokens])
        if len(stream) >= length:
            found = (np.lib.stride_tricks.sliding_window_view(stream, length) == self._stop[None]).all(axis=1)
            if found.any():
                self.reached = True
                tokens = tokens[: int(found.argmax()) + length - len(self._before)]
        self._before = stream[len(stream) - min(length - 1, len(stream)) :]
        return tokens
