"use strict";
// The cells in their UMAP, drawn with WebGL by regl-scatterplot.

const HOVERED = "#000000";
const MANY = 50000;
const KEY_STEP = 0.1;

function makeEmbedding(canvas, xs, ys, onHover) {
  const n = xs.length;
  const largest = 65535;
  // one scale for both axes, in the middle of -1 to 1
  const middle = (values) => values.reduce((most, value) => Math.max(most, value), 0) / 2;
  const [midX, midY] = [middle(xs), middle(ys)];
  const x = Float32Array.from(xs, (value) => (1.9 * (value - midX)) / largest);
  const y = Float32Array.from(ys, (value) => (1.9 * (value - midY)) / largest);
  const isLarge = n > MANY;
  const size = Math.min(7, Math.max(1.5, 600 / Math.sqrt(n)));
  const plot = libraries.createScatterplot({
    canvas,
    width: "auto",
    height: "auto",
    backgroundColor: [1, 1, 1, 1],
    pointSize: size,
    pointSizeSelected: 2,
    pointColorHover: HOVERED,
    opacity: isLarge ? 1 : 0.9,
    lassoOnLongPress: false,
    lassoInitiator: false,
    mouseMode: "panZoom",
    actionKeyMap: {},
    aspectRatio: 1,
    performanceMode: isLarge, // squares, which a computer without a graphics card draws faster
    spatialIndexUseWorker: false,
    colorBy: "valueA",
  });
  plot.subscribe("pointOver", (point) => onHover(point));
  plot.subscribe("pointOut", () => onHover(-1));
  let spatialIndex = null;
  let drawing = Promise.resolve();

  // Codes are numbers of colours, one for each cell; `shown` says which cells are drawn, or null.
  async function drawNow(codes, colours, shown) {
    const palette = colours.length > 1 ? colours : [...colours, colours[0]];
    plot.set({ pointColor: palette });
    const options = { zDataType: "categorical" };
    if (spatialIndex) options.spatialIndex = spatialIndex;
    if (shown) options.filter = shown;
    await plot.draw({ x, y, z: codes }, options);
    spatialIndex = spatialIndex || plot.get("spatialIndex");
  }

  function zoom(factor) {
    const [at, distance] = [plot.get("cameraTarget"), plot.get("cameraDistance")];
    plot.set({ cameraTarget: at, cameraDistance: distance * factor });
  }

  canvas.addEventListener("keydown", (event) => {
    const [x0, y0] = plot.get("cameraTarget");
    const step = KEY_STEP * plot.get("cameraDistance");
    const moves = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, step],
      ArrowDown: [0, -step],
    };
    if (moves[event.key]) {
      const [dx, dy] = moves[event.key];
      plot.set({ cameraTarget: [x0 + dx, y0 + dy] });
    } else if (event.key === "+" || event.key === "=") {
      zoom(0.8);
    } else if (event.key === "-") {
      zoom(1.25);
    } else if (event.key === "0") {
      plot.reset();
    } else {
      return;
    }
    event.preventDefault();
  });

  return {
    plot,
    zoom,
    reset: () => plot.reset(),
    // one drawing after the other: regl-scatterplot drops what is asked for in between
    draw: (...what) => {
      drawing = drawing.then(() => drawNow(...what));
      return drawing;
    },
  };
}
