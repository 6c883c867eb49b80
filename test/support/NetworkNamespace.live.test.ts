/** A cut as the system itself sees it: what is sent again and again, and never acknowledged. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as Echo from "./Echo.ts"
import * as NetworkNamespace from "./NetworkNamespace.ts"
import { because } from "./onPostgres.ts"
import * as PostgresServer from "./PostgresServer.ts"

/** The bound is the test's. */
const until = (holds: () => boolean) =>
  Effect.promise(async () => {
    while (!holds()) await setTimeout(5)
  })

/** Joins its input and output to a connection. */
const program = `
  const socket = require("node:net").connect({ host: process.argv[1], port: Number(process.argv[2]), noDelay: true })
  process.stdin.pipe(socket).pipe(process.stdout)`

/** A process there, with a connection to a server here; until the scope closes. */
const connected = ({ outside, under }: NetworkNamespace.NetworkNamespace, port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const [command, ...rest] = [...under, process.execPath, "-e", program, outside, String(port)]
      const child = spawn(command!, rest, { stdio: ["pipe", "pipe", "inherit"] })
      let got = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        got += text
      })
      return { child, pid: child.pid!, got: () => got, send: (text: string) => void child.stdin.write(text) }
    }),
    ({ child }) =>
      Effect.promise(async () => {
        if (child.exitCode === null && child.signalCode === null) {
          child.kill("SIGKILL")
          await once(child, "exit")
        }
      }),
  )

/** `/proc/net/tcp`: states, and how often something was sent again without an answer. */
const connections = (pid: number | "self") =>
  fs
    .readFileSync(`/proc/${pid}/net/tcp`, "utf8")
    .split("\n")
    .slice(1, -1)
    .map((line) => line.trim().split(/\s+/))
    .map(([, local = "", remote = "", state = "", , , again = ""]) => ({
      ports: [local, remote].map((address) => Number.parseInt(address.split(":")[1]!, 16)),
      state,
      again: Number.parseInt(again, 16),
    }))

/** https://github.com/torvalds/linux/blob/v6.12/include/net/tcp_states.h */
const established = "01"
const opening = "02"

/** How many connections of this process's network, with this port, wait for an acknowledgement that did not come in time. */
const unanswered = (pid: number | "self", port: number, state: string) =>
  connections(pid).filter((one) => one.ports.includes(port) && one.state === state && one.again > 0).length

const { missing } = NetworkNamespace

describe.skipIf(missing !== undefined)(`a network namespace${because(missing)}`, () => {
  it.live("cuts what is sent in either direction, and new connections, in silence, until it heals", () =>
    Effect.gen(function* () {
      const network = yield* NetworkNamespace.make
      const echo = yield* Echo.server(network.outside)
      const before = yield* connected(network, echo.port)
      before.send("a")
      yield* until(() => before.got() === "a")
      expect([...echo.sockets].map(({ remoteAddress }) => remoteAddress)).toEqual([network.inside])

      yield* network.cut
      before.send("b")
      echo.sockets.forEach((socket) => socket.write("from here"))
      const during = yield* connected(network, echo.port)
      during.send("c")
      yield* until(() => unanswered(before.pid, echo.port, established) === 1)
      yield* until(() => unanswered(before.pid, echo.port, opening) === 1)
      yield* until(() => unanswered("self", echo.port, established) === 1)
      expect([echo.seen, echo.sockets.size, before.got(), during.got()]).toEqual([["a"], 1, "a", ""])
      expect([before.child.exitCode, during.child.exitCode]).toEqual([null, null])

      yield* network.heal
      yield* until(() => before.got().includes("b") && before.got().includes("from here"))
      yield* until(() => during.got() === "c")
    }).pipe(Effect.scoped),
  )

  it.live("is apart from others: a cut of one is none of another", () =>
    Effect.gen(function* () {
      const [one, other] = yield* Effect.all([NetworkNamespace.make, NetworkNamespace.make], { concurrency: 2 })
      const echo = yield* Echo.server("0.0.0.0")
      yield* one.cut
      const cutOff = yield* connected(one, echo.port)
      const joined = yield* connected(other, echo.port)
      joined.send("a")
      yield* until(() => joined.got() === "a")
      yield* until(() => unanswered(cutOff.pid, echo.port, opening) === 1)
      expect([...echo.sockets].map(({ remoteAddress }) => remoteAddress)).toEqual([other.inside])
    }).pipe(Effect.scoped),
  )

  const names = () => execFileSync("ip", ["netns", "list"], { encoding: "utf8" })
  const addresses = () => execFileSync("ip", ["addr"], { encoding: "utf8" })

  it.live("is gone with its scope, and what runs there is killed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const network = yield* Scope.provide(NetworkNamespace.make, scope)
      const echo = yield* Echo.server(network.outside)
      const client = yield* connected(network, echo.port)
      client.send("a")
      yield* until(() => client.got() === "a")
      expect([names().includes(network.under.at(-1)!), addresses().includes(network.outside)]).toEqual([true, true])
      const exit = once(client.child, "exit")
      yield* Scope.close(scope, Exit.void)
      expect(yield* Effect.promise(() => exit)).toEqual([null, "SIGKILL"])
      expect([names().includes(network.under.at(-1)!), addresses().includes(network.outside)]).toEqual([false, false])
    }).pipe(Effect.scoped),
  )

  it.live("is gone when the process is killed", () =>
    Effect.gen(function* () {
      const test = `
        import { Effect } from "effect"
        import * as NetworkNamespace from "./test/support/NetworkNamespace.ts"
        Effect.runFork(Effect.scoped(Effect.gen(function* () {
          console.log((yield* NetworkNamespace.make).outside)
          yield* Effect.never
        })))`
      const cwd = fileURLToPath(new URL("../..", import.meta.url))
      const child = spawn(process.execPath, ["--input-type=module", "-e", test], { cwd, stdio: ["ignore", "pipe", 2] })
      const [outside] = yield* Effect.promise(() => once(child.stdout!, "data"))
      const address = String(outside).trim()
      expect(addresses()).toContain(`${address}/30`)
      child.kill("SIGKILL")
      yield* until(() => !addresses().includes(`${address}/30`))
    }),
  )
})

const missingEither = missing ?? PostgresServer.missingOwn

describe.skipIf(missingEither !== undefined)(`PostgreSQL in a network namespace${because(missingEither)}`, () => {
  it.live("is reached at an address that it listens on", () =>
    Effect.gen(function* () {
      const network = yield* NetworkNamespace.make
      const server = yield* PostgresServer.makeOwn({ listen: [network.outside] })
      const psql = join(PostgresServer.binaries!, "psql")
      const [command, ...rest] = [...network.under, psql, "-At", "-c", "SELECT host(inet_client_addr())"]
      const { stdout, stderr } = spawnSync(command!, [...rest, server.url({ host: network.outside })], {
        encoding: "utf8",
      })
      expect([stderr, stdout]).toEqual(["", `${network.inside}\n`])
    }).pipe(Effect.scoped),
  )
})
