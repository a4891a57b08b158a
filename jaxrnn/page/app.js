// The page: a text with the network's state at each character, and the controls for it.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const network = new Network(data.model, unpack(data.weights));
const vocabulary = new Vocabulary(data.vocabulary);
const hiddenSize = data.model.hiddenSize;
const LIMIT = 10000; // characters
const SLICE = 12; // milliseconds of computation between two frames
const RATE = 45; // characters per second, on a machine that is fast enough
const ROWS = 200; // of the table

// Each character has: shown, tokens (null: never seen in training), span in the mirror; once it is read also carry (after
// it), bits (its surprise; null if nothing predicted it), fed (whether the network was fed any token up to it).
let items = [];
let read = 0; // items up to here have been read
let layer = network.layers.length - 1;
let unit = 0;
let shading = "unit";
let scale = 1;
let hovered = null;
let writing = null;
const field = byId("text");
const mirror = byId("mirror");
const end = document.createTextNode("\u200b"); // gives an empty last line its height

// ---- reading

let begun = null; // the carry that a text begins with, if the network has written its beginning
const carryAfter = (place) => (place < 0 ? (begun ?? network.zeroCarry()) : items[place].carry);
const isFed = (place) => place >= 0 && items[place].fed; // whether the network was fed any token up to here

// Returns the last tokens up to a place, enough to find the start of a document separator.
function recentTokens(place) {
  const tokens = [];
  for (; data.separator.length && place >= 0 && tokens.length < data.separator.length; place--) {
    tokens.unshift(...(items[place].tokens ?? []));
  }
  return tokens;
}

// Reads tokens from a carry; `started` says whether a token was read before, which predicts the first one. The carry is
// reset at the last token of a document separator.
function readTokens(tokens, carry, started, recent) {
  const { separator } = data;
  let bits = 0;
  for (const token of tokens) {
    if (started) bits -= Math.log2(softmax(network.logits(carry))[token]);
    recent.push(token);
    const tail = separator.length ? recent.slice(-separator.length) : [];
    if (tail.length && separator.every((one, place) => one === tail[place])) carry = network.zeroCarry();
    carry = network.step(carry, token);
  }
  return { carry, bits: started ? bits : null };
}

function readSome(until) {
  let started = isFed(read - 1);
  while (read < items.length && performance.now() < until) {
    const item = items[read];
    const before = carryAfter(read - 1);
    Object.assign(item, item.tokens ? readTokens(item.tokens, before, started, recentTokens(read - 1)) : { carry: before, bits: null });
    started ||= Boolean(item.tokens);
    item.fed = started;
    read += 1;
  }
}

let scheduled = false;

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    const from = read;
    readSome(performance.now() + SLICE);
    shade(from);
    inspect();
    if (read < items.length) schedule();
  });
}

// Takes the text of the field; characters before and after the change keep their tokens.
function takeText() {
  const characters = Array.from(field.value);
  const cut = characters.length > LIMIT;
  if (cut) {
    characters.length = LIMIT;
    field.value = characters.join("");
  }
  let begin = 0;
  const shorter = Math.min(characters.length, items.length);
  while (begin < shorter && items[begin].shown === characters[begin]) begin += 1;
  if (!begin) begun = null;
  let same = 0;
  while (same < shorter - begin && items.at(-1 - same).shown === characters.at(-1 - same)) same += 1;
  const fresh = characters.slice(begin, characters.length - same).map((shown) => ({ shown, tokens: vocabulary.encode(shown) }));
  replace(begin, items.length - same - begin, fresh);
  tell(cut);
}

function replace(begin, removed, fresh) {
  for (const item of items.slice(begin, begin + removed)) item.span.remove();
  const next = items[begin + removed]?.span ?? end;
  const fragment = document.createDocumentFragment();
  for (const item of fresh) {
    item.span = document.createElement("i");
    item.span.textContent = item.shown;
    item.span.item = item;
    fragment.append(item.span);
  }
  mirror.insertBefore(fragment, next);
  items = [...items.slice(0, begin), ...fresh, ...items.slice(begin + removed)];
  read = Math.min(read, begin);
  for (const item of items.slice(read)) item.carry = undefined;
  hovered = null;
  schedule();
}

