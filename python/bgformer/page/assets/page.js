"use strict";
// Fills the page with the data, and keeps all parts at the chosen resolution.

const MOST_DOT_GENES = 60;
const MISSING = 255; // the code of a missing number in a column
const GREY = "#999999";
const byId = (id) => document.getElementById(id);
const said = (number) => number.toLocaleString("en");
const rounded = (number, digits) => (number === null ? "" : number.toFixed(digits));

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = element("span", { className: "swatch" });
  made.style.background = colour;
  return made;
}

class Page {
  constructor(content, arrays) {
    this.content = content;
    this.arrays = arrays;
    this.stops = content.stops;
    this.n = content.cells.length;
    this.stored = this.stops.findIndex((stop) => stop.stored);
    this.at = this.stored;
    this.colour = { kind: "clusters" };
    this.hidden = new Set();
    this.flows = new Map();
    this.sorting = { column: null, down: false };
    this.waiting = null;
  }

  get stop() {
    return this.stops[this.at];
  }

  labelsOf(at) {
    return rowOf(this.arrays.labels, at, this.n);
  }

  // Which cells go from the clusters of one stop to those of another: [from, to, share of `to`,
  // share of `from`]. Counted once.
  links(from, to) {
    const key = `${from},${to}`;
    if (!this.flows.has(key)) {
      const [one, other] = [this.labelsOf(from), this.labelsOf(to)];
      const [k, l] = [this.stops[from].clusters, this.stops[to].clusters];
      const counts = new Array(k * l).fill(0);
      for (let i = 0; i < this.n; i += 1) {
        if (one[i] < k && other[i] < l) counts[one[i] * l + other[i]] += 1;
      }
      const [ofOne, ofOther] = [new Array(k).fill(0), new Array(l).fill(0)];
      counts.forEach((count, i) => {
        ofOne[Math.floor(i / l)] += count;
        ofOther[i % l] += count;
      });
      const found = [];
      counts.forEach((count, i) => {
        const [a, b] = [Math.floor(i / l), i % l];
        if (count) found.push([a, b, count / ofOther[b], count / ofOne[a]]);
      });
      this.flows.set(key, found);
    }
    return this.flows.get(key);
  }

  // ---- what is there once -------------------------------------------------------------------

  start() {
    const { content } = this;
    byId("lead").textContent =
      `${said(content.n_cells)} cells in ${this.stops[this.stored].clusters} clusters. ` +
      "Move the slider to see the clusters at any other resolution; nothing is retrained.";
    byId("notes").append(...content.notes.map((note) => element("li", {}, note)));
    for (const [name, value] of content.facts) {
      byId("facts").append(element("dt", {}, name), element("dd", {}, value));
    }
    fillCalls(byId("fit-calls"), content.calls);
    const slider = byId("resolution");
    slider.max = this.stops.length - 1;
    slider.value = this.at;
    byId("stored-stop").append(element("option", { value: this.stored, label: "stored" }));
    slider.addEventListener("input", () => this.moveTo(Number(slider.value)));
    byId("back").addEventListener("click", () => this.moveTo(this.stored));
    this.fillColours();
    this.embedding = makeEmbedding(byId("embedding"), this.arrays.x, this.arrays.y, (cell) =>
      this.showCell(cell),
    );
    byId("nearer").addEventListener("click", () => this.embedding.zoom(0.8));
    byId("farther").addEventListener("click", () => this.embedding.zoom(1.25));
    byId("whole").addEventListener("click", () => this.embedding.reset());
    byId("embedding").setAttribute(
      "aria-label",
      "Cells in the UMAP. Arrow keys move, plus and minus zoom, 0 shows all. " +
        "The table of clusters below says the same in words.",
    );
    const sentences = [];
    if (this.n < content.n_cells) sentences.push(`${said(this.n)} cells drawn at random are shown.`);
    if (content.left_out.length) {
      sentences.push(`Columns that are not offered: ${content.left_out.join(", ")}.`);
    }
    byId("drawn").textContent = sentences.join(" ");
    byId("csv").addEventListener("click", () => this.downloadClusters());
    byId("csv").disabled = this.n < content.n_cells;
    byId("search").addEventListener("input", () => this.fillMarkerTable());
    byId("markers-csv").addEventListener("click", () => this.downloadMarkers());
    this.fillCompositions();
    byId("composition").addEventListener("change", () => this.drawComposition());
    byId("training").addEventListener("toggle", () => this.drawTraining());
    return this.show();
  }

