// Who is fastest: the ranking of one workload, its chart, and what a time step takes as sizes grow.

const SHAPES = { scratch: "circle", compiled: "square", "compiled-xla": "cross", native: "triangle-up", tuned: "diamond", parallel: "triangle-down", "chapter-scratch": "triangle-right", "chapter-concise": "triangle-left" };
const DASHES = { ...STYLES, "compiled-xla": [10, 2, 3, 2] };
const SIZES = { T: "time steps T", n: "sequences n", h: "units h" };
const named = (row) => `${row.framework}/${row.implementation}`;
const isRanked = (row) => row.status === "equal";

// What a column is sorted by, what it says, and why that is a dash; a missing value comes last, whichever way.
const RACE = {
  rank: [(row) => row.rank, standings.rank],
  label: [named, named],
  seconds: [(row) => row.seconds, (row) => standings.duration(row.seconds)],
  ratio: [(row) => row.ratio, standings.interval],
  said: [(row) => row.ratio, (row) => row.said],
  percent: [(row) => row.percent, (row) => standings.percent(row.percent)],
  held_back_by: [(row) => row.held_back_by, standings.held_back],
  error: [(row) => row.error, (row) => standings.error(row.error)],
  memory: [(row) => row.memory, (row) => standings.megabytes(row.memory)],
  first: [(row) => row.first, (row) => standings.duration(row.first)],
  break_even: [(row) => (standings.break_even(row) === NOTHING ? null : row.break_even ?? Infinity), standings.break_even, (row) => row.uncounted],
};

function raced() {
  const { tables } = isogru.report.leaderboard;
  const asked = state.read();
  const pick = (name, options) => (options.includes(asked.get(name)) ? asked.get(name) : options[0]);
  const distinct = (list, key) => [...new Set(list.map((one) => one[key]))];
  const titles = distinct(tables, "title");
  const title = pick("race", titles);
  const cells = distinct(tables.filter((t) => t.title === title), "cell");
  const cell = pick("race-cell", cells);
  const dtypes = distinct(tables.filter((t) => t.title === title && t.cell === cell), "dtype");
  const dtype = pick("race-dtype", dtypes);
  for (const [name, options, chosen] of [["race", titles, title], ["race-cell", cells, cell], ["race-dtype", dtypes, dtype]]) {
    choose(document.getElementById(name), options.map((o) => [o, o]), chosen);
  }
  return tables.find((t) => t.title === title && t.cell === cell && t.dtype === dtype);
}

// A choice elsewhere on the page leaves the table alone, and what is marked in it.
let standing = null;

function showRace() {
  if (!isogru.report.leaderboard?.tables.length) return;
  document.getElementById("race-choices").hidden = false;
  const chosen = raced();
  const ranked = chosen.rows.filter(isRanked);
  const now = [chosen.workload, ...sorting()].join(" ");
  if (now !== standing) rank(chosen, ranked);
  standing = now;
  document.getElementById("race-chart-place").hidden = !ranked.length;
  if (ranked.length) drawRace(chosen, ranked);
  else forget("race", document.getElementById("chart-race"));
  showSeries(chosen);
}

function rank(chosen, ranked) {
  document.getElementById("race-title").textContent = `${chosen.title} · ${chosen.cell} · ${chosen.dtype}`;
  document.getElementById("race-bound").textContent = boundSaid(chosen);
  document.getElementById("race-table").hidden = !ranked.length;
  document.querySelector(".race tbody").replaceChildren(...sorted(ranked).map(raceRow));
  document.getElementById("race-unranked").replaceChildren(...chosen.rows.filter((row) => !isRanked(row)).map((row) =>
    element("li", {}, `not ranked: ${named(row)}: `, verdict(row.status), `: ${row.why}`)));
  document.querySelector("#race-again ul").replaceChildren(...chosen.rows.map((row) =>
    element("li", {}, `${named(row)}: `, element("code", {}, row.command))));
}

