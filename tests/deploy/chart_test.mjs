// What only the chart can do; that it renders what kustomize renders is seen in kubernetes_test.mjs.
//   node --test tests/deploy/chart_test.mjs          needs: npm install in this folder, a build of the programs, Go
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Ajv from 'ajv';
import yaml from 'js-yaml';
import { complaints } from './schema.mjs';
import { PROGRAMS, configOf, flagsOf, helm, here, objects, one, podTemplates, read, version, workload } from './manifests.mjs';

const CHART = 'deploy/helm/cowherd';
const schema = JSON.parse(read(`${CHART}/values.schema.json`));
const defaults = yaml.load(read(`${CHART}/values.yaml`));
const valid = new Ajv({ allErrors: true }).compile(schema);

function without(documents, ...kinds) {
  return documents.filter(({ kind }) => !kinds.includes(kind));
}

test('the chart is of this version', () => {
  const about = yaml.load(read(`${CHART}/Chart.yaml`));
  assert.deepEqual([about.version, about.appVersion], [version(), version()]);
});

test('the schema knows every value, and no other', () => {
  assert.ok(valid(defaults), JSON.stringify(valid.errors));
  const compare = (value, { properties, additionalProperties }, where) => {
    if (!properties) return;
    assert.equal(additionalProperties, false, where);
    const known = Object.keys(properties).filter((key) => key !== 'global' && properties[key].properties !== undefined);
    // Resources are Kubernetes' own.
    const names = Object.keys(properties).filter((key) => key !== 'global').sort();
    assert.deepEqual(Object.keys(value).sort(), names, where);
    for (const key of known) compare(value[key], properties[key], `${where}.${key}`);
  };
  compare(defaults, schema, 'values');
});

test('what makes no sense is refused, by the name of the value', () => {
  for (const [wrong, where] of [
    [{ nodes: {} }, ''],
    [{ node: { profile: 'all' } }, '/node/profile'],
    [{ node: { roots: [] } }, '/node/roots'],
    [{ node: { roots: [{ name: 'state', path: '/srv' }] } }, '/node/roots/0/name'],
    [{ node: { roots: [{ name: 'a', path: 'srv' }] } }, '/node/roots/0/path'],
    [{ node: { flags: { listen: '0.0.0.0:1' } } }, '/node/flags'],
    [{ node: { flags: { 'max-tasks': 1 } } }, '/node/flags'],
    [{ node: { maxUnavailable: '0%' } }, '/node/maxUnavailable'],
    [{ node: { resources: { limits: { cpu: 1 } } } }, '/node/resources/limits'],
    [{ controller: { mode: 'etcd' } }, '/controller/mode'],
    [{ controller: { etcd: { endpoints: ['https://etcd:2379'] } } }, '/controller/etcd/endpoints/0'],
    [{ controller: { flags: { store: 'x' } } }, '/controller/flags'],
    [{ monitoring: { interval: 'often' } }, '/monitoring/interval'],
  ]) {
    assert.ok(!valid(wrong), JSON.stringify(wrong));
    assert.ok(valid.errors.some(({ instancePath }) => instancePath === where), JSON.stringify(valid.errors));
  }
});

test('flags that the schema keeps for the chart are flags', () => {
  for (const component of Object.keys(PROGRAMS)) {
    const kept = schema.properties[component].properties.flags.allOf[1].propertyNames.not.enum;
    for (const flag of kept) assert.ok(flagsOf(component).has(flag), flag);
    const [container] = workload(helm().objects, component).spec.template.spec.containers;
    const set = [...configOf(helm().objects, component).keys()];
    set.push(...container.env.map(({ name }) => name.replace('COWHERD_', '').toLowerCase()));
    for (const flag of set) assert.ok(kept.includes(flag), `${component}: ${flag} may be given twice`);
  }
});

test('without cert-manager there are no certificates, and pods ask for the same secrets', () => {
  const { objects: got, notes } = helm({ certManager: { enabled: false } });
  assert.deepEqual(got, without(helm().objects, 'Certificate', 'Issuer'));
  for (const { spec } of podTemplates(got)) {
    for (const { secret } of spec.template.spec.volumes) if (secret) assert.ok(notes.includes(secret.secretName));
  }
});

