// Collects the licence of every package that is part of the bundle into ../LICENSES.txt.
import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const { metafile } = await build({
  entryPoints: ["main.jsx"],
  bundle: true,
  write: false,
  metafile: true,
  jsx: "automatic",
  outfile: "out.js",
  define: { "process.env.NODE_ENV": '"production"' },
});

const roots = new Set();
for (const input of Object.keys(metafile.inputs)) {
  const match = input.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
  if (match) roots.add(match[1]);
}

const entries = [...roots].map((root) => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const file = readdirSync(root).find((name) => /^licen[cs]e/i.test(name));
  const text = file
    ? readFileSync(join(root, file), "utf8").trim()
    : `The package carries no licence text; its manifest names ${manifest.license}.`;
  return { title: `${manifest.name} ${manifest.version} (${manifest.license})`, text };
});
entries.sort((a, b) => (a.title < b.title ? -1 : 1));

// The style sheet of @graphiql/react carries two font families as data.
entries.push({
  title: "Fonts: Roboto (Apache-2.0), Fira Code (OFL-1.1)",
  text: "Roboto: Copyright Google LLC. Fira Code: Copyright The Fira Code Project Authors.\nUnchanged, as part of the style sheet of @graphiql/react.",
});

const line = "-".repeat(78);
const body = entries.map(({ title, text }) => `${line}\n${title}\n${line}\n\n${text}\n`).join("\n");
writeFileSync(
  join(dirname(new URL(import.meta.url).pathname), "..", "LICENSES.txt"),
  `graphiql.js and graphiql.css contain the following packages.\n\n${body}`,
);
console.log(`${entries.length} packages`);