function tell(cut) {
  const unknown = [...new Set(items.filter((item) => !item.tokens).map((item) => spoken(item.shown)))];
  const parts = [];
  if (cut) parts.push(`Only the first ${LIMIT.toLocaleString("en")} characters are kept.`);
  if (unknown.length) {
    const more = unknown.length > 12 ? ` and ${unknown.length - 12} more` : "";
    parts.push(`Never seen in training, and so marked and skipped: ${unknown.slice(0, 12).join(" ")}${more}`);
  }
  const text = parts.join(" ");
  if (byId("notice").textContent !== text) byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

// ---- colors

const valueOf = (item) => network.hidden(item.carry, layer)[unit];
const signed = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(2);
const mostBits = Math.max(4, Math.ceil(Math.log2(data.model.vocabSize))); // the surprise of a uniform prediction

function paint(element, kind, amount) {
  element.className = kind;
  element.style.setProperty("--amount", `${Math.round(100 * Math.min(1, amount))}%`);
}

// Colors the characters from `from` on; all of them if the scale no longer fits the unit.
function shade(from) {
  if (shading === "unit") {
    let most = 0;
    for (const item of items) if (item.carry && item.tokens) most = Math.max(most, Math.abs(valueOf(item)));
    const fitting = [0.1, 0.25, 0.5, 1].find((step) => most <= step) ?? Math.ceil(most);
    if (fitting !== scale) [scale, from] = [fitting, 0];
  }
  for (const item of items.slice(from)) {
    if (!item.tokens) paint(item.span, "unknown", 0);
    else if (!item.carry) paint(item.span, "", 0);
    else if (shading === "surprise") paint(item.span, "surprise", (item.bits ?? 0) / mostBits);
    else paint(item.span, valueOf(item) < 0 ? "negative" : "positive", Math.abs(valueOf(item)) / scale);
    if (item.shown === "\n") item.span.classList.add("line-end");
  }
  const [low, high] = shading === "unit" ? [signed(-scale), signed(scale)] : ["0 bits", `${mostBits} bits`];
  byId("legend-low").textContent = low;
  byId("legend-high").textContent = high;
  byId("ramp").className = `ramp ${shading}`;
  const what = shading === "unit" ? `Unit ${unit}: orange at ${low}, blue at ${high}` : `Surprise: pale at ${low}, violet at ${high}`;
  byId("legend").setAttribute("aria-label", what);
}

// ---- one character

// Returns the place of the character under the pointer, or else before the caret; -1 if there is none.
function looking() {
  if (hovered) return items.indexOf(hovered);
  if (writing) return read - 1;
  return Math.min(Array.from(field.value.slice(0, field.selectionStart)).length, items.length) - 1;
}

let pointed = null;

function inspect() {
  const place = looking();
  const item = items[place];
  if (pointed && pointed !== item) pointed.span.classList.remove("pointed");
  item?.span.classList.add("pointed");
  pointed = item;
  const known = Boolean(item?.carry) && isFed(place);
  const tokens = known ? likeliest(item.carry) : [];
  byId("at").replaceChildren(...describe(item, place));
  byId("next").replaceChildren(...tokens.map(({ token, share }) => nextRow(token, share)));
  showUnits(known ? item.carry : null);
  if (byId("table").open) fillTable(place);
  announceLater(item, place, tokens);
}

function likeliest(carry, count = 5) {
  const probabilities = softmax(network.logits(carry));
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
  return order.slice(0, count).map((token) => ({ token, share: probabilities[token] }));
}

function describe(item, place) {
  if (!item) return [items.length ? "Nothing precedes the first character." : "There is no text yet."];
  const name = document.createElement("b");
  name.textContent = spoken(item.shown);
  const where = ` \u00b7 character ${(place + 1).toLocaleString("en")} of ${items.length.toLocaleString("en")}`;
  if (!item.tokens) return [name, where, document.createElement("br"), "Never seen in training, so skipped"];
  const surprise = item.bits === undefined ? "\u2026" : item.bits === null ? "The first character: nothing predicted it" : `Surprise ${item.bits.toFixed(1)} bits`;
  return [name, where, document.createElement("br"), surprise];
}

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

function nextRow(token, share) {
  const row = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = vocabulary.name(token);
  if (name.textContent.length > 2) name.className = "long";
  const spokenName = NAMES[vocabulary.symbols[token]];
  if (spokenName) {
    name.setAttribute("role", "img");
    name.setAttribute("aria-label", spokenName);
    name.title = spokenName;
  }
  const track = document.createElement("span");
  track.className = "track";
  const bar = document.createElement("span");
  bar.style.width = `${100 * share}%`;
  track.append(bar);
  const number = document.createElement("span");
  number.className = "share";
  number.textContent = percent(share);
  row.append(name, track, number);
  return row;
}

function sentence(item, place, tokens) {
  if (!item) return items.length ? "At the beginning of the text." : "There is no text yet.";
  const parts = [`${spoken(item.shown)}, character ${place + 1}`];
  if (!item.tokens) parts.push("never seen in training, skipped");
  else if (item.bits != null) parts.push(`surprise ${item.bits.toFixed(1)} bits`);
  if (item.carry) parts.push(`unit ${unit} at ${valueOf(item).toFixed(2)}`);
  const next = tokens.map(({ token, share }) => `${NAMES[vocabulary.symbols[token]] ?? vocabulary.name(token)} ${percent(share)}`);
  return `${parts.join(", ")}.${next.length ? ` Next: ${next.join(", ")}.` : ""}`;
}

let timer = 0;

// Announces the character once the caret or the pointer rests; not while the network writes.
function announceLater(item, place, tokens) {
  clearTimeout(timer);
  if (writing) return;
  timer = setTimeout(() => announce(sentence(item, place, tokens)), 700);
}

function announce(text) {
  if (byId("live").textContent !== text) byId("live").textContent = text;
}

function fillTable(place) {
  const first = Math.max(0, Math.floor(place / ROWS) * ROWS);
  const rows = items.slice(first, first + ROWS).map((item, row) => {
    const surprise = item.bits == null ? "" : item.bits.toFixed(2);
    const next = item.carry && isFed(first + row) ? likeliest(item.carry, 3) : [];
    const cells = [first + row + 1, spoken(item.shown), item.tokens && item.carry ? signed(valueOf(item)) : "skipped", surprise];
    cells.push(next.map(({ token, share }) => `${vocabulary.name(token)} ${percent(share)}`).join(",  "));
    const line = document.createElement("tr");
    line.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return line;
  });
  byId("table-unit").textContent = `Unit ${unit}`;
  byId("table-caption").textContent = items.length > ROWS ? `Characters ${first + 1} to ${first + rows.length} of ${items.length}, around the caret; surprise in bits` : "Surprise in bits";
  byId("table-body").replaceChildren(...rows);
}

// ---- units, counted from 0 as in Python

const cells = Array.from({ length: hiddenSize }, (_, number) => {
  const cell = document.createElement("div");
  cell.id = `unit-${number}`;
  cell.setAttribute("role", "option");
  cell.setAttribute("aria-label", `unit ${number}`);
  cell.title = `unit ${number}`;
  cell.addEventListener("click", () => choose(number));
  return cell;
});

// Returns the unit that varies most and most slowly: the greatest covariance of a value and the next one.
function steadiest() {
  const states = items.filter((item) => item.tokens).map((item) => network.hidden(item.carry, layer));
  const scores = cells.map((_, number) => {
    const mean = states.reduce((sum, state) => sum + state[number], 0) / states.length;
    return states.slice(1).reduce((sum, state, place) => sum + (state[number] - mean) * (states[place][number] - mean), 0);
  });
  return scores.indexOf(Math.max(...scores));
}

function showUnits(carry) {
  const values = carry && network.hidden(carry, layer);
  cells.forEach((cell, number) => {
    const value = values ? values[number] : 0;
    paint(cell, value < 0 ? "negative" : "positive", Math.abs(value));
  });
  cells[unit].setAttribute("aria-label", values ? `unit ${unit}, ${values[unit].toFixed(2)}` : `unit ${unit}`);
}

function choose(number) {
  cells[unit].setAttribute("aria-selected", "false");
  unit = Math.max(0, Math.min(hiddenSize - 1, number));
  cells[unit].setAttribute("aria-selected", "true");
  byId("units").setAttribute("aria-activedescendant", cells[unit].id);
  byId("unit").value = unit;
  byId("shading-unit").textContent = `Unit ${unit}`;
  scrollToUnit();
  shade(0);
  inspect();
}

function scrollToUnit() {
  const box = byId("units");
  const [top, height] = [cells[unit].offsetTop - box.offsetTop, cells[unit].offsetHeight];
  if (top < box.scrollTop) box.scrollTop = top - 4;
  else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height + 4 - box.clientHeight;
}

function moveUnit(event) {
  const columns = getComputedStyle(byId("units")).gridTemplateColumns.split(" ").length;
  const moves = { ArrowLeft: unit - 1, ArrowRight: unit + 1, ArrowUp: unit - columns, ArrowDown: unit + columns, Home: 0, End: hiddenSize - 1 };
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in moves)) return;
  event.preventDefault();
  const to = moves[event.key];
  if (to >= 0 && to < hiddenSize) choose(to);
}

