#!/usr/bin/python3
"""Writes the dashboards as Grafana's JSON, one file each, beside this script.

    deploy/monitoring/dashboards/generate.py [--check]      --check: fail if a file is not as it would be written

What a dashboard shows stands below, a panel a line or two; layout, variables, links and annotations are the same for all.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
NODE = 'cluster=~"$cluster",instance=~"$node"'
VOLUME = f'{NODE},volume=~"$volume"'
CLUSTER = 'cluster=~"$cluster"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def target(expression, legend="", **more):
    return {"datasource": SOURCE, "expr": expression, "legendFormat": legend, **more}


def panel(kind, title, description, unit, targets, width, height, options=None, defaults=None, **more):
    if isinstance(targets, str):
        targets = [target(targets)]
    for letter, each in zip("ABCDEFGH", targets):
        each["refId"] = letter
    return {
        "type": kind, "title": title, "description": description, "datasource": SOURCE, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": []},
        "options": options or {}, "gridPos": {"w": width, "h": height}, **more,
    }  # fmt: skip


def stat(title, description, unit, expression, width=4, thresholds=None):
    steps = [{"color": "green", "value": None}] + [{"color": color, "value": value} for value, color in thresholds or []]
    return panel(
        "stat", title, description, unit, [target(expression, instant=True)], width, 4,
        {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}},
        {"thresholds": {"mode": "absolute", "steps": steps}, "noValue": "0"},
    )  # fmt: skip


def series(title, description, unit, *targets, width=12, stacked=False, at_least=0):
    defaults = {"custom": {"fillOpacity": 30 if stacked else 8, "lineWidth": 1, "showPoints": "never",
                           "stacking": {"mode": "normal" if stacked else "none"}}}  # fmt: skip
    if at_least is not None:
        defaults["min"] = at_least
    options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel("timeseries", title, description, unit, list(targets), width, 8, options, defaults)


def bars(title, description, unit, expression, legend, width=12):
    options = {"displayMode": "gradient", "orientation": "horizontal", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return panel("bargauge", title, description, unit, [target(expression, legend, instant=True)], width, 8, options, {"min": 0})


def table(title, description, unit, expression, hide=(), width=12):
    hidden = {name: True for name in ("Time", "__name__", "job", "cluster", *hide)}
    transformations = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return panel(
        "table", title, description, unit, [target(expression, instant=True, format="table")], width, 8,
        {"showHeader": True}, transformations=transformations,
    )  # fmt: skip


def heatmap(title, description, unit, expression, width=12):
    return panel(
        "heatmap", title, description, unit, [target(expression, "{{le}}", format="heatmap")], width, 8,
        {"calculate": False, "yAxis": {"unit": unit}, "color": {"scheme": "Oranges"}},
    )  # fmt: skip


OVERVIEW = [
    stat("Space won", "Free space that jobs won since the controller began, measured after a commit. Other writers move it too.",
         "bytes", f"sum(cowherd_controller_won_bytes{{{CLUSTER}}})"),
    stat("Won within a day", "The same over the last 24 hours.", "bytes",
         f"sum(delta(cowherd_controller_won_bytes{{{CLUSTER}}}[1d]))"),
    stat("Nodes up", "Nodes that answered the controller's last probe.", "short",
         f'sum(cowherd_controller_nodes{{{CLUSTER},state="up"}})'),
    stat("Nodes down", "Nodes that did not answer, or could not be reached.", "short",
         f'sum(cowherd_controller_nodes{{{CLUSTER},state=~"down|lost"}})', thresholds=[(1, "red")]),
    stat("Jobs running", "Jobs of which a task has begun and that have not ended.", "short",
         f'sum(cowherd_controller_jobs{{{CLUSTER},state="running"}})'),
    stat("Jobs failed within a day", "Jobs that ended with a task that failed for good.", "short",
         f'sum(increase(cowherd_controller_jobs_finished_total{{{CLUSTER},outcome="failed"}}[1d]))', thresholds=[(1, "red")]),
    series("Accepted by node", "Bytes per second that the kernel found equal and shares, the ten busiest nodes.", "binBps",
           target(f"topk(10, sum by (instance) (rate(cowherd_node_dedupe_accepted_bytes_total{{{NODE}}}[$__rate_interval])))",
                  "{{instance}}"), stacked=True),
    series("Looked at, asked for, accepted", "What scans look at, what of it is asked of the kernel, and what that found equal.",
           "binBps",
           target(f"sum(rate(cowherd_node_scan_bytes_total{{{NODE}}}[$__rate_interval]))", "looked at"),
           target(f"sum(rate(cowherd_node_dedupe_requested_bytes_total{{{NODE}}}[$__rate_interval]))", "asked for"),
           target(f"sum(rate(cowherd_node_dedupe_accepted_bytes_total{{{NODE}}}[$__rate_interval]))", "accepted")),
    bars("Where duplicates are", "Duplicate data found since each node began and not accepted yet, by volume: where a job pays next.",
         "bytes", f"topk(10, clamp_min(sum by (instance, volume) (cowherd_node_duplicate_bytes_total{{{NODE}}}"
         f" - cowherd_node_dedupe_accepted_bytes_total{{{NODE}}}), 0))", "{{instance}} {{volume}}"),
    series("Held back", "Threads of scans that wait, by cause: the rate asked for, or others that wait for I/O.", "short",
           target(f"sum by (cause) (rate(cowherd_node_throttled_seconds_total{{{NODE}}}[$__rate_interval]))", "{{cause}}")),
    series("Tasks", "Tasks of jobs that have not ended, by state.", "short",
           target(f"sum by (state) (cowherd_controller_tasks{{{CLUSTER}}})", "{{state}}"), width=8, stacked=True),
    series("Oldest task", "How long the task that waits longest has waited.", "s",
           target(f"max by (cluster) (cowherd_controller_oldest_task_age_seconds{{{CLUSTER}}})", "{{cluster}}"), width=8),
    table("Alerts", "Alerts of cowherd that fire now.", "short",
          f'ALERTS{{{CLUSTER},alertname=~"Cowherd.*",alertstate="firing"}}', hide=("alertstate", "Value"), width=8),
]

NODES = [
    stat("Version", "Nodes of this version.", "short", f'count(cowherd_build_info{{{NODE},component="node"}})'),
    stat("Tasks running", "Tasks that run now.", "short", f"sum(cowherd_node_tasks_running{{{NODE}}})"),
    stat("Space won", "Free space that scans won since the node began.", "bytes",
         f"sum(cowherd_node_dedupe_won_bytes{{{VOLUME}}})"),
    stat("Moved", "Unique data copied so that the storage around it goes free.", "bytes",
         f"sum(cowherd_node_moved_bytes_total{{{VOLUME}}})"),
    stat("Memory", "Resident memory of the process.", "bytes", f'sum(process_resident_memory_bytes{{{NODE}}})'),
    stat("Volumes absent", "Roots that cannot be used now.", "short",
         f"sum(cowherd_node_volume_present{{{VOLUME}}} == bool 0)", thresholds=[(1, "red")]),
    series("Space", "Used and free space of each volume.", "bytes",
           target(f"cowherd_node_volume_size_bytes{{{VOLUME}}} - cowherd_node_volume_free_bytes{{{VOLUME}}}", "{{instance}} {{volume}} used"),
           target(f"cowherd_node_volume_free_bytes{{{VOLUME}}}", "{{instance}} {{volume}} free")),
    series("Space won", "Free space won since the node began.", "bytes",
           target(f"cowherd_node_dedupe_won_bytes{{{VOLUME}}}", "{{instance}} {{volume}}"), at_least=None),
    series("Looked at", "Bytes of data per second looked at to find duplicates.", "binBps",
           target(f"sum by (instance, volume) (rate(cowherd_node_scan_bytes_total{{{VOLUME}}}[$__rate_interval]))", "{{instance}} {{volume}}")),
    series("Files looked at", "Files per second, by what told their duplicates: the filesystem's checksums, or reading.", "short",
           target(f"sum by (source) (rate(cowherd_node_scan_source_files_total{{{VOLUME}}}[$__rate_interval]))", "{{source}}"), stacked=True),
    heatmap("Calls into the kernel", "How long one call that compares and shares takes.", "s",
            f"sum by (le) (increase(cowherd_node_dedupe_call_duration_seconds_bucket{{{NODE}}}[$__rate_interval]))"),
    series("Calls into the kernel, quantiles", "The same as quantiles.", "s",
           target(f"histogram_quantile(0.5, sum by (le) (rate(cowherd_node_dedupe_call_duration_seconds_bucket{{{NODE}}}[$__rate_interval])))", "half"),
           target(f"histogram_quantile(0.99, sum by (le) (rate(cowherd_node_dedupe_call_duration_seconds_bucket{{{NODE}}}[$__rate_interval])))", "99 of 100")),
    series("Ranges", "Ranges per second by outcome.", "short",
           target(f"sum by (outcome) (rate(cowherd_node_dedupe_ranges_total{{{VOLUME}}}[$__rate_interval]))", "{{outcome}}"), stacked=True),
    series("Refusals", "Errors of the kernel per second, by errno.", "short",
           target(f"sum by (reason) (rate(cowherd_node_dedupe_errors_total{{{NODE}}}[$__rate_interval]))", "{{reason}}"), stacked=True),
    series("Left as it is", "Duplicate data that is not worth sharing or cannot be, by reason.", "bytes",
           target(f"sum by (reason) (cowherd_node_left_bytes_total{{{VOLUME}}})", "{{reason}}"), stacked=True),
    series("Held back", "Threads of scans that wait, by cause.", "short",
           target(f"sum by (cause) (rate(cowherd_node_throttled_seconds_total{{{VOLUME}}}[$__rate_interval]))", "{{cause}}")),
    series("Calls to the node", "RPCs per second by method and status.", "reqps",
           target(f"sum by (grpc_method, grpc_code) (rate(grpc_server_handled_total{{{NODE},grpc_service=\"cowherd.v1.NodeService\"}}[$__rate_interval]))",
                  "{{grpc_method}} {{grpc_code}}")),
    series("Processor", "Processor time of the process, in cores.", "short",
           target(f"rate(process_cpu_seconds_total{{{NODE}}}[$__rate_interval])", "{{instance}}")),
]

JOBS = [
    stat("Running", "Jobs that run.", "short", f'sum(cowherd_controller_jobs{{{CLUSTER},state="running"}})'),
    stat("Waiting", "Jobs of which no task has begun.", "short", f'sum(cowherd_controller_jobs{{{CLUSTER},state="pending"}})'),
    stat("Paused", "Jobs that somebody, or the end of a window, has paused.", "short", f'sum(cowherd_controller_jobs{{{CLUSTER},state="paused"}})'),
    stat("Ended within a day", "Jobs that ended, however.", "short", f"sum(increase(cowherd_controller_jobs_finished_total{{{CLUSTER}}}[1d]))"),
    stat("Failed within a day", "Jobs that ended with a task that failed for good.", "short",
         f'sum(increase(cowherd_controller_jobs_finished_total{{{CLUSTER},outcome="failed"}}[1d]))', thresholds=[(1, "red")]),
    stat("Tries repeated within a day", "Tries of tasks that ended and are followed by another.", "short",
         f"sum(increase(cowherd_controller_task_retries_total{{{CLUSTER}}}[1d]))"),
    series("Jobs", "Jobs in the store, by state.", "short",
           target(f"sum by (state) (cowherd_controller_jobs{{{CLUSTER}}})", "{{state}}"), stacked=True),
    series("Jobs ended", "Jobs that ended per hour, by outcome.", "short",
           target(f"sum by (outcome) (increase(cowherd_controller_jobs_finished_total{{{CLUSTER}}}[1h]))", "{{outcome}}"), stacked=True),
    series("Tasks", "Tasks of jobs that have not ended, by state.", "short",
           target(f"sum by (state) (cowherd_controller_tasks{{{CLUSTER}}})", "{{state}}"), stacked=True),
    series("Tries repeated", "Tries of tasks that ended and are followed by another, per hour, by reason.", "short",
           target(f"sum by (reason) (increase(cowherd_controller_task_retries_total{{{CLUSTER}}}[1h]))", "{{reason}}"), stacked=True),
    series("What jobs did", "Bytes that tasks looked at, asked the kernel to share, and had accepted, as reported.", "binBps",
           target(f"sum(rate(cowherd_controller_bytes_scanned_total{{{CLUSTER}}}[$__rate_interval]))", "looked at"),
           target(f"sum(rate(cowherd_controller_bytes_requested_total{{{CLUSTER}}}[$__rate_interval]))", "asked for"),
           target(f"sum(rate(cowherd_controller_bytes_accepted_total{{{CLUSTER}}}[$__rate_interval]))", "accepted")),
    series("Planned", "Space that tasks plan to free, and data they move for it, dry runs included.", "bytes",
           target(f"sum(cowherd_controller_bytes_freeable_total{{{CLUSTER}}})", "to go free"),
           target(f"sum(cowherd_controller_bytes_moved_total{{{CLUSTER}}})", "to be moved")),
]

CONTROLLER = [
    stat("Controllers up", "Controllers that Prometheus can scrape.", "short", f'sum(up{{{CLUSTER},job="cowherd-controller"}})'),
    stat("Oldest task", "How long the task that waits longest has waited.", "s", f"max(cowherd_controller_oldest_task_age_seconds{{{CLUSTER}}})"),
    stat("Memory", "Resident memory of the controllers.", "bytes", f'sum(process_resident_memory_bytes{{{CLUSTER},job="cowherd-controller"}})'),
    stat("Store errors within a day", "Operations of the store that failed.", "short",
         f'sum(increase(cowherd_store_operation_duration_seconds_count{{{CLUSTER},outcome="error"}}[1d]))', thresholds=[(1, "red")]),
    series("Nodes", "Nodes known, by state.", "short",
           target(f"sum by (state) (cowherd_controller_nodes{{{CLUSTER}}})", "{{state}}"), stacked=True),
    series("Store operations", "Operations of the store per second.", "ops",
           target(f"sum by (operation) (rate(cowherd_store_operation_duration_seconds_count{{{CLUSTER}}}[$__rate_interval]))", "{{operation}}")),
    series("Store, 99 of 100", "How long an operation of the store takes at most in 99 of 100 cases.", "s",
           target(f"histogram_quantile(0.99, sum by (le, operation) (rate(cowherd_store_operation_duration_seconds_bucket{{{CLUSTER}}}[$__rate_interval])))",
                  "{{operation}}")),
    heatmap("Store writes", "How long writes of the store take.", "s",
            f'sum by (le) (increase(cowherd_store_operation_duration_seconds_bucket{{{CLUSTER},operation="write"}}[$__rate_interval]))'),
    series("Calls", "RPCs per second by method and status.", "reqps",
           target(f"sum by (grpc_method, grpc_code) (rate(grpc_server_handled_total{{{CLUSTER},grpc_service=\"cowherd.v1.ControllerService\"}}[$__rate_interval]))",
                  "{{grpc_method}} {{grpc_code}}")),
    series("Calls, 99 of 100", "How long a call takes at most in 99 of 100 cases; watches last as long as their jobs.", "s",
           target("histogram_quantile(0.99, sum by (le, grpc_method) (rate(grpc_server_handling_seconds_bucket"
                  f"{{{CLUSTER},grpc_service=\"cowherd.v1.ControllerService\",grpc_type=\"unary\"}}[$__rate_interval])))", "{{grpc_method}}")),
    series("Processor", "Processor time of each controller, in cores.", "short",
           target(f'rate(process_cpu_seconds_total{{{CLUSTER},job="cowherd-controller"}}[$__rate_interval])', "{{instance}}")),
    series("Open files", "File descriptors of each controller.", "short",
           target(f'process_open_fds{{{CLUSTER},job="cowherd-controller"}}', "{{instance}}")),
]

FREE = f"cowherd_node_volume_free_bytes{{{VOLUME}}}"
CAPACITY = [
    stat("Size", "Size of all volumes.", "bytes", f"sum(cowherd_node_volume_size_bytes{{{VOLUME}}})", width=6),
    stat("Free", "Free space of all volumes.", "bytes", f"sum({FREE})", width=6),
    stat("Won since the nodes began", "Free space that scans won.", "bytes", f"sum(cowherd_node_dedupe_won_bytes{{{VOLUME}}})", width=6),
    stat("Could go free", "Space that scans planned to free, dry runs included, and have not won yet.", "bytes",
         f"clamp_min(sum(cowherd_node_freeable_bytes_total{{{VOLUME}}}) - sum(cowherd_node_dedupe_won_bytes{{{VOLUME}}}), 0)", width=6),
    bars("Days to full", "At the pace of the last day, with what cowherd wins. Volumes that do not fill are left out.", "d",
         f"{FREE} / (-deriv({FREE}[1d]) * 86400 > 0)", "{{instance}} {{volume}}"),
    bars("Days to full without cowherd", "The same, had cowherd won nothing within the last day.", "d",
         f"{FREE} / ((-deriv({FREE}[1d]) + deriv(cowherd_node_dedupe_won_bytes{{{VOLUME}}}[1d])) * 86400 > 0)", "{{instance}} {{volume}}"),
    series("Used, and what it would be without cowherd", "Used space, and used space with what was won since the node began.", "bytes",
           target(f"sum(cowherd_node_volume_size_bytes{{{VOLUME}}} - {FREE})", "used"),
           target(f"sum(cowherd_node_volume_size_bytes{{{VOLUME}}} - {FREE} + cowherd_node_dedupe_won_bytes{{{VOLUME}}})", "without cowherd")),
    series("Free by volume", "Free space in parts of the size.", "percentunit",
           target(f"{FREE} / cowherd_node_volume_size_bytes{{{VOLUME}}}", "{{instance}} {{volume}}")),
    series("Found and accepted", "Duplicate data found, and bytes accepted, since the nodes began.", "bytes",
           target(f"sum(cowherd_node_duplicate_bytes_total{{{VOLUME}}})", "found"),
           target(f"sum(cowherd_node_dedupe_accepted_bytes_total{{{VOLUME}}})", "accepted")),
    table("Volumes", "Size of each volume, with its filesystem.", "bytes",
          f"cowherd_node_volume_size_bytes{{{VOLUME}}} * on (cluster, instance, volume) group_left (fs_type, fs_uuid) cowherd_node_volume_info{{{VOLUME}}}"),
]

DASHBOARDS = {
    "overview": ("cowherd / Overview", OVERVIEW, ("node",)),
    "node": ("cowherd / Node", NODES, ("node", "volume")),
    "jobs": ("cowherd / Jobs", JOBS, ()),
    "controller": ("cowherd / Controller and store", CONTROLLER, ()),
    "capacity": ("cowherd / Capacity", CAPACITY, ("node", "volume")),
}
QUERIES = {
    "cluster": "label_values(cowherd_build_info, cluster)",
    "node": 'label_values(cowherd_build_info{cluster=~"$cluster",component="node"}, instance)',
    "volume": 'label_values(cowherd_node_volume_present{cluster=~"$cluster",instance=~"$node"}, volume)',
}


def laid_out(panels):
    x = y = height = 0
    for number, each in enumerate(panels, 1):
        position = each["gridPos"]
        if x + position["w"] > 24:
            x, y, height = 0, y + height, 0
        position.update(x=x, y=y)
        x, height = x + position["w"], max(height, position["h"])
        each["id"] = number
    return panels


def dashboard(name):
    title, panels, variables = DASHBOARDS[name]
    chosen = [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
    for variable in ("cluster", *variables):
        chosen.append({
            "name": variable, "label": variable.capitalize(), "type": "query", "datasource": SOURCE, "query": QUERIES[variable],
            "definition": QUERIES[variable], "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        })  # fmt: skip
    return {
        "uid": f"cowherd-{name}", "title": title, "tags": ["cowherd"], "schemaVersion": 38, "editable": False,
        "timezone": "browser", "refresh": "30s", "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": chosen},
        "links": [{"title": "cowherd", "type": "dashboards", "tags": ["cowherd"], "asDropdown": True, "includeVars": True, "keepTime": True}],
        "annotations": {"list": [{
            "name": "Controllers begin", "datasource": SOURCE, "enable": True, "iconColor": "purple", "titleFormat": "a controller began",
            "expr": f'changes(process_start_time_seconds{{{CLUSTER},job="cowherd-controller"}}[1m]) > 0',
        }]},
        "panels": laid_out(panels),
    }  # fmt: skip


def main():
    stale = []
    for name in DASHBOARDS:
        path = HERE / f"{name}.json"
        text = json.dumps(dashboard(name), indent=1) + "\n"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.write_text(text)
    if stale:
        sys.exit(f"generate.py: not as it would be written: {', '.join(stale)}; run deploy/monitoring/dashboards/generate.py")


if __name__ == "__main__":
    main()
