"use strict";

// The network in plain JavaScript: what jaxrnn/network/model.py, network/cells.py and sampling/sample.py compute. States
// are in single precision as there; sums are in double precision.

const sigmoid = (a) => 1 / (1 + Math.exp(-a));

// A cell maps the projected input and the projected hidden state of one layer, [G*H] each, gate after gate, to its next
// carry: `after` and `before` hold h, followed by c for an LSTM.
const simpleCell = (nonlinearity) => ({
  gates: 1,
  entries: 1,
  update(projected, recurrent, before, after, H) {
    for (let k = 0; k < H; k++) after[k] = nonlinearity(projected[k] + recurrent[k]);
  },
});
const CELLS = {
  tanh: simpleCell(Math.tanh),
  relu: simpleCell((a) => Math.max(0, a)),
  gru: {
    gates: 3,
    entries: 1,
    update(projected, recurrent, before, after, H) {
      for (let k = 0; k < H; k++) {
        const reset = sigmoid(projected[k] + recurrent[k]);
        const keep = sigmoid(projected[H + k] + recurrent[H + k]);
        const fresh = Math.tanh(projected[2 * H + k] + reset * recurrent[2 * H + k]);
        after[k] = fresh + keep * (before[k] - fresh);
      }
    },
  },
  lstm: {
    gates: 4,
    entries: 2,
    update(projected, recurrent, before, after, H) {
      for (let k = 0; k < H; k++) {
        const input = sigmoid(projected[k] + recurrent[k]);
        const forget = sigmoid(projected[H + k] + recurrent[H + k]);
        const fresh = Math.tanh(projected[2 * H + k] + recurrent[2 * H + k]);
        const output = sigmoid(projected[3 * H + k] + recurrent[3 * H + k]);
        after[H + k] = forget * before[H + k] + input * fresh;
        after[k] = output * Math.tanh(after[H + k]);
      }
    },
  },
};

class Network {
  // model: {cell, hiddenSize, numLayers, vocabSize, bfloat16}; tensors: {name: Float32Array}, row-major.
  constructor(model, tensors) {
    this.model = model;
    this.cell = CELLS[model.cell];
    this.layers = Array.from({ length: model.numLayers }, (_, number) => {
      const part = (name) => tensors[`layers.${number}.${name}`];
      return { Wxh: part("Wxh"), Whh: part("Whh"), bh: part("bh"), bhh: part("bhh") };
    });
    this.Why = tensors.Why;
    this.by = tensors.by;
    this.size = this.cell.entries * model.hiddenSize; // numbers in one layer's carry
    const width = this.cell.gates * model.hiddenSize;
    this.projected = new Float64Array(width);
    this.recurrent = new Float64Array(width);
    if (model.bfloat16) {
      const rounded = [this.Why, ...this.layers.flatMap((layer, number) => [layer.Whh, ...(number ? [layer.Wxh] : [])])];
      for (const W of rounded) for (let i = 0; i < W.length; i++) W[i] = toBfloat16(W[i]);
    }
  }

  zeroCarry() {
    return new Float32Array(this.layers.length * this.size);
  }

  hidden(carry, layer = this.layers.length - 1) {
    return carry.subarray(layer * this.size, layer * this.size + this.model.hiddenSize);
  }

  // Returns the carry after `token`; `carry`, the one before it, is not changed.
  step(carry, token) {
    const { projected, recurrent, size } = this;
    const H = this.model.hiddenSize;
    const width = projected.length;
    const next = new Float32Array(carry.length);
    this.layers.forEach((layer, number) => {
      projected.set(layer.bh);
      if (number === 0) for (let j = 0; j < width; j++) projected[j] += layer.Wxh[token * width + j];
      else this.addProduct(projected, this.hidden(next, number - 1), layer.Wxh);
      if (layer.bhh) recurrent.set(layer.bhh);
      else recurrent.fill(0);
      this.addProduct(recurrent, this.hidden(carry, number), layer.Whh);
      const [begin, end] = [number * size, (number + 1) * size];
      this.cell.update(projected, recurrent, carry.subarray(begin, end), next.subarray(begin, end), H);
    });
    return next;
  }

  logits(carry) {
    const logits = Float64Array.from(this.by);
    this.addProduct(logits, this.hidden(carry), this.Why);
    return logits;
  }

  addProduct(sums, vector, matrix) {
    const columns = sums.length;
    for (let i = 0; i < vector.length; i++) {
      const factor = this.model.bfloat16 ? toBfloat16(vector[i]) : vector[i];
      const row = i * columns;
      for (let j = 0; j < columns; j++) sums[j] += factor * matrix[row + j];
    }
  }
}

function softmax(logits, temperature = 1) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const weights = logits.map((logit) => Math.exp((logit - largest) / temperature));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

// Returns the first token at which the cumulative probability exceeds `uniform`, a number in [0, 1).
function draw(probabilities, uniform) {
  let left = uniform * probabilities.reduce((a, b) => a + b);
  for (let token = 0; token < probabilities.length - 1; token++) {
    left -= probabilities[token];
    if (left < 0) return token;
  }
  return probabilities.length - 1;
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

function toBfloat16(number) {
  single[0] = number;
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000; // to nearest, ties to even
  return single[0];
}

function fromFloat16(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// Returns {name: Float32Array} from what jaxrnn/page/__init__.py packs: little-endian numbers, tensor after tensor.
function unpack({ tensors, type, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const arrays = {};
  let at = 0;
  for (const [name, size] of tensors) {
    arrays[name] = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      arrays[name][i] = type === "float16" ? fromFloat16(view.getUint16(2 * at, true)) : view.getFloat32(4 * at, true);
      at++;
    }
  }
  return arrays;
}
