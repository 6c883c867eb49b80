/**
 * The package as its users get it: built, packed, published to a registry of the test's own, and installed from there in every
 * way that the README or npm offers: by the README's line as it stands, alone, globally, with npx, with pnpm. What runs there are
 * the programs of the documents and programs that are type-checked under every strict flag.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { type LocalRegistry, start } from "./LocalRegistry.ts"
import { guarded, several, tested } from "./programs.ts"
import { strict } from "./strict.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-package-"))
const at = (...names: ReadonlyArray<string>) => path.join(folder, ...names)
const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")

const { devDependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
  readonly devDependencies: Readonly<Record<string, string>>
}
/** What only the type check needs; no user of the programs does. */
const tools = ["typescript", "@types/node"].map((name) => `${name}@${devDependencies[name]}`)

/** What is compiled against the source elsewhere: here against the declarations. */
const types = fs
  .readFileSync(path.join(root, "test/package/types.ts"), "utf8")
  .replaceAll(/"\.\.\/\.\.\/src\/(?:(\w+)\/)?index\.ts"/g, (_, entry?: string) =>
    entry === undefined ? '"seawall"' : `"seawall/${entry}"`,
  )

/** The programs of the documents, by document. What is about a cluster needs a server, and is an example. */
const blocks = ["README.md", "docs/guide.md", "docs/engine.md", "docs/dashboard.md"].flatMap((document) =>
  [...fs.readFileSync(path.join(root, document), "utf8").matchAll(/^```ts\n([^]*?)^```$/gm)].map(
    ([, code = ""], n) => ({
      name: `${path.basename(document, ".md").toLowerCase()}${n + 1}.mts`,
      code,
    }),
  ),
)

/** How Effect's own logger begins a line that must not appear here. */
const trouble = /^\[[\d:.]+\] (?:WARN|ERROR|FATAL) /m

/** Modules by their suffix: the folder of a new user has a package.json that says nothing of them. */
const programs: Readonly<Record<string, string>> = {
  "threaded.mts": guarded("Checkpointer.layerThread()"),
  "inline.mts": guarded("Checkpointer.layerInline()"),
  "several.mts": several,
  "testing.mts": tested,
  "types.mts": types,
  ...Object.fromEntries(blocks.map(({ code, name }) => [name, code.replace("port: 8501", "port: 0")])),
}

/** This process's own, without what npm told the process of the tests, and with the Node of the machine before the project's. */
const machine = Object.fromEntries(
  Object.entries(process.env)
    .filter(([name]) => !name.startsWith("npm_") && !name.startsWith("SEAWALL_"))
    .map(([name, value = ""]) => {
      const own = (part: string) => part.includes("node_modules")
      return name === "PATH"
        ? [
            name,
            value
              .split(path.delimiter)
              .filter((part) => !own(part))
              .join(path.delimiter),
          ]
        : [name, value]
    }),
)

let registry: LocalRegistry

/** Runs a command line as a user types it, in a folder below. The registry answers meanwhile, from this process. */
const type = async (line: string, cwd: string) => {
  fs.mkdirSync(at(cwd), { recursive: true })
  const env = { ...machine, npm_config_registry: registry.url }
  const child = spawn("sh", ["-c", line], { cwd: at(cwd), env, stdio: ["ignore", "pipe", "pipe"] })
  const said = { stdout: "", stderr: "" }
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      said[name] += text
    })
  }
  const [status] = (await once(child, "close")) as [number | null]
  return { status, ...said }
}

const node = (name: string, cwd: string) => spawnSync(process.execPath, [name], { cwd: at(cwd), encoding: "utf8" })

beforeAll(async () => {
  const packed = execFileSync("npm", ["pack", "--json", "--pack-destination", folder], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  })
  const [{ filename }] = JSON.parse(packed.slice(packed.indexOf("[\n"))) as [{ filename: string }]
  registry = await start(at(filename))
}, 120_000)

afterAll(() => {
  registry?.close()
  fs.rmSync(folder, { recursive: true, force: true })
})

