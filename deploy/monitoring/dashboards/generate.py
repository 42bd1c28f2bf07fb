#!/usr/bin/python3
"""Writes the dashboards as Grafana's JSON, one file each, beside this script.

    deploy/monitoring/dashboards/generate.py [--check]      --check: fail if a file is not as it would be written

What a dashboard shows stands below, a panel a line or two; layout, variables, links, colours and annotations are the same for
all. ../page draws them without Grafana, and knows the kinds of panels and the settings that stand here.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
CLUSTER = 'cluster=~"$cluster"'
NODE = f'{CLUSTER},instance=~"$node"'
VOLUME = f'{NODE},volume=~"$volume"'
CONTROLLER_JOB = f'{CLUSTER},job="cowherd-controller"'
NODE_JOB = f'{NODE},job="cowherd-node"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

# A name has one colour wherever it stands.
COLOURS = {
    "succeeded": "green", "up": "green", "deduped": "green", "accepted": "green", "started": "green", "OK": "green", "free": "green",
    "failed": "red", "down": "red", "refused": "dark-red", "missed": "red", "lost": "purple",
    "running": "blue", "looked at": "blue", "found": "blue", "used": "blue", "to go free": "blue",
    "paused": "orange", "differs": "orange", "asked for": "orange", "to be moved": "orange", "without cowherd": "orange",
    "waiting": "#8e8e9e", "pending": "#8e8e9e", "unknown": "#8e8e9e", "none": "#4d78a8", "vanished": "#6e6e7e", "cancelled": "yellow",
}  # fmt: skip


def to_node(label):
    """A link to the dashboard of one node, which `label` names."""
    url = "/d/cowherd-node?${__url_time_range}&${cluster:queryparam}&var-node=" + label
    return [{"title": "Node", "url": url}]


def to_board(name):
    return [{"title": name.capitalize(), "url": f"/d/cowherd-{name}?${{__url_time_range}}&${{cluster:queryparam}}"}]


def target(expression, legend="", **more):
    return {"datasource": SOURCE, "expr": expression, "legendFormat": legend, **more}


def panel(kind, title, description, unit, targets, width, height, options=None, defaults=None, overrides=(), **more):
    if isinstance(targets, str):
        targets = [target(targets)]
    for letter, each in zip("ABCDEFGH", targets):
        each["refId"] = letter
    return {
        "type": kind, "title": title, "description": description, "datasource": SOURCE, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": list(overrides)},
        "options": options or {}, "gridPos": {"w": width, "h": height}, **more,
    }  # fmt: skip


def override(name, **properties):
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": key, "value": value} for key, value in properties.items()]}


def steps(*limits, base="green"):
    """(value, colour) from which on it is so."""
    rows = [{"color": base, "value": None}] + [{"color": colour, "value": value} for value, colour in limits]
    return {"mode": "absolute", "steps": rows}


def stat(title, description, unit, expression, width=4, thresholds=(), base="text", legend="", links=(), **options):
    return panel(
        "stat", title, description, unit, [target(expression, legend, instant=True)], width, 4,
        {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}, **options},
        {"color": {"mode": "thresholds"}, "thresholds": steps(*thresholds, base=base), "links": list(links)},
    )  # fmt: skip


def series(title, description, unit, *targets, width=12, height=8, stacked=False, at_least=0, right=False, limit=None, stairs=False, links=()):
    """`right`: the legend is a table beside the graph, for names that are many or long. `limit`: a line there."""
    custom = {
        # Areas that lie over one another hide one another.
        "fillOpacity": 40 if stacked else 0 if any("instance" in each["legendFormat"] for each in targets) else 10, "lineWidth": 1, "showPoints": "never", "spanNulls": False,
        "lineInterpolation": "stepAfter" if stairs else "linear",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }  # fmt: skip
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom}
    if stairs:  # whole things, counted
        defaults["decimals"] = 0
        custom["axisSoftMax"] = 1
    if at_least is not None:
        defaults["min"] = at_least
    if limit is not None:
        custom.update(thresholdsStyle={"mode": "dashed"}, axisSoftMax=limit * 1.1)
        defaults["thresholds"] = steps((limit, "red"), base="transparent")
    if links:
        defaults["links"] = links
    if right:
        legend = {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}
    else:
        legend = {"displayMode": "list", "placement": "bottom", "calcs": []}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    names = {each["legendFormat"] for each in targets}
    any_name = names & {"{{state}}", "{{outcome}}", "{{reason}}", "{{grpc_code}}"}
    overrides = [override(name, color={"mode": "fixed", "fixedColor": colour}) for name, colour in COLOURS.items() if any_name or name in names]
    return panel("timeseries", title, description, unit, list(targets), width, height, options, defaults, overrides)


def bars(title, description, unit, expression, legend, width=12, height=8, links=()):
    options = {"displayMode": "gradient", "orientation": "horizontal", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return panel(
        "bargauge", title, description, unit, [target(expression, legend, instant=True)], width, height, options,
        {"min": 0, "color": {"mode": "continuous-BlPu"}, "links": list(links)},
    )  # fmt: skip


def table(title, description, labels, values, width=24, height=8, empty="–", links=None, mappings=None):
    """A row for each set of `labels`, {label: heading}; `values`: (heading, unit, expression) a column, None: no column."""
    targets = [target(expression, instant=True, format="table") for _, _, expression in values]
    columns = ["Value"] if len(values) == 1 else [f"Value #{letter}" for letter, _ in zip("ABCDEFGH", values)]
    shown = {column: heading for column, (heading, _, _) in zip(columns, values) if heading}
    order = {name: place for place, name in enumerate([*labels, *shown])}
    overrides = [override(heading, unit=unit, **(mappings or {}).get(heading, {})) for heading, unit, _ in values if heading]
    overrides += [override(heading, links=where) for heading, where in (links or {}).items()]
    overrides += [override(heading, **how) for heading, how in (mappings or {}).items() if heading in labels.values()]
    keep = {"id": "filterFieldsByName", "options": {"include": {"names": [*labels, *shown]}}}
    rename = {"id": "organize", "options": {"indexByName": order, "renameByName": {**labels, **shown}, "excludeByName": {}}}
    return panel(
        "table", title, description, "short", targets, width, height, {"showHeader": True, "cellHeight": "sm"},
        {"noValue": empty, "custom": {"align": "auto", "minWidth": 70}}, overrides, transformations=[{"id": "merge", "options": {}}, keep, rename],
    )  # fmt: skip


def heatmap(title, description, unit, expression, width=12):
    return panel(
        "heatmap", title, description, unit, [target(expression, "{{le}}", format="heatmap")], width, 8,
        {"calculate": False, "yAxis": {"unit": unit}, "color": {"mode": "scheme", "scheme": "Oranges"}, "cellGap": 1},
        maxDataPoints=60,
    )  # fmt: skip


def rate(metric, selector, *by, more=""):
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({metric}{{{selector}{more}}}[$__rate_interval]))"


def quantile(part, metric, selector, *by, window="$__rate_interval"):
    """Nothing where nothing was measured, not NaN."""
    return f"histogram_quantile({part}, sum by ({', '.join(('le', *by))}) (rate({metric}_bucket{{{selector}}}[{window}]))) > 0"


def counted(metric, selector, by, window):
    """What of a counter's labels moved; a line "none" at 0 tells that no other did."""
    found = f"sum by ({by}) (increase({metric}{{{selector}}}[{window}])) > 0"
    return target(f'({found}) or label_replace(vector(0), "{by}", "none", "", "")', f"{{{{{by}}}}}")


