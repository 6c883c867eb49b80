#!/usr/bin/env node
/** The `seawall` command: looks at the Node first, and imports the rest only where it can run. */
import { readFileSync } from "node:fs"
import { refusal, silenceSqliteWarning } from "./cli/NodeVersion.ts"

const { engines, version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly engines: { readonly node: string }
  readonly version: string
}

const refused = refusal(engines.node, process.versions.node, process.argv.slice(2))
if (refused === undefined) {
  silenceSqliteWarning()
  const { main } = await import("./cli/seawall.ts")
  main(version)
} else {
  process.stderr.write(`${refused}\n`)
  process.exitCode = 1
}
