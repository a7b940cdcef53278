// Bundles the page into dist/: index.html and files whose names carry a hash of their content, so that the server may
// let browsers keep them for ever. Fails when the page grows over its budget.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const BUDGET_BYTES = 150 * 1024;

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");

const options = {
  absWorkingDir: root,
  entryPoints: ["src/main.tsx", "src/theme-boot.ts", "src/styles/main.css", "src/favicon.svg"],
  outdir: "dist/assets",
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".svg": "copy" },
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox121", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};

async function finish(metafile) {
  const files = new Map();
  let total = 0;
  for (const path of Object.keys(metafile.outputs)) {
    const bytes = await readFile(join(root, path));
    const compressed = gzipSync(bytes, { level: 9 }).length;
    total += compressed;
    const name = basename(path);
    files.set(name.replace(/-[A-Z0-9]{8}(?=\.)/, ""), `assets/${name}`);
    console.log(`${String(compressed).padStart(8)} B gzip  ${path}`);
  }
  const template = await readFile(join(root, "index.html"), "utf8");
  const html = template.replace(/\{\{([\w.-]+)\}\}/g, (_, name) => {
    const file = files.get(name);
    if (!file) throw new Error(`index.html names ${name}, which the build did not make`);
    return `/${file}`;
  });
  await writeFile(join(dist, "index.html"), html);
  console.log(`${String(total).padStart(8)} B gzip  in all (budget ${BUDGET_BYTES})`);
  if (total > BUDGET_BYTES) throw new Error("the page is over its budget");
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });

if (process.argv.includes("--watch")) {
  const context = await esbuild.context({
    ...options,
    plugins: [{ name: "html", setup: (build) => build.onEnd((result) => result.metafile && finish(result.metafile)) }],
  });
  await context.watch();
} else {
  const result = await esbuild.build(options);
  await finish(result.metafile);
}