describe("the package, installed by the README's line in an empty folder", () => {
  const user = "user"

  beforeAll(async () => {
    const [line] = /^npm install seawall .*$/m.exec(readme) ?? [""]
    const installed = await type(line, user)
    expect(installed).toMatchObject({ status: 0, stdout: expect.stringContaining("added") as string })
    expect(installed.stderr).not.toMatch(/ERESOLVE|peer|deprecated|install-scripts/)
    for (const [name, code] of Object.entries(programs)) fs.writeFileSync(at(user, name), code)
  }, 120_000)

  it("type-checks under every strict flag, the declarations of the package too", { timeout: 120_000 }, async () => {
    fs.writeFileSync(
      at(user, "tsconfig.json"),
      JSON.stringify({ compilerOptions: strict, include: Object.keys(programs) }),
    )
    expect((await type(`npm install --save-dev ${tools.join(" ")}`, user)).status).toBe(0)
    const checked = await type("npx tsc -p .", user)
    expect(checked.stdout).toBe("")
    expect(checked.status).toBe(0)
  })

  /** What stands in the package, without its folder. */
  const own = (name: string) => fs.readFileSync(at(user, "node_modules/seawall", name), "utf8")

  it("says of everything that can be imported what it is, and of what type", () => {
    const { exports } = JSON.parse(own("package.json")) as {
      readonly exports: Readonly<Record<string, string | { readonly types: string }>>
    }
    const entries = Object.values(exports).flatMap((entry) => (typeof entry === "string" ? [] : [entry.types]))
    const modules = entries.flatMap((entry) =>
      [...own(entry).matchAll(/^export \* as \w+ from "(.*)\.(?:ts|js)"/gm)].map(
        ([, from = ""]) => `./${path.join(path.dirname(entry), from)}.d.ts`,
      ),
    )
    const problems = [...entries, ...modules].flatMap((module) => {
      const seen = new Set<string>()
      const lines = own(module).split("\n")
      return lines.flatMap((line, at) => {
        if (/^(?!\s*(?:\*|\/\*)).*\bany\b/.test(line)) return [`${module}: no type in ${line}`]
        const [, name] = /^export (?:declare )?(?:const|class|interface|type|function) (\w+)/.exec(line) ?? []
        if (name === undefined || seen.has(name)) return [] // a type of the same name stands below what makes it
        seen.add(name)
        return lines[at - 1]?.trim().endsWith("*/") === true ? [] : [`${module}: nothing about ${name}`]
      })
    })
    expect(modules.length).toBeGreaterThan(40)
    expect(problems).toEqual([])
  })

  it("leads an editor from each declaration to its source", () => {
    const declarations = fs
      .readdirSync(at(user, "node_modules/seawall/dist"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".d.ts"))
    const lost = declarations.filter((name) => {
      const { sources } = JSON.parse(own(`dist/${name}.map`)) as { readonly sources: ReadonlyArray<string> }
      return !sources.every((source) =>
        fs.existsSync(at(user, "node_modules/seawall/dist", path.dirname(name), source)),
      )
    })
    expect(declarations.length).toBeGreaterThan(100)
    expect(lost).toEqual([])
  })

  it("loads for a guarded database neither the dashboard, nor the command, nor the engine, and no thread before it opens", () => {
    fs.writeFileSync(
      at(user, "modules.mjs"),
      `import { registerHooks } from "node:module"
const loaded = []
registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
const { GuardedDatabase } = await import("seawall")
if (GuardedDatabase.layer === undefined) throw new Error("no layer")
console.log(loaded.filter((url) => url.includes("/seawall/dist/")).map((url) => url.split("/seawall/dist/")[1]).join("\\n"))`,
    )
    const ended = node("modules.mjs", user)
    expect([ended.status, ended.stderr]).toEqual([0, ""])
    const modules = ended.stdout.trim().split("\n")
    expect(modules).toContain("wal/GuardedDatabase.js")
    expect(modules.filter((name) => /^(?:dashboard|cli|engine|paper|testing|main)\b/.test(name))).toEqual([])
    expect(modules.filter((name) => /(?:checkpointWorker|backupProcess|integrityProcess)\.js$/.test(name))).toEqual([])
    expect(modules.length).toBeLessThan(160)
  })

  it.each(["threaded.mts", "inline.mts"])("runs a guarded program, %s, and leaves one clean file", (name) => {
    const ended = node(name, user)
    expect(ended.stdout).toContain("outcome Complete")
    expect(ended.stdout).not.toMatch(trouble)
    expect(ended.status).toBe(0)
    expect(fs.readdirSync(at(user)).filter((file) => file.startsWith("program.db"))).toEqual(["program.db"])
  })

  it("ends a program with two guarded databases on Ctrl+C without a word of trouble, and leaves one clean file of each", async () => {
    const program = spawn(process.execPath, ["several.mts"], { cwd: at(user), stdio: ["ignore", "pipe", "inherit"] })
    let said = ""
    program.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text
      if (text.includes("both are open")) program.kill("SIGINT")
    })
    const [code] = (await once(program, "close")) as [number | null]
    expect(said).toContain("both are open")
    expect(said).not.toMatch(trouble)
    expect(code).toBe(0)
    expect(fs.readdirSync(at(user)).filter((file) => /^(?:one|two)\.db/.test(file))).toEqual(["one.db", "two.db"])
  })

  it("tests a guarded program in virtual time", () => {
    const ended = node("testing.mts", user)
    expect([ended.stdout, ended.stderr]).toEqual(["runs 9 slow 1\n", ""])
  })

  it.each(blocks.map(({ name }) => name))("runs the documents' %s", (name) => {
    const ended = node(name, user)
    expect(ended.stderr).toBe("")
    expect(ended.stdout).not.toMatch(trouble)
    expect(ended.status).toBe(0)
  })

  it("has the command, with its threads, its processes and its page beside it", { timeout: 60_000 }, async () => {
    const seawall = (...args: ReadonlyArray<string>) =>
      spawnSync(process.execPath, ["node_modules/seawall/dist/main.js", ...args], { cwd: at(user), encoding: "utf8" })
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
    expect(fs.readdirSync(at(user)).filter((file) => file.startsWith("session.db")).length).toBeGreaterThan(0)
    expect(seawall("backup", "session.db", "copy.db")).toMatchObject({ status: 0, stdout: "copy.db\n" })
    expect(seawall("checkpoint", "copy.db").stdout).toContain("Complete")
  })
})