// ---- writing

// Draws the next character: [{shown, tokens}], or several where drawn bytes are not UTF-8.
function drawCharacter(temperature, random = Math.random) {
  let carry = carryAfter(items.length - 1);
  if (!isFed(items.length - 1)) {
    const first = data.separator.at(-1) ?? vocabulary.tokens.get("\n") ?? 0; // as `jaxrnn sample` does
    carry = begun = network.step(network.zeroCarry(), first);
  }
  const take = vocabulary.decoder();
  for (;;) {
    const token = draw(softmax(network.logits(carry), temperature), random());
    const done = take(token);
    if (done.length) return done;
    carry = network.step(carry, token);
  }
}

function startWriting() {
  if (items.length >= LIMIT) return announce("The text is full.");
  clearTimeout(timer);
  writing = { due: 0, last: performance.now(), from: items.length };
  const button = byId("write");
  button.textContent = "Stop";
  button.dataset.writing = "";
  announce("Writing.");
  requestAnimationFrame(writeSome);
}

function stopWriting() {
  if (!writing) return;
  const written = items.slice(writing.from).map((item) => item.shown).join("");
  writing = null;
  const button = byId("write");
  button.textContent = "Go on writing";
  delete button.dataset.writing;
  field.setSelectionRange(field.value.length, field.value.length);
  inspect();
  clearTimeout(timer);
  announce(`Stopped. Written: ${written}`);
}

