/**
 * The package as its users get it: built, packed, installed into an empty folder, and used there by programs that are
 * type-checked under every strict flag. The code blocks of the README are among them.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { execFileSync, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-package-"))
const npm = (args: ReadonlyArray<string>, cwd: string) =>
  execFileSync("npm", [...args], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })

const versions = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}
const pinned = (name: string) => `${name}@${versions.devDependencies[name] ?? versions.dependencies[name]}`
/** Of a release candidate the parts fit each other only at one version, which a range would not keep. */
const tools = [
  "typescript",
  "@types/node",
  "effect",
  "@effect/platform-node",
  "@effect/platform-node-shared",
  "@effect/sql-sqlite-node",
].map(pinned)

const strict = {
  target: "ES2024",
  module: "NodeNext",
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  verbatimModuleSyntax: true,
  skipLibCheck: false,
  noEmit: true,
}

/** A guarded program that writes, checkpoints, and says what became of its log. */
const guarded = (checkpointer: string) => `import { Console, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { Checkpointer, Database, LatencyWindow, ThreadCheckpointer, WalGuard, Writer } from "seawall"
import * as Module from "seawall/WalGuard"

const Guarded = WalGuard.layer({ interval: "10 millis" }).pipe(
  Layer.provideMerge(LatencyWindow.layer()),
  Layer.provideMerge(${checkpointer}),
  Layer.provideMerge(Database.layer({ file: "program.db" })),
)

export const used = [Checkpointer, ThreadCheckpointer, Module.WalGuard === WalGuard]

await Effect.runPromise(
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const writer = yield* Writer
    const guard = yield* WalGuard
    yield* sql\`CREATE TABLE IF NOT EXISTS t (a)\`
    yield* writer.execute("INSERT INTO t VALUES (?)", [1])
    yield* Effect.sleep("10 millis").pipe(Effect.andThen(guard.last), Effect.repeat({ until: Option.isSome }))
    yield* Console.log("outcome", Option.getOrThrow(yield* guard.last).outcome)
  }).pipe(Effect.provide(Guarded)),
)
`

/** A test of a guarded program, in virtual time: what it shows took ten minutes there. */
const tested = `import { Console, Effect, Layer, Ref } from "effect"
import { TestClock } from "effect/testing"
import { LatencyWindow, Shutdown, WalGuard } from "seawall"
import { LogCapture, logged, Recording, scripted, temporaryDatabase } from "seawall/testing"

const slow = scripted((run) => (run === 1 ? { takes: "1 second" } : {}))

const Guarded = WalGuard.layer({ interval: "60 seconds" }).pipe(
  Layer.provideMerge(LatencyWindow.layer()),
  Layer.provideMerge(slow),
  Layer.provideMerge(temporaryDatabase()),
  Layer.provideMerge(Shutdown.layer()),
  Layer.provideMerge(LogCapture.layer),
)

await Effect.runPromise(
  Effect.gen(function* () {
    yield* TestClock.adjust("10 minutes")
    const starts = (yield* Effect.flatMap(Recording, Ref.get)).filter(({ what }) => what === "start")
    yield* Console.log("runs", starts.length, "slow", (yield* logged("wal_checkpoint slow")).length)
  }).pipe(Effect.provide(Guarded), Effect.provide(TestClock.layer())),
)
`

const readme = [...fs.readFileSync(path.join(root, "README.md"), "utf8").matchAll(/^```ts\n([^]*?)^```$/gm)].map(
  ([, code = ""]) => code,
)

/** How Effect's own logger begins a line that nobody wants to see here. */
const trouble = /^\[[\d:.]+\] (?:WARN|ERROR|FATAL) /m

const programs: Readonly<Record<string, string>> = {
  "threaded.ts": guarded("ThreadCheckpointer.layer()"),
  "inline.ts": guarded("Checkpointer.layerInline()"),
  "testing.ts": tested,
  ...Object.fromEntries(readme.map((code, n) => [`readme${n + 1}.ts`, code.replace("port: 8501", "port: 0")])),
}

beforeAll(() => {
  const [packed] = JSON.parse(npm(["pack", "--json", "--pack-destination", folder], root)) as [{ filename: string }]
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module", private: true }))
  fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: strict, include: ["*.ts"] }))
  for (const [name, code] of Object.entries(programs)) fs.writeFileSync(path.join(folder, name), code)
  npm(["install", "--no-audit", "--no-fund", `./${packed.filename}`, ...tools], folder)
}, 300_000)

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

