// The referee scored: what one tolerance for all would do, beside the derived bounds.

const SHARES = {
  killed: ["killed, all cases together", "one", [1, 0]],
  killed_by_one: ["killed, one case", "four", [6, 3]],
  rejected: ["right results rejected", "bad", [2, 2]],
};

function tolerances(curve) {
  const values = curve.points.flatMap((point) => Object.entries(SHARES).map(([key, [series]]) => ({
    series, t: point.tolerance, share: point[key], said: `${(100 * point[key]).toFixed(1)} %`, at: scientific(point.tolerance),
  })));
  const of = Object.values(SHARES);
  const scale = { domain: of.map(([series]) => series), range: of.map(([, name]) => colour(name)) };
  const x = { field: "t", type: "quantitative", title: "tolerance t", scale: { type: "log", domain: [1e-12, 1], nice: false }, axis: { format: ".0e", values: [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1] } };
  const [least, most] = curve.bounds;
  return {
    height: 260,
    layer: [
      {
        data: { values: [{ least, most }] },
        mark: { type: "rect", color: colour("equal"), opacity: 0.18, aria: false },
        encoding: { x: { ...x, field: "least" }, x2: { field: "most" } },
      },
      {
        data: { values: [{ at: Math.sqrt(least * most) }] },
        mark: { type: "text", text: "derived bounds", baseline: "bottom", dy: -4, color: colour("equal"), fontSize: 11 },
        encoding: { x: { ...x, field: "at" }, y: { datum: 0, type: "quantitative" } },
      },
      {
        data: { values },
        mark: { type: "line", strokeWidth: 1.8 },
        encoding: {
          x,
          y: { field: "share", type: "quantitative", title: "share", scale: { domain: [0, 1] }, axis: { format: "%", tickCount: 5 } },
          color: { field: "series", type: "nominal", title: null, scale },
          strokeDash: { field: "series", type: "nominal", title: null, scale: { domain: scale.domain, range: of.map(([, , dash]) => dash) } },
          tooltip: [{ field: "series", title: "what" }, { field: "at", title: "tolerance t" }, { field: "said", title: "share" }],
        },
      },
    ],
  };
}

function showTolerances() {
  for (const curve of isogru.report.curves) {
    const said = `Share of mutants of ${curve.cell} that are killed, and of right results that are rejected, against tolerance`;
    draw(`curve-${curve.cell}`, document.getElementById(`chart-curve-${curve.cell}`), said, tolerances(curve));
  }
}

parts.push(showTolerances);