function boundSaid({ size, bound, dtype }) {
  const sizes = `T=${size.T}, n=${size.n}, d=${size.d}, h=${size.h}.`;
  if (bound === null) return `${sizes} There is no bound: what the machine can do in ${dtype} was not measured.`;
  const words = JSON.parse(document.getElementById("race-bounds").textContent);
  const parts = words.map(([name, meaning]) => `${name} ${bound[name] ? standings.duration(bound[name]) : "0"} (${meaning})`);
  return `${sizes} A call takes at least ${standings.duration(bound.seconds)} on this machine, the bound: ${parts.join(", ")}.`;
}

function sorting() {
  const asked = state.read().get("race-sort") ?? "";
  const column = asked.replace(/^-/, "");
  return Object.hasOwn(RACE, column) ? [column, asked.startsWith("-")] : ["rank", false];
}

function sorted(rows) {
  const [column, down] = sorting();
  for (const heading of document.querySelectorAll(".race thead th")) {
    if (heading.dataset.column === column) heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
  const [value] = RACE[column];
  const order = (a, b) => {
    if (value(a) === null || value(b) === null) return (value(a) === null) - (value(b) === null);
    return (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (down ? -1 : 1);
  };
  return [...rows].sort(order);
}

function raceRow(row) {
  const headings = [...document.querySelectorAll(".race thead th")];
  return element("tr", {}, ...headings.map((heading) => {
    const [, said, why] = RACE[heading.dataset.column];
    if (heading.dataset.column === "label") return element("th", { scope: "row" }, said(row));
    const title = why?.(row);
    return element("td", { ...(heading.classList.contains("number") && { class: "number" }), ...(title && { title }) }, said(row));
  }));
}

// Frameworks by colour, as in the trainings; implementations by shape and dash.
function looks(rows) {
  const known = isogru.report.frameworks.map((f) => f.name);
  const frameworks = [...new Set(rows.map((row) => row.framework))].sort((a, b) => known.indexOf(a) - known.indexOf(b));
  // Known ones in their order, others after them.
  const order = Object.keys(SHAPES);
  const place = (way) => (order.includes(way) ? order.indexOf(way) : order.length);
  const ways = [...new Set(rows.map((row) => row.implementation))].sort((a, b) => place(a) - place(b));
  const lane = Object.fromEntries(rows.map((row) => [row.implementation, row.lane]));
  return {
    frameworks, ways,
    colours: frameworks.map(colourOf),
    shapes: ways.map((way) => SHAPES[way] ?? SHAPES[lane[way]] ?? "circle"),
    dashes: ways.map((way) => DASHES[way] ?? DASHES[lane[way]] ?? [1, 0]),
  };
}

function scales({ frameworks, ways, colours, shapes }) {
  return {
    color: { field: "framework", type: "nominal", legend: null, scale: { domain: frameworks, range: colours.map(colour) } },
    shape: { field: "implementation", type: "nominal", legend: null, scale: { domain: ways, range: shapes } },
  };
}

// Time as the axes of Vega say it.
const AXIS_TIME = "datum.value >= 0.999 ? format(datum.value, '~r') + ' s' : datum.value >= 0.999e-3 ? format(datum.value * 1e3, '~r') + ' ms' : " +
  "datum.value >= 0.999e-6 ? format(datum.value * 1e6, '~r') + ' µs' : format(datum.value * 1e9, '~r') + ' ns'";

function ticks(low, high, steps) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    found.push(...steps.map((step) => Number(`${step}e${power}`)).filter((v) => v >= low && v <= high));
  }
  return found;
}

const told = (fields) => Object.entries(fields).map(([field, title]) => ({ field, title }));

