// The walk over fields finds what is wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { complaints } from './schema.mjs';

test('an object of the API server', () => {
  const broken = { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 1 }, spec: { template: { spec: { container: [] } } } };
  assert.deepEqual(complaints(broken), [
    'DaemonSet.metadata.name: not a string', 'DaemonSet.spec.template.spec.container: no such field of V1PodSpec']);
  assert.deepEqual(complaints({ ...broken, apiVersion: 'v1' }), ['DaemonSet: no such apiVersion as v1']);
  assert.deepEqual(complaints({ apiVersion: 'v1', kind: 'Sevice' }), ['Sevice: no such kind']);
  assert.deepEqual(complaints({ apiVersion: 'v1', kind: 'Service', metadata: { labels: ['a'] } }), ['Service.metadata.labels: not an object']);
});

test('an object of an operator', () => {
  const monitor = { apiVersion: 'monitoring.coreos.com/v1', kind: 'PodMonitor', metadata: {} };
  const endpoint = { port: 'metrics', interval: 'often', relabelings: [{ target_label: 'job' }] };
  assert.deepEqual(complaints({ ...monitor, spec: { podMetricsEndpoints: [endpoint] } }), [
    'PodMonitor.spec.podMetricsEndpoints[0].interval: not a Duration',
    'PodMonitor.spec.podMetricsEndpoints[0].relabelings[0].target_label: no such field of Relabeling']);
  const certificate = { apiVersion: 'cert-manager.io/v1', kind: 'Certificate', metadata: {}, spec: { usages: ['server'] } };
  assert.deepEqual(complaints(certificate), ['Certificate.spec.usages[0]: not a Usage']);
});
