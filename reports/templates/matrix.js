// The answer: which rows and columns of the matrix are shown, and which field is open.

const FILTERS = ["framework", "lane", "dtype", "device", "cell"];

function wanted(name) {
  const value = state.read().get(name);
  return value === null ? null : new Set(value.split(","));
}

function filterMatrix() {
  const chosen = Object.fromEntries(FILTERS.map((name) => [name, wanted(name)]));
  for (const box of document.querySelectorAll(".filters input")) {
    box.checked = chosen[box.name]?.has(box.value) ?? true;
  }
  let shown = 0;
  for (const row of document.querySelectorAll(".matrix tbody tr")) {
    row.hidden = ["framework", "lane", "dtype", "device"].some((name) => chosen[name] && !chosen[name].has(row.dataset[name]));
    shown += row.hidden ? 0 : 1;
  }
  for (const cell of document.querySelectorAll(".matrix [data-cell]")) {
    cell.hidden = chosen.cell !== null && !chosen.cell.has(cell.dataset.cell);
  }
  const field = state.read().get("field");
  for (const link of document.querySelectorAll(".matrix td a")) {
    if (link.dataset.field === field) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("shown").textContent = `${shown} of ${isogru.report.implementations.length} implementations shown.`;
}

addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".filters input")) {
    box.addEventListener("change", () => {
      const all = [...document.querySelectorAll(`.filters input[name="${box.name}"]`)];
      const checked = all.filter((one) => one.checked).map((one) => one.value);
      state.write({ [box.name]: checked.length === all.length ? null : checked.join(",") || "-" });
    });
  }
  document.getElementById("all").addEventListener("click", () => state.write(Object.fromEntries(FILTERS.map((name) => [name, null]))));
  for (const link of document.querySelectorAll(".matrix td a")) {
    // The filters that are on stay on: a plain link would drop them.
    link.addEventListener("click", (event) => {
      event.preventDefault();
      state.write({ field: link.dataset.field, case: null });
      document.getElementById("field").scrollIntoView();
    });
  }
});

parts.push(filterMatrix);
