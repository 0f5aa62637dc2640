{{- define "esplanade.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name where it says what it is, else release-chart. Room is left for "-socket-holder". */}}
{{- define "esplanade.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "esplanade.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "esplanade.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "esplanade.operator" -}}{{ include "esplanade.fullname" . }}-operator{{- end -}}
{{- define "esplanade.nodeAgent" -}}{{ include "esplanade.fullname" . }}-node-agent{{- end -}}
{{- define "esplanade.socketHolder" -}}{{ include "esplanade.fullname" . }}-socket-holder{{- end -}}

{{/* Labels that select. Takes a dict of root and component. */}}
{{- define "esplanade.selectorLabels" -}}
app.kubernetes.io/name: {{ include "esplanade.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* All labels. Takes a dict of root and component. */}}
{{- define "esplanade.labels" -}}
{{ include "esplanade.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image's reference. Takes a dict of root and image. */}}
{{- define "esplanade.image" -}}
{{- with .image.registry }}{{ . }}/{{ end -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}

{{/* Where a Pod may run, as in values. Takes operator or nodeAgent. */}}
{{- define "esplanade.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Port and probes of a container. Without a port nothing is answered. */}}
{{- define "esplanade.probes" -}}
{{- with .port -}}
ports:
- {name: metrics, containerPort: {{ . }}, protocol: TCP}
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}
{{- end -}}

{{/* What Prometheus setups that go by annotations look for. */}}
{{- define "esplanade.scrape" -}}
{{- if and .port .annotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
{{- end -}}
{{- end -}}
