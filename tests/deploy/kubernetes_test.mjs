// Renders every overlay and component of deploy/kubernetes, and the chart with the same choices, and checks what comes out:
// each against the other, the API's own types, golden files, the rules that the project sets itself, and the programs.
//   node --test tests/deploy/kubernetes_test.mjs          needs: npm install in this folder, a build of the programs, Go
//   UPDATE_GOLDEN=1 node --test ...                       writes the golden files anew
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import yaml from 'js-yaml';
import { complaints } from './schema.mjs';
import {
  PROFILES, PROGRAMS, configOf, flagsOf, helm, here, kustomize, objects, one, podTemplates, read, repository, version, workload,
} from './manifests.mjs';

// What is rendered: by kustomize (an overlay and components), and by the chart (values).
const CASES = [
  { name: 'single', overlay: 'single', values: {} },
  { name: 'ha', overlay: 'ha', values: { controller: { mode: 'ha' } } },
  ...PROFILES.map((profile) => (
    { name: `profile-${profile}`, overlay: 'single', components: [`profile-${profile}`], values: { node: { profile } } })),
  { name: 'monitoring', overlay: 'single', components: ['monitoring'], values: { monitoring: { enabled: true } } },
  { name: 'dashboards', overlay: 'single', components: ['dashboards'], values: { dashboards: { enabled: true } } },
  {
    name: 'ha-all',
    overlay: 'ha',
    components: ['monitoring', 'dashboards', 'profile-walk'],
    values: { controller: { mode: 'ha' }, node: { profile: 'walk' }, monitoring: { enabled: true }, dashboards: { enabled: true } },
  },
];
for (const each of CASES) {
  each.text = kustomize(each.overlay, each.components);
  each.documents = yaml.loadAll(each.text);
  each.chart = helm(each.values);
}
const documentsOf = (name) => CASES.find((each) => each.name === name).documents;
const ROOT = '/roots/';
const RIGHTS = {
  full: ['DAC_READ_SEARCH', 'SYS_ADMIN'],
  'full-noatime': ['DAC_READ_SEARCH', 'FOWNER', 'SYS_ADMIN'],
  walk: ['DAC_OVERRIDE'],
  estimate: ['DAC_READ_SEARCH'],
};
const SELECTED = ['app.kubernetes.io/component', 'app.kubernetes.io/instance', 'app.kubernetes.io/name'];

function keyed(documents) {
  const found = new Map(documents.map((document) => [`${document.apiVersion} ${document.kind} ${document.metadata.name}`, document]));
  assert.equal(found.size, documents.length, 'an object comes twice');
  return found;
}

// Patches put mounts in an order of their own, which means nothing.
function sortMounts(documents) {
  for (const { spec } of podTemplates(documents)) {
    for (const { volumeMounts } of spec.template.spec.containers) {
      volumeMounts.sort((a, b) => (a.mountPath < b.mountPath ? -1 : 1));
    }
  }
  return documents;
}

// Kustomize's objects as the chart has them: kustomize names a ConfigMap of flags after its content, so that other flags are
// other pods; and it has the namespace, which Helm wants there before it installs anything.
function asChart(documents) {
  const hashed = documents.filter(({ kind, data }) => kind === 'ConfigMap' && Object.keys(data)[0].endsWith('.ini'));
  let text = JSON.stringify(documents.filter(({ kind }) => kind !== 'Namespace'));
  assert.equal(hashed.length, 2);
  for (const { metadata } of hashed) {
    assert.match(metadata.name, /^cowherd-(node|controller)-[a-z0-9]{10}$/);
    text = text.replaceAll(`"${metadata.name}"`, `"${metadata.name.slice(0, -11)}"`);
  }
  return JSON.parse(text);
}

// The chart's objects as kustomize has them: pods carry a checksum of their flags.
function asKustomize(documents) {
  return documents.map((document) => {
    const copy = structuredClone(document);
    if (!['DaemonSet', 'Deployment'].includes(copy.kind)) return copy;
    const { annotations } = copy.spec.template.metadata;
    assert.match(annotations['checksum/config'], /^[0-9a-f]{64}$/);
    delete annotations['checksum/config'];
    return copy;
  });
}

