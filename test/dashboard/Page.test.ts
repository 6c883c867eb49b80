/** The files of the page: all of them are there, and one that is missing is one error with a type, at the start. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, PlatformError } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import * as Page from "../../src/dashboard/Page.ts"

/** The real files, of which one is missing. */
const without = (missing: string) =>
  Effect.map(FileSystem.FileSystem, (fs) =>
    FileSystem.FileSystem.of({
      ...fs,
      readFileString: (path, encoding) =>
        path.endsWith(`/${missing}`)
          ? Effect.fail(
              PlatformError.systemError({
                _tag: "NotFound",
                module: "FileSystem",
                method: "readFile",
                pathOrDescriptor: path,
              }),
            )
          : fs.readFileString(path, encoding),
    }),
  )

describe("the files of the page", () => {
  it("are all that its folder has for a browser", () => {
    const folder = new URL("../../src/dashboard/page/", import.meta.url)
    expect(readdirSync(folder).filter((name) => /\.(?:css|js)$/.test(name))).toEqual(Page.ownFiles)
  })

  it.effect.each([...Page.ownFiles, "page.html", "uPlot.esm.js", "uPlot.min.css"])(
    "are refused as a whole when %s is missing",
    (missing) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          Effect.provideService(Page.make, FileSystem.FileSystem, yield* without(missing)),
        )
        expect(error._tag).toBe("PageError")
        expect(error.message).toMatch(/^cannot read the page, reinstall Seawall: .*NotFound/)
        expect(error.message).toContain(missing)
      }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it("mark only events that Seawall logs", () => {
    const source = new URL("../../src/", import.meta.url)
    const modules = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))
    const code = modules.map((name) => readFileSync(new URL(name, source), "utf8")).join("\n")
    const page = readFileSync(new URL("dashboard/page/log.js", source), "utf8")
    const marked = [...page.matchAll(/^ {2}("wal_checkpoint [^"]+"): "/gm)].map(([, event = ""]) => event)
    expect(marked.length).toBeGreaterThan(0)
    expect(marked.filter((event) => !code.includes(`(${event})`))).toEqual([])
  })
})
