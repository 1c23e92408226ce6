// Exercise 1: maps of influence, each state against each input up to it, and influence against distance.

function triangle(map, { t, k }) {
  const values = map.flatMap((row, i) => row.map((value, j) => ({ t: i + 1, k: j + 1, value, said: value === 0 ? "exactly 0" : digits(value, 4) })));
  const there = values.map((v) => v.value).filter((v) => v > 0);
  const [low, high] = [Math.min(...there), Math.max(...there)];
  const axis = (of) => ({ labelOverlap: true, labelAngle: 0, ...(of.letters ? { labelExpr: "letters[datum.value - 1]" } : {}) });
  return {
    ...(t.letters ? { params: [{ name: "letters", value: t.letters }] } : {}),
    height: Math.max(240, Math.min(340, map.length * 12)),
    data: { values },
    encoding: {
      x: { field: "k", type: "ordinal", title: k.title, axis: axis(k), scale: { paddingInner: 0.04 } },
      y: { field: "t", type: "ordinal", title: t.title, axis: axis(t), scale: { paddingInner: 0.04 } },
      tooltip: [{ field: "t", title: "state" }, { field: "k", title: "input" }, { field: "said", title: "influence" }],
    },
    layer: [
      {
        mark: { type: "rect", stroke: null },
        encoding: {
          color: {
            condition: { test: "datum.value === 0", value: colour("line") },
            field: "value", type: "quantitative", title: "influence",
            // From a third below the faintest, which would else have the colour of the page.
            scale: { type: "log", domain: [low / (high / low) ** 0.3, high], range: [colour("back"), colour("one")], interpolate: "rgb", clamp: true },
            legend: { orient: "bottom", gradientLength: 160, format: high / low > 100 ? ".0e" : ".2~g", tickCount: 3, titleOrient: "left" },
          },
        },
      },
      // Exactly nothing is never told by colour alone.
      { transform: [{ filter: "datum.value === 0" }], mark: { type: "text", text: "0", fontSize: 9, color: colour("text") } },
    ],
  };
}

const STEP = { t: { title: "state, time step" }, k: { title: "input, time step" } };

function showGates() {
  const gates = isogru.report.gates;
  draw("gates-forced", document.getElementById("chart-gates-forced"), `Influence of each input on each state, gates forced, t′ = ${gates.at}`, triangle(gates.map, STEP));
  showPolarity(gates);
  if (gates.memory.there) showMemory(gates);
}

function showPolarity(gates) {
  const all = gates.polarity.rows.map((row) => ({ ...row, name: `${row.at}-${row.after}`, text: `Z = ${row.at} at t′, Z = ${row.after} after it` }));
  const asked = state.read().get("gates");
  // Unless asked for, half of either answer.
  const shown = all.find((row) => row.name === asked) ?? all.find((row) => row.name === "1-1");
  choose(document.getElementById("gates-answer"), all.map((row) => [row.name, row.text]), shown.name);
  ["book", "turned"].forEach((way, i) => {
    const one = shown.cells[i];
    const said = `${shown.text}, update gate ${way === "book" ? "as in the book" : "turned round"}: ${one.wrong.length ? "wrong" : "works"}`;
    document.getElementById(`gates-${way}`).textContent = `${said}. R = 0 at t′ = ${gates.at}.`;
    draw(`gates-${way}`, document.getElementById(`chart-gates-${way}`), `Influence of each input on each state: ${said}`, triangle(one.map, STEP));
  });
}

function showMemory(gates) {
  const { memory } = gates;
  const letters = memory.text.map((letter) => (letter === " " ? "␣" : letter));
  draw("gates-trained", document.getElementById("chart-gates-trained"), `Influence of each character on each state, ${memory.label}`,
    triangle(memory.map, { t: { title: "state after", letters }, k: { title: "character read", letters } }));
  const names = { trained: "trained", moved: "trained, character replaced", start: "before training" };
  const points = Object.entries(names).flatMap(([key, series]) => memory.distance[key].map((value, x) => ({ series, x, value })));
  const own = gates.map.slice(gates.at - 1).map((row) => row[gates.at - 1]);
  points.push(...own.map((value, x) => ({ series: "forced gates", x, value: value / own[0] })));
  draw("gates-distance", document.getElementById("chart-gates-distance"), "Influence against distance",
    lines(points, { x: "characters ago", y: "influence, share", series: "weights", colours: { trained: "one", "trained, character replaced": "four", "before training": "two", "forced gates": "three" }, dashes: { "trained, character replaced": [6, 3], "before training": [2, 2] }, height: 340 }));
}

addEventListener("DOMContentLoaded", () => {
  document.getElementById("gates-answer").addEventListener("change", (event) => state.write({ gates: event.target.value }));
});

parts.push(showGates);
