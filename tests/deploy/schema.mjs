// Whether objects have the fields that the API server knows, and no others: it drops those it does not know, or refuses them.
import * as api from '@kubernetes/client-node';

// Objects of operators: the fields of their definitions that this project may use.
const CERT_MANAGER = 'cert-manager.io/v1';
const PROMETHEUS = 'monitoring.coreos.com/v1';
const CUSTOM = {
  [`${CERT_MANAGER} Certificate`]: { metadata: 'V1ObjectMeta', spec: 'CertificateSpec' },
  [`${CERT_MANAGER} Issuer`]: { metadata: 'V1ObjectMeta', spec: 'IssuerSpec' },
  [`${PROMETHEUS} PodMonitor`]: { metadata: 'V1ObjectMeta', spec: 'PodMonitorSpec' },
  [`${PROMETHEUS} PrometheusRule`]: { metadata: 'V1ObjectMeta', spec: 'PrometheusRuleSpec' },
  CertificateSpec: {
    commonName: 'string', dnsNames: 'Array<string>', duration: 'string', ipAddresses: 'Array<string>', isCA: 'boolean',
    issuerRef: 'IssuerReference', privateKey: 'PrivateKey', renewBefore: 'string', secretName: 'string', uris: 'Array<string>',
    usages: 'Array<Usage>',
  },
  IssuerReference: { group: 'string', kind: 'string', name: 'string' },
  PrivateKey: { algorithm: 'Algorithm', encoding: 'string', rotationPolicy: 'RotationPolicy', size: 'number' },
  Algorithm: ['RSA', 'ECDSA', 'Ed25519'],
  RotationPolicy: ['Never', 'Always'],
  Usage: ['digital signature', 'key encipherment', 'server auth', 'client auth'],
  IssuerSpec: { ca: 'AuthoritySecret', selfSigned: 'SelfSigned' },
  AuthoritySecret: { secretName: 'string' },
  SelfSigned: { crlDistributionPoints: 'Array<string>' },
  PodMonitorSpec: {
    jobLabel: 'string', namespaceSelector: 'NamespaceSelector', podMetricsEndpoints: 'Array<PodMetricsEndpoint>',
    podTargetLabels: 'Array<string>', sampleLimit: 'number', selector: 'V1LabelSelector',
  },
  NamespaceSelector: { any: 'boolean', matchNames: 'Array<string>' },
  PodMetricsEndpoint: {
    interval: 'Duration', metricRelabelings: 'Array<Relabeling>', path: 'string', port: 'string', relabelings: 'Array<Relabeling>',
    scheme: 'string', scrapeTimeout: 'Duration',
  },
  Relabeling: {
    action: 'string', regex: 'string', replacement: 'string', separator: 'string', sourceLabels: 'Array<string>', targetLabel: 'string',
  },
  PrometheusRuleSpec: { groups: 'Array<RuleGroup>' },
  RuleGroup: { interval: 'Duration', limit: 'number', name: 'string', rules: 'Array<Rule>' },
  Rule: {
    alert: 'string', annotations: '{ [key: string]: string; }', expr: 'IntOrString', for: 'Duration',
    labels: '{ [key: string]: string; }', record: 'string',
  },
  Duration: /^(\d+[smhdwy])+$/,
};

// The complaints about `value`, which should be of `type`, as the API's client names types.
function walk(value, type, where) {
  const list = /^Array<(.*)>$/.exec(type);
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type);
  if (type === 'any') return [];
  if (list) {
    if (!Array.isArray(value)) return [`${where}: not a list`];
    return value.flatMap((item, i) => walk(item, list[1], `${where}[${i}]`));
  }
  if (type === 'IntOrString') return ['number', 'string'].includes(typeof value) ? [] : [`${where}: neither number nor text`];
  if (['string', 'number', 'boolean'].includes(type)) return typeof value === type ? [] : [`${where}: not a ${type}`];
  if (Array.isArray(CUSTOM[type])) return CUSTOM[type].includes(value) ? [] : [`${where}: not a ${type}`];
  if (CUSTOM[type] instanceof RegExp) return CUSTOM[type].test(value) ? [] : [`${where}: not a ${type}`];
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [`${where}: not an object`];
  if (map) return Object.entries(value).flatMap(([key, item]) => walk(item, map[1], `${where}.${key}`));
  const fields = CUSTOM[type] ? new Map(Object.entries({ ...CUSTOM[type] }))
    : new Map(api[type].getAttributeTypeMap().map((field) => [field.baseName, field.type]));
  return Object.entries(value).flatMap(([key, item]) => (fields.has(key)
    ? walk(item, fields.get(key), `${where}.${key}`) : [`${where}.${key}: no such field of ${type}`]));
}

// What is wrong with an object's fields, a line each.
export function complaints({ apiVersion, kind, ...rest }) {
  const custom = `${apiVersion} ${kind}`;
  if (CUSTOM[custom]) return walk(rest, custom, kind);
  const version = apiVersion.split('/').pop();
  const type = version[0].toUpperCase() + version.slice(1) + kind;
  // Of the right group: there is one version of each that we use.
  const group = { DaemonSet: 'apps', Deployment: 'apps', NetworkPolicy: 'networking.k8s.io', PodDisruptionBudget: 'policy', PriorityClass: 'scheduling.k8s.io' };
  if (apiVersion !== (group[kind] ? `${group[kind]}/v1` : 'v1')) return [`${kind}: no such apiVersion as ${apiVersion}`];
  if (!api[type]) return [`${kind}: no such kind`];
  return walk({ apiVersion, kind, ...rest }, type, kind);
}
