import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { isMountPointIn, look, resolve } from "../../src/files/DatabaseFile.ts"

let folder = ""
beforeEach(() => {
  folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "seawall-file-")))
})
afterEach(() => fs.rmSync(folder, { recursive: true }))
const at = (...names: ReadonlyArray<string>) => path.join(folder, ...names)

describe("a database file", () => {
  it("has the names that SQLite gives its WAL, whatever it is called by the caller", () => {
    fs.mkdirSync(at("data"))
    fs.writeFileSync(at("data/app.db"), "")
    fs.symlinkSync("data/app.db", at("link.db"))
    fs.symlinkSync("data", at("folder"))
    for (const given of [at("data/app.db"), at("link.db"), at("folder/app.db"), at("data/../folder/./app.db")]) {
      const file = resolve(given)
      expect(file).toMatchObject({
        given,
        path: at("data/app.db"),
        wal: at("data/app.db-wal"),
        shm: at("data/app.db-shm"),
        journal: at("data/app.db-journal"),
      })
      expect(file.found?.identity).toBe(look(at("data/app.db"))?.identity)
    }
  })

  it("is resolved before it exists, also through a linked folder, and where nothing can be resolved", () => {
    fs.mkdirSync(at("data"))
    fs.symlinkSync("data", at("folder"))
    expect(resolve(at("folder/new.db"))).toMatchObject({ path: at("data/new.db"), found: undefined })
    fs.symlinkSync("folder/new.db", at("dangling.db"))
    expect(resolve(at("dangling.db"))).toMatchObject({ path: at("data/new.db"), found: undefined })
    fs.symlinkSync("round.db", at("round.db"))
    expect(resolve(at("round.db"))).toMatchObject({ path: at("round.db"), found: undefined })
    expect(resolve(at("nowhere/new.db"))).toMatchObject({ path: at("nowhere/new.db"), found: undefined })
  })

  it("tells links, kinds, owner and mode", () => {
    fs.writeFileSync(at("a.db"), "12345", { mode: 0o640 })
    fs.linkSync(at("a.db"), at("b.db"))
    expect(look(at("b.db"))).toMatchObject({ kind: "file", bytes: 5, links: 2, mode: 0o640, owner: process.getuid?.() })
    expect(look(at("a.db"))?.identity).toBe(look(at("b.db"))?.identity)
    expect([look(folder)?.kind, look("/dev/null")?.kind, look(at("none"))]).toEqual(["folder", "other", undefined])
  })

  it("is a mount point where the mount table has its very path", () => {
    const table = [
      "22 1 254:0 / / rw - ext4 /dev/vda rw",
      "36 22 254:0 /var/my\\040app.db /data/my\\040app.db rw,relatime shared:1 - ext4 /dev/vda rw",
    ].join("\n")
    const mounted = ["/data/my app.db", "/data", "/data/my app.db-wal", "/"].map((real) => isMountPointIn(table, real))
    expect(mounted).toEqual([true, false, false, true])
  })
})