function drawRace(chosen, ranked) {
  const { bound } = chosen;
  const each = ranked.flatMap((row) => Object.entries(row.passes).map(([pass, at]) => ({
    row: named(row), framework: row.framework, pass, at, said: standings.duration(at),
  })));
  const values = ranked.map((row) => ({
    row: named(row), framework: row.framework, implementation: row.implementation, at: row.seconds,
    last: Math.max(...Object.values(row.passes)), said: standings.duration(row.seconds), ratio: standings.interval(row),
    percent: standings.percent(row.percent), why: standings.held_back(row),
  }));
  const all = [...each, ...values].map((v) => v.at).concat(bound ? [bound.seconds] : []);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  // On the right there is room for the slowest one's percent.
  const [low, high] = [least / 1.25, most * Math.max(1.6, (most / least) ** 0.2)];
  const steps = high / low > 300 ? [1] : high / low > 30 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
  const bare = { field: "at", type: "quantitative", scale: { type: "log", domain: [low, high], nice: false }, axis: null };
  const x = { ...bare, title: "time of a call", axis: { values: ticks(low, high, steps), labelExpr: AXIS_TIME, labelOverlap: true } };
  const y = { field: "row", type: "nominal", sort: values.map((v) => v.row), title: null, axis: { labelLimit: 170, grid: true } };
  const { color, shape } = scales(looks(ranked));
  const tooltip = told({ row: "implementation", said: "time", ratio: "× the fastest", percent: "of the bound", why: "held back by" });
  const layer = [{
    data: { values: each }, mark: { type: "tick", opacity: 0.45, thickness: 1.5, size: 12 },
    encoding: { x, y, color, tooltip: told({ row: "implementation", pass: "start", said: "time" }) },
  }, {
    data: { values }, mark: { type: "point", filled: true, size: 90, opacity: 1 },
    encoding: { x: bare, y, color, shape, tooltip },
  }];
  // The percent of the bound is another reading of the same axis: the bound over the time.
  if (bound) {
    const share = (at) => (100 * bound.seconds) / at;
    const axis = {
      orient: "top", grid: false, values: ticks(share(high), share(low), [1, 2, 5]).map(share),
      labelExpr: `format(${100 * bound.seconds} / datum.value, '~r') + '%'`, labelOverlap: true,
    };
    layer.push({
      data: { values: [{ at: bound.seconds }] }, mark: { type: "rule", strokeDash: [4, 3], aria: false },
      encoding: { x: { ...bare, title: "of the bound", axis } },
    }, {
      data: { values }, mark: { type: "text", align: "left", dx: 9, color: colour("text"), fontSize: 11 },
      encoding: { x: { ...bare, field: "last" }, y, text: { field: "percent" } },
    });
  }
  document.getElementById("race-caption").textContent = "Time of a call, on a logarithmic axis" +
    (bound ? ", and above it the percent of the bound that this is. Dashed: the bound. " : ". ") + "Faint: each start.";
  draw("race", document.getElementById("chart-race"), `Time of a call${bound ? " and percent of the bound" : ""}, ${chosen.workload}`,
    { height: Math.max(60, 22 * ranked.length), layer, resolve: { axis: { x: "independent" } } });
}

// All that is known of the chosen cell, in the chosen precision where there are series of it.
function showSeries(chosen) {
  const tables = isogru.report.leaderboard.tables.filter((t) => t.cell === chosen.cell && t.rows.some(isRanked));
  const series = (dtype) => Object.keys(SIZES).map((symbol) => [symbol, tables
    .filter((t) => t.dtype === dtype && t.series.includes(symbol)).sort((a, b) => a.size[symbol] - b.size[symbol])]);
  const dtype = [chosen.dtype, ...tables.map((t) => t.dtype)].find((d) => series(d).some(([, points]) => points.length > 1));
  const shown = series(dtype).flatMap(([, points]) => (points.length > 1 ? points : []));
  const look = looks(shown.flatMap((t) => t.rows.filter(isRanked)));
  document.getElementById("race-series").hidden = !shown.length;
  for (const [symbol, points] of series(dtype)) {
    const place = document.getElementById(`chart-series-${symbol}`);
    place.parentElement.hidden = points.length < 2;
    if (points.length < 2) forget(`series-${symbol}`, place);
    else drawSeries(symbol, points, place, look);
  }
  if (!shown.length) return;
  const { kind, cell, size } = shown.find((t) => t.series.length > 1) ?? shown[0];
  document.getElementById("race-series-of").textContent = `Timed: ${kind} of ${cell} in ${dtype}, one size varied at a time around ` +
    `T=${size.T}, n=${size.n}, d=${size.d}, h=${size.h}: the time of a call, divided by its time steps.`;
  document.getElementById("race-key").replaceChildren(
    ...look.frameworks.map((name, i) => keyed(name, look.colours[i], null, null)),
    ...look.ways.map((way, i) => keyed(way, "soft", look.shapes[i], look.dashes[i])));
}