for (const { name, documents, chart } of CASES) {
  test(`${name}: the chart renders the same objects`, () => {
    const expected = keyed(sortMounts(asChart(documents)));
    const got = keyed(sortMounts(asKustomize(chart.objects)));
    assert.deepEqual([...got.keys()].sort(), [...expected.keys()].sort());
    for (const [key, document] of got) assert.deepEqual(document, expected.get(key), key);
  });

  test(`${name}: only fields that the API knows`, () => {
    for (const document of [...documents, ...chart.objects]) {
      assert.deepEqual(complaints(document), [], `${document.kind} ${document.metadata.name}`);
    }
  });

  test(`${name}: pods have no more rights than they need`, () => {
    const profile = /walk|estimate|full-noatime|privileged/.exec(name)?.[0] ?? (name === 'ha-all' ? 'walk' : 'full');
    for (const { metadata, spec } of podTemplates(documents)) {
      const pod = spec.template.spec;
      for (const host of ['hostPID', 'hostNetwork', 'hostIPC']) assert.ok(!pod[host], `${metadata.name} ${host}`);
      assert.notEqual(pod.hostUsers, false);
      assert.equal(pod.automountServiceAccountToken, false);
      assert.equal(one(documents, 'ServiceAccount', pod.serviceAccountName).automountServiceAccountToken, false);
      for (const volume of pod.volumes) assert.ok(!volume.projected, 'a token may come that way too');
      assert.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault');
      assert.equal((pod.initContainers ?? []).length + (pod.ephemeralContainers ?? []).length, 0);
      for (const { securityContext: context, volumeMounts } of pod.containers) {
        assert.equal(context.readOnlyRootFilesystem, true);
        for (const { mountPropagation } of volumeMounts) assert.ok([undefined, 'HostToContainer'].includes(mountPropagation));
        if (profile === 'privileged' && metadata.name === 'cowherd-node') {
          assert.deepEqual(context, { privileged: true, readOnlyRootFilesystem: true });
          continue;
        }
        assert.equal(context.privileged, false);
        assert.equal(context.allowPrivilegeEscalation, false);
        assert.deepEqual(context.capabilities.drop, ['ALL']);
        for (const capability of context.capabilities.add ?? []) assert.doesNotMatch(capability, /^CAP_|^ALL$/);
        const wanted = metadata.name === 'cowherd-node' ? RIGHTS[profile] : undefined;
        assert.deepEqual(context.capabilities.add, wanted);
      }
    }
    const controller = workload(documents, 'controller').spec.template.spec;
    assert.equal(controller.securityContext.runAsNonRoot, true);
    assert.notEqual(controller.securityContext.runAsUser, 0);
    for (const volume of controller.volumes) assert.ok(!volume.hostPath);
    // Capabilities of `add` are effective for user 0 only.
    assert.equal(workload(documents, 'node').spec.template.spec.securityContext.runAsUser, 0);
    assert.deepEqual(documents.filter(({ apiVersion }) => apiVersion.startsWith('rbac.')), []);
  });

  test(`${name}: pods are probed, limited, and end in time`, () => {
    for (const component of Object.keys(PROGRAMS)) {
      const pod = workload(documents, component).spec.template.spec;
      const [container] = pod.containers;
      const config = configOf(documents, component);
      for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
        assert.equal(String(container[probe].grpc.port), config.get('health_listen').split(':')[1], probe);
      }
      const { startupProbe: startup, livenessProbe: liveness } = container;
      assert.ok(startup.periodSeconds * startup.failureThreshold >= 60, 'an index takes time to load');
      assert.ok(liveness.periodSeconds * liveness.failureThreshold >= 60);
      assert.ok(container.resources.limits.memory && container.resources.requests.memory && container.resources.requests.cpu);
      assert.equal(container.resources.limits.cpu, undefined);
      // Time to finish, and to be killed only after it.
      assert.ok(config.get('grace_seconds') > 0 && config.get('grace_seconds') + 5 <= pod.terminationGracePeriodSeconds);
      assert.equal(container.lifecycle, undefined);
      assert.equal(container.image, `registry.example/cowherd:${version()}`);
    }
  });

  test(`${name}: machines opt in, and the nodes' pods give way to those that serve users`, () => {
    const node = workload(documents, 'node').spec;
    assert.equal(node.template.spec.nodeSelector['cowherd/storage'], 'true');
    for (const toleration of node.template.spec.tolerations) assert.ok(toleration.key, 'tolerates everything');
    const priority = one(documents, 'PriorityClass', node.template.spec.priorityClassName);
    assert.ok(priority.value > 0 && priority.value <= 1_000_000 && !priority.globalDefault);
    assert.equal(priority.preemptionPolicy, 'Never');
    assert.deepEqual(node.updateStrategy, { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } });
    assert.ok(node.minReadySeconds > 0);
  });

  test(`${name}: flags exist and ports agree`, () => {
    for (const component of Object.keys(PROGRAMS)) {
      const flags = flagsOf(component);
      const config = configOf(documents, component);
      const [container] = workload(documents, component).spec.template.spec.containers;
      assert.deepEqual(container.command, [`cowherd-${component}`]);
      for (const flag of config.keys()) assert.ok(flags.has(flag), `${component}: --${flag}`);
      for (const { name: variable } of container.env ?? []) {
        if (variable.startsWith('COWHERD_')) assert.ok(flags.has(variable.slice(8).toLowerCase()), `${component}: ${variable}`);
      }
      for (const argument of container.args) assert.ok(flags.has(argument.slice(2).split('=')[0]), argument);
      const ports = Object.fromEntries(container.ports.map(({ name: port, containerPort }) => [port, containerPort]));
      for (const [port, flag] of [['grpc', 'listen'], ['metrics', 'metrics_listen'], ['health', 'health_listen']]) {
        assert.equal(config.get(flag), `0.0.0.0:${ports[port]}`);
      }
      const selects = (selector) => selector?.['app.kubernetes.io/component'] === component;
      for (const service of objects(documents, 'Service').filter(({ spec }) => selects(spec.selector))) {
        for (const { name: port, port: number, targetPort } of service.spec.ports) {
          assert.equal(targetPort, port);
          assert.equal(number, ports[port]);
        }
      }
      const policy = one(documents, 'NetworkPolicy', `cowherd-${component}`);
      assert.ok(selects(policy.spec.podSelector.matchLabels));
      assert.deepEqual(policy.spec.ingress.map(({ ports: [{ port }] }) => port), ['grpc', 'metrics']);
      for (const { from } of policy.spec.ingress) assert.ok(from.length > 0, 'anyone may come');
      const monitors = objects(documents, 'PodMonitor').filter(({ spec }) => selects(spec.selector.matchLabels));
      assert.equal(monitors.length, /monitoring|all/.test(name) ? 1 : 0);
      for (const { spec } of monitors) for (const { port } of spec.podMetricsEndpoints) assert.equal(port, 'metrics');
      // Every file that the configuration names lies on a volume.
      const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
      const files = ['tls_cert', 'tls_key', 'tls_ca', 'state_dir'].map((flag) => config.get(flag)).filter(Boolean);
      files.push(...(container.env ?? []).map(({ value }) => value).filter((value) => value?.startsWith('/')));
      const roots = (config.get('root') ?? []).map((root) => root.split(':')[1]);
      for (const file of [...files, ...roots]) assert.ok(mounts.some((mount) => `${file}/`.startsWith(`${mount}/`)), file);
      // Each is given all three, or none.
      for (const flag of ['tls_cert', 'tls_key', 'tls_ca']) assert.ok(config.get(flag), flag);
    }
    const [dns] = configOf(documents, 'controller').get('node_dns');
    const node = one(documents, 'Service', 'cowherd-node');
    assert.equal(dns, `cowherd-node.${node.metadata.namespace}.svc:${node.spec.ports[0].port}`);
    assert.equal(node.spec.clusterIP, 'None');
    assert.equal(node.spec.publishNotReadyAddresses, true);
  });

  test(`${name}: nothing is reached that is not named`, () => {
    const deny = one(documents, 'NetworkPolicy', 'cowherd-deny').spec;
    assert.deepEqual([deny.podSelector, deny.policyTypes, deny.ingress, deny.egress], [{}, ['Ingress', 'Egress'], undefined, undefined]);
    assert.deepEqual(one(documents, 'NetworkPolicy', 'cowherd-node').spec.egress, []);
    const env = workload(documents, 'controller').spec.template.spec.containers[0].env;
    const store = new URL(env.find((each) => each.name === 'COWHERD_STORE').value, 'file:///');
    // A namespace may be let in by several: each has a label of its own.
    const labels = objects(documents, 'NetworkPolicy').flatMap(({ spec }) => [...(spec.ingress ?? []), ...(spec.egress ?? [])])
      .flatMap(({ from, to }) => from ?? to ?? []).map(({ namespaceSelector }) => namespaceSelector?.matchLabels).filter(Boolean);
    assert.ok(labels.length >= 4);
    for (const label of labels) for (const [key, value] of Object.entries(label)) assert.match(`${key}=${value}`, /^cowherd\/access-[a-z]+=true$/);
    const dialled = [one(documents, 'Service', 'cowherd-node').spec.ports[0].port, 7400, 53, 53];
    if (store.protocol === 'etcd:') dialled.push(Number(store.port));
    const { egress } = one(documents, 'NetworkPolicy', 'cowherd-controller').spec;
    assert.deepEqual(egress.flatMap(({ ports }) => ports.map(({ port }) => port)), dialled);
  });

  test(`${name}: certificates are for the names that are dialled`, () => {
    const certificates = objects(documents, 'Certificate');
    const names = certificates.flatMap(({ spec }) => spec.dnsNames ?? []);
    for (const service of objects(documents, 'Service')) {
      assert.ok(names.includes(`${service.metadata.name}.${service.metadata.namespace}.svc`), service.metadata.name);
    }
    for (const component of Object.keys(PROGRAMS)) {
      const { spec } = one(documents, 'Certificate', `cowherd-${component}`);
      assert.deepEqual(spec.uris, [`spiffe://cowherd/${component}`]);
      assert.ok(spec.usages.includes('server auth'));
      assert.equal(spec.usages.includes('client auth'), component === 'controller');
      assert.ok(objects(documents, 'Issuer').some(({ metadata }) => metadata.name === spec.issuerRef.name));
      // Two thirds of its life.
      assert.equal(parseInt(spec.duration, 10), 3 * parseInt(spec.renewBefore, 10));
      const { secret } = workload(documents, component).spec.template.spec.volumes.find((volume) => volume.name === 'tls');
      assert.equal(secret.secretName, spec.secretName);
    }
  });

  test(`${name}: drains go through, selectors stay, objects are small`, () => {
    for (const { spec } of objects(documents, 'PodDisruptionBudget')) assert.deepEqual([spec.maxUnavailable, spec.minAvailable], [1, undefined]);
    assert.equal(objects(documents, 'PodDisruptionBudget').length, 1);
    const selectors = ['DaemonSet', 'Deployment', 'PodDisruptionBudget', 'PodMonitor'].flatMap((kind) => objects(documents, kind))
      .map(({ spec }) => spec.selector.matchLabels);
    selectors.push(...objects(documents, 'Service').map(({ spec }) => spec.selector));
    for (const selector of selectors) assert.deepEqual(Object.keys(selector).sort(), SELECTED);
    for (const { spec } of podTemplates(documents)) assert.deepEqual(spec.template.metadata.labels, spec.selector.matchLabels);
    for (const map of objects(documents, 'ConfigMap')) assert.ok(JSON.stringify(map).length < 200_000, map.metadata.name);
    for (const document of documents) {
      assert.equal(document.metadata.labels['app.kubernetes.io/part-of'], 'cowherd', `${document.kind} ${document.metadata.name}`);
      const clusterWide = ['Namespace', 'PriorityClass'].includes(document.kind);
      assert.equal(document.metadata.namespace, clusterWide ? undefined : 'cowherd');
    }
  });
}

