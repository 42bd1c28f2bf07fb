// A panel of each kind that the dashboards use, drawn by Grafana's own components. Panels tell in data-state how they are:
// loading, drawn, empty or error.
import {
  applyFieldOverrides, formattedValueToString, getFieldDisplayValues, getDisplayValueAlignmentFactors, getValueFormat,
  identityOverrideProcessor, LoadingState, Registry, transformDataFrame, VizOrientation,
} from "@grafana/data";
import {
  AxisPlacement, BarGauge, BigValue, PanelChrome, ScaleDirection, ScaleOrientation, Table, TimeSeries, TooltipPlugin, UPlotChart,
  UPlotConfigBuilder, useTheme2, VizRepeater, ZoomPlugin,
} from "@grafana/ui";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { lastValueFrom } from "rxjs";
import { frames as ask } from "./prometheus.js";
import { link, step } from "./template.js";

// Which settings a field may have, in defaults and overrides.
const property = (id, isCustom) => ({
  id: isCustom ? `custom.${id}` : id, path: id, isCustom, name: id, shouldApply: () => true, process: identityOverrideProcessor,
});
const settings = new Registry(() => [
  ...["unit", "decimals", "min", "max", "color", "thresholds", "mappings", "displayName", "noValue", "links"].map((id) => property(id, false)),
  ...[
    "fillOpacity", "lineWidth", "lineInterpolation", "showPoints", "stacking", "drawStyle", "barAlignment", "axisSoftMax", "spanNulls", "cellOptions", "width", "minWidth",
    "align", "axisPlacement", "axisLabel", "lineStyle", "thresholdsStyle", "gradientMode",
  ].map((id) => property(id, true)),
]);

function useFrames(panel, context, width) {
  const [answer, setAnswer] = useState({ state: "loading", frames: [] });
  const { range, scrapeMs, variables } = context;
  const theme = useTheme2();
  useEffect(() => {
    let gone = false;
    const stepMs = step(range.to - range.from, Math.min(width, panel.maxDataPoints ?? Infinity), scrapeMs);
    const load = async () => {
      const found = await Promise.all(panel.targets.map((target) => ask(target, panel.targets.length > 1, variables, range, stepMs, scrapeMs)));
      const plain = await lastValueFrom(transformDataFrame(panel.transformations ?? [], found.flat()));
      const replaceVariables = (text, scoped) => {
        const { field, rowIndex } = scoped?.__dataContext?.value ?? {};
        return link(text, variables, range, { labels: field?.labels, text: field?.values[rowIndex ?? 0] });
      };
      const frames = applyFieldOverrides({ data: plain, fieldConfig: panel.fieldConfig, fieldConfigRegistry: settings, replaceVariables, theme, timeZone: "browser" });
      const values = frames.flatMap((frame) => frame.fields.filter(({ type }) => type === "number").flatMap((field) => field.values));
      const rows = frames.some((frame) => frame.length > 0);
      return { state: rows && (panel.type === "table" || values.some((value) => value !== null)) ? "drawn" : "empty", frames, replaceVariables };
    };
    load().then((next) => gone || setAnswer(next), (error) => gone || setAnswer({ state: "error", frames: [], error }));
    return () => (gone = true);
  }, [panel, range, variables, scrapeMs, width, theme]);
  return answer;
}

const kinds = { stat: Stat, timeseries: Series, bargauge: Bars, table: Rows, heatmap: Heat };

export function Panel({ panel, context, size }) {
  const answer = useFrames(panel, context, size.width);
  const { x, y, w, h } = panel.gridPos;
  const Kind = kinds[panel.type];
  return (
    <div data-panel={panel.title} data-kind={panel.type} data-state={answer.state}
      style={{ gridColumn: `${x + 1} / span ${w}`, gridRow: `${y + 1} / span ${h}` }}>
      <PanelChrome width={size.width} height={size.height} title={panel.title} description={panel.description}
        padding={panel.type === "table" ? "none" : "md"} hoverHeader={false} statusMessage={answer.error?.message}
        loadingState={answer.state === "error" ? LoadingState.Error : LoadingState.Done}>
        {(width, height) =>
          answer.state === "drawn" ? <Kind panel={panel} context={context} {...answer} width={width} height={height} /> : <Nothing {...answer} panel={panel} />
        }
      </PanelChrome>
    </div>
  );
}

function Nothing({ state, error, panel }) {
  if (state === "loading") return null;
  return <div className="nothing">{error ? error.message : panel.fieldConfig.defaults.noValue ?? "No data"}</div>;
}

function useDisplayValues({ panel, frames, replaceVariables }, sparkline) {
  const theme = useTheme2();
  return getFieldDisplayValues({
    data: frames, fieldConfig: panel.fieldConfig, reduceOptions: { values: false, ...panel.options.reduceOptions }, replaceVariables, theme, sparkline,
  });
}

// A value that has a link goes where it leads.
const go = (value) => {
  const [first] = value.hasLinks ? value.getLinks() : [];
  return first && (() => location.assign(first.href));
};

function Stat(props) {
  const theme = useTheme2();
  const { options } = props.panel;
  const values = useDisplayValues(props, options.graphMode !== "none");
  return (
    <VizRepeater source={values} getValues={() => values} width={props.width} height={props.height} orientation={VizOrientation.Auto} autoGrid
      renderValue={({ value, width, height, count }) => (
        <BigValue value={{ ...value.display, title: count > 1 || options.textMode === "name" ? value.display.title : undefined }} width={width} height={height} theme={theme} count={count}
          sparkline={value.sparkline} colorMode={options.colorMode} graphMode={options.graphMode} textMode={options.textMode ?? "auto"} justifyMode="auto"
          onClick={go(value)} />
      )} />
  );
}

