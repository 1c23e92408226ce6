// Charts by Vega-Lite, in the colours of the page; each is kept in isogru.charts under its name, data and all.

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function themed(specification, columns) {
  const axis = { labelColor: colour("soft"), titleColor: colour("soft"), gridColor: colour("line"), domainColor: colour("line"), tickColor: colour("line"), gridOpacity: 0.6 };
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    width: "container",
    background: null,
    autosize: { type: "fit-x", contains: "padding" },
    config: {
      font: "system-ui, sans-serif",
      view: { stroke: colour("line") },
      axis,
      legend: { labelColor: colour("text"), titleColor: colour("soft"), orient: "bottom", columns, labelLimit: 320, symbolType: "stroke", symbolSize: 300, symbolStrokeWidth: 2 },
      title: { color: colour("text") },
      rule: { color: colour("soft") },
    },
    ...specification,
  };
}

// Only the chart that was asked for last may land in its place.
const turns = {};
// What stands there already stays: a choice elsewhere on the page must not make it flicker.
const asked = {};

async function draw(name, place, description, specification) {
  const wanted = themed({ description, ...specification }, place.clientWidth < 360 ? 1 : 2);
  const text = JSON.stringify(wanted);
  if (asked[name] === text) return;
  asked[name] = text;
  const turn = (turns[name] = (turns[name] ?? 0) + 1);
  const target = element("div", { class: "chart" });
  place.replaceChildren(target);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const made = await vegaEmbed(target, wanted, {
    actions: false, ast: true, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" },
  });
  if (turn !== turns[name]) return made.finalize();
  isogru.charts[name]?.finalize();
  isogru.charts[name] = made;
}

function forget(name, place) {
  delete asked[name];
  turns[name] = (turns[name] ?? 0) + 1;
  isogru.charts[name]?.finalize();
  delete isogru.charts[name];
  place.replaceChildren();
}

// A log axis has no zero and no infinity: such values are drawn at its ends, and told as they are when pointed at.
function drawable(points) {
  const there = points.map((p) => p.value).filter((v) => v !== null && v > 0);
  const low = Math.min(...there, 1) / 3;
  const high = Math.max(...there, low) * 3;
  return points.map((p) => ({ ...p, shown: p.value === null ? high : p.value === 0 ? low : p.value, said: scientific(p.value) }));
}

function lines(points, { x, y, series, colours, dashes = null, rule = null, height = 240, yType = "log" }) {
  const domain = Object.keys(colours);
  const encoding = {
    x: { field: "x", type: "quantitative", title: x, axis: { tickMinStep: 1, format: "d" }, scale: { nice: false } },
    y: { field: "shown", type: "quantitative", title: y, scale: yType === "log" ? { type: "log" } : { zero: false }, axis: yType === "log" ? { format: ".0e", tickCount: 6 } : {} },
    color: { field: "series", type: "nominal", title: null, scale: { domain, range: Object.values(colours).map(colour) } },
    tooltip: [{ field: "series", title: series }, { field: "x", title: x }, { field: "said", title: y }],
  };
  if (dashes) encoding.strokeDash = { field: "series", type: "nominal", title: null, scale: { domain, range: domain.map((d) => dashes[d] ?? [1, 0]) } };
  const layer = [{ mark: { type: "line", point: points.length < 120 ? { size: 24, strokeDash: [1, 0] } : false, strokeWidth: 1.6 }, encoding }];
  if (rule !== null) layer.push({ mark: { type: "rule", strokeDash: [4, 3], aria: false }, data: { values: [{ at: rule }] }, encoding: { y: { datum: rule, type: "quantitative" } } });
  return { height, data: { values: yType === "log" ? drawable(points) : points.map((p) => ({ ...p, shown: p.value, said: p.value === null ? "∞" : p.value.toPrecision(6) })) }, layer };
}

function heat(record) {
  const [rows, columns] = record.axes;
  const values = record.ratio.flatMap((row, i) => row.map((value, j) => ({ row: i * record.blocks[0], column: j * record.blocks[1], value })));
  const blocks = record.blocks.some((b) => b > 1) ? ` (blocks of ${record.blocks.join(" by ")}, the largest in each)` : "";
  return {
    height: Math.max(60, Math.min(260, record.ratio.length * 18)),
    data: { values: drawable(values).map((v) => ({ ...v, shown: Math.min(Math.max(v.shown, 1e-3), 1e3) })) },
    mark: { type: "rect", stroke: null },
    encoding: {
      x: { field: "column", type: "ordinal", title: columns + blocks, axis: { labelOverlap: true, labelAngle: 0 } },
      y: { field: "row", type: "ordinal", title: rows, axis: { labelOverlap: true } },
      color: {
        field: "shown", type: "quantitative", title: "error / bound",
        // One hue inside the bound, others outside: the jump at 1 is the verdict.
        scale: { type: "log", domain: [1e-3, 1, 1.001, 30, 1e3], range: [colour("back"), colour("one"), colour("doubt"), colour("bad"), colour("bad")], interpolate: "rgb", clamp: true },
        legend: { orient: "bottom", gradientLength: 160, values: [0.001, 0.1, 1, 30, 1000], format: "~g", titleOrient: "left" },
      },
      tooltip: [{ field: "row", title: rows }, { field: "column", title: columns }, { field: "said", title: "error / bound" }],
    },
  };
}
