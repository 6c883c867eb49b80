/** What a name may turn out to be when a command is given it: databases of every state, and what only looks like one. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { randomOf } from "../support/random.ts"
import { quick, run } from "../support/Seawall.ts"

export interface FileKind {
  readonly name: string
  /** Makes it in an empty folder, and returns the name that a command is given. */
  readonly make: (folder: string) => string | Promise<string>
}

const rows = `CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO t SELECT i, 'row ' || i FROM n`

const create = (file: string, before = "PRAGMA journal_mode = WAL", after = "") => {
  const database = new DatabaseSync(file, { defensive: false })
  database.exec(`${before}; ${rows}; ${after}`)
  database.close()
}

/** The state that a killed program leaves: copied from under one that has it open. */
const leave = (file: string, suffixes: ReadonlyArray<string>, journal: string, change: string) => {
  create(file, `PRAGMA journal_mode = ${journal}`)
  const database = new DatabaseSync(file)
  database.exec(`PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 1; ${change}`)
  const left = suffixes.map((suffix) => [suffix, fs.readFileSync(file + suffix)] as const)
  database.close()
  for (const [suffix, bytes] of left) fs.writeFileSync(file + suffix, bytes)
}

const hot = (file: string, ...suffixes: ReadonlyArray<string>) =>
  leave(file, ["", ...suffixes], "WAL", "UPDATE t SET b = 'in the WAL' WHERE a % 20 = 0")

const write = (bytes: string | Uint8Array) => (file: string) => fs.writeFileSync(file, bytes)
const random = (length: number) => {
  const next = randomOf(length)
  return Uint8Array.from({ length }, () => next(256))
}

/** Changes bytes of a file in place. */
const patch = (file: string, at: number, bytes: ReadonlyArray<number>) => {
  const whole = fs.readFileSync(file)
  whole.set(bytes, at)
  fs.writeFileSync(file, whole)
}

/** The file of an engine: it is made once, by one, and copied. */
let made: Promise<Buffer> | undefined
const engine = async (file: string) => {
  made ??= (async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-engine-"))
    await run(["run", "--db", "app.db", "--duration-seconds", "0.3"], { cwd: folder, env: quick })
    const bytes = fs.readFileSync(path.join(folder, "app.db"))
    fs.rmSync(folder, { recursive: true })
    return bytes
  })()
  fs.writeFileSync(file, await made)
}

/** Most kinds are one file of the usual name. */
const kind = (name: string, make: (file: string) => unknown, called = "app.db"): FileKind => ({
  name,
  make: async (folder) => {
    await make(path.join(folder, called))
    return called
  },
})

const link = (target: string) => (file: string) => fs.symlinkSync(target, file)
const other = (file: string, name: string) => path.join(path.dirname(file), name)

