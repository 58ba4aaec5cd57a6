"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const dialog = document.getElementById("pictures");

const make = (tag, text) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  return node;
};
const named = (labels) => labels.length ? labels.map((label) => data.names[label]).join(", ") : "nothing";
const several = (count) => `${count.toLocaleString("en")} ${data.noun}${count === 1 ? "" : "s"}`;

function title(key) {
  const name = (label) => make("bdi", data.names[Number(label)]);
  const about = key.slice(1);
  if (key[0] === "m") return [name(about), " not found"];
  if (key[0] === "f") return ["wrongly said to be ", name(about)];
  const [truth, said] = key.split("-");
  return truth === said ? [name(truth), ", rightly said"] : [name(truth), " taken for ", name(said)];
}

function figure(entry) {
  const node = make("figure");
  if (entry.i) {
    const image = make("img");
    image.src = entry.i;
    image.alt = "";
    if (entry.i.startsWith("data:image/jpeg")) image.className = "smooth";
    node.append(image);
  }
  const caption = make("figcaption");
  const sure = entry.p === undefined ? "" : ` (${entry.p.toFixed(2)})`;
  caption.append("said ", make("bdi", named(entry.s)), sure);
  if (named(entry.s) !== named(entry.t)) caption.append(make("br"), "is ", make("bdi", named(entry.t)));
  const small = make("small");
  small.append(make("bdi", entry.n));
  caption.append(small);
  node.append(caption);
  return node;
}

function open(key) {
  const [count, indices] = data.gallery.cells[key];
  document.getElementById("which").replaceChildren(...title(key));
  const [truth, said] = key.split("-");
  const first = truth === said ? "the least sure first" : "the surest first";
  const all = count === indices.length ? several(count) : `${indices.length} of ${several(count)}`;
  document.getElementById("many").textContent = data.sure && count > 1 ? `${all}, ${first}` : all;
  document.getElementById("shown").replaceChildren(...indices.map((index) => figure(data.gallery.shown[index])));
  dialog.showModal();
  dialog.scrollTop = 0;
}

function sort(button) {
  const head = button.closest("th");
  const body = head.closest("table").tBodies[0];
  const column = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  const value = (row) => {
    const cell = row.cells[column];
    const number = cell.dataset.value ?? cell.textContent;
    return number === "" || Number.isNaN(Number(number)) ? number : Number(number);
  };
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const rows = [...body.rows].sort((a, b) => order(value(a), value(b)) * (up ? 1 : -1));
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...rows);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (event.target === dialog || button?.id === "close") dialog.close();
  else if (button?.dataset.cell) open(button.dataset.cell);
  else if (button?.classList.contains("sort")) sort(button);
});