  fillColours() {
    const select = byId("colour");
    const option = (value, text) => element("option", { value }, text);
    select.append(option("clusters", "clusters"), option("confidence", "confidence"));
    this.content.columns.forEach((column, i) => select.append(option(`column${i}`, column.name)));
    select.append(element("option", { value: "gene", disabled: true }, "marker gene"));
    select.addEventListener("change", () => {
      byId("gene").value = "";
      this.colourBy(select.value);
    });
    byId("genes").append(
      ...this.content.genes.map((gene) => element("option", { value: gene.name })),
    );
    byId("gene").addEventListener("input", (event) => {
      const wanted = event.target.value.trim();
      const names = this.content.genes.map((gene) => gene.name);
      let at = names.indexOf(wanted);
      if (at < 0) at = names.findIndex((name) => name.toLowerCase() === wanted.toLowerCase());
      if (at >= 0) {
        select.value = "gene";
        this.colourBy(`gene${at}`);
      }
      byId("gene-said").textContent =
        wanted && at < 0 ? `${wanted} is not among the ${names.length} marker genes here` : "";
    });
  }

  fillCompositions() {
    const select = byId("composition");
    const groups = this.content.columns
      .map((column, i) => [column, i])
      .filter(([column]) => column.groups && column.groups.length > 1);
    select.append(...groups.map(([column, i]) => element("option", { value: i }, column.name)));
    select.disabled = groups.length === 0;
  }

  // ---- what changes with the slider ---------------------------------------------------------

  moveTo(at) {
    this.at = at;
    byId("resolution").value = at;
    if (this.colour.kind === "clusters") this.hidden.clear();
    return this.show();
  }

  show() {
    const { stop } = this;
    const where = stop.stored ? "stored clusters" : `resolution ${stop.resolution}`;
    const steady = stop.stability === null ? "" : `, stability ${stop.stability.toFixed(2)}`;
    const clusters = `${stop.clusters} cluster${stop.clusters === 1 ? "" : "s"}`;
    byId("said").textContent = `${where}: ${clusters}${steady}`;
    byId("resolution").setAttribute("aria-valuetext", byId("said").textContent);
    const drawn = this.drawCells();
    this.fillSizes();
    fillCalls(byId("calls"), stop.calls);
    return Promise.all([drawn, this.showRest()]);
  }

  // Draw all else, each part in a task of its own: a slider that moves on does not wait for them.
  showRest() {
    const rest = ["drawTree", "fillMarkers", "drawConfidence", "drawComposition", "drawTraining"];
    clearTimeout(this.waiting);
    return new Promise((resolve) => {
      const next = () => {
        if (rest.length === 0) {
          resolve();
          return;
        }
        this[rest.shift()]();
        this.waiting = setTimeout(next);
      };
      this.waiting = setTimeout(next);
    });
  }

  // ---- cells ----------------------------------------------------------------------------------

  colourBy(what) {
    const [, kind, number] = what.match(/^([a-z]+)(\d*)$/);
    this.colour = { kind, number: Number(number) };
    this.hidden.clear();
    this.drawCells();
  }

  // Codes of the cells, and either the names and colours of groups or the ends of a scale.
  shading() {
    const { kind, number } = this.colour;
    const { content, arrays } = this;
    if (kind === "clusters") {
      return { codes: this.labelsOf(this.at), groups: this.stop.names, colours: this.stop.colours };
    }
    if (kind === "confidence") return { codes: arrays.confidence, ends: [0, 1] };
    if (kind === "gene") {
      const gene = content.genes[number];
      return { codes: rowOf(arrays.expression, number, this.n), ends: [0, gene.most], of: gene.name };
    }
    const column = content.columns[number];
    const codes = arrays[`column${number}`];
    if (column.groups) return { codes, groups: column.groups, colours: column.colours };
    return { codes, ends: [column.low, column.high], of: column.name, most: MISSING - 1 };
  }

  drawCells() {
    const { codes, groups, colours, ends, of, most } = this.shading();
    this.fillLegend(codes, groups, colours, ends, of, most);
    if (groups) {
      let shown = null;
      if (this.hidden.size) {
        shown = [];
        for (let i = 0; i < this.n; i += 1) if (!this.hidden.has(codes[i])) shown.push(i);
      }
      return this.embedding.draw(codes, colours, shown);
    }
    const { ramp } = this.content;
    const highest = most || MISSING;
    const steps = Uint8Array.from(codes, (code) =>
      code > highest ? ramp.length : Math.round((code * (ramp.length - 1)) / highest),
    );
    return this.embedding.draw(steps, [...ramp, GREY], null);
  }

