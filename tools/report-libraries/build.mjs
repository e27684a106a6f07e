// Bundles what page.js uses of its libraries into one file, with their licences at its top:
//   npm ci && node build.mjs
import { build } from "esbuild";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const TARGET = new URL("../../python/bgformer/page/assets/libraries.js", import.meta.url);
const { outputFiles, metafile } = await build({
  entryPoints: ["entry.js"],
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "libraries",
  legalComments: "none",
  metafile: true,
  write: false,
});
const packages = new Set(
  Object.keys(metafile.inputs)
    .map((path) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1])
    .filter(Boolean),
);
// packages by the text of their licence, which many share but for the name of the author
const texts = new Map();
for (const name of [...packages].sort()) {
  const { license, version, author } = JSON.parse(readFileSync(`node_modules/${name}/package.json`));
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"]
    .map((one) => `node_modules/${name}/${one}`)
    .find(existsSync);
  const who = typeof author === "string" ? author : author?.name;
  const text = file ? readFileSync(file, "utf-8").trim() : `${license} licence, by ${who}`;
  texts.set(text, [...(texts.get(text) ?? []), `${name} ${version}`]);
}
const licences = [...texts].map(([text, names]) => `${names.join(", ")}\n\n${text}`);
const banner = `/*\n${licences.join("\n\n----\n\n").replaceAll("*/", "* /")}\n*/\n`;
writeFileSync(TARGET, banner + outputFiles[0].text);