test('without network policies there are none', () => {
  assert.deepEqual(helm({ networkPolicies: { enabled: false } }).objects, without(helm().objects, 'NetworkPolicy'));
});

test('etcd without certificates has to be allowed, and nothing is mounted', () => {
  const controller = workload(helm({ controller: { mode: 'ha', etcd: { tlsSecret: '' } } }).objects, 'controller').spec.template.spec;
  const env = Object.fromEntries(controller.containers[0].env.map(({ name, value }) => [name, value]));
  assert.equal(env.COWHERD_ALLOW_REMOTE_PLAINTEXT, 'true');
  assert.deepEqual(Object.keys(env).filter((name) => /ETCD/.test(name)), []);
  assert.deepEqual(controller.volumes.map(({ name }) => name), ['config', 'tls']);
});

test('other flags are another pod', () => {
  const sum = (values) => workload(helm(values).objects, 'node').spec.template.metadata.annotations['checksum/config'];
  assert.equal(sum({}), sum({ image: { tag: 'x' } }));
  assert.notEqual(sum({}), sum({ node: { flags: { max_tasks: 1 } } }));
});

test('a profile that is none does not get through without the schema either', () => {
  assert.throws(() => helm({ node: { profile: 'all' } }), /there is no profile "all"/);
});

const OTHER = {
  image: { repository: 'registry.example/team/cowherd', tag: '9.9' },
  imagePullSecrets: [{ name: 'registry' }],
  node: {
    profile: 'estimate',
    roots: [{ name: 'vm', path: '/srv/vm' }, { name: 'backup', path: '/srv/backup' }],
    nodeSelector: { 'cowherd/storage': null, disk: 'big' },
    tolerations: [],
    graceSeconds: 100,
    flags: { index_budget_mib: 128, label: ['zone=a', 'rack=1'], reflection: true, log_level: 'debug' },
  },
  controller: {
    mode: 'ha',
    etcd: { endpoints: ['e1.example:2379', 'e2.example:2379', 'e3.example:22379'], prefix: 'blue', tlsSecret: 'etcd-client' },
    flags: { max_tasks: 16 },
  },
  monitoring: { enabled: true, cluster: 'blue', labels: { release: 'prometheus' } },
};

test('another release, with other values', () => {
  const merged = { ...OTHER, node: { ...OTHER.node, nodeSelector: { disk: 'big' } } };
  assert.ok(valid(merged), JSON.stringify(valid.errors));
  const { objects: got, notes } = helm(OTHER, 'blue', 'storage');
  for (const document of got) {
    assert.deepEqual(complaints(document), []);
    assert.match(document.metadata.name, /^blue-cowherd/);
    if (document.kind !== 'PriorityClass') assert.equal(document.metadata.namespace, 'storage');
  }
  for (const component of Object.keys(PROGRAMS)) {
    for (const flag of configOf(got, component).keys()) assert.ok(flagsOf(component).has(flag), flag);
  }
  const node = workload(got, 'node').spec.template.spec;
  for (const { mountPath, readOnly } of node.containers[0].volumeMounts) if (mountPath.startsWith('/roots/')) assert.equal(readOnly, true);
  assert.match(notes, /kubectl label node NAME disk=big\n/);
  const names = objects(got, 'Certificate').flatMap(({ spec }) => spec.dnsNames ?? []);
  assert.ok(names.includes('blue-cowherd-controllers.storage.svc'));
  assert.deepEqual(configOf(got, 'controller').get('node_dns'), ['blue-cowherd-node.storage.svc:7300']);
  one(got, 'Service', 'blue-cowherd-node');
  for (const rule of objects(got, 'PrometheusRule')) rule.spec.groups = rule.spec.groups.map(({ name }) => name);
  const file = path.join(here, 'golden/chart.yaml');
  const text = `${got.map((document) => yaml.dump(document, { lineWidth: -1, noRefs: true })).join('---\n')}---\n${yaml.dump({ notes })}`;
  if (process.env.UPDATE_GOLDEN) fs.writeFileSync(file, text);
  assert.equal(text, fs.readFileSync(file, 'utf8'));
});