  fillLegend(codes, groups, colours, ends, of, most) {
    const legend = byId("legend");
    if (!groups) {
      const bar = element("div", { className: "ramp" });
      bar.style.background = `linear-gradient(to right, ${this.content.ramp.join(",")})`;
      const shownEnds = ends.map((end) => element("span", {}, String(Number(end.toPrecision(4)))));
      const missing = most ? codes.reduce((n, code) => n + (code > most), 0) : 0;
      legend.replaceChildren(
        ...(of ? [element("p", { className: "small" }, of)] : []),
        bar,
        element("div", { className: "ends" }, ...shownEnds),
        ...(missing ? [element("p", {}, swatch(GREY), ` missing: ${said(missing)}`)] : []),
      );
      return;
    }
    const counts = countsOf(codes, groups.length);
    legend.replaceChildren(
      ...groups.flatMap((name, group) => {
        if (counts[group] === 0) return [];
        const box = element("input", { type: "checkbox", checked: !this.hidden.has(group) });
        box.addEventListener("change", () => {
          if (box.checked) this.hidden.delete(group);
          else this.hidden.add(group);
          this.drawCells();
          byId("legend").querySelector(`input[data-group="${group}"]`).focus();
        });
        box.dataset.group = group;
        const count = element("span", { className: "count" }, said(counts[group]));
        return element("label", {}, box, swatch(colours[group]), name, count);
      }),
    );
  }

  showCell(cell) {
    const hover = byId("hover");
    hover.hidden = cell < 0;
    if (cell < 0) return;
    const { kind, number } = this.colour;
    const parts = [
      this.content.cells[cell],
      `cluster ${this.stop.names[this.labelsOf(this.at)[cell]]}`,
      `confidence ${(this.arrays.confidence[cell] / 255).toFixed(2)}`,
    ];
    this.content.columns.forEach((column, i) => {
      if (column.groups && (i < 4 || (kind === "column" && number === i))) {
        parts.push(`${column.name} ${column.groups[this.arrays[`column${i}`][cell]]}`);
      }
    });
    hover.textContent = parts.join(" · ");
  }

  // ---- clusters -------------------------------------------------------------------------------

  fillSizes() {
    const { stop } = this;
    const total = stop.cells.reduce((sum, cells) => sum + cells, 0);
    const name = (cluster) => [swatch(stop.colours[cluster]), ` ${stop.names[cluster]}`];
    const head = ["Cluster", "Cells", "Share", "Nearest", "Links", "Gap", "Gap p", "Markers", "Best, higher here"];
    const titles = head.map((text) => element("th", { scope: "col" }, text));
    titles[0].className = titles[8].className = "text";
    const rows = stop.names.flatMap((_, cluster) => {
      const cells = stop.cells[cluster];
      if (cells === 0) return []; // of a cluster that a subset has no cells of
      const first = [
        element("td", { className: "text" }, ...name(cluster)),
        element("td", {}, said(cells)),
        element("td", {}, `${((100 * cells) / total).toFixed(1)} %`),
      ];
      if (cluster >= stop.clusters) return element("tr", {}, ...first, ...Array(6).fill().map(() => element("td")));
      const p = stop.gap_p[cluster];
      return element(
        "tr",
        {},
        ...first,
        element("td", {}, stop.clusters > 1 ? stop.names[stop.nearest[cluster]] : ""),
        element("td", {}, rounded(stop.links[cluster], 3)),
        element("td", {}, rounded(stop.gap[cluster], 2)),
        element("td", {}, p === null ? "" : p < 0.001 ? p.toExponential(0) : p.toFixed(3)),
        element("td", {}, said(stop.n_markers[cluster])),
        element("td", { className: "text" }, stop.markers[cluster]),
      );
    });
    byId("sizes").replaceChildren(
      element("caption", {}, byId("said").textContent),
      element("thead", {}, element("tr", {}, ...titles)),
      element("tbody", {}, ...rows),
    );
  }

  downloadClusters() {
    const { stop } = this;
    const labels = this.labelsOf(this.at);
    const rows = this.content.cells.map((cell, i) => [cell, stop.names[labels[i]]]);
    const where = stop.stored ? "stored" : `resolution-${stop.resolution}`;
    download(`clusters-${where}.csv`, csvOf(["cell", this.content.key], rows));
  }

  drawTree() {
    const links = (from, to) => this.links(from, to);
    const { one_type: oneType, no_gap: noGap } = this.content;
    const isSplit = (stop, cluster) =>
      stop.links[cluster] === null || stop.links[cluster] < oneType ||
      (stop.gap_p[cluster] !== null && stop.gap_p[cluster] < noGap);
    byId("tree-chart").replaceChildren(treeChart(this.stops, links, this.at, isSplit));
  }