test('the nodes keep their state, and roots are seen as they are mounted on the host', () => {
  for (const { name, documents } of CASES) {
    const { containers: [container], volumes } = workload(documents, 'node').spec.template.spec;
    const volume = Object.fromEntries(volumes.map((each) => [each.name, each]));
    const roots = container.volumeMounts.filter(({ mountPath }) => mountPath.startsWith(ROOT));
    assert.equal(roots.length, 1);
    for (const mount of roots) {
      assert.equal(volume[mount.name].hostPath.type, 'Directory');
      assert.equal(mount.mountPropagation, 'HostToContainer');
      // The kernel wants a writable mount to share; an estimate cannot write.
      assert.equal(mount.readOnly, name === 'profile-estimate' ? true : undefined);
    }
    assert.equal(volume.state.hostPath.type, 'DirectoryOrCreate');
  }
});

test('one controller is replaced before the next starts; three are spread', () => {
  const single = workload(documentsOf('single'), 'controller').spec;
  assert.deepEqual([single.replicas, single.strategy], [1, { type: 'Recreate' }]);
  const ha = workload(documentsOf('ha'), 'controller').spec;
  assert.deepEqual([ha.replicas, ha.strategy.rollingUpdate], [3, { maxUnavailable: 1, maxSurge: 0 }]);
  const { affinity, topologySpreadConstraints: [spread] } = ha.template.spec;
  const [apart] = affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution;
  for (const { labelSelector } of [apart, spread]) assert.deepEqual(labelSelector, ha.selector);
  assert.equal(apart.topologyKey, 'kubernetes.io/hostname');
  const { env } = ha.template.spec.containers[0];
  assert.equal(env.find(({ name }) => name === 'COWHERD_ADVERTISE').value, '$(POD_IP):7400');
  assert.ok(env.findIndex(({ name }) => name === 'POD_IP') < env.findIndex(({ name }) => name === 'COWHERD_ADVERTISE'));
});

