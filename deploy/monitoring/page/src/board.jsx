// One dashboard: what is chosen, and its panels on Grafana's grid. What is chosen stands in the address, as in Grafana.
import { dateTime } from "@grafana/data";
import { MultiSelect, RadioButtonGroup } from "@grafana/ui";
import { useEffect, useMemo, useRef, useState } from "react";
import { Panel } from "./panels.jsx";
import { events, variableValues } from "./prometheus.js";
import { milliseconds, step } from "./template.js";

const RANGES = ["5m", "15m", "1h", "6h", "24h", "7d"];

const title = (board) => board.title.replace("cowherd / ", "");
const all = (value) => value === "$__all" || value === "All";

// What the address says; the dashboard's own where it says nothing.
function fromAddress(board) {
  const words = new URLSearchParams(location.search);
  const variables = {};
  for (const { name, type } of board.templating.list) {
    if (type === "query") variables[name] = words.getAll(`var-${name}`).filter((value) => !all(value));
  }
  return { variables, from: words.get("from") ?? board.time.from, to: words.get("to") ?? board.time.to, still: words.get("refresh") === "off" };
}

function toAddress({ variables, from, to, still }) {
  const words = new URLSearchParams({ from, to });
  if (still) words.set("refresh", "off");
  for (const [name, values] of Object.entries(variables)) for (const value of values) words.append(`var-${name}`, value);
  return `?${words}`;
}

// "now", "now-6h" or milliseconds since 1970.
function moment(text, now) {
  if (text === "now") return now;
  return text.startsWith("now-") ? now - milliseconds(text.slice(4)) : Number(text);
}

function useWidth() {
  const element = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}

function Choice({ variable, chosen, range, onChange }) {
  const [values, setValues] = useState([]);
  const others = JSON.stringify([chosen, range.from, range.to]);
  useEffect(() => {
    variableValues(variable.query, chosen, range).then(setValues, () => setValues([]));
  }, [variable, others]);
  return (
    <label data-variable={variable.name} data-values={values.join(" ")}>
      {variable.label}
      <MultiSelect
        aria-label={variable.label} width="auto" placeholder="All" closeMenuOnSelect={false}
        options={values.map((value) => ({ label: value, value }))} value={chosen[variable.name]}
        onChange={(picked) => onChange(picked.map(({ value }) => value))}
      />
    </label>
  );
}

export function Board({ board, boards, scrapeMs }) {
  const [chosen, setChosen] = useState(() => fromAddress(board));
  const [now, setNow] = useState(() => Date.now());
  const [marks, setMarks] = useState([]);
  const [element, width] = useWidth();
  const length = moment(chosen.to, now) - moment(chosen.from, now);

  useEffect(() => {
    document.title = board.title;
    if (chosen.still) return undefined;
    const timer = setInterval(() => setNow(Date.now()), Math.max(length <= 3600_000 ? 5000 : 30_000, scrapeMs));
    return () => clearInterval(timer);
  }, [board, chosen.still, length, scrapeMs]);

  const range = useMemo(() => {
    // On whole steps, so that a graph does not flicker as time goes on.
    const [from, to] = [moment(chosen.from, now), moment(chosen.to, now)];
    const grid = step(to - from, 400, scrapeMs);
    return { from: Math.floor(from / grid) * grid, to: Math.floor(to / grid) * grid };
  }, [chosen.from, chosen.to, now, scrapeMs]);

  useEffect(() => {
    const stepMs = step(range.to - range.from, 400, scrapeMs);
    Promise.all(board.annotations.list.map((each) => events(each, chosen.variables, range, stepMs, scrapeMs))).then(
      (found) => setMarks(found.flat()),
      (error) => console.error(error),
    );
  }, [board, range, chosen.variables]);

  const change = (what) => {
    const next = { ...chosen, ...what };
    setChosen(next);
    setNow(Date.now());
    history.replaceState(null, "", toAddress(next));
  };
  const context = { ...chosen, range, scrapeMs, marks, timeRange: timeRange(range), onZoom: (from, to) => change({ from: `${Math.round(from)}`, to: `${Math.round(to)}` }) };
  return (
    <>
      <div className="toolbar">
        <h1>cowherd</h1>
        <nav>
          {boards.toSorted((a, b) => order(a) - order(b)).map((each) => (
            <a key={each.uid} href={`/d/${each.uid}${toAddress(chosen)}`} aria-current={each === board ? "page" : undefined}>{title(each)}</a>
          ))}
        </nav>
        <span className="gap" />
        {board.templating.list.filter(({ type }) => type === "query").map((variable) => (
          <Choice key={variable.name} variable={variable} chosen={chosen.variables} range={range}
            onChange={(values) => change({ variables: { ...chosen.variables, [variable.name]: values } })} />
        ))}
        <RadioButtonGroup size="sm" value={chosen.from} onChange={(from) => change({ from, to: "now" })}
          options={RANGES.map((each) => ({ label: each, value: `now-${each}` }))} />
      </div>
      <div className="panels" ref={element}>
        {width > 0 && board.panels.map((panel) => <Panel key={panel.id} panel={panel} context={context} size={size(panel.gridPos, width)} />)}
      </div>
    </>
  );
}

// As they are linked: from the whole to its parts.
function order(board) {
  const place = ["cowherd-overview", "cowherd-node", "cowherd-jobs", "cowherd-controller", "cowherd-capacity"].indexOf(board.uid);
  return place < 0 ? Infinity : place;
}

function size({ w, h }, width) {
  const column = (width - 23 * 8) / 24;
  return { width: Math.floor(w * column + (w - 1) * 8), height: h * 30 + (h - 1) * 8 };
}

function timeRange({ from, to }) {
  const [begin, end] = [dateTime(from), dateTime(to)];
  return { from: begin, to: end, raw: { from: begin, to: end } };
}