def won(window):
    come, gone = ("cowherd_controller_bytes_won_total", "cowherd_controller_bytes_lost_total")
    return f"sum(increase({come}{{{CLUSTER}}}[{window}])) - sum(increase({gone}{{{CLUSTER}}}[{window}]))"


def words(by_value):
    """How a column says its values: {value: (text, colour)}."""
    options = {value: {"text": text, "color": colour} for value, (text, colour) in by_value.items()}
    return {"mappings": [{"type": "value", "options": options}], "custom.cellOptions": {"type": "color-text"}}


UP = words({"1": ("up", "green"), "0": ("down", "red")})
PRESENT = words({"1": ("yes", "green"), "0": ("no", "red")})
ALERT_STATE = words({"firing": ("firing", "red"), "pending": ("pending", "orange")})
OF_VOLUME = "sum by (cluster, instance, volume)"

OVERVIEW = [
    stat("Space won in all", "Free space that jobs won, measured after a commit, less what other writers took meanwhile: for as long as "
         "Prometheus remembers, a year at most.", "bytes", won("1y"), width=3, base="green", links=to_board("capacity")),
    stat("Won in a day", "The same over the last 24 hours.", "bytes", won("1d"), width=3, base="green", links=to_board("jobs")),
    stat("Could go free", "Space that the last scan of each volume found it could free and left: all of it after a dry run.", "bytes",
         f"sum(cowherd_node_reclaimable_bytes{{{NODE}}})", width=3, base="blue", links=to_board("capacity")),
    stat("Nodes up", "Nodes that answered the controller's last probe.", "short",
         f'sum(cowherd_controller_nodes{{{CLUSTER},state="up"}})', width=3, links=to_board("node")),
    stat("Nodes down", "Nodes that did not answer it: down, lost, or refused as two with one name.", "short",
         f'sum(cowherd_controller_nodes{{{CLUSTER},state=~"down|lost|refused"}})', width=3, thresholds=[(1, "red")], links=to_board("controller")),
    stat("Jobs running", "Jobs of which a task has begun and that have not ended.", "short",
         f'sum(cowherd_controller_jobs{{{CLUSTER},state="running"}})', width=3, links=to_board("jobs")),
    stat("Jobs failed", "Jobs that ended within a day with a task that failed for good.", "short",
         f'round(sum(increase(cowherd_controller_jobs_finished_total{{{CLUSTER},outcome="failed"}}[1d])))', width=3,
         thresholds=[(1, "red")], links=to_board("jobs")),
    stat("Alerts firing", "Alerts of cowherd that fire now; they stand below.", "short",
         f'count(ALERTS{{{CLUSTER},alertname=~"Cowherd.*",alertstate="firing"}}) or vector(0)', width=3, thresholds=[(1, "red")]),
    series("Accepted by node", "Bytes per second that the kernel found equal and shares, the ten busiest nodes.", "binBps",
           target(f"topk(10, {rate('cowherd_node_dedupe_accepted_bytes_total', NODE, 'instance')})", "{{instance}}"), stacked=True,
           links=to_node("${__field.labels.instance}")),
    series("Looked at, asked for, accepted", "What scans look at, what of it is asked of the kernel, and what that found equal, per second.",
           "binBps",
           target(rate("cowherd_node_scan_bytes_total", NODE), "looked at"),
           target(rate("cowherd_node_dedupe_requested_bytes_total", NODE), "asked for"),
           target(rate("cowherd_node_dedupe_accepted_bytes_total", NODE), "accepted")),
    series("Space won by node", "Free space that scans won since each node began, the ten that won most. Other writers move it too.", "bytes",
           target(f"topk(10, sum by (instance) (cowherd_node_dedupe_won_bytes{{{NODE}}}))", "{{instance}}"), stacked=True, at_least=None,
           links=to_node("${__field.labels.instance}")),
    bars("Where space can be won", "Space that the last scan of a volume found it could free and left, the eight volumes with most of it: where a "
         "job pays next.", "bytes", f"topk(8, sum by (instance, volume) (cowherd_node_reclaimable_bytes{{{NODE}}}))",
         "{{instance}} {{volume}}", links=to_node("${__field.labels.instance}")),
    series("Jobs", "Jobs that have not ended, by state.", "short",
           target(f'sum by (state) (cowherd_controller_jobs{{{CLUSTER},state=~"pending|running|paused"}})', "{{state}}"), width=8, stacked=True,
           stairs=True),
    series("Tasks", "Tasks of jobs that have not ended, by state: one for each node of a job.", "short",
           target(f"sum by (state) (cowherd_controller_tasks{{{CLUSTER}}})", "{{state}}"), width=8, stacked=True, stairs=True),
    series("Held back", "Threads of scans that wait, by cause: the rate asked for, or others that wait for I/O.", "short",
           target(rate("cowherd_node_throttled_seconds_total", NODE, "cause"), "{{cause}}"), width=8),
    table("Nodes", "Each node that Prometheus scrapes. A click on its name leads to its own dashboard.",
          {"instance": "Node"},
          [("State", "short", f"max by (instance) (up{{{NODE_JOB}}})"),
           ("Tasks", "short", f"sum by (instance) (cowherd_node_tasks_running{{{NODE}}})"),
           ("Size", "bytes", f"sum by (instance) (cowherd_node_volume_size_bytes{{{NODE}}})"),
           ("Free", "bytes", f"sum by (instance) (cowherd_node_volume_free_bytes{{{NODE}}})"),
           ("Won", "bytes", f"sum by (instance) (cowherd_node_dedupe_won_bytes{{{NODE}}})"),
           ("Could go free", "bytes", f"sum by (instance) (cowherd_node_reclaimable_bytes{{{NODE}}})")],
          width=14, links={"Node": to_node("${__value.text}")}, mappings={"State": UP}),
    table("Alerts", "Alerts of cowherd that fire, or will if what they see lasts. Each has a runbook of its name.",
          {"alertname": "Alert", "alertstate": "State", "severity": "Severity", "instance": "Where"},
          [(None, "short", f'ALERTS{{{CLUSTER},alertname=~"Cowherd.*"}}')], width=10, empty="None: all is well",
          mappings={"Alert": {"custom.width": 190}, "State": ALERT_STATE, "Where": {"mappings": [{"type": "special", "options": {"match": "empty", "result": {"text": "–"}}}]}}),
]

