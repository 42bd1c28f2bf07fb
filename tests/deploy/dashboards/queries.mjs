#!/usr/bin/env node
// Asks a Prometheus every query of every dashboard, as the page would with all variables at "all".
//   queries.mjs PROMETHEUS FROM TO       (milliseconds since 1970)
// Prints a JSON array of {dashboard, panel, expr, series, error}; the queries of variables and annotations are among them.
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { labelValues, query } from "../../../deploy/monitoring/page/src/template.js";

const [prometheus, from, to] = process.argv.slice(2);
const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../../deploy/monitoring/dashboards");
const times = { stepMs: 1000, rangeMs: to - from, scrapeMs: 1000 };

async function ask(where, parameters) {
  const body = await (await fetch(`${prometheus}/api/v1/${where}`, { method: "POST", body: new URLSearchParams(parameters) })).json();
  return body.status === "success" ? { series: body.data.result.filter((row) => (row.values ?? [row.value]).some(([, value]) => value !== "NaN")).length } : { series: 0, error: body.error };
}

const rows = [];
for (const name of (await readdir(folder)).filter((each) => each.endsWith(".json"))) {
  const board = JSON.parse(await readFile(path.join(folder, name), "utf8"));
  const chosen = Object.fromEntries(board.templating.list.map((variable) => [variable.name, []]));
  const add = async (panel, target) => {
    const text = query(target.expr, chosen, times);
    const answer = target.instant ? ask("query", { query: text, time: to / 1000 }) : ask("query_range", { query: text, start: from / 1000, end: to / 1000, step: 1 });
    rows.push({ dashboard: name, panel, expr: text, ...(await answer) });
  };
  for (const panel of board.panels) for (const target of panel.targets) await add(panel.title, target);
  for (const each of board.annotations.list) await add(`annotation ${each.name}`, each);
  for (const variable of board.templating.list.filter(({ type }) => type === "query")) {
    await add(`variable ${variable.name}`, { expr: labelValues(variable.query).selector, instant: true });
  }
}
console.log(JSON.stringify(rows));
