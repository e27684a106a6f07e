"use strict";
// The small charts, drawn as SVG by Observable Plot. Each takes plain numbers and returns an element.

const TEXT = { fontSize: "13px", color: "#1b1f24" };

// A chart is one picture with one label; Plot's labels of its parts have no role to go with them.
function drawn(options) {
  const made = libraries.plot(options);
  for (const part of made.querySelectorAll("[aria-label], [aria-hidden], [aria-description]")) {
    for (const name of ["aria-label", "aria-hidden", "aria-description"]) part.removeAttribute(name);
  }
  const svgs = made.matches("svg") ? [made] : made.querySelectorAll(":scope > svg");
  for (const svg of svgs) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", options.ariaLabel);
  }
  return made;
}

const LEAST_SHARE = 0.1;

// The tree: rows of circles, from the coarsest clusters to the finest.
// A cluster is hollow if `isSplit(stop, cluster)` finds no evidence for it.
function treeChart(stops, links, chosen, isSplit) {
  const rows = distinctStops(stops, links);
  // the row with the chosen clusters: its own, or the last one before it, which has the same
  const current = Math.max(...rows.filter((at) => at <= chosen), rows[0]);
  const places = treePlaces(rows, stops, links);
  const nodes = [];
  const edges = [];
  rows.forEach((at, row) => {
    const stop = stops[at];
    for (let cluster = 0; cluster < stop.clusters; cluster += 1) {
      if (!stop.cells[cluster]) continue;
      nodes.push({
        row,
        at,
        x: places[row][cluster],
        cells: stop.cells[cluster],
        name: stop.names[cluster],
        colour: stop.colours[cluster],
        hollow: !isSplit(stop, cluster),
        said: `${stop.names[cluster]}: ${stop.cells[cluster].toLocaleString("en")} cells`,
      });
    }
    if (row === 0) return;
    for (const [from, to, share] of links(rows[row - 1], at)) {
      if (share < LEAST_SHARE) continue;
      edges.push({
        x1: places[row - 1][from],
        x2: places[row][to],
        row,
        share,
      });
    }
  });
  const most = Math.max(...nodes.map((node) => node.cells));
  const widest = Math.max(...rows.map((at) => stops[at].clusters));
  const width = Math.max(420, Math.min(1160, 140 + widest * 44));
  return drawn({
    width,
    height: 70 + rows.length * 46,
    marginLeft: 84,
    marginRight: 100,
    marginTop: 26,
    marginBottom: 14,
    style: TEXT,
    ariaLabel: "Tree of clusters over resolutions",
    x: { axis: null, domain: [-0.5, widest - 0.5] },
    y: {
      domain: [-0.5, rows.length - 0.5],
      reverse: true,
      axis: null,
    },
    r: { range: [3, 17], domain: [0, most] },
    marks: [
      libraries.link(edges, {
        x1: "x1",
        x2: "x2",
        y1: (edge) => edge.row - 1,
        y2: (edge) => edge.row,
        stroke: "#55606e",
        strokeWidth: (edge) => 0.6 + 3 * edge.share,
        strokeOpacity: (edge) => 0.25 + 0.6 * edge.share,
        curve: "bump-y",
      }),
      libraries.dot(nodes, {
        x: "x",
        y: "row",
        r: "cells",
        fill: (node) => (node.hollow ? "#ffffff" : node.colour),
        stroke: "colour",
        strokeWidth: 2.2,
        title: "said",
      }),
      // inside a circle that has room for it, else above it
      ...[true, false].map((inside) =>
        libraries.text(nodes, {
          x: "x",
          y: "row",
          text: (node) => (node.name.length > 14 ? `${node.name.slice(0, 13)}…` : node.name),
          filter: (node) => inside === (node.name.length <= 3 && node.cells > 0.3 * most),
          dy: inside ? 0 : -16,
          fontSize: 11,
          fontWeight: 600,
          fill: "#1b1f24",
          stroke: "#ffffff",
          strokeWidth: 3,
        }),
      ),
      libraries.text(rows, {
        x: -0.5,
        y: (_, row) => row,
        text: (at) => (at === current ? `▸ ${stopName(stops[at])}` : stopName(stops[at])),
        textAnchor: "end",
        dx: -22,
      }),
      libraries.text(rows, {
        x: widest - 0.5,
        y: (_, row) => row,
        text: (at) => `${stops[at].clusters} cluster${stops[at].clusters === 1 ? "" : "s"}`,
        textAnchor: "start",
        dx: 14,
        fill: "#55606e",
      }),
    ],
  });
}

function stopName(stop) {
  if (stop.stored) return "stored";
  return String(stop.resolution);
}

// Stops whose clusters differ from those of the stop before, and the stored one.
function distinctStops(stops, links) {
  const rows = [0];
  for (let at = 1; at < stops.length; at += 1) {
    const before = rows[rows.length - 1];
    const same =
      stops[at].clusters === stops[before].clusters &&
      links(before, at).filter(([, , share]) => share > 0.98).length === stops[at].clusters;
    if (!same) rows.push(at);
    else if (stops[at].stored) rows[rows.length - 1] = at;
  }
  return rows;
}