CALLS = "cowherd_node_dedupe_call_duration_seconds"
NODES = [
    stat("Nodes up", "Nodes chosen that Prometheus can scrape.", "short", f"sum(up{{{NODE_JOB}}})", width=3),
    stat("Tasks running", "Tasks that run now.", "short", f"sum(cowherd_node_tasks_running{{{NODE}}})", width=3),
    stat("Space won", "Free space that scans won since the nodes began. Other writers move it too.", "bytes",
         f"sum(cowherd_node_dedupe_won_bytes{{{VOLUME}}})", width=3, base="green"),
    stat("Could go free", "Space that the last scan of each volume found it could free and left.", "bytes",
         f"sum(cowherd_node_reclaimable_bytes{{{VOLUME}}})", width=3, base="blue"),
    stat("Moved", "Unique data that scans planned to copy so that the storage around it goes free.", "bytes",
         f"sum(cowherd_node_moved_bytes_total{{{VOLUME}}})", width=3),
    stat("Volumes absent", "Roots that cannot be used now.", "short",
         f"sum(cowherd_node_volume_present{{{VOLUME}}} == bool 0)", width=3, thresholds=[(1, "red")]),
    stat("I/O errors", "Errors of the disk (EIO) within a day that calls to share met.", "short",
         f'round(sum(increase(cowherd_node_dedupe_errors_total{{{NODE},reason="EIO"}}[1d])))', width=3, thresholds=[(1, "red")]),
    stat("Memory", "Resident memory of the processes.", "bytes", f"sum(process_resident_memory_bytes{{{NODE_JOB}}})", width=3),
    series("Accepted", "Bytes per second that the kernel found equal and shares.", "binBps",
           target(rate("cowherd_node_dedupe_accepted_bytes_total", VOLUME, "instance", "volume"), "{{instance}} {{volume}}"), stacked=True),
    series("Looked at", "Bytes of data per second looked at to find duplicates.", "binBps",
           target(rate("cowherd_node_scan_bytes_total", VOLUME, "instance", "volume"), "{{instance}} {{volume}}"), stacked=True),
    series("Space won by volume", "Free space that scans won since the node began. Other writers move it too.", "bytes",
           target(f"sum by (instance, volume) (cowherd_node_dedupe_won_bytes{{{VOLUME}}})", "{{instance}} {{volume}}"), at_least=None),
    series("Free space", "Free space of each volume.", "bytes",
           target(f"sum by (instance, volume) (cowherd_node_volume_free_bytes{{{VOLUME}}})", "{{instance}} {{volume}}")),
    heatmap("Calls into the kernel", "How long one call that compares and shares takes: darker where more did.", "s",
            f"sum by (le) (increase({CALLS}_bucket{{{NODE}}}[$__rate_interval]))"),
    series("Calls into the kernel, quantiles", "Half of the calls are faster than the first line, 99 of 100 than the second.", "s",
           target(quantile(0.5, CALLS, NODE), "half"), target(quantile(0.99, CALLS, NODE), "99 of 100")),
    series("Ranges", "Destination ranges per second by outcome. Differs: the data had changed since it was looked at.", "cps",
           target(rate("cowherd_node_dedupe_ranges_total", VOLUME, "outcome"), "{{outcome}}"), width=8, stacked=True),
    series("Refusals", "Errors of the kernel within five minutes, by errno.", "short",
           counted("cowherd_node_dedupe_errors_total", NODE, "reason", "5m"), width=8, stacked=True, stairs=True),
    series("Held back", "Threads of scans that wait, by cause: the rate asked for, or others that wait for I/O.", "short",
           target(rate("cowherd_node_throttled_seconds_total", VOLUME, "cause"), "{{cause}}"), width=8),
    series("Files looked at", "Files per second, by what told their duplicates: the filesystem's checksums, or reading.", "cps",
           target(rate("cowherd_node_scan_source_files_total", VOLUME, "source"), "{{source}}"), width=8, stacked=True),
    series("Left as it is", "Duplicate data met since the node began that is not worth sharing or cannot be, by reason.", "bytes",
           target(f"sum by (reason) (cowherd_node_left_bytes_total{{{VOLUME}}})", "{{reason}}"), width=8, stacked=True),
    series("Tasks ended", "Runs of tasks that ended within an hour, by outcome.", "short",
           target(f"sum by (outcome) (increase(cowherd_node_tasks_ended_total{{{NODE}}}[1h]))", "{{outcome}}"), width=8, stacked=True, stairs=True),
    table("Volumes", "What stands between a volume and space won: a root that is absent, rights that the process lacks (the node's log says which and what "
          "is lost), or no scan that succeeded. –: none since the node began.", {"instance": "Node", "volume": "Volume"},
          [("Present", "short", f"max by (cluster, instance, volume) (cowherd_node_volume_present{{{VOLUME}}})"),
           ("Rights missing", "short", f"{OF_VOLUME} (cowherd_node_capability_missing{{{VOLUME}}})"),
           ("Last success ago", "s", f"min by (cluster, instance, volume) (time() - cowherd_node_scan_last_success_timestamp_seconds{{{VOLUME}}})"),
           ("Could go free", "bytes", f"{OF_VOLUME} (cowherd_node_reclaimable_bytes{{{VOLUME}}})")],
          mappings={"Present": PRESENT}),
    series("Calls to the node", "RPCs that ended per second, by method and status.", "reqps",
           target(rate("grpc_server_handled_total", NODE_JOB, "grpc_method", "grpc_code", more=',grpc_service=~"cowherd[.].*"') + " > 0",
                  "{{grpc_method}} {{grpc_code}}"), right=True),
    series("Processor", "Processor time of the process, in cores.", "short",
           target(rate("process_cpu_seconds_total", NODE_JOB, "instance"), "{{instance}}"), width=6),
    series("Memory by node", "Resident memory of the process.", "bytes",
           target(f"sum by (instance) (process_resident_memory_bytes{{{NODE_JOB}}})", "{{instance}}"), width=6),
]