test('the rule object holds the rules of deploy/monitoring, in both', () => {
  const files = fs.readdirSync(path.join(repository, 'deploy/monitoring/rules')).sort();
  const groups = files.flatMap((file) => yaml.load(read(`deploy/monitoring/rules/${file}`)).groups);
  const hint = 'run deploy/kubernetes/components/monitoring/generate.py';
  for (const documents of [documentsOf('monitoring'), helm({ monitoring: { enabled: true } }).objects]) {
    assert.deepEqual(one(documents, 'PrometheusRule', 'cowherd').spec.groups, groups, hint);
  }
});

test('every dashboard is a ConfigMap that the sidecar finds, in both', () => {
  const files = fs.readdirSync(path.join(repository, 'deploy/monitoring/dashboards')).filter((file) => file.endsWith('.json')).sort();
  for (const documents of [documentsOf('dashboards'), helm({ dashboards: { enabled: true } }).objects]) {
    const maps = objects(documents, 'ConfigMap').filter(({ metadata }) => metadata.labels.grafana_dashboard === '1');
    assert.deepEqual(maps.map(({ data }) => Object.keys(data)).flat().sort(), files);
    for (const { metadata, data } of maps) {
      const [[file, text]] = Object.entries(data);
      assert.equal(metadata.name, `cowherd-dashboard-${file.slice(0, -5)}`);
      assert.equal(metadata.annotations.grafana_folder, 'cowherd');
      assert.deepEqual(JSON.parse(text), JSON.parse(read(`deploy/monitoring/dashboards/${file}`)));
    }
  }
});

