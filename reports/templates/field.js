// One field opened: an implementation on a case; what is worst, when, where, and which equation it comes from.

function openedField() {
  const name = state.read().get("field");
  document.getElementById("field-unknown").hidden = true;
  for (const row of isogru.report.implementations) {
    for (const field of row.fields) {
      if (fieldName(row, field) === name) return [row, field];
    }
  }
  // Nothing asked for, or what is not here: what is worst of all.
  document.getElementById("field-unknown").hidden = name === null;
  const order = ["equal", "undetermined", "suspect", "different", "missing", "stale", "failed"];
  const all = isogru.report.implementations.flatMap((row) => row.fields.map((field) => [row, field]));
  const badness = ([, field]) => [order.indexOf(field.status), field.quantity === null ? -1 : (field.ratio ?? Infinity)];
  return all.sort((a, b) => badness(b)[0] - badness(a)[0] || badness(b)[1] - badness(a)[1])[0] ?? null;
}

const fieldName = (row, field) => `${row.label}/${row.dtype}/${field.cell}/${field.column}`;
const isTraining = (result) => result.case.includes("-training-");

function resultsOf(row, field) {
  return isogru.report.results.filter((r) =>
    r.framework === row.framework && r.implementation === row.implementation && r.dtype === row.dtype &&
    r.device === row.device && r.cell === field.cell && isTraining(r) === (field.column === "training"));
}

const measured = (result) => [...(result.findings ?? []), ...(result.divergence?.forward ?? []), ...(result.divergence?.backward ?? [])];
const topRatio = (result) => Math.max(...measured(result).map((f) => f.ratio ?? Infinity), -1);

function showField() {
  const opened = openedField();
  const title = document.getElementById("field-title");
  if (opened === null) {
    title.textContent = "No result is there to be opened.";
    return;
  }
  const [row, field] = opened;
  const results = resultsOf(row, field);
  const asked = state.read().get("case");
  const result = results.find((r) => r.case === asked) ?? results.find((r) => r.case === field.case) ?? results[0];
  title.replaceChildren(verdict(field.status), ` ${row.label} · ${row.dtype} · ${field.cell} · ${field.column}`);
  choose(document.getElementById("field-case"),
    results.map((r) => [r.case, `${MARKS[r.status]} ${r.case}${topRatio(r) < 0 ? "" : ` (${ratio(topRatio(r) === Infinity ? null : topRatio(r))})`}`]), result.case);
  document.getElementById("field-link").href = "#" + new URLSearchParams({ field: fieldName(row, field), case: result.case });
  const sentence = document.getElementById("field-sentence");
  sentence.replaceChildren(verdict(result.status), ": ", result.why || result.sentence);
  if (result.note) sentence.append(element("br"), result.note);
  if (result.mend) sentence.append(element("br"), "To mend it: ", element("code", {}, result.mend));
  showFindings(result);
  showProfile(result);
  showDivergence(result);
  showFormulas(result);
}

function showFindings(result) {
  const rows = (result.findings ?? []).map((f) => [
    verdict(f.verdict), place(f), digits(f.value, 9), digits(f.should_be, 9), scientific(f.difference),
    scientific(f.bound), ratio(f.ratio), ratio(f.ulp), f.outside ? `${f.outside}, from ${f.first_outside ?? 0}` : "0",
    scientific(f.max_absolute), scientific(f.max_relative),
  ]);
  document.getElementById("field-findings").replaceChildren(rows.length
    ? table(["verdict", "worst element", "value", "should be", "off", "bound", "ratio", "ULPs", "outside", "max absolute", "max relative"], rows)
    : element("p", {}, "There is no result to look into."));
}

function showProfile(result) {
  const time = document.getElementById("chart-time");
  const heats = [document.getElementById("chart-heat-time"), document.getElementById("chart-heat-batch")];
  const figures = document.getElementById("field-charts");
  figures.hidden = !result.curves;
  if (!result.curves) {
    forget("time", time);
    heats.forEach((place, i) => forget(["heat-time", "heat-batch"][i], place));
    return;
  }
  const envelope = isogru.report.envelopes.find((e) => e.case === result.case && e.dtype === result.dtype);
  const curve = (series, values, block) => values.map((value, i) => ({ series, x: i * block + 1, value }));
  const { block } = result.curves;
  const points = [
    ...curve("one step off, worst element", result.curves.difference, block),
    ...curve("its rounding bound", result.curves.bound, block),
    ...curve("off the float64 oracle", result.curves.from_oracle, block),
    ...curve(`${isogru.report.rule.twin_multiple} × the twins`, envelope.twins, envelope.block),
  ];
  const names = [...new Set(points.map((p) => p.series))];
  draw("time", time, `Error of H against time step for ${result.id}`, lines(points, {
    x: "time step", y: "error of H", series: "curve",
    colours: { [names[0]]: "one", [names[1]]: "one", [names[2]]: "two", [names[3]]: "two" },
    dashes: { [names[1]]: [5, 3], [names[3]]: [5, 3] },
  }));
  result.heat.forEach((record, i) => draw(["heat-time", "heat-batch"][i], heats[i], `Ratio of error to bound over ${record.axes.join(" and ")} for ${result.id}`, heat(record)));
}