TRIES = "cowherd_controller_task_retries_total"
JOB_TIME = "cowherd_controller_job_duration_seconds"
JOBS = [
    stat("Running", "Jobs of which a task has begun and that have not ended.", "short", f'sum(cowherd_controller_jobs{{{CLUSTER},state="running"}})',
         base="blue"),
    stat("Waiting", "Jobs of which no task has begun.", "short", f'sum(cowherd_controller_jobs{{{CLUSTER},state="pending"}})'),
    stat("Paused", "Jobs that somebody, or the end of a window, has paused.", "short", f'sum(cowherd_controller_jobs{{{CLUSTER},state="paused"}})',
         thresholds=[(1, "orange")]),
    stat("Ended within a day", "Jobs that ended, however.", "short", f"round(sum(increase(cowherd_controller_jobs_finished_total{{{CLUSTER}}}[1d])))"),
    stat("Failed within a day", "Jobs that ended with a task that failed for good.", "short",
         f'round(sum(increase(cowherd_controller_jobs_finished_total{{{CLUSTER},outcome="failed"}}[1d])))', thresholds=[(1, "red")]),
    stat("Oldest task", "How long the task that waits longest has waited. 0: none waits.", "s",
         f"max(cowherd_controller_oldest_task_age_seconds{{{CLUSTER}}})", thresholds=[(7200, "red")]),
    series("Jobs", "Jobs that have not ended, by state.", "short",
           target(f'sum by (state) (cowherd_controller_jobs{{{CLUSTER},state=~"pending|running|paused"}})', "{{state}}"), stacked=True, stairs=True),
    series("Jobs ended", "Jobs that ended within an hour, by outcome.", "short",
           target(f"sum by (outcome) (increase(cowherd_controller_jobs_finished_total{{{CLUSTER}}}[1h]))", "{{outcome}}"), stacked=True, stairs=True),
    series("What jobs did", "Bytes per second that tasks looked at, asked the kernel to share, and had accepted, as nodes report.", "binBps",
           target(rate("cowherd_controller_bytes_scanned_total", CLUSTER), "looked at"),
           target(rate("cowherd_controller_bytes_requested_total", CLUSTER), "asked for"),
           target(rate("cowherd_controller_bytes_accepted_total", CLUSTER), "accepted")),
    series("How long jobs take", "From the making of a job to its end, pauses included, of the jobs that ended within an hour.", "s",
           target(quantile(0.5, JOB_TIME, CLUSTER, window="1h"), "half"), target(quantile(0.99, JOB_TIME, CLUSTER, window="1h"), "99 of 100")),
    series("Tasks", "Tasks of jobs that have not ended, by state.", "short",
           target(f"sum by (state) (cowherd_controller_tasks{{{CLUSTER}}})", "{{state}}"), width=8, stacked=True, stairs=True),
    series("Tries repeated", "Tries of tasks that ended within an hour and are followed by another, by reason.", "short",
           counted(TRIES, CLUSTER, "reason", "1h"), width=8, stacked=True, stairs=True),
    series("Runs of schedules", "Runs that were due or asked for within a day, by what became of them: started, or why they were skipped.", "short",
           counted("cowherd_controller_schedule_runs_total", CLUSTER, "outcome", "1d"), width=8, stacked=True, stairs=True),
    table("Schedules", "When each runs next, how long ago the last run that succeeded was due, and by when one must succeed lest an alert fires. –: it is "
          "suspended, or has never succeeded.", {"schedule": "Schedule"},
          [("Next run in", "s", f"max by (cluster, schedule) (cowherd_controller_schedule_next_run_timestamp_seconds{{{CLUSTER}}} - time())"),
           ("Last success ago", "s", f"min by (cluster, schedule) (time() - cowherd_controller_schedule_last_success_timestamp_seconds{{{CLUSTER}}})"),
           ("To succeed within", "s", f"min by (cluster, schedule) (cowherd_controller_schedule_overdue_timestamp_seconds{{{CLUSTER}}} - time())")],
          width=12),
    series("Planned", "Space that tasks plan to free and data that they move for it, since the controllers began, dry runs included.", "bytes",
           target(f"sum(cowherd_controller_bytes_freeable_total{{{CLUSTER}}})", "to go free"),
           target(f"sum(cowherd_controller_bytes_moved_total{{{CLUSTER}}})", "to be moved")),
    series("Left alone", "Filesystems that tasks found full, over quota, read-only or broken, and that get no tasks for a while.", "short",
           target(f"sum by (cluster) (cowherd_controller_paused_filesystems{{{CLUSTER}}})", "filesystems {{cluster}}"), stairs=True),
    series("Given up", "Tasks that failed within a day because their nodes were lost, and how often a node was.", "short",
           target(f"sum(increase(cowherd_controller_tasks_given_up_total{{{CLUSTER}}}[1d]))", "tasks"),
           target(f"sum(increase(cowherd_controller_nodes_lost_total{{{CLUSTER}}}[1d]))", "nodes lost"), stairs=True),
]