  // ---- markers --------------------------------------------------------------------------------

  fillMarkers() {
    const { table } = this.stop;
    const note = byId("markers-note");
    note.textContent = table
      ? this.content.markers_note
      : "There is one cluster, so there are no markers.";
    byId("dots").replaceChildren(...(table ? [this.dots()] : []));
    this.fillMarkerTable();
  }

  // Mean and share of the best genes of each cluster, three or less if there are many clusters, from the cells that are drawn.
  dots() {
    const { content, stop } = this;
    const number = new Map(content.genes.map((gene, i) => [gene.name, i]));
    const taken = new Array(stop.clusters).fill(0);
    const each = Math.max(1, Math.min(3, Math.floor(MOST_DOT_GENES / stop.clusters)));
    const genes = [];
    stop.table.gene.forEach((gene, i) => {
      const cluster = stop.table.cluster[i];
      if (taken[cluster] >= each || !number.has(gene)) return;
      taken[cluster] += 1;
      if (!genes.includes(gene)) genes.push(gene);
    });
    const labels = this.labelsOf(this.at);
    const cells = countsOf(labels, stop.names.length);
    const called = unique(stop.names);
    const dots = [];
    for (const gene of genes) {
      const values = rowOf(this.arrays.expression, number.get(gene), this.n);
      const [sum, seen] = [new Array(cells.length).fill(0), new Array(cells.length).fill(0)];
      for (let i = 0; i < this.n; i += 1) {
        if (values[i]) {
          sum[labels[i]] += values[i];
          seen[labels[i]] += 1;
        }
      }
      const scale = content.genes[number.get(gene)].most / 255;
      for (let cluster = 0; cluster < stop.clusters; cluster += 1) {
        if (!cells[cluster]) continue;
        dots.push({
          gene,
          cluster: called[cluster],
          mean: (scale * sum[cluster]) / cells[cluster],
          share: seen[cluster] / cells[cluster],
        });
      }
    }
    return dotChart(dots, called.slice(0, stop.clusters), genes, content.ramp);
  }

  // Rows of the table of markers that the search finds, in the order that was chosen.
  markerRows() {
    const { stop, sorting } = this;
    const { table } = stop;
    if (!table) return [];
    const wanted = byId("search").value.trim().toLowerCase();
    const rows = table.gene.map((gene, i) => [
      stop.names[table.cluster[i]],
      gene,
      table.log2_fold_change[i],
      table.detected[i],
      table.detected_rest[i],
      table.p_adjusted[i],
    ]);
    const found = rows.filter(
      ([cluster, gene]) =>
        gene.toLowerCase().includes(wanted) || cluster.toLowerCase() === wanted,
    );
    if (sorting.column !== null) {
      const sign = sorting.down ? -1 : 1;
      const compare = (one, other) =>
        typeof one === "number"
          ? one - other
          : one.localeCompare(other, "en", { numeric: true });
      found.sort((one, other) => sign * compare(one[sorting.column], other[sorting.column]));
    }
    return found;
  }

  fillMarkerTable() {
    const head = ["Cluster", "Gene", "log2 fold change", "Inside", "Outside", "Adjusted p"];
    const { sorting } = this;
    const titles = head.map((text, column) => {
      const button = element("button", { type: "button" }, text);
      button.addEventListener("click", () => {
        sorting.down = sorting.column === column ? !sorting.down : column >= 2 && column < 5;
        sorting.column = column;
        this.fillMarkerTable();
        byId("marker-table").querySelectorAll("th button")[column].focus();
      });
      const title = element("th", { scope: "col", className: column < 2 ? "text" : "" }, button);
      if (sorting.column === column) {
        title.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      }
      return title;
    });
    const found = this.markerRows();
    const shown = [
      String,
      String,
      (value) => value.toFixed(2),
      (value) => `${(100 * value).toFixed(0)} %`,
      (value) => `${(100 * value).toFixed(0)} %`,
      (value) => (value === 0 ? "0" : value < 0.001 ? value.toExponential(1) : value.toFixed(3)),
    ];
    const rows = found.map((row) =>
      element(
        "tr",
        {},
        ...row.map((value, column) =>
          element("td", { className: column < 2 ? "text" : "" }, shown[column](value)),
        ),
      ),
    );
    byId("marker-table").replaceChildren(
      element("thead", {}, element("tr", {}, ...titles)),
      element("tbody", {}, ...rows),
    );
    byId("matches").textContent = this.stop.table ? `${said(found.length)} rows` : "";
    byId("markers-csv").disabled = !this.stop.table;
  }