describe("the package, installed in another way", () => {
  const first = blocks[0]?.code ?? ""

  it.each([
    ["alone", "npm install seawall"],
    ["beside the newest Effect", "npm install effect@latest @effect/platform-node@latest && npm install seawall"],
    ["with pnpm", "npx --yes pnpm@10 add seawall effect @effect/platform-node"],
  ])("%s, runs the README's first program and the command", { timeout: 180_000 }, async (how, line) => {
    const cwd = how.replaceAll(" ", "-")
    const installed = await type(line, cwd)
    expect(installed).toMatchObject({ status: 0 })
    expect(installed.stdout + installed.stderr).not.toMatch(/ERESOLVE|unmet peer|install-scripts/)
    fs.writeFileSync(at(cwd, "first.mts"), first)
    expect(node("first.mts", cwd)).toMatchObject({ status: 0, stderr: "" })
    const command = spawnSync(process.execPath, ["node_modules/seawall/dist/main.js", "--version"], {
      cwd: at(cwd),
      encoding: "utf8",
    })
    expect(command).toMatchObject({ status: 0, stderr: "", stdout: expect.stringContaining("seawall v") as string })
  })

  it("globally, gives a command that runs a session", { timeout: 180_000 }, async () => {
    const prefix = at("prefix")
    expect(await type(`npm install -g --prefix ${prefix} seawall`, "global")).toMatchObject({ status: 0 })
    const session = spawnSync(
      process.execPath,
      [path.join(prefix, "bin/seawall"), "run", "--duration-seconds", "0.2", "--dashboard-port", "0", "--db", "a.db"],
      { cwd: at("global"), encoding: "utf8" },
    )
    expect(session).toMatchObject({ status: 0, stderr: "" })
    expect(session.stdout).not.toMatch(/level=(?:WARN|ERROR|FATAL)/)
  })

  it("by npx, with a Node of its own", { timeout: 180_000 }, async () => {
    const ran = await type("npx --yes -p node@24 -p seawall seawall --version", "npx")
    expect(ran).toMatchObject({ status: 0, stdout: expect.stringContaining("seawall v") as string })
  })

  it("on a Node that is too old, says so in one line, and nothing else", { timeout: 180_000 }, async () => {
    const ran = await type("npx --yes -p node@20 -p seawall seawall status app.db", "old")
    expect(ran).toMatchObject({ status: 1, stdout: "" })
    const said = ran.stderr.split("\n").filter((line) => line !== "" && !line.startsWith("npm "))
    expect(said).toEqual([
      expect.stringMatching(/^seawall needs Node .*; this is Node 20\..* seawall status app\.db$/) as string,
    ])
  })
})
