/**
 * The files of the page, as routes: its markup, its modules and styles, and the charts of uPlot.
 *
 * They are read once, at the start. The list is closed: the path of a request never reaches the file system.
 */
import { Effect, FileSystem, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { createRequire } from "node:module"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"

/** A file of the page is missing: the installation is incomplete. */
class PageError extends Schema.TaggedError<PageError>()("PageError", { cause: Schema.Defect() }) {
  override get message() {
    return `cannot read the page, reinstall Seawall: ${String(this.cause)}`
  }
}

/** What the page loads from its own folder, beside its markup; in the order of the alphabet. */
export const ownFiles = [
  "charts.js",
  "databases.js",
  "dom.js",
  "log.js",
  "main.js",
  "page.css",
  "plot.js",
  "view.css",
  "view.js",
]

const own = (name: string) => fileURLToPath(new URL(`./page/${name}`, import.meta.url))

const library = (name: string) => createRequire(import.meta.url).resolve(`uplot/dist/${name}`)

const contentTypes: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
}

const files: ReadonlyArray<readonly [path: HttpRouter.PathInput, file: () => string]> = [
  ["/", () => own("page.html")],
  ["/page/uPlot.css", () => library("uPlot.min.css")],
  ["/page/uPlot.js", () => library("uPlot.esm.js")],
  ...ownFiles.map((name) => [`/page/${name}`, () => own(name)] as const),
]

/** One route for each file. */
export const make = Effect.forEach(
  files,
  Effect.fnUntraced(function* ([path, fileOf]) {
    const fs = yield* FileSystem.FileSystem
    const file = yield* Effect.try({ try: fileOf, catch: (cause) => new PageError({ cause }) })
    const body = yield* Effect.mapError(fs.readFileString(file), (cause) => new PageError({ cause }))
    const contentType = contentTypes[extname(file)] ?? "text/plain"
    return HttpRouter.route("GET", path, HttpServerResponse.text(body, { contentType }))
  }),
)
