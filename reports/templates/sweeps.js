// Sweeps: perplexity over sizes and rates, by epoch, and what a step costs.

function showSweeps() {
  const { sweeps, laws } = isogru.report.sweeps;
  if (!sweeps.length) return;
  const asked = state.read();
  const sweep = sweeps.find((s) => s.name === asked.get("sweep")) ?? sweeps.find((s) => s.trials.length) ?? sweeps[0];
  const cells = [...new Set(sweep.trials.map((t) => t.cell))];
  const cell = cells.find((c) => c === asked.get("sweep-cell")) ?? cells[0];
  choose(document.getElementById("sweep"), sweeps.map((s) => [s.name, s.name]), sweep.name);
  choose(document.getElementById("sweep-cell"), cells.map((c) => [c, c]), cell);
  const trials = sweep.trials.filter((t) => t.cell === cell);
  drawSweepHeat(trials);
  drawSweepCurves(sweep.best.filter((t) => t.cell === cell), sweep.settings);
  drawSweepCost(laws.find((l) => trials.some((t) => ["framework", "implementation", "cell", "dtype", "device", "threads"].every((name) => t[name] === l[name]))));
}

function drawSweepHeat(trials) {
  // Starts and settings that have no axis share a place.
  const places = new Map();
  for (const t of trials) {
    const place = [t.num_steps, t.num_hiddens, t.lr].join();
    places.set(place, [...(places.get(place) ?? []), t]);
  }
  const values = [...places.values()].map((some) => {
    const ends = some.filter((t) => t.status === "finished").map((t) => t.val);
    const [{ num_steps, num_hiddens, lr }] = some;
    return {
      num_steps, num_hiddens, rate: `lr ${lr}`,
      trials: some.length, whole: ends.length === some.length,
      said: some.map((t) => (t.status === "finished" ? digits(t.val, 4) : t.why)).join(", "),
      shown: ends.length ? Math.exp(ends.reduce((sum, val) => sum + Math.log(val), 0) / ends.length) : null,
      text: some.find((t) => t.text)?.text ?? "",
    };
  });
  const shown = values.map((v) => v.shown).filter((v) => v !== null);
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const rates = [...new Set(trials.map((t) => t.lr))].sort((a, b) => a - b);
  const of = (name) => ({ field: name, type: "ordinal", title: name });
  const layer = [
    { mark: { type: "rect", aria: false }, encoding: { color: { field: "shown", type: "quantitative", title: "validation perplexity", scale: { type: "log", domain: [low, high], range: [colour("one"), colour("back")], interpolate: "rgb" }, legend: { orient: "bottom", gradientLength: 160, titleOrient: "left", format: ".3~g" } }, tooltip: [{ field: "num_steps" }, { field: "num_hiddens" }, { field: "rate", title: "rate" }, { field: "said", title: "validation perplexity" }, { field: "text" }] } },
    { transform: [{ filter: "!datum.whole" }], mark: { type: "text", text: "✗", aria: false }, encoding: { color: { value: colour("bad") } } },
  ];
  const place = document.getElementById("chart-sweep-heat");
  const columns = place.clientWidth < 400 ? 1 : 2;
  const size = { height: 110, width: Math.min(150, Math.floor(place.clientWidth / columns) - 60) };
  draw("sweep-heat", place, "Validation perplexity over num_steps and num_hiddens, for each learning rate", {
    data: { values }, columns, autosize: { type: "pad" }, width: null,
    facet: { field: "rate", type: "nominal", sort: rates.map((r) => `lr ${r}`), title: null, header: { labelColor: colour("text") } },
    spec: { ...size, encoding: { x: of("num_steps"), y: { ...of("num_hiddens"), sort: "descending" } }, layer },
  });
}

function drawSweepCurves(best, settings) {
  const shades = ["one", "two", "three", "four", "grey"];
  const more = [...settings.filter((name) => !["num_steps", "num_hiddens", "lr"].includes(name)), "seed"].filter((name) => new Set(best.map((t) => t[name])).size > 1);
  const named = best.map((t) => [`T ${t.num_steps}, h ${t.num_hiddens}, lr ${t.lr}`, ...more.map((name) => `${name} ${t[name]}`)].join(", "));
  const points = best.flatMap((t, i) => t.curves.val.map((value, e) => ({ series: named[i], x: e + 1, value }))).filter((p) => p.value <= 30);
  const colours = Object.fromEntries(named.map((name, i) => [name, shades[i % shades.length]]));
  const dashes = Object.fromEntries(named.map((name, i) => [name, i < shades.length ? [1, 0] : [4, 3]]));
  draw("sweep-curves", document.getElementById("chart-sweep-curves"), "Validation perplexity by epoch of the best trials",
    lines(points, { x: "epoch", y: "validation perplexity", series: "trial", colours, dashes, yType: "linear" }));
}

function drawSweepCost(law) {
  const place = document.getElementById("chart-sweep-cost");
  if (!law) return forget("sweep-cost", place);
  const values = law.points.map((p) => ({ ...p, said: `${scientific(p.measured)} s, by the law ${scientific(p.fitted)} s` }));
  const axis = { type: "quantitative", scale: { type: "log" }, axis: { format: ".0e", tickCount: 5 } };
  const both = values.flatMap((p) => [p.measured, p.fitted]);
  draw("sweep-cost", place, "CPU time of a training step against the fitted law", {
    height: 240, data: { values },
    layer: [
      { mark: { type: "point", filled: true, size: 40 }, encoding: { x: { field: "fitted", title: "seconds by the law", ...axis }, y: { field: "measured", title: "seconds measured", ...axis }, color: { field: "num_hiddens", type: "ordinal", scale: { range: ["one", "three", "doubt", "two", "four"].map(colour) }, legend: { symbolType: "circle", symbolSize: 60 } }, tooltip: [{ field: "num_steps" }, { field: "num_hiddens" }, { field: "said", title: "a step" }] } },
      { mark: { type: "line", strokeDash: [4, 3], color: colour("soft") }, data: { values: [Math.min(...both), Math.max(...both)].map((v) => ({ v })) }, encoding: { x: { field: "v", ...axis }, y: { field: "v", ...axis } } },
    ],
  });
}

addEventListener("DOMContentLoaded", () => {
  for (const name of ["sweep", "sweep-cell"]) document.getElementById(name)?.addEventListener("change", (event) => state.write({ [name]: event.target.value }));
});

parts.push(showSweeps);
