#!/usr/bin/env node
// The dashboards for who has no Grafana: Grafana's own components draw ../dashboards from a Prometheus.
//   npm install && node serve.mjs --prometheus http://127.0.0.1:9090 [--listen 127.0.0.1:0]
// Says where it listens in one line, and serves until it is told to stop. It asks Prometheus only what reads.
import { build } from "esbuild";
import { readFile, readdir } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = path.dirname(fileURLToPath(import.meta.url));
const dashboards = path.join(here, "../dashboards");
const icons = path.join(here, "node_modules/@grafana/ui/dist/public/img/icons");
// Under the names that @grafana/ui asks for.
const fonts = { "/fonts/inter/Inter-Regular.woff2": "inter-latin-400-normal.woff2", "/fonts/inter/Inter-Medium.woff2": "inter-latin-500-normal.woff2" };
const types = { ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".svg": "image/svg+xml", ".woff2": "font/woff2" };
const reads = /^\/api\/v1\/(query|query_range|label\/\w+\/values|status\/config|status\/buildinfo)$/;

function fail(text) {
  console.error(`serve: ${text}`);
  process.exit(2);
}

function flags() {
  const options = { prometheus: { type: "string" }, listen: { type: "string", default: "127.0.0.1:0" } };
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    fail(error.message);
  }
  if (!URL.canParse(values.prometheus ?? "")) fail("--prometheus: a URL is needed, such as http://127.0.0.1:9090");
  const listen = /^(.+):(\d+)$/.exec(values.listen);
  if (!listen) fail(`--listen: ${values.listen} is not HOST:PORT`);
  return { prometheus: values.prometheus, host: listen[1], port: Number(listen[2]) };
}

// Script and style by name.
async function bundle() {
  const { outputFiles } = await build({
    absWorkingDir: here, entryPoints: ["src/main.jsx"],
    bundle: true, write: false, minify: true, outdir: "/page", format: "esm", target: "chrome110", logLevel: "error",
    mainFields: ["module", "browser", "main"], conditions: ["import", "module", "browser"],
    alias: { "react-custom-scrollbars-2": "./src/scrollbars.js", "react-use/lib": "react-use/esm" },
    jsx: "automatic", loader: { ".woff": "empty", ".woff2": "empty", ".ttf": "empty", ".svg": "text", ".png": "dataurl" },
    define: { "process.env.NODE_ENV": '"production"', "process.env": "{}", global: "window" },
  });
  return new Map(outputFiles.map((file) => [file.path, Buffer.from(file.contents)]));
}

async function relay(request, url, response, prometheus) {
  const body = [];
  for await (const part of request) body.push(part);
  const answer = await fetch(new URL(url.pathname + url.search, prometheus), {
    method: request.method,
    headers: request.headers["content-type"] ? { "content-type": request.headers["content-type"] } : {},
    body: request.method === "POST" ? Buffer.concat(body) : undefined,
  });
  response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
  response.end(Buffer.from(await answer.arrayBuffer()));
}

async function file(url, bundled) {
  if (url.pathname === "/" || /^\/d\/[\w-]+$/.test(url.pathname)) return [".html", await readFile(path.join(here, "index.html"))];
  if (bundled.has(url.pathname)) return [path.extname(url.pathname), bundled.get(url.pathname)];
  if (url.pathname === "/dashboards") {
    const names = (await readdir(dashboards)).filter((name) => name.endsWith(".json"));
    const texts = await Promise.all(names.map((name) => readFile(path.join(dashboards, name), "utf8")));
    return [".json", Buffer.from(`[${texts.join(",")}]`)];
  }
  const icon = /^\/img\/icons\/([\w-]+\/[\w-]+\.svg)$/.exec(url.pathname);
  if (icon) return [".svg", await readFile(path.join(icons, icon[1]))];
  if (fonts[url.pathname]) return [".woff2", await readFile(path.join(here, "node_modules/@fontsource/inter/files", fonts[url.pathname]))];
  return null;
}

const { prometheus, host, port } = flags();
const bundled = await bundle();
const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://page");
  try {
    if (reads.test(url.pathname)) return await relay(request, url, response, prometheus);
    const [extension, content] = (await file(url, bundled)) ?? [];
    response.writeHead(content ? 200 : 404, { "content-type": types[extension] ?? "text/plain" });
    response.end(content ?? "not found\n");
  } catch (error) {
    response.writeHead(error.code === "ENOENT" ? 404 : 502, { "content-type": "application/json" });
    response.end(JSON.stringify({ status: "error", error: `${error.message}${error.cause ? `: ${error.cause.message}` : ""}` }));
  }
});
server.on("error", (error) => fail(error.message));
server.listen(port, host, () => console.log(`dashboards: http://${host}:${server.address().port}/`));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
