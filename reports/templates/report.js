"use strict";
// Everything shown by scripts comes out of the report that the page carries, and goes in as text, never as HTML.

const isogru = { report: null, charts: {} };
window.isogru = isogru;

async function readReport() {
  const packed = Uint8Array.from(atob(document.getElementById("report").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  isogru.report = await new Response(stream).json();
}

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.includes("-") || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const MARKS = JSON.parse(document.getElementById("marks").textContent);

function verdict(status) {
  return element("span", { class: status }, element("span", { class: "mark", "aria-hidden": "true" }, MARKS[status]), status);
}

// Numbers as the rest of the page prints them; null stands for infinity.
const scientific = (x) => (x === null ? "∞" : x === 0 ? "0" : x.toExponential(1).replace(/([+-])(\d)$/, "$10$2"));
const digits = (x, n = 7) => (x === null ? "∞" : String(Number(x.toPrecision(n))));
const ratio = (x) => (x === null ? "∞" : x < 1000 ? String(Number(x.toPrecision(2))) : x.toExponential(1));
const place = (f) => f.quantity + (f.index.length ? `[${f.index.join(",")}]` : "");

function table(headings, rows) {
  const cell = (content) => {
    if (content instanceof HTMLTableCellElement) return content;
    const number = typeof content === "string" && /^[-\d∞.,e+ ]+$/.test(content);
    return element("td", number ? { class: "number" } : {}, content);
  };
  return element("div", { class: "scroll", tabIndex: 0 },
    element("table", {},
      element("thead", {}, element("tr", {}, ...headings.map((h) => element("th", { scope: "col" }, h)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell))))));
}

// In every chart a framework has the colour that the report gives it; one that the report does not list has none.
const colourOf = (framework) => isogru.report.frameworks.find((f) => f.name === framework)?.colour ?? "grey";

// What is chosen stands in the address, so that a link to it can be shared: #field=…&case=…&framework=torch,jax
const state = {
  read: () => new URLSearchParams(location.hash.slice(1)),
  write(changes) {
    const now = state.read();
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "") now.delete(name);
      else now.set(name, value);
    }
    const hash = "#" + now.toString();
    if (hash !== location.hash) location.hash = hash;
  },
};

function choose(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
}

// Called once with the report read, and again whenever the address changes.
const parts = [];

async function start() {
  try {
    await readReport();
  } catch (error) {
    document.getElementById("noscript").textContent =
      "This browser cannot unpack the report inside this page (it needs DecompressionStream). report.json beside it has everything.";
    document.getElementById("noscript").hidden = false;
    throw error;
  }
  const show = () => parts.forEach((part) => part());
  addEventListener("hashchange", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
  document.documentElement.dataset.ready = "true";
}

addEventListener("DOMContentLoaded", () => {
  for (const link of document.querySelectorAll("nav a")) {
    // Followed plainly it would put its own name in the address, in place of what is chosen.
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const part = document.querySelector(link.getAttribute("href"));
      part.tabIndex = -1;
      part.focus({ preventScroll: true });
      part.scrollIntoView();
    });
  }
});
addEventListener("DOMContentLoaded", start);
