/**
 * Builds the pages, each by another tool: `node build.mjs`, in a folder with `pages/` and `node_modules/`.
 * What each page becomes lies in `built/NAME/` then; a page's own folder is where it is served.
 */

import { execFile } from "node:child_process";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import esbuild from "esbuild";
import { build, createServer } from "vite";
import webpack from "webpack";

const here = resolve(fileURLToPath(import.meta.url), "..");
const at = (...parts) => resolve(here, ...parts);

async function withVite(name) {
  const common = { root: at("pages", name), base: "./", configFile: false, logLevel: "warn", cacheDir: at(".vite") };
  await build({ ...common, build: { outDir: at("built", name), emptyOutDir: true, minify: false } });
  // The development server finds the package's module from the same lines.
  const server = await createServer({ ...common, server: { middlewareMode: true, ws: false }, optimizeDeps: { noDiscovery: true } });
  try {
    for (const file of ["/main.tsx", "/readme.ts"]) {
      const { code } = await server.transformRequest(file);
      if (!/from "[^"]*@bff\/client\/client\.js/.test(code)) throw new Error(`${file} does not load the client:\n${code}`);
    }
  } finally {
    await server.close();
  }
}

async function withWebpack(name) {
  const compiler = webpack({
    mode: "development",
    devtool: false,
    entry: at("pages", name, "main.js"),
    output: { path: at("built", name), filename: "main.js" },
    resolve: { alias: { vue$: "vue/dist/vue.esm-bundler.js" } },
    plugins: [new webpack.DefinePlugin({
      __VUE_OPTIONS_API__: true, __VUE_PROD_DEVTOOLS__: false, __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: false,
    })],
  });
  const stats = await new Promise((done, fail) => compiler.run((error, result) => (error ? fail(error) : done(result))));
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString());
  await new Promise((done) => compiler.close(done));
  await copyFile(at("pages", name, "index.html"), at("built", name, "index.html"));
}

/** Angular's own compiler, strict in templates too; then esbuild as for the others. */
async function withAngular(name) {
  const compiler = at("../node_modules/@angular/compiler-cli/bundles/src/bin/ngc.js");
  await promisify(execFile)(process.execPath, [compiler, "--project", at("tsconfig.angular.json")]).catch((failure) => {
    throw new Error(`${failure.stdout}${failure.stderr}`);
  });
  await withEsbuild({ [name]: at("compiled", "pages", name, "main.js") });
}

async function withEsbuild(entries) {
  const names = Object.keys(entries);
  const entryPoints = Object.fromEntries(names.map((name) => [`${name}/main`, entries[name]]));
  await esbuild.build({ entryPoints, outdir: at("built"), bundle: true, format: "esm", logLevel: "warning" });
  for (const name of names) await copyFile(at("pages", name, "index.html"), at("built", name, "index.html"));
}

await mkdir(at("built"), { recursive: true });
await writeFile(at("built", "index.html"), "<!doctype html><title>Where a sign-out leads to</title>");
await Promise.all([withVite("react"), withWebpack("vue"), withAngular("angular"), withEsbuild({ clients: at("pages", "clients", "main.js") })]);