test('ports of the image, the units and the programs are the same', () => {
  const exposed = [...read('deploy/container/Dockerfile').matchAll(/^EXPOSE (.*)$/gm)].flatMap(([, ports]) => ports.split(' ').map(Number));
  const listening = Object.keys(PROGRAMS).flatMap((component) => (
    workload(documentsOf('single'), component).spec.template.spec.containers[0].ports.map(({ containerPort }) => containerPort)));
  assert.deepEqual(exposed, listening);
  for (const component of Object.keys(PROGRAMS)) {
    const config = configOf(documentsOf('single'), component);
    // Also in the lines that are there to be taken in.
    const texts = [...read(`deploy/systemd/${component}.ini`).matchAll(/^(?:# )?(\w*listen)="[\d.]+:(\d+)"/gm)];
    assert.ok(texts.length > 0);
    for (const [, flag, port] of texts) assert.equal(port, config.get(flag).split(':')[1], flag);
  }
});

// What differs from the overlay alone; what a test above compares in full is not repeated.
function golden({ text, documents, overlay, components }) {
  if (!components) return text;
  const before = keyed(documentsOf(overlay));
  const changed = documents.filter((document) => {
    const key = `${document.apiVersion} ${document.kind} ${document.metadata.name}`;
    try {
      assert.deepEqual(document, before.get(key));
      return false;
    } catch {
      return true;
    }
  });
  return changed.map((document) => {
    const copy = structuredClone(document);
    if (copy.kind === 'PrometheusRule') copy.spec.groups = `of ${copy.spec.groups.map(({ name }) => name).join(', ')}`;
    if (copy.metadata.labels.grafana_dashboard) copy.data = Object.keys(copy.data);
    return yaml.dump(copy, { lineWidth: -1, noRefs: true });
  }).join('---\n');
}

for (const each of CASES) {
  test(`${each.name} is as the golden file`, () => {
    const file = path.join(here, 'golden', `${each.name}.yaml`);
    const text = golden(each);
    if (process.env.UPDATE_GOLDEN) fs.writeFileSync(file, text);
    assert.equal(text, fs.readFileSync(file, 'utf8'));
  });
}

test('there is no golden file of what is not rendered any more', () => {
  assert.deepEqual(fs.readdirSync(path.join(here, 'golden')).sort(), [...CASES.map(({ name }) => `${name}.yaml`), 'chart.yaml'].sort());
});
