// Prometheus's HTTP API, and its answers as Grafana's data frames.
import { FieldType, toDataFrame } from "@grafana/data";
import { labelValues, legend, milliseconds, query } from "./template.js";

async function ask(path, parameters) {
  const answer = await fetch(`/api/v1/${path}`, { method: parameters ? "POST" : "GET", body: parameters && new URLSearchParams(parameters) });
  const body = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
  if (body.status !== "success") throw new Error(body.error ?? `${answer.status}`);
  return body.data;
}

export async function scrapeInterval() {
  const { yaml } = await ask("status/config");
  return milliseconds(/^\s*scrape_interval: (\w+)/m.exec(yaml)?.[1] ?? "1m");
}

export async function variableValues(definition, variables, range) {
  const { selector, label } = labelValues(definition);
  const parameters = new URLSearchParams({
    "match[]": query(selector, variables, { stepMs: 1000, rangeMs: range.to - range.from, scrapeMs: 1000 }),
    start: range.from / 1000,
    end: range.to / 1000,
  });
  return (await ask(`label/${label}/values?${parameters}`)).sort();
}

// "NaN" and "+Inf" have no place on a scale.
function number(text) {
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

// On the grid of steps: what is missing is a gap.
function seriesFrame({ metric, values }, target, range, stepMs) {
  const times = [];
  for (let time = range.from; time <= range.to; time += stepMs) times.push(time);
  const cells = new Array(times.length).fill(null);
  for (const [seconds, text] of values) cells[Math.round((seconds * 1000 - range.from) / stepMs)] = number(text);
  return frame(metric, target, times, cells);
}

function frame(metric, target, times, cells) {
  const name = legend(target.legendFormat, metric);
  return toDataFrame({
    refId: target.refId,
    name,
    fields: [
      { name: "Time", type: FieldType.time, values: times, config: {} },
      { name: "Value", type: FieldType.number, values: cells, labels: metric, config: { displayNameFromDS: name } },
    ],
  });
}

// One frame, a column a label.
function tableFrame(result, target, many) {
  const labels = [...new Set(result.flatMap((row) => Object.keys(row.metric)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: result.map((row) => row.value[0] * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: result.map((row) => row.metric[label] ?? "") })),
      { name: many ? `Value #${target.refId}` : "Value", type: FieldType.number, values: result.map((row) => number(row.value[1])) },
    ],
  });
}

// The frames of one target. `range`: {from, to} in milliseconds, `stepMs` apart.
export async function frames(target, many, variables, range, stepMs, scrapeMs) {
  const text = query(target.expr, variables, { stepMs, rangeMs: range.to - range.from, scrapeMs });
  if (target.instant) {
    const { result } = await ask("query", { query: text, time: range.to / 1000 });
    if (target.format === "table") return [tableFrame(result, target, many)];
    return result.map((row) => frame(row.metric, target, [row.value[0] * 1000], [number(row.value[1])]));
  }
  const { result } = await ask("query_range", { query: text, start: range.from / 1000, end: range.to / 1000, step: stepMs / 1000 });
  return result.map((series) => seriesFrame(series, target, range, stepMs));
}

// When an annotation's expression came true, in milliseconds: once for neighbouring steps.
export async function events(annotation, variables, range, stepMs, scrapeMs) {
  const found = await frames({ expr: annotation.expr, refId: "A" }, false, variables, range, stepMs, scrapeMs);
  return found.flatMap(({ fields: [time, value] }) =>
    time.values.flatMap((at, i) =>
      value.values[i] > 0 && !(value.values[i - 1] > 0)
        ? [{ at, text: legend(annotation.titleFormat, value.labels), color: annotation.iconColor }]
        : [],
    ),
  );
}