export const kinds: ReadonlyArray<FileKind> = [
  kind("nothing", () => undefined),
  kind("nothing, in a folder that is not there", () => undefined, "no/such/app.db"),
  kind("an empty file", write("")),
  kind("one byte", write("S")),
  kind("half a header", write("SQLite format 3\0".padEnd(50, "\0"))),
  kind("zeros", write(new Uint8Array(8192))),
  kind("text", write("select 1;\n".repeat(500))),
  kind("random bytes", write(random(12_288))),
  kind("compressed", write(Uint8Array.from([0x1f, 0x8b, 8, 0, ...random(5000)]))),
  kind("a header and random bytes", (file) => {
    create(file)
    fs.writeFileSync(file, Buffer.concat([fs.readFileSync(file).subarray(0, 100), random(12_188)]))
  }),
  kind("a folder", (file) => fs.mkdirSync(file)),
  kind("a folder of databases", (file) => {
    fs.mkdirSync(file)
    create(path.join(file, "one.db"))
    hot(path.join(file, "two.db"), "-wal")
    fs.writeFileSync(path.join(file, "text.txt"), "text")
  }),
  kind("a pipe", (file) => spawnSync("mkfifo", [file])),
  kind("a socket", async (file) => {
    const server = net.createServer().listen(file)
    await new Promise((resolve) => server.on("listening", resolve))
    // The name stays when the process that made it is gone: so it is here, by a second name.
    fs.linkSync(file, `${file}.kept`)
    await new Promise((resolve) => server.close(resolve))
    fs.renameSync(`${file}.kept`, file)
  }),
  kind("a link to a database", (file) => {
    create(other(file, "real.db"))
    link("real.db")(file)
  }),
  kind("a link to nothing", link("nowhere.db")),
  kind("a link to itself", link("app.db")),
  kind("a link to a device", link("/dev/null")),
  kind("a link to endless zeros", link("/dev/zero")),
  kind("a database", (file) => create(file)),
  kind("a database with a rollback journal mode", (file) => create(file, "PRAGMA journal_mode = DELETE")),
  kind("a WAL that no process has open", (file) => hot(file, "-wal")),
  kind("a WAL and an index that no process has open", (file) => hot(file, "-wal", "-shm")),
  kind("a WAL with a foreign index", (file) => {
    hot(file, "-wal")
    fs.writeFileSync(`${file}-shm`, random(32_768))
  }),
  kind("a WAL cut in a frame", (file) => {
    hot(file, "-wal")
    fs.truncateSync(`${file}-wal`, fs.statSync(`${file}-wal`).size - 1000)
  }),
  kind("a WAL of random bytes", (file) => {
    create(file)
    fs.writeFileSync(`${file}-wal`, random(9000))
  }),
  kind("an empty WAL", (file) => {
    create(file)
    fs.writeFileSync(`${file}-wal`, "")
  }),
  kind("a WAL of another database", (file) => {
    hot(other(file, "other.db"), "-wal")
    create(file, "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL")
    fs.renameSync(`${other(file, "other.db")}-wal`, `${file}-wal`)
  }),
  kind("a folder where the WAL would be", (file) => {
    create(file)
    fs.mkdirSync(`${file}-wal`)
  }),
  kind("a hot journal", (file) => leave(file, ["", "-journal"], "DELETE", "BEGIN; UPDATE t SET b = 'x' || b")),
  kind("a journal of random bytes", (file) => {
    create(file, "PRAGMA journal_mode = DELETE")
    fs.writeFileSync(`${file}-journal`, random(3000))
  }),
  kind("a file cut in the middle", (file) => {
    create(file)
    fs.truncateSync(file, 6000)
  }),
  kind("a damaged page", (file) => {
    create(file)
    patch(file, 4096, [...random(400)])
  }),
  kind("a page size of nothing", (file) => {
    create(file)
    patch(file, 16, [0, 3])
  }),
  kind("a format of the future", (file) => {
    create(file)
    patch(file, 18, [9, 9])
  }),
  kind("a schema of another SQLite", (file) =>
    create(
      file,
      "PRAGMA journal_mode = WAL",
      `PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'u', 'u', 2, 'CREATE TABLE u (a) OF TOMORROW')`,
    ),
  ),
  kind("a file with two names", (file) => {
    create(file)
    fs.linkSync(file, other(file, "second.db"))
  }),
  kind("pages of 64 KiB", (file) => create(file, "PRAGMA page_size = 65536; PRAGMA journal_mode = WAL")),
  kind("pages of 512 bytes", (file) => create(file, "PRAGMA page_size = 512; PRAGMA journal_mode = WAL")),
  kind("UTF-16", (file) => create(file, "PRAGMA encoding = 'UTF-16le'; PRAGMA journal_mode = WAL")),
  kind("no permission to read", (file) => {
    create(file)
    fs.chmodSync(file, 0)
  }),
  kind("no permission to write", (file) => {
    create(file)
    fs.chmodSync(file, 0o444)
  }),
  kind("a database of another user", (file) => {
    hot(file, "-wal")
    if (process.getuid?.() === 0) for (const it of [file, `${file}-wal`]) fs.chownSync(it, 23_456, 23_456)
    fs.chmodSync(file, 0o600)
  }),
  kind("an engine's database", engine),
  kind("an engine's database without its sessions", async (file) => {
    await engine(file)
    const database = new DatabaseSync(file)
    database.exec("PRAGMA foreign_keys = OFF; DROP TABLE sessions")
    database.close()
  }),
  kind("a database with tables of the engine's names", (file) =>
    create(file, "PRAGMA journal_mode = WAL; CREATE TABLE capital_events (x); CREATE VIEW state AS SELECT 1 AS one"),
  ),
  kind("a name with a line break", (file) => create(file), "a\nb.db"),
  kind("a name with colours", (file) => create(file), "a\u001b[31mb.db"),
  kind("a name with spaces and quotes", (file) => create(file), `it's "the" app.db`),
  kind("a name in another script", (file) => create(file), "данные-データ.db"),
  kind(
    "a name of 250 bytes, too long for a WAL",
    (file) => {
      create(other(file, "short.db"))
      fs.renameSync(other(file, "short.db"), file)
    },
    `${"a".repeat(247)}.db`,
  ),
  kind("a name that is too long", () => undefined, `${"a".repeat(300)}.db`),
  kind("a name that looks like a number", (file) => create(file), "42"),
  kind("the WAL itself", (file) => hot(file.replace(/-wal$/, ""), "-wal"), "app.db-wal"),
  kind("a backup", (file) => create(file), "app.db.manual.20991231T235959999Z"),
]
