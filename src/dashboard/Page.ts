/**
 * The page, as one text without a reference to anything else: its own markup, style and script, and the charts of uPlot.
 *
 * Put together once, at the start. Its script is written as modules, for the tools; the browser gets them as one script,
 * because nothing may be loaded. The policy names the script and the style by their hashes: nothing else runs or shows.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem, Schema } from "effect"
import { createHash } from "node:crypto"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"

/** A file of the page that is not there: the installation is not whole. */
class PageError extends Schema.TaggedError<PageError>()("PageError", { cause: Schema.Defect() }) {
  override get message() {
    return `cannot put the page together, install Seawall anew: ${String(this.cause)}`
  }
}

export interface Page {
  readonly html: string
  /** https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP */
  readonly contentSecurityPolicy: string
}

/** In the order in which they need each other. */
const modules = ["dom.js", "charts.js", "view.js", "databases.js", "log.js", "main.js"]

const own = (name: string) => fileURLToPath(new URL(`./page/${name}`, import.meta.url))

const library = (name: string) => createRequire(import.meta.url).resolve(`uplot/dist/${name}`)

/** A module as a part of one script: what it takes from its neighbours is there already, and what it gives stays there. */
const asScript = (module: string) => {
  const body = module.replaceAll(/^import [^;]*? from "[^"]+"$/gm, "")
  const names = [...body.matchAll(/^export const (\w+)/gm)].map(([, name]) => name)
  const given = names.length === 0 ? "" : `const { ${names.join(", ")} } = `
  return `${given}(() => {\n${body.replaceAll(/^export /gm, "")}\nreturn { ${names.join(", ")} }\n})()`
}

const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

const policy = (script: string, style: string) =>
  [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ")

export const make: Effect.Effect<Page, PageError> = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const read = (path: string) => fs.readFileString(path)
  const scripts = yield* Effect.forEach(modules, (name) => read(own(name)))
  const style = `${yield* read(library("uPlot.min.css"))}\n${yield* read(own("page.css"))}`
  const script = [`"use strict"`, yield* read(library("uPlot.iife.min.js")), ...scripts.map(asScript)].join(";\n")
  const markup = yield* read(own("page.html"))
  return {
    html: markup
      .replace(/(?<=<style>)\s*\/\* style \*\/\s*/, () => style)
      .replace(/(?<=<script>)\s*\/\* script \*\/\s*/, () => script),
    contentSecurityPolicy: policy(script, style),
  }
}).pipe(
  Effect.catchCause((cause) => Effect.fail(new PageError({ cause }))),
  Effect.provide(NodeFileSystem.layer),
)