function Bars(props) {
  const theme = useTheme2();
  const values = useDisplayValues(props, false);
  return (
    <VizRepeater source={values} getValues={() => values} width={props.width} height={props.height} orientation={VizOrientation.Horizontal}
      minVizHeight={16} maxVizHeight={48} itemSpacing={10} getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, alignmentFactors }) => (
        <BarGauge value={value.display} field={value.field} width={width} height={height} theme={theme} orientation={VizOrientation.Horizontal}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)} itemSpacing={10} lcdCellWidth={12} showUnfilled alignmentFactors={alignmentFactors}
          displayMode={props.panel.options.displayMode} onClick={go(value)} />
      )} />
  );
}

function Rows({ frames, width, height }) {
  return <Table data={frames[0]} width={width} height={height} resizable={false} />;
}

function Series({ panel, context, frames, width, height }) {
  const { legend, tooltip } = panel.options;
  return (
    <TimeSeries frames={frames} width={width} height={height} timeRange={context.timeRange} timeZone="browser" legend={{ showLegend: true, ...legend }}
      options={panel.options}>
      {(config, alignedFrame) => (
        <>
          <Marks config={config} marks={context.marks} />
          <ZoomPlugin config={config} onZoom={({ from, to }) => context.onZoom(from, to)} />
          <TooltipPlugin config={config} data={alignedFrame} frames={frames} mode={tooltip.mode} sortOrder={tooltip.sort} timeZone="browser" />
        </>
      )}
    </TimeSeries>
  );
}

// Annotations, as dashed lines.
function Marks({ config, marks }) {
  const latest = useRef(marks);
  const plot = useRef(null);
  const theme = useTheme2();
  useLayoutEffect(() => {
    latest.current = marks;
    plot.current?.redraw(false);
  }, [marks]);
  useLayoutEffect(() => {
    // Room for the last time on the axis.
    config.setPadding([10, 24, 0, 0]);
    config.addHook("init", (u) => (plot.current = u));
    config.addHook("draw", (u) => {
      const { left, top, width, height } = u.bbox;
      u.ctx.save();
      u.ctx.setLineDash([4, 4]);
      u.ctx.lineWidth = devicePixelRatio;
      for (const { at, color } of latest.current) {
        const x = u.valToPos(at, "x", true);
        if (x < left || x > left + width) continue;
        u.ctx.strokeStyle = theme.visualization.getColorByName(color);
        u.ctx.beginPath();
        u.ctx.moveTo(x, top);
        u.ctx.lineTo(x, top + height);
        u.ctx.stroke();
      }
      u.ctx.restore();
    });
  }, [config, theme]);
  return null;
}

// Grafana's heat map panel is no component of its own: cells on uPlot, from cumulative buckets.
function Heat({ panel, context, frames, width, height }) {
  const theme = useTheme2();
  const { config, data } = useMemo(() => {
    const bound = (frame) => Number(frame.fields[1].labels.le.replace("+Inf", "Infinity"));
    const buckets = frames.toSorted((a, b) => bound(a) - bound(b)).filter((frame, i, all) => i === 0 || bound(frame) !== bound(all[i - 1]));
    const times = buckets[0].fields[0].values;
    const counts = buckets.map((frame, i) => frame.fields[1].values.map((value, at) => Math.max(value - (i ? buckets[i - 1].fields[1].values[at] : 0), 0)));
    const most = Math.max(...counts.flat(), 1e-9);
    const format = getValueFormat(panel.options.yAxis.unit);
    const names = buckets.map((frame) => (bound(frame) === Infinity ? "more" : formattedValueToString(format(bound(frame)))));
    const builder = new UPlotConfigBuilder("browser");
    builder.addScale({ scaleKey: "x", isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right, range: () => [context.range.from, context.range.to] });
    builder.addScale({ scaleKey: "y", orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, range: () => [0, buckets.length] });
    builder.addAxis({ scaleKey: "x", isTime: true, placement: AxisPlacement.Bottom, timeZone: "browser", theme });
    builder.addAxis({ scaleKey: "y", placement: AxisPlacement.Left, theme, splits: names.map((_, i) => i + 1), values: names, grid: { show: false } });
    builder.addSeries({ scaleKey: "y", theme, lineWidth: 0, lineColor: "transparent", pxAlign: false, showPoints: "never" });
    builder.addHook("draw", (u) => {
      const stepMs = times.length > 1 ? times[1] - times[0] : 1000;
      u.ctx.save();
      counts.forEach((row, bucket) =>
        row.forEach((count, at) => {
          if (!count) return;
          const [x0, x1] = [u.valToPos(Math.max(times[at] - stepMs, context.range.from), "x", true), u.valToPos(times[at], "x", true)];
          const [y0, y1] = [u.valToPos(bucket + 1, "y", true), u.valToPos(bucket, "y", true)];
          u.ctx.fillStyle = `rgba(255, 152, 48, ${0.15 + 0.85 * Math.sqrt(count / most)})`;
          u.ctx.fillRect(x0, y0 + 1, Math.max(x1 - x0 - 1, 1), y1 - y0 - 2);
        }),
      );
      u.ctx.restore();
    });
    return { config: builder, data: [times, times.map(() => null)] };
  }, [frames, theme, context.range, panel]);
  return <UPlotChart config={config} data={data} width={width} height={height} />;
}
