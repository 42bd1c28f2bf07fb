// Variables and intervals in queries and links, as Grafana fills them in. Pure.

const SECOND = 1000;

// "15s", "1m30s" in milliseconds.
export function milliseconds(text) {
  const units = { ms: 1, s: SECOND, m: 60 * SECOND, h: 3600 * SECOND, d: 86400 * SECOND, w: 604800 * SECOND, y: 31536000 * SECOND };
  let sum = 0;
  const rest = text.replace(/(\d+)(ms|[smhdwy])/g, (_, count, unit) => ((sum += Number(count) * units[unit]), ""));
  if (rest !== "" || text === "") throw new Error(`not a duration: ${text}`);
  return sum;
}

const duration = (ms) => (ms % SECOND === 0 ? `${ms / SECOND}s` : `${ms}ms`);

// The step of a graph: a round one that gives at most a point a pixel, and no less than a scrape.
export function step(rangeMs, pixels, scrapeMs) {
  const rounds = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const least = Math.max(rangeMs / Math.max(pixels, 1), scrapeMs);
  return (rounds.find((round) => round * SECOND >= least) ?? rounds.at(-1)) * SECOND;
}

const escaped = (value) => value.replace(/[\\^$*+?.()|[\]{}]/g, "\\\\$&");

// What a variable stands for inside of =~"...". `chosen`: values; none is all.
function regex(chosen) {
  if (chosen.length === 0) return ".*";
  return chosen.length === 1 ? escaped(chosen[0]) : `(${chosen.map(escaped).join("|")})`;
}

// `variables`: the values chosen, by name. `times`: {stepMs, rangeMs, scrapeMs}.
export function query(expression, variables, times) {
  const { stepMs, rangeMs, scrapeMs } = times;
  const builtIn = {
    __interval: duration(stepMs),
    __rate_interval: duration(Math.max(stepMs + scrapeMs, 4 * scrapeMs)),
    __range: duration(Math.max(Math.round(rangeMs / SECOND) * SECOND, SECOND)),
  };
  return expression.replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, braced, bare) => {
    const name = braced ?? bare;
    if (name in builtIn) return builtIn[name];
    if (name in variables) return regex(variables[name]);
    throw new Error(`unknown variable ${all} in ${expression}`);
  });
}

// A link to a dashboard. ${__url_time_range} and ${__all_variables}, ${name:queryparam} and what the field knows.
export function link(url, variables, range, field) {
  const chosen = (name) => (variables[name] ?? []).map((value) => `var-${name}=${encodeURIComponent(value)}`);
  return url
    .replace(/\$\{__url_time_range\}/g, `from=${range.from}&to=${range.to}`)
    .replace(/\$\{(\w+):queryparam\}/g, (_, name) => chosen(name).join("&") || `var-${name}=$__all`)
    .replace(/\$\{__field\.labels\.(\w+)\}/g, (_, label) => encodeURIComponent(field?.labels?.[label] ?? ""))
    .replace(/\$\{__value\.text\}/g, () => encodeURIComponent(field?.text ?? ""));
}

// label_values(SELECTOR, LABEL) in two parts.
export function labelValues(text) {
  const found = /^label_values\((.*),\s*(\w+)\)$/.exec(text);
  if (!found) throw new Error(`not label_values(SELECTOR, LABEL): ${text}`);
  return { selector: found[1], label: found[2] };
}

export function legend(format, labels) {
  if (format) return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");
  const { __name__: name = "", ...rest } = labels;
  const inner = Object.entries(rest).map(([key, value]) => `${key}="${value}"`).join(", ");
  return inner ? `${name}{${inner}}` : name || "Value";
}