function writeSome(now) {
  if (!writing) return;
  const until = performance.now() + SLICE;
  writing.due = Math.min(writing.due + (RATE * (now - writing.last)) / 1000, 4);
  writing.last = now;
  const from = read;
  readSome(until); // what was typed meanwhile
  const box = byId("editor");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  while (writing.due >= 1 && read === items.length && items.length < LIMIT && performance.now() < until) {
    const fresh = drawCharacter(Number(byId("temperature").value));
    replace(items.length, 0, fresh);
    field.setRangeText(fresh.map((item) => item.shown).join(""), field.value.length, field.value.length, "preserve");
    readSome(Infinity);
    writing.due -= 1;
  }
  shade(from);
  inspect();
  if (atEnd) box.scrollTop = box.scrollHeight;
  if (items.length >= LIMIT) stopWriting();
  else requestAnimationFrame(writeSome);
}

// ---- the loss curve

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const values = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) values.push(tick);
  return { values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function drawLoss() {
  const { unit, steps, train, validation } = data.loss;
  const box = byId("loss");
  if (steps.length < 2) {
    box.textContent = "This file has no loss curve.";
    return;
  }
  const [width, height, left, bottom, right] = [Math.max(240, box.clientWidth), box.clientWidth < 500 ? 220 : 300, 34, 26, 12];
  const held = validation.filter((value) => value !== null);
  const all = [...train, ...held];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const margin = 0.06 * (high - low || 1);
  const [first, last] = [steps[0], steps.at(-1)];
  const x = (step) => left + ((width - left - right) * (step - first)) / (last - first || 1);
  const y = (value) => 22 + ((height - bottom - 22) * (high + margin - value)) / (high - low + 2 * margin);
  const make = (tag, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
  const note = held.length ? `, ${held.at(-1).toFixed(2)} on text held out` : "";
  svg.setAttribute("aria-label", `Loss: from ${train[0].toFixed(2)} to ${train.at(-1).toFixed(2)} ${unit} over ${last.toLocaleString("en")} steps${note}`);
  const vertical = ticks(low - margin, high + margin, 4);
  for (const tick of vertical.values) {
    svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(make("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(vertical.digits)));
  }
  for (const tick of ticks(first, last, width < 400 ? 3 : 5).values) {
    const anchor = tick === first ? "start" : x(tick) > width - 40 ? "end" : "middle";
    svg.append(make("text", { x: x(tick), y: height - 6, "text-anchor": anchor }, `${tick.toLocaleString("en")}${tick === first ? " steps" : ""}`));
  }
  svg.append(make("text", { x: 0, y: 10 }, unit));
  const path = (values) => {
    const points = values.flatMap((value, place) => (value === null ? [] : [`${x(steps[place]).toFixed(1)} ${y(value).toFixed(1)}`]));
    return `M${points.join("L")}`;
  };
  svg.append(make("path", { class: "train", d: path(train) }));
  const label = (value, text, above) => {
    svg.append(make("text", { class: "label", x: width - right, y: y(value) + (above ? -10 : 18), "text-anchor": "end" }, text));
  };
  const words = held.length ? "training " : "";
  label(train.at(-1), words + train.at(-1).toFixed(2), !held.length || train.at(-1) >= held.at(-1));
  if (held.length) {
    svg.append(make("path", { class: "validation", d: path(validation) }));
    label(held.at(-1), `held out ${held.at(-1).toFixed(2)}`, held.at(-1) > train.at(-1));
  }
  box.replaceChildren(svg);
}

// ---- controls

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme-label").textContent = theme === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", theme === "dark" ? "Use light colors" : "Use dark colors");
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
setTheme(prefersDark.matches ? "dark" : "light");
prefersDark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

byId("units").append(...cells);
byId("unit").max = byId("last-unit").textContent = hiddenSize - 1;
byId("unit").addEventListener("input", () => {
  const number = Math.round(byId("unit").valueAsNumber);
  if (number >= 0 && number < hiddenSize) choose(number);
});
byId("unit").addEventListener("change", () => (byId("unit").value = unit));
byId("units").addEventListener("keydown", moveUnit);
byId("layer-field").hidden = network.layers.length === 1;
network.layers.forEach((_, number) => byId("layer").append(new Option(String(number), number, false, number === layer)));
byId("layer").addEventListener("change", () => {
  layer = Number(byId("layer").value);
  choose(unit);
});
byId("shading").addEventListener("change", (event) => {
  shading = event.target.value;
  shade(0);
  inspect();
});
byId("temperature").addEventListener("input", () => {
  byId("temperature-value").textContent = Number(byId("temperature").value).toFixed(2);
});
byId("write").addEventListener("click", () => (writing ? stopWriting() : startWriting()));
byId("clear").addEventListener("click", () => {
  stopWriting();
  field.value = "";
  takeText();
  field.focus();
});
byId("table").addEventListener("toggle", inspect);
document.addEventListener("keydown", (event) => event.key === "Escape" && stopWriting());
document.addEventListener("selectionchange", () => document.activeElement === field && !writing && inspect());
field.addEventListener("input", takeText);
byId("editor").addEventListener("pointermove", (event) => {
  const under = document.elementsFromPoint(event.clientX, event.clientY).find((element) => element.item);
  if ((under?.item ?? null) === hovered) return;
  hovered = under?.item ?? null;
  inspect();
});
byId("editor").addEventListener("pointerleave", () => {
  if (!hovered) return;
  hovered = null;
  inspect();
});
new ResizeObserver(drawLoss).observe(byId("loss"));

mirror.append(end);
field.value = data.text;
takeText();
field.setSelectionRange(field.value.length, field.value.length);
readSome(Infinity);
choose(steadiest());
