{{/* A profile's security context. */}}
{{- define "cowherd.node.rights" -}}
{{- if eq . "privileged" -}}
privileged: true
readOnlyRootFilesystem: true
{{- else -}}
{{- $add := dict
  "full" (list "DAC_READ_SEARCH" "SYS_ADMIN")
  "full-noatime" (list "DAC_READ_SEARCH" "FOWNER" "SYS_ADMIN")
  "walk" (list "DAC_OVERRIDE")
  "estimate" (list "DAC_READ_SEARCH") -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add: {{ get $add . | required (printf "node.profile: there is no profile %q" .) | toJson }}
{{- end }}
{{- end }}
