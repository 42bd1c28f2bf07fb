{{/* What the names of all objects begin with: "cowherd" for a release of that name. */}}
{{- define "cowherd.name" -}}
{{- if contains "cowherd" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-cowherd" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Labels that never change: selectors are made of them. */}}
{{- define "cowherd.selector" -}}
app.kubernetes.io/name: cowherd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cowherd.labels" -}}
{{ include "cowherd.selector" . }}
app.kubernetes.io/part-of: cowherd
{{- end }}

{{- define "cowherd.image" -}}
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* Flags as lines of a config file: cowherd-node reads key="text", key=["a", "b"] and key=1. */}}
{{- define "cowherd.flags" -}}
{{- range $flag, $value := . }}
{{ $flag }}={{ toRawJson $value }}
{{- end }}
{{- end }}

{{/* The kubelet's questions, all to the health port: call with (dict "port" 7302 "ready" 10). */}}
{{- define "cowherd.probes" -}}
startupProbe:
  grpc:
    port: {{ .port }}
    service: alive
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  grpc:
    port: {{ .port }}
  periodSeconds: {{ .ready }}
# Only whether the process answers: what it depends on must not restart the fleet.
livenessProbe:
  grpc:
    port: {{ .port }}
    service: alive
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}
