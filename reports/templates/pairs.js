// Implementation against implementation: a matrix for one cell, precision and quantity.

const KINDS = { absolute: "max absolute difference", relative: "max relative difference", ulp: "max difference in ULPs" };

function showPairs() {
  const all = isogru.report.pairs;
  const chosen = state.read();
  const pick = (name, options, prefer) => {
    const asked = chosen.get(name);
    return options.includes(asked) ? asked : options.includes(prefer) ? prefer : options[0];
  };
  const place = document.getElementById("pairs-table");
  const cells = [...new Set(all.map((p) => p.cell))];
  if (!cells.length) return;
  const cell = pick("pair-cell", cells, "gru_reset_after");
  const dtypes = all.filter((p) => p.cell === cell).map((p) => p.dtype);
  const dtype = pick("pair-dtype", dtypes, "float32");
  const record = all.find((p) => p.cell === cell && p.dtype === dtype);
  const quantities = record.quantities.map((q) => q.quantity);
  const quantity = pick("pair-quantity", quantities, "H");
  const kind = pick("pair-kind", Object.keys(KINDS), "absolute");
  const same = (options) => options.map((o) => [o, o]);
  choose(document.getElementById("pair-cell"), same(cells), cell);
  choose(document.getElementById("pair-dtype"), same(dtypes), dtype);
  choose(document.getElementById("pair-quantity"), same(quantities), quantity);
  choose(document.getElementById("pair-kind"), Object.entries(KINDS), kind);

  const measured = record.quantities.find((q) => q.quantity === quantity);
  if (!measured) {
    place.replaceChildren(element("p", {}, "Only one implementation is present: there is nothing to compare it with."));
    return;
  }
  const number = (v) => (v === "none" ? "" : kind === "ulp" ? ratio(v) : scientific(v));
  const rows = record.labels.map((label, i) => [element("th", { scope: "row" }, label), ...record.labels.map((_, j) => (i === j ? "" : number(measured[kind][Math.max(i, j)][Math.min(i, j)])))]);
  const worst = measured.worst;
  const these = record.left_out ? " of these" : "";
  const bits = record.same_bits.map((members) => members.join(" = "));
  place.replaceChildren(
    element("p", {}, `Furthest apart${these}: ${worst.a} and ${worst.b}, ${scientific(worst.absolute)} in ${quantity} of ${worst.case}.`),
    ...leftOut(record),
    table(["implementation", ...record.labels], rows),
    element("p", { id: "same-bits" }, bits.length ? `The same bits in every quantity of every case they share: ${bits.join("; ")}.` : `No two${these} agree to the bit in everything.`));
}

// Who is not in the table, and how to have everybody in it.
function leftOut(record) {
  const those = record.left_out ?? [];
  if (!those.length) return [];
  const all = record.labels.length + those.length;
  return [element("p", { id: "left-out", class: "suspect" },
    `${record.labels.length} of ${all} implementations are compared here, of each framework the first. How far the others are from the oracle is in the fields above. Not compared: ${those.join(", ")}. All of them: `,
    element("code", {}, `python -m reports site --compared ${all}`))];
}

addEventListener("DOMContentLoaded", () => {
  for (const select of document.querySelectorAll("#pairs select")) {
    select.addEventListener("change", () => state.write({ [select.id]: select.value }));
  }
});

parts.push(showPairs);
