// What page.js uses of the libraries; esbuild leaves out the rest.
export { default as createScatterplot } from "regl-scatterplot";
export {
  barX, barY, boxX, dot, gridX, gridY, line, link, plot, rectY, ruleX, ruleY, stackX, text, tip, pointer, binX, groupZ, axisX, axisY, tickX,
} from "@observablehq/plot";