WRITES = 'operation=~"write|create|raise_epoch|delete|put_record|delete_record"'
STORE = "cowherd_store_operation_duration_seconds"
LEADS = f"cowherd_controller_leads{{{CLUSTER}}}"
API = f'{CLUSTER},grpc_service=~"cowherd[.]v1[.](Controller|Schedule|Hold)Service"'
WATCH = f'{API},grpc_type="server_stream"'
CONTROLLER = [
    stat("Leader", "The controller that leads, and takes jobs.", "short", f"{LEADS} == 1", legend="{{instance}}", textMode="name", base="green"),
    stat("Controllers up", "Controllers that Prometheus can scrape.", "short", f"sum(up{{{CONTROLLER_JOB}}})"),
    stat("Takeovers within a day", "How often a controller that did not lead began to.", "short",
         f"sum(changes({LEADS}[1d]) - resets({LEADS}[1d]))", thresholds=[(5, "orange")]),
    stat("Nodes down", "Nodes that did not answer the last probe: down, lost, or refused as two with one name.", "short",
         f'sum(cowherd_controller_nodes{{{CLUSTER},state=~"down|lost|refused"}})', thresholds=[(1, "red")]),
    stat("Writes failed within a day", "Writes to the store that failed.", "short",
         f'round(sum(increase({STORE}_count{{{CLUSTER},outcome="error",{WRITES}}}[1d])))', thresholds=[(1, "orange")]),
    stat("Memory", "Resident memory of the controllers.", "bytes", f"sum(process_resident_memory_bytes{{{CONTROLLER_JOB}}})"),
    series("Who leads", "Each controller is 1 while it leads. Where all are 0 nobody does; a sum above 1 must not be.", "short",
           target(f"sum by (instance) ({LEADS})", "{{instance}}"), stacked=True, stairs=True),
    series("Nodes", "Nodes known, by state.", "short",
           target(f"sum by (state) (cowherd_controller_nodes{{{CLUSTER}}})", "{{state}}"), stacked=True, stairs=True),
    series("Store operations", "Operations of the store per second.", "ops",
           target(rate(f"{STORE}_count", CLUSTER, "operation") + " > 0", "{{operation}}"), height=10, right=True),
    series("Store, 99 of 100", "How long an operation of the store takes at most in 99 of 100 cases. An alert fires where writes pass the line.", "s",
           target(quantile(0.99, STORE, CLUSTER, "operation"), "{{operation}}"), height=10, right=True, limit=0.25),
    heatmap("Store writes", "How long writes of the store take, the commit included: darker where more did.", "s",
            f'sum by (le) (increase({STORE}_bucket{{{CLUSTER},{WRITES}}}[$__rate_interval]))'),
    series("Calls", "RPCs that ended per second, by method.", "reqps",
           target(rate("grpc_server_handled_total", API, "grpc_method") + " > 0", "{{grpc_method}}"), right=True),
    series("Calls, 99 of 100", "How long a call takes at most in 99 of 100 cases. Watches, which last as long as their jobs, are left out.", "s",
           target(quantile(0.99, "grpc_server_handling_seconds", f'{API},grpc_type="unary"', "grpc_method"), "{{grpc_method}}"), right=True),
    series("Calls refused", "RPCs that ended with an error within five minutes, by status. Unavailable: asked of a controller that does not lead.", "short",
           counted("grpc_server_handled_total", f'{API},grpc_code!="OK"', "grpc_code", "5m"), width=6, stacked=True, stairs=True),
    series("Watches", "Calls that have begun and not ended: clients that watch jobs.", "short",
           target(f"sum by (instance) (grpc_server_started_total{{{WATCH}}}) - (sum by (instance) (grpc_server_handled_total{{{WATCH}}})"
                  f" or 0 * sum by (instance) (grpc_server_started_total{{{WATCH}}}))", "{{instance}}"), width=6, stairs=True),
    series("Processor", "Processor time of each controller, in cores.", "short",
           target(rate("process_cpu_seconds_total", CONTROLLER_JOB, "instance"), "{{instance}}"), width=8),
    series("Memory by controller", "Resident memory of each controller.", "bytes",
           target(f"sum by (instance) (process_resident_memory_bytes{{{CONTROLLER_JOB}}})", "{{instance}}"), width=8),
    series("Open files", "File descriptors of each controller.", "short",
           target(f"sum by (instance) (process_open_fds{{{CONTROLLER_JOB}}})", "{{instance}}"), width=8),
]