// Horizontal places: children side by side below their main parent, rows spread over the width.
function treePlaces(rows, stops, links) {
  const widest = Math.max(...rows.map((at) => stops[at].clusters));
  const places = [];
  rows.forEach((at, row) => {
    const n = stops[at].clusters;
    const wanted = new Array(n).fill(0).map((_, cluster) => cluster);
    if (row > 0) {
      const found = links(rows[row - 1], at);
      for (let cluster = 0; cluster < n; cluster += 1) {
        const own = found.filter(([, to]) => to === cluster);
        const total = own.reduce((sum, [, , share]) => sum + share, 0) || 1;
        wanted[cluster] =
          own.reduce((sum, [from, , share]) => sum + share * places[row - 1][from], 0) / total;
      }
    }
    const order = [...wanted.keys()].sort((one, other) => wanted[one] - wanted[other] || one - other);
    const place = new Array(n);
    order.forEach((cluster, rank) => {
      place[cluster] = ((rank + 0.5) * widest) / n - 0.5;
    });
    places.push(place);
  });
  return places;
}

// Genes in columns, clusters in rows: colour for the mean, size for the share of cells.
function dotChart(dots, clusters, genes, ramp) {
  const longest = Math.max(...genes.map((gene) => gene.length), 1);
  const name = Math.max(...clusters.map((cluster) => cluster.length), 1);
  const marginTop = 20 + longest * 7;
  return drawn({
    width: Math.max(420, 90 + name * 7 + genes.length * 19),
    height: marginTop + 30 + clusters.length * 22,
    marginTop,
    marginLeft: 30 + name * 7,
    style: TEXT,
    ariaLabel: "Dot plot of marker genes",
    x: { domain: genes, axis: "top", tickRotate: -90, label: null },
    y: { domain: clusters, label: null },
    r: { range: [0, 9], domain: [0, 1] },
    color: { interpolate: (t) => ramp[Math.round(t * (ramp.length - 1))] },
    marks: [
      libraries.gridX({ strokeOpacity: 0.06 }),
      libraries.dot(dots, {
        x: "gene",
        y: "cluster",
        r: "share",
        fill: "mean",
        stroke: "#55606e",
        strokeWidth: 0.5,
        title: (dot) =>
          `${dot.gene} in ${dot.cluster}: mean ${dot.mean.toFixed(2)}, ${(100 * dot.share).toFixed(0)} % of cells`,
      }),
    ],
  });
}

// Quantiles of the confidence in each cluster.
function confidenceChart(rows) {
  const name = Math.max(...rows.map((row) => row.name.length), 1);
  return drawn({
    width: 720,
    height: 60 + rows.length * 26,
    marginLeft: 30 + Math.min(name, 30) * 7,
    style: TEXT,
    ariaLabel: "Confidence in each cluster: median, middle half, and nine tenths of the cells",
    x: { domain: [0, 1], label: "confidence", grid: true },
    y: { domain: rows.map((row) => row.name), label: null, type: "band" },
    marks: [
      libraries.ruleY(rows, { y: "name", x1: "low", x2: "high", stroke: "#55606e" }),
      libraries.barX(rows, {
        y: "name",
        x1: "lower",
        x2: "upper",
        fill: "colour",
        fillOpacity: 0.75,
        stroke: "#1b1f24",
        strokeWidth: 0.6,
        inset: 5,
        title: (row) =>
          `${row.name}: median ${row.median.toFixed(2)}; ${row.between.toLocaleString("en")} cells below 0.5`,
      }),
      libraries.tickX(rows, { y: "name", x: "median", strokeWidth: 2, inset: 4 }),
      libraries.text(rows, {
        y: "name",
        x: 1,
        dx: 8,
        text: (row) => (row.between ? `${row.between} below 0.5` : ""),
        textAnchor: "start",
        fill: "#55606e",
      }),
    ],
    marginRight: 110,
  });
}

// Shares of groups in each cluster, as bars that add up to 1.
function compositionChart(parts, clusters, groups, colours) {
  const name = Math.max(...clusters.map((cluster) => cluster.length), 1);
  return drawn({
    width: 720,
    height: 60 + clusters.length * 26,
    marginLeft: 30 + Math.min(name, 30) * 7,
    style: TEXT,
    ariaLabel: "Composition of each cluster",
    x: { domain: [0, 1], label: "share of the cluster's cells", labelAnchor: "center", labelOffset: 36 },
    marginBottom: 44,
    y: { domain: clusters, label: null },
    color: { domain: groups, range: colours, legend: groups.length <= 40 },
    marks: [
      libraries.barX(parts, {
        y: "cluster",
        x1: "start",
        x2: "stop",
        fill: "group",
        insetTop: 2,
        insetBottom: 2,
        title: (part) =>
          `${part.group} in ${part.cluster}: ${part.cells.toLocaleString("en")} cells (${(100 * (part.stop - part.start)).toFixed(1)} %)`,
      }),
    ],
  });
}

function trainingChart(history) {
  const steps = history.step || history.loss.map((_, step) => step + 1);
  const points = steps.map((step, i) => ({ step, loss: history.loss[i] }));
  return drawn({
    width: 720,
    height: 260,
    marginLeft: 56,
    style: TEXT,
    ariaLabel: "Loss at each training step",
    x: { label: "training step" },
    y: { label: "loss", grid: true },
    marks: [libraries.line(points, { x: "step", y: "loss", stroke: "#0072B2", strokeWidth: 2 })],
  });
}

function anchorChart(anchors) {
  return drawn({
    width: 720,
    height: 520,
    style: TEXT,
    ariaLabel: "Anchors, at the mean place of their cells",
    aspectRatio: 1,
    x: { axis: null },
    y: { axis: null },
    r: { range: [1.5, 12] },
    marks: [
      libraries.dot(anchors, {
        x: "x",
        y: "y",
        r: "cells",
        fill: "colour",
        stroke: "#1b1f24",
        strokeWidth: 0.4,
        title: (anchor) => `${anchor.cells.toLocaleString("en")} cells, cluster ${anchor.cluster}`,
      }),
    ],
  });
}