function showDivergence(result) {
  const said = document.getElementById("field-divergence");
  const charts = [["gates", "forward"], ["cotangents", "backward"]];
  document.getElementById("divergence-charts").hidden = !result.divergence;
  if (!result.divergence) {
    charts.forEach(([name]) => forget(name, document.getElementById(`chart-${name}`)));
    const reason = isTraining(result) ? "Of a training no gates are kept." : "This lane or case keeps no gates: scratch and compiled cells do, on the cases ordinary, zero_start, long and large_weights.";
    said.replaceChildren(element("p", { class: "soft" }, result.findings ? reason : "There is no result to look into."));
    return;
  }
  const sentence = (way, name, from) => {
    const local = result.divergence[way].find((one) => one.quantity === name);
    const heirs = result.divergence[way].filter((one) => one.inherits).map((one) => one.quantity.replace("trace.", ""));
    if (!local) return `${from}: every quantity is right, given its own inputs.`;
    const at = result.divergence.forward.includes(local) ? local.first_outside : local.by_step.length ? local.last_outside : null;
    const begins = at === null ? "" : way === "forward" ? ` from step ${at + 1} on` : ` from step ${at + 1} back`;
    return `${from}: ${name.replace("trace.", "")} is the first that is wrong by itself${begins}; ${place(local).replace("trace.", "")} = ${digits(local.value)}, ` +
      `its own inputs give ${digits(local.should_be)} (ratio ${ratio(local.ratio)}).` + (heirs.length ? ` Right given their inputs, and so only heirs: ${heirs.join(", ")}.` : "");
  };
  const rows = [...result.divergence.forward, ...result.divergence.backward].map((one) => [
    one.quantity.replace("trace.", ""), verdict(one.verdict), one.inherits ? "inherits an error" : "", place(one).replace("trace.", ""),
    scientific(one.difference), scientific(one.bound), ratio(one.ratio),
  ]);
  said.replaceChildren(
    result.divergence.explains ? "" : element("p", { class: "suspect" }, "The run with gates kept is a run of its own, and does not show the error of the run that is judged."),
    element("p", { id: "first-forward" }, sentence("forward", result.divergence.first_forward, "Forward")),
    element("p", { id: "first-backward" }, sentence("backward", result.divergence.first_backward, "Backward")),
    element("details", {}, element("summary", {}, "Each quantity, from its own inputs"),
      table(["quantity", "by itself", "", "worst element", "off", "bound", "ratio"], rows)));
  const palette = ["one", "two", "three", "four", "grey"];
  for (const [name, way] of charts) {
    const timed = result.divergence[way].filter((one) => one.by_step.length);
    const block = result.curves?.block ?? 1;
    const points = timed.flatMap((one) => one.by_step.map((value, i) => ({ series: one.quantity.replace("trace.", ""), x: i * block + 1, value })));
    draw(name, document.getElementById(`chart-${name}`), `Ratio to the bound of each quantity by itself, ${way}, for ${result.id}`, lines(points, {
      x: "time step", y: "error / bound, by itself", series: "quantity", rule: 1, height: 200,
      colours: Object.fromEntries(timed.map((one, i) => [one.quantity.replace("trace.", ""), palette[i]])),
    }));
  }
}

function showFormulas(result) {
  for (const list of document.querySelectorAll(".formulas")) {
    list.hidden = list.dataset.cell !== result.cell;
    for (const item of list.children) {
      const worst = !list.hidden && item.dataset.target === result.worst_equation;
      item.classList.toggle("worst", worst);
      item.querySelector(".why").textContent = worst ? "the equation that fits worst" : "";
    }
  }
}

addEventListener("DOMContentLoaded", () => {
  document.getElementById("field-case").addEventListener("change", (event) => {
    const [row, field] = openedField();
    state.write({ field: fieldName(row, field), case: event.target.value });
  });
});

parts.push(showField);