describe("the package in an empty folder", () => {
  it("is installed as the README says", () => {
    const [line] = /^npm install seawall .*$/m.exec(fs.readFileSync(path.join(root, "README.md"), "utf8")) ?? []
    expect(line).toBe(
      ["npm install seawall", ...["effect", "@effect/platform-node", "@effect/sql-sqlite-node"].map(pinned)].join(" "),
    )
  })

  it("type-checks under every strict flag, the declarations of the package too", { timeout: 120_000 }, () => {
    const checked = spawnSync("npx", ["tsc", "-p", "."], { cwd: folder, encoding: "utf8" })
    expect(checked.stdout).toBe("")
    expect(checked.status).toBe(0)
  })

  it("says of everything that can be imported what it is, and of what type", () => {
    const own = path.join(folder, "node_modules/seawall")
    const { exports } = JSON.parse(fs.readFileSync(path.join(own, "package.json"), "utf8")) as {
      readonly exports: Readonly<Record<string, string | { readonly types: string }>>
    }
    const declared = (module: string) => fs.readFileSync(path.join(own, module), "utf8").split("\n")
    const entries = Object.values(exports).flatMap((entry) => (typeof entry === "string" ? [] : [entry.types]))
    const modules = new Set(entries)
    /** What only an entry hands on, by the module that declares it. */
    const handedOn = new Map<string, ReadonlySet<string>>()
    for (const entry of entries) {
      for (const line of declared(entry)) {
        const [, names = "", from = ""] = /^export (?:type )?\{(.*)\} from "(.*)\.(?:ts|js)"/.exec(line) ?? []
        const module = `./${path.join(path.dirname(entry), from)}.d.ts`
        if (from === "" || modules.has(module)) continue
        const given = names.split(",").map((name) => name.replace(/^\s*(?:type )?\s*/, "").trim())
        handedOn.set(module, new Set([...(handedOn.get(module) ?? []), ...given]))
      }
    }
    const problems = [...modules, ...handedOn.keys()].flatMap((module) => {
      const lines = declared(module)
      const wanted = handedOn.get(module)
      const seen = new Set<string>()
      return lines.flatMap((line, at) => {
        if (/^(?!\s*(?:\*|\/\*)).*\bany\b/.test(line)) return [`${module}: no type in ${line}`]
        const [, name] = /^export (?:declare )?(?:const|class|interface|type|function) (\w+)/.exec(line) ?? []
        if (name === undefined || seen.has(name) || wanted?.has(name) === false) return [] // a type of the same name stands below what makes it
        seen.add(name)
        return lines[at - 1]?.trim().endsWith("*/") === true ? [] : [`${module}: nothing about ${name}`]
      })
    })
    expect(modules.size).toBeGreaterThan(20)
    expect(handedOn.size).toBeGreaterThan(10)
    expect(problems).toEqual([])
  })

  it.each(["threaded.ts", "inline.ts"])("runs a guarded program, %s, and leaves one clean file", (name) => {
    const ended = spawnSync(process.execPath, [name], { cwd: folder, encoding: "utf8" })
    expect(ended.stdout).toContain("outcome Complete")
    expect(ended.stdout).not.toMatch(trouble)
    expect(ended.status).toBe(0)
    expect(fs.readdirSync(folder).filter((file) => file.startsWith("program.db"))).toEqual(["program.db"])
  })

  it("tests a guarded program in virtual time", () => {
    const ended = spawnSync(process.execPath, ["testing.ts"], { cwd: folder, encoding: "utf8" })
    expect([ended.stdout, ended.stderr]).toEqual(["runs 9 slow 1\n", ""])
  })

  it.each(readme.map((_, n) => `readme${n + 1}.ts`))("runs the README's %s", (name) => {
    const ended = spawnSync(process.execPath, [name], { cwd: folder, encoding: "utf8" })
    expect(ended.stderr).toBe("")
    expect(ended.stdout).not.toMatch(trouble)
    expect(ended.status).toBe(0)
  })

  it("has the command, with its threads, its processes and its page beside it", { timeout: 60_000 }, async () => {
    const seawall = (...args: ReadonlyArray<string>) =>
      spawnSync(process.execPath, ["node_modules/seawall/dist/main.js", ...args], { cwd: folder, encoding: "utf8" })
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo // free a moment later, and hardly taken by another meanwhile
    server.close()
    await once(server, "close")
    const flags = ["--duration-seconds", "0.5", "--db", "session.db", "--log-format", "json"]
    const session = seawall("run", ...flags, "--dashboard-port", String(port))
    expect(session.stdout).toContain(`http://127.0.0.1:${port}`)
    expect(session.status).toBe(0)
    expect(session.stdout).not.toMatch(/"level":"(?:ERROR|FATAL|WARN)"/)
    expect(fs.readdirSync(folder).filter((file) => file.startsWith("session.db")).length).toBeGreaterThan(0)
    expect(seawall("backup", "session.db", "copy.db")).toMatchObject({ status: 0, stdout: "copy.db\n" })
    expect(seawall("checkpoint", "copy.db").stdout).toContain("Complete")
  })
})
