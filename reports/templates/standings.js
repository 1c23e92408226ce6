// Numbers of a leaderboard: the functions of reports/race/standings.py, which must give the same digits.

const UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const NOTHING = "–";

// Python rounds a number that lies just between two to the even one, JavaScript to the larger.
function rounded(x, digits, how) {
  const [mantissa, power] = x[how](digits).split("e");
  const beyond = x[how](100).split("e")[0].split(".")[1]?.slice(digits);
  const last = Number(mantissa.at(-1));
  const said = /^50*$/.test(beyond) && last % 2 ? mantissa.slice(0, -1) + (last - 1) : mantissa;
  return power === undefined ? said : `${said}e${power.replace(/^([+-])(\d)$/, "$10$2")}`;
}

const fixed = (x, digits) => rounded(x, digits, "toFixed");
const exponential = (x, digits) => rounded(x, digits, "toExponential");

const standings = {
  duration(seconds) {
    if (seconds === null) return NOTHING;
    const three = Number(exponential(seconds, 2));
    const [scale, unit] = UNITS.find(([s]) => three >= s) ?? UNITS.at(-1);
    return `${threeDigits(three / scale)} ${unit}`;
  },
  rank(row) {
    if (row.rank === null) return NOTHING;
    return (row.last_rank ?? row.rank) === row.rank ? String(row.rank) : `${row.rank}–${row.last_rank}`;
  },
  times(value) {
    if (value === null) return NOTHING;
    if (value < 100) return fixed(value, value < 10 ? 2 : 1);
    return exponential(value, 1).replace(".0", "").replace("e+", "e");
  },
  interval(row) {
    const { times } = standings;
    return row.low === null || row.low === row.high ? times(row.ratio) : `${times(row.ratio)} (${times(row.low)}–${times(row.high)})`;
  },
  megabytes: (size) => (size === null ? NOTHING : `${fixed(Math.max(size, 0) / 1e6, 0)} MB`),
  percent: (value) => (value === null ? NOTHING : `${fixed(value, value >= 10 ? 0 : 1)}%`),
  break_even(row) {
    if (row.uncounted || row.implementation === "scratch" || row.first === null) return NOTHING;
    return row.break_even === null ? "never" : String(row.break_even);
  },
  held_back(row) {
    const unexplained = row.unexplained ?? null;
    return row.held_back_by ?? (unexplained === null ? NOTHING : `unexplained, ${standings.percent(unexplained)}`);
  },
  error: (value) => (value === null ? NOTHING : exponential(value, 1)),
};

function threeDigits(value) {
  const three = Number(exponential(value, 2));
  return fixed(three, three >= 100 ? 0 : three >= 10 ? 1 : 2);
}