function drawSeries(symbol, tables, place, look) {
  const values = tables.flatMap((t) => t.rows.filter(isRanked).map((row) => ({
    series: named(row), framework: row.framework, implementation: row.implementation, x: t.size[symbol],
    value: (row.seconds / t.size.T) * 1e6, said: standings.duration(row.seconds / t.size.T), percent: standings.percent(row.percent),
  })));
  const sizes = tables.map((t) => t.size[symbol]);
  const all = values.map((v) => v.value);
  const range = [Math.min(...all) / 1.3, Math.max(...all) * 1.3];
  const log = (domain) => ({ type: "log", domain, nice: false });
  const x = {
    field: "x", type: "quantitative", title: SIZES[symbol], scale: log([sizes[0] / 1.2, sizes.at(-1) * 1.2]),
    axis: { values: sizes, format: "d" },
  };
  const y = {
    field: "value", type: "quantitative", title: "µs per time step", scale: log(range),
    axis: { values: ticks(...range, range[1] / range[0] > 1e3 ? [1] : [1, 2, 5]), format: "~r" },
  };
  const { color, shape } = scales(look);
  const strokeDash = { field: "implementation", type: "nominal", legend: null, scale: { domain: look.ways, range: look.dashes } };
  const detail = { field: "series", type: "nominal" };
  const tooltip = told({ series: "implementation", x: SIZES[symbol], said: "per time step", percent: "of the bound" });
  const { kind, cell, dtype } = tables[0];
  draw(`series-${symbol}`, place, `Microseconds per time step against ${SIZES[symbol]}, ${kind} of ${cell} in ${dtype}`, {
    height: 300, data: { values },
    layer: [
      { mark: { type: "line", strokeWidth: 1.4 }, encoding: { x, y, color, strokeDash, detail } },
      { mark: { type: "point", filled: true, size: 50, opacity: 1 }, encoding: { x, y, color, shape, detail, tooltip } },
    ],
  });
}

// One key for all charts: a legend in each would be as large as the chart.
const OUTLINES = {
  circle: "M26 8a4 4 0 1 0 8 0a4 4 0 1 0-8 0", square: "M26 4h8v8h-8z", "triangle-up": "M30 3.5l5 9h-10z",
  cross: "M28.5 3h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z", diamond: "M30 2.5l4 5.5l-4 5.5l-4-5.5z",
};

function keyed(text, name, shape, dash) {
  const drawn = (tag, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    made.append(...children);
    return made;
  };
  const line = { d: "M0 8h60", stroke: `var(--${name})`, "stroke-width": shape ? 2 : 6, "stroke-dasharray": dash ? dash.join(" ") : "none" };
  const symbol = shape ? [drawn("path", { d: OUTLINES[shape], fill: `var(--${name})` })] : [];
  return element("li", {}, drawn("svg", { width: 60, height: 16, "aria-hidden": "true" }, drawn("path", line), ...symbol), ` ${text}`);
}

addEventListener("DOMContentLoaded", () => {
  for (const heading of document.querySelectorAll(".race thead th")) {
    const button = element("button", { type: "button", class: "sort" }, heading.textContent);
    button.addEventListener("click", () => {
      const [column, down] = sorting();
      const name = heading.dataset.column;
      state.write({ "race-sort": name === column && !down ? `-${name}` : name === "rank" ? null : name });
    });
    heading.replaceChildren(button);
  }
  for (const heading of document.querySelectorAll("#race-glance tbody th")) {
    const { race, cell, dtype } = heading.dataset;
    const button = element("button", { type: "button" }, heading.textContent);
    button.addEventListener("click", () => {
      state.write({ race, "race-cell": cell, "race-dtype": dtype });
      document.getElementById("race-title").scrollIntoView();
    });
    heading.replaceChildren(button);
  }
  for (const select of document.querySelectorAll("#race-choices select")) {
    select.addEventListener("change", () => state.write({ [select.id]: select.value }));
  }
});

parts.push(showRace);
