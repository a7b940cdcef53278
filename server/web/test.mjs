// Runs the tests of one folder (`test`, `e2e` or `board`) with Node's own runner, which in Node 18 does not read TypeScript:
// esbuild bundles each file first.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2] ?? "test";
const outdir = join(root, ".test-build", folder);
const tests = readdirSync(join(root, folder)).filter((name) => name.endsWith(".test.ts"));
if (tests.length === 0) {
  console.error(`no tests in ${folder}/`);
  process.exit(1);
}

rmSync(outdir, { recursive: true, force: true });
await esbuild.build({
  absWorkingDir: root,
  entryPoints: tests.map((name) => join(folder, name)),
  outdir,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  target: "node18",
  format: "esm",
  packages: "external",
  sourcemap: "inline",
  logLevel: "warning",
});
const files = tests.map((name) => join(outdir, name.replace(/\.ts$/, ".mjs")));
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit", cwd: root });
process.exit(run.status ?? 1);
