#!/usr/bin/env node
// Draws dashboards of deploy/monitoring/page in Debian's Chromium and looks at every panel.
//   draw.mjs PAGE [--from now-5m] [--to now] [--only UID] [--query 'var-node=storage-1'] [--screenshots DIR] [--width 1400]
// Prints a JSON object: for each dashboard its uid, the values of its variables, errors of the page, and its panels with
// {title, kind, state, text, coloured, cut}: `coloured` pixels of its graph, and whether its legend is `cut` off.
import path from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    from: { type: "string", default: "now-5m" },
    to: { type: "string", default: "now" },
    only: { type: "string" },
    query: { type: "string", default: "" },
    screenshots: { type: "string" },
    width: { type: "string", default: "1400" },
  },
});
const page = positionals[0].replace(/\/$/, "");

// In the page: what a person would see of each panel.
function look() {
  const grey = (r, g, b) => Math.max(r, g, b) - Math.min(r, g, b) < 40;
  return [...document.querySelectorAll("[data-panel]")].map((panel) => {
    let coloured = 0;
    for (const canvas of panel.querySelectorAll("canvas")) {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 20 && !grey(data[i], data[i + 1], data[i + 2])) ++coloured;
    }
    // What scrolls hides something, but for tables, which may be long.
    const boxes = panel.dataset.kind === "timeseries" ? [...panel.querySelectorAll("*")] : [];
    const cut = boxes.some((box) => /auto|scroll|hidden/.test(getComputedStyle(box).overflowY) && box.scrollHeight > box.clientHeight + 2 && box.clientHeight > 0);
    return { title: panel.dataset.panel, kind: panel.dataset.kind, state: panel.dataset.state, text: panel.innerText, coloured, cut };
  });
}

async function draw(browser, board) {
  const tab = await browser.newPage({ viewport: { width: Number(flags.width), height: 1000 } });
  const errors = [];
  tab.on("pageerror", (error) => errors.push(error.message));
  tab.on("console", (message) => message.type() === "error" && errors.push(`${message.text()} ${message.location().url}`));
  await tab.goto(`${page}/d/${board.uid}?from=${flags.from}&to=${flags.to}&refresh=off&${flags.query}`);
  const ready = (count) => document.querySelectorAll("[data-panel]:not([data-state=loading])").length === count;
  await tab.waitForFunction(ready, board.panels.length, { timeout: 30_000 }).catch(() => {
    throw new Error(`${board.uid}: not all panels within 30 s: ${errors.join("; ")}`);
  });
  // Graphs are drawn in the next frames.
  await tab.evaluate(async () => {
    await document.fonts.ready;
    for (let i = 0; i < 3; ++i) await new Promise(requestAnimationFrame);
  });
  await tab.waitForTimeout(500);
  const variables = await tab.evaluate(() =>
    Object.fromEntries([...document.querySelectorAll("[data-variable]")].map(({ dataset }) => [dataset.variable, dataset.values.split(" ").filter(Boolean)])),
  );
  const panels = await tab.evaluate(look);
  if (flags.screenshots) await tab.screenshot({ path: path.join(flags.screenshots, `${board.uid.replace("cowherd-", "")}.png`), fullPage: true });
  await tab.close();
  return { uid: board.uid, variables, errors, panels };
}

const boards = (await (await fetch(`${page}/dashboards`)).json()).filter(({ uid }) => !flags.only || uid === flags.only);
// Root needs --no-sandbox; the pages are ours.
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--force-device-scale-factor=1"] });
try {
  const found = [];
  for (const board of boards) found.push(await draw(browser, board));
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