  downloadMarkers() {
    const head = ["cluster", "gene", "log2_fold_change", "detected", "detected_rest", "p_adjusted"];
    download("markers.csv", csvOf(head, this.markerRows()));
  }

  // ---- confidence and composition -------------------------------------------------------------

  drawConfidence() {
    const { stop } = this;
    const labels = this.labelsOf(this.at);
    const { confidence } = this.arrays;
    const called = unique(stop.names);
    const histograms = stop.names.map(() => new Array(256).fill(0));
    for (let i = 0; i < this.n; i += 1) histograms[labels[i]][confidence[i]] += 1;
    const rows = histograms.slice(0, stop.clusters).flatMap((counts, cluster) => {
      if (!stop.cells[cluster]) return [];
      const [low, lower, median, upper, high] = quantiles(counts, [0.05, 0.25, 0.5, 0.75, 0.95]);
      const between = counts.slice(0, 128).reduce((sum, count) => sum + count, 0);
      const colour = stop.colours[cluster];
      return { name: called[cluster], low, lower, median, upper, high, between, colour };
    });
    byId("confidence-chart").replaceChildren(confidenceChart(rows));
  }

  drawComposition() {
    const select = byId("composition");
    if (select.disabled) {
      byId("composition-chart").textContent = "There is no column of groups.";
      return;
    }
    const { stop } = this;
    const column = this.content.columns[Number(select.value)];
    const codes = this.arrays[`column${select.value}`];
    const labels = this.labelsOf(this.at);
    const k = column.groups.length;
    const counts = new Array(stop.names.length * k).fill(0);
    for (let i = 0; i < this.n; i += 1) counts[labels[i] * k + codes[i]] += 1;
    const called = unique(stop.names);
    const parts = [];
    called.slice(0, stop.clusters).forEach((cluster, number) => {
      const own = counts.slice(number * k, (number + 1) * k);
      const total = own.reduce((sum, count) => sum + count, 0);
      let start = 0;
      own.forEach((cells, group) => {
        if (!cells) return;
        const stopAt = start + cells / total;
        parts.push({ cluster, group: column.groups[group], start, stop: stopAt, cells });
        start = stopAt;
      });
    });
    byId("composition-chart").replaceChildren(
      compositionChart(parts, called.slice(0, stop.clusters), column.groups, column.colours),
    );
  }

  // ---- training and anchors, drawn only where they are unfolded ------------------------------

  drawTraining() {
    if (!byId("training").open) return;
    const { arrays, content, stop } = this;
    byId("training-chart").replaceChildren(trainingChart(content.history));
    const m = arrays.anchor_x.length;
    const clusters = rowOf(arrays.anchor_clusters, this.at, m);
    const anchors = Array.from(arrays.anchor_x, (x, i) => ({
      x,
      y: arrays.anchor_y[i],
      cells: arrays.anchor_cells[i],
      cluster: stop.names[clusters[i]],
      colour: stop.colours[clusters[i]],
    }));
    byId("anchor-chart").replaceChildren(anchorChart(anchors));
  }
}

function fillCalls(list, calls) {
  list.replaceChildren(
    ...Object.entries(calls).flatMap(([language, call]) => [
      element("dt", {}, language),
      element("dd", {}, element("code", {}, call)),
    ]),
  );
}

// Names that a chart can tell apart: several clusters may have one name.
function unique(names) {
  const seen = new Map();
  return names.map((name) => {
    const times = (seen.get(name) || 0) + 1;
    seen.set(name, times);
    return times > 1 ? `${name} (${times})` : name;
  });
}

// Quantiles of values that are counted in 256 steps from 0 to 1.
function quantiles(counts, shares) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return shares.map((share) => {
    let below = 0;
    for (let step = 0; step < counts.length; step += 1) {
      below += counts[step];
      if (below >= share * total) return step / 255;
    }
    return 1;
  });
}

function fail(error) {
  const failure = byId("failure");
  failure.hidden = false;
  failure.textContent = `The report cannot be shown: ${error.message}. It needs WebGL and a browser from 2023 or later.`;
  throw error;
}

readData(byId("data").textContent)
  .then(({ content, arrays }) => {
    window.page = new Page(content, arrays);
    return window.page.start();
  })
  .then(() => document.body.setAttribute("data-ready", ""))
  .catch(fail);
