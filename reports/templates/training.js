// Trainings: every run's loss on one set of axes, and below it how far each is from the oracle, in either precision.

const STYLES = { scratch: [1, 0], compiled: [6, 3], native: [2, 2], tuned: [8, 2, 2, 2], parallel: [1, 2], chapter: [3, 3] };

function showTraining() {
  const all = isogru.report.training;
  if (!all.length) return;
  const names = [...new Set(all.map((t) => t.case))];
  const asked = state.read().get("training");
  const name = names.includes(asked) ? asked : names.find((n) => n.startsWith("full-")) ?? names[0];
  choose(document.getElementById("training"), names.map((n) => [n, n]), name);
  for (const block of document.querySelectorAll("[data-training]")) block.hidden = block.dataset.training !== name;
  const chosen = all.filter((t) => t.case === name);
  drawLoss(chosen);
  for (const dtype of ["float64", "float32"]) drawDistance(dtype, chosen.find((t) => t.dtype === dtype));
}

function palette(trainings) {
  const colours = {}, dashes = {};
  for (const training of trainings) {
    for (const run of training.runs) {
      colours[run.label] = colourOf(run.framework);
      dashes[run.label] = STYLES[run.lane] ?? [1, 0];
    }
  }
  return { colours, dashes };
}

function drawLoss(trainings) {
  const { colours, dashes } = palette(trainings);
  // Drawn in float64 where there is one: on these axes the precisions cannot be told apart.
  const training = trainings.find((t) => t.dtype === "float64") ?? trainings[0];
  const points = training.runs.flatMap((run) => run.loss.map((value, i) => ({ series: run.label, x: i + 1, value })));
  points.push(...training.oracle.loss.map((value, i) => ({ series: "oracle", x: i + 1, value })));
  draw("loss", document.getElementById("chart-loss"), `Loss against training step, ${training.case}, ${training.dtype}`,
    lines(points, { x: "training step", y: `loss (${training.dtype})`, series: "run", yType: "linear", colours: { ...colours, oracle: "grey" }, dashes: { ...dashes, oracle: [1, 3] } }));
}

function drawDistance(dtype, training) {
  const place = document.getElementById(`chart-distance-${dtype}`);
  if (!training) {
    forget(`distance-${dtype}`, place);
    return;
  }
  const { colours, dashes } = palette([training]);
  const envelope = `${isogru.report.rule.twin_multiple} × the twins`;
  const points = training.runs.flatMap((run) => run.distance.map((value, i) => ({ series: run.label, x: i + 1, value })));
  points.push(...training.oracle.envelope.map((value, i) => ({ series: envelope, x: i + 1, value })));
  draw(`distance-${dtype}`, place, `Distance of the loss from the float64 oracle, ${training.case}, ${dtype}`,
    lines(points, { x: "training step", y: `distance from the oracle (${dtype})`, series: "run", colours: { ...colours, [envelope]: "grey" }, dashes: { ...dashes, [envelope]: [8, 4] } }));
}

addEventListener("DOMContentLoaded", () => {
  document.getElementById("training").addEventListener("change", (event) => state.write({ training: event.target.value }));
});

parts.push(showTraining);
