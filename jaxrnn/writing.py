"""Text from a trained network, piece by piece."""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig, SampleConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.model import Params, initial_carry
from jaxrnn.sampling import check_draw, find_starts, read, sample
from jaxrnn.sharding import by_lanes, check_divides, on_mesh
from jaxrnn.text import Tokens, Vocabulary

PIECE = 100  # characters drawn in one dispatch: few enough to be seen streaming, enough to be fast


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
        >>> from jaxrnn.model import init_params
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
    pieces = _Lanes(params, vocabulary, model, dataclasses.replace(config, num_samples=1), reset_on).pieces()
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
    lanes = _Lanes(params, vocabulary, model, config, reset_on, mesh)
    written = zip(*lanes.pieces(with_prompt=False), strict=True)
    return ["".join(pieces) for pieces in written]


class _Lanes:
    """Samples that are drawn side by side, a piece of each at a time; all mistakes are found when it is made."""

    def __init__(
        self,
        params: Params,
        vocabulary: Vocabulary,
        model: ModelConfig,
        config: SampleConfig,
        reset_on: str,
        mesh: Mesh | None = None,
    ) -> None:
        check_divides(mesh, "num_samples", config.num_samples)
        start = config.prompt or ("\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0])
        self._prompt = vocabulary.encode(config.prompt)
        self._separator = vocabulary.encode(reset_on)
        # A document begins with the last symbol of what stands between two of them.
        self._prime = np.concatenate([self._separator[-1:], self._prompt]) if reset_on else vocabulary.encode(start)
        try:
            # What would become the unknown symbol is never written as itself.
            self._stop = dataclasses.replace(vocabulary, unknown=False).encode(config.stop)
        except JaxrnnError as error:
            raise JaxrnnError(f"the stop string {config.stop!r} can't occur: {error}") from None
        if len(self._stop) > config.length:
            raise JaxrnnError(
                f"the stop string {config.stop!r} can't occur: it is {len(self._stop)} {vocabulary.kind} long, and "
                f"length is {config.length}; make length larger"
            )
        check_draw(len(vocabulary), temperature=config.temperature, top_k=config.top_k, top_p=config.top_p)
        self._params, self._vocabulary, self._model, self._config = params, vocabulary, model, config
        self._mesh = mesh

    def pieces(self, with_prompt: bool = True) -> Iterator[list[str]]:
        """Draw; a lane that has come to its stop string gets empty pieces."""
        config, prime = self._config, jnp.asarray(self._prime, jnp.int32)[:, None]
        lanes = range(config.num_samples)
        decoders = [self._vocabulary.decoder() for _ in lanes]
        if config.prompt:
            prompts = [decoder.decode(self._prompt) for decoder in decoders]
            if with_prompt:
                yield prompts
        ends = [_Stop(self._stop) for _ in lanes]
        left = config.length
        for tokens in self._draw(prime):
            texts = []
            for lane in lanes:
                written = ends[lane].cut(tokens[:left, lane])
                texts.append(decoders[lane].decode(written, final=ends[lane].reached or left <= PIECE))
            yield texts
            left -= PIECE
            if left <= 0 or all(end.reached for end in ends):
                return

    def _draw(self, prime: jax.Array) -> Iterator[Tokens]:
        """Draw piece after piece without end: tokens [PIECE, lanes]."""
        config, lanes = self._config, self._config.num_samples
        seeds = np.arange(lanes, dtype=np.uint32) + np.uint32(config.seed)
        separator = jnp.asarray(self._separator, jnp.int32) if len(self._separator) else None
        before, starts = jnp.zeros((0, 1), jnp.int32), None
        if separator is not None:
            before = separator[:-1, None]
            starts = find_starts(prime, separator, before)[0][:-1]
        carry = initial_carry(self._model, 1)
        if len(prime) > 1:  # all lanes begin with the same prompt: it is read once
            carry = read(self._params, carry, prime[:-1], self._model, starts)
        carry = jax.tree.map(lambda entry: jnp.repeat(entry, lanes, axis=0), carry)
        params, mesh = self._params, self._mesh
        if mesh:  # what is computed follows what it is computed from
            params, carry = on_mesh(params, mesh), jax.device_put(carry, by_lanes(mesh, 0))
        size = max(1, len(self._separator))  # how much of the text so far matters
        text, begin = np.tile(np.concatenate([before, prime])[-size:], (1, lanes)), 0
        while True:
            keys = _keys(seeds, begin)
            tokens, carry = sample(
                jax.device_put(keys, by_lanes(mesh, 0)) if mesh else keys,
                params,
                carry,
                jax.device_put(text[-1:], by_lanes(mesh, 1)) if mesh else jnp.asarray(text[-1:]),
                self._model,
                length=PIECE,
                temperature=config.temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                greedy=config.greedy,
                separator=separator,
                before=None if separator is None else jnp.asarray(text[:-1]),
            )
            text, begin = np.concatenate([text, tokens])[-size:], begin + PIECE
            yield np.asarray(tokens)


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