SIZE = f"cowherd_node_volume_size_bytes{{{VOLUME}}}"
FREE = f"cowherd_node_volume_free_bytes{{{VOLUME}}}"
WON = f"cowherd_node_dedupe_won_bytes{{{VOLUME}}}"
# Bytes a second; what does not fill is left out.
FILLING = f"(-deriv({FREE}[1d]) > 0)"
FILLING_WITHOUT = f"((deriv({WON}[1d]) - deriv({FREE}[1d])) > 0)"
DAY, YEARS = 86400, 10 * 365 * 86400
CAPACITY = [
    stat("Size", "Size of all volumes.", "bytes", f"sum({SIZE})"),
    stat("Free", "Free space of all volumes.", "bytes", f"sum({FREE})"),
    stat("Won", "Free space that scans won since the nodes began.", "bytes", f"sum({WON})", base="green"),
    stat("Could go free", "Space that the last scan of each volume found it could free and left.", "bytes",
         f"sum(cowherd_node_reclaimable_bytes{{{VOLUME}}})", base="blue"),
    stat("First is full in", "When the first volume is full at the pace of the last day, with what cowherd wins. 10 years: none within them.", "s",
         f"min({FREE} / {FILLING} < {YEARS}) or vector({YEARS})", thresholds=[(7 * DAY, "orange"), (30 * DAY, "green")], base="red"),
    stat("Without cowherd in", "The same, had cowherd won nothing within the last day.", "s",
         f"min({FREE} / {FILLING_WITHOUT} < {YEARS}) or vector({YEARS})", thresholds=[(7 * DAY, "orange"), (30 * DAY, "green")], base="red"),
    series("Used, and what it would be without cowherd", "Used space, and used space with what was won since the nodes began.", "bytes",
           target(f"sum({SIZE} - {FREE})", "used"), target(f"sum({SIZE} - {FREE} + {WON})", "without cowherd")),
    series("Free by volume", "Free space in parts of the size. An alert fires below the line.", "percentunit",
           target(f"{FREE} / {SIZE}", "{{instance}} {{volume}}"), limit=0.03),
    table("Volumes", "When each is full, at the pace of the last day: with what cowherd wins, and had it won nothing. –: it does not fill.",
          {"instance": "Node", "volume": "Volume", "fs_type": "Filesystem"},
          [("Size", "bytes", f"{SIZE} * on (cluster, instance, volume) group_left (fs_type) cowherd_node_volume_info{{{VOLUME}}}"),
           ("Free", "bytes", f"{OF_VOLUME} ({FREE})"),
           ("Won", "bytes", f"{OF_VOLUME} ({WON})"),
           ("Could go free", "bytes", f"{OF_VOLUME} (cowherd_node_reclaimable_bytes{{{VOLUME}}})"),
           ("Full in", "s", f"{OF_VOLUME} ({FREE} / {FILLING})"),
           ("Without cowherd in", "s", f"{OF_VOLUME} ({FREE} / {FILLING_WITHOUT})")],
          links={"Node": to_node("${__value.text}")}),
    bars("Full in", "At the pace of the last day, with what cowherd wins; the eight volumes that are full first. What does not fill is left out.",
         "s", f"bottomk(8, {FREE} / {FILLING})", "{{instance}} {{volume}}"),
    series("Found and accepted", "Duplicate data that scans found, and bytes that the kernel accepted, since the nodes began. A dry run finds again "
           "what a later run finds.", "bytes",
           target(f"sum(cowherd_node_duplicate_bytes_total{{{VOLUME}}})", "found"),
           target(f"sum(cowherd_node_dedupe_accepted_bytes_total{{{VOLUME}}})", "accepted")),
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


def annotation(name, colour, text, expression):
    return {"name": name, "datasource": SOURCE, "enable": True, "iconColor": colour, "titleFormat": text, "expr": expression, "step": "15s"}


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
        "links": [{"title": "cowherd", "type": "dashboards", "tags": ["cowherd"], "asDropdown": False, "includeVars": True, "keepTime": True}],
        "annotations": {"list": [
            annotation("Leader", "purple", "{{instance}} leads", f"changes({LEADS}[1m]) > 0 and on (cluster, instance) {LEADS} == 1"),
            annotation("Controllers begin", "blue", "{{instance}} began", f"time() - process_start_time_seconds{{{CONTROLLER_JOB}}} < 60"),
        ]},
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
