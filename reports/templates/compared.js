// Exercises 3 and 4: how far back gradients reach, and what each half of a GRU recalls.

const CELL_COLOURS = { gru: "one", gru_reset_after: "one", gru_reset_only: "two", gru_update_only: "three", rnn: "four" };

function drawWaning(waning) {
  const place = document.getElementById("chart-waning");
  if (!place) return;
  const framework = waning[0].framework;
  const some = waning.filter((w) => w.framework === framework);
  const rates = [...new Set(some.map((w) => w.lr))];
  const shades = ["one", "two", "three", "four", "grey"];
  const points = [];
  const colours = {};
  const dashes = {};
  some.forEach((w, i) => {
    for (const [when, dash] of [["end", [1, 0]], ["start", [4, 3]]]) {
      const name = `${w.cell}${rates.length > 1 ? `, lr ${w.lr}` : ""}${when === "start" ? ", before" : ""}`;
      colours[name] = shades[i % shades.length];
      dashes[name] = dash;
      w[when].forEach((value, t) => points.push({ series: name, x: w[when].length - 1 - t, value }));
    }
  });
  draw("waning", place, "Norm of the gradient of a state against steps back", lines(points, { x: "steps back", y: "norm, relative", series: "cell", colours, dashes }));
}

function drawRecall(tasks) {
  const place = document.getElementById("chart-recall");
  if (!place) return;
  const values = tasks.filter((t) => t.delay !== null).flatMap((t) => t.rows.filter((r) => r.recalled).map((r) => ({
    framework: t.framework, delay: t.delay, cell: r.cell, mean: r.recalled[0], low: r.recalled[1], high: r.recalled[2], lr: r.lr,
  })));
  const cells = [...new Set(values.map((v) => v.cell))];
  const several = new Set(values.map((v) => v.framework)).size > 1;
  const color = { field: "cell", type: "nominal", title: null, scale: { domain: cells, range: cells.map((c) => colour(CELL_COLOURS[c])) } };
  const x = { field: "delay", type: "quantitative", title: "delay", scale: { type: "log", nice: false, padding: 30 }, axis: { values: [...new Set(values.map((v) => v.delay))], format: "d" } };
  const detail = several ? { field: "framework", type: "nominal" } : undefined;
  const tooltip = ["framework", "cell", "delay", "lr", "mean", "low", "high"].map((field) => ({ field, format: typeof values[0]?.[field] === "number" ? ".3~g" : undefined }));
  draw("recall", place, "Share recalled against delay", {
    height: 260, data: { values },
    layer: [
      { mark: { type: "line", point: true, clip: true }, encoding: { x, y: { field: "mean", type: "quantitative", title: "recalled", scale: { domain: [0, 1] } }, color, detail, tooltip } },
      { mark: { type: "rule", strokeDash: [4, 3], color: colour("soft"), aria: false }, data: { values: [{ guessed: 1 / 8 }] }, encoding: { y: { field: "guessed", type: "quantitative" } } },
      { transform: [{ filter: "isValid(datum.low)" }], mark: { type: "errorbar", clip: true }, encoding: { x, y: { field: "low", type: "quantitative", title: "recalled", scale: { domain: [0, 1] } }, y2: { field: "high" }, color, detail } },
    ],
  });
}

parts.push(() => {
  const { compare, halves } = isogru.report;
  if (compare.waning.length) drawWaning(compare.waning);
  if (halves.tasks.length) drawRecall(halves.tasks);
});
