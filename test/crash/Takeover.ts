/**
 * Three machines and one server: whatever happens to the one that leads, another leads soon, and from the rows alone no epoch goes
 * back, nothing is there twice, and everything that was acknowledged is there.
 */
import { Effect, Exit, Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as readline from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { table } from "../bench/figures.ts"
import * as CutRelay from "../support/CutRelay.ts"
import * as NetworkNamespace from "../support/NetworkNamespace.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import { randomOf } from "../support/random.ts"
import { type Verdict } from "./database.ts"
import { own } from "./Owned.ts"
import { freePort } from "../support/ports.ts"

const leader = fileURLToPath(new URL("./leader.ts", import.meta.url))

/** What happens to the machine that leads, or to the server. */
export const faults = ["kill", "freeze", "cut", "term", "restart", "down"] as const
export type Fault = (typeof faults)[number]

/** Why it cannot run here. */
export const missing = PostgresServer.missingOwn

const leaseSeconds = 3
const downMillis = 3000
/** A takeover that takes longer has not happened. */
const hangs = 30_000

/** Who elects: the lock of `Leadership`, or a cluster around `ClusterEngine`. */
export type Elector = "lock" | "cluster"

/** How it is done. */
export interface TakeoverOptions {
  readonly by?: Elector
  /** Whether writes are fenced, as they must be. */
  readonly fenced?: boolean
}

/** The longest, in milliseconds, from the fault; of SIGTERM from the end of the process, of a server from when it is back. */
const bounds: Readonly<Record<Elector, Readonly<Record<Fault, number>>>> = {
  lock: {
    kill: 1000,
    freeze: (leaseSeconds + 1) * 1000,
    cut: (leaseSeconds + 2) * 1000,
    term: 500,
    restart: (leaseSeconds + 1) * 1000,
    down: (leaseSeconds + 1) * 1000,
  },
  // Those of `docs/cluster.md`.
  cluster: { kill: 6000, freeze: 6000, cut: 8000, term: 3000, restart: 6000, down: 6000 },
}

/** A machine as it reaches the server, and how it is cut off. */
interface Place {
  readonly under: ReadonlyArray<string>
  readonly url: string
  readonly runner: Readonly<Record<string, string>>
  readonly cut: Effect.Effect<void>
  readonly heal: Effect.Effect<void>
}

/** What stands in for a network, where namespaces are not to be had. */
export const cutBy = NetworkNamespace.missing === undefined ? "network namespaces" : "a relay"

/** Three places around a server, each with a network of its own where that can be; runners of a cluster reach each other on one machine. */
const places = Effect.fnUntraced(function* ({ by = "lock", fenced = true }: TakeoverOptions) {
  const all = [0, 1, 2]
  if (by === "lock" && fenced && NetworkNamespace.missing === undefined) {
    const networks = yield* Effect.forEach(all, () => NetworkNamespace.make)
    const server = yield* PostgresServer.makeOwn({ listen: networks.map(({ outside }) => outside) })
    return {
      server,
      places: networks.map(({ cut, heal, outside, under }): Place => ({
        under,
        cut,
        heal,
        url: server.url({ host: outside }),
        runner: {},
      })),
    }
  }
  const server = yield* PostgresServer.makeOwn()
  const relays = yield* Effect.forEach(all, () => CutRelay.make({ port: server.port }))
  const ports = yield* Effect.forEach(all, () => Effect.promise(freePort))
  return {
    server,
    places: relays.map(({ cut, heal, port }, machine): Place => ({
      under: [],
      cut,
      heal,
      url: server.url({ port }),
      runner: by === "cluster" ? { TAKEOVER_RUNNER_PORT: String(ports[machine]) } : {},
    })),
  }
})

/** Lets a write of an earlier epoch through, for a proof that has to find it. */
const withoutFence = `CREATE OR REPLACE FUNCTION seawall.seawall_fence() RETURNS BIGINT LANGUAGE sql AS 'SELECT 0::BIGINT'`

/** Of what the machines say. */
const mostLines = 60

/** As `Restart=on-failure` does: a machine that starts while the server is away ends with a failure. */
const restartMillis = 500

class Machines {
  readonly acknowledged: Array<readonly [epoch: number, n: number]> = []
  epoch = 0
  leading = 0
  sinceTakeover = 0
  #next: Array<{ readonly isMet: () => boolean; readonly resolve: (hung: boolean) => void }> = []
  #isOver = false
  /** Those that were told to end: nobody but who told them starts them again. */
  readonly #told = new Set<ChildProcess>()
  /** The last that was said by all of them, for when there is no leader. */
  #log: ReadonlyArray<string> = []
  readonly #children: Array<ChildProcess | undefined> = []
  readonly #places: ReadonlyArray<Place>

  constructor(at: ReadonlyArray<Place>) {
    this.#places = at
  }

  readonly start = (machine: number) => {
    const { runner, under, url } = this.#places[machine]!
    const [command = "", ...args] = [...under, process.execPath, leader]
    const child = own(
      spawn(command, args, {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          ...process.env,
          ...runner,
          SEAWALL_POSTGRES_URL: url,
          SEAWALL_POSTGRES_LEASE_SECONDS: String(leaseSeconds),
          SEAWALL_ENGINE_STORE: "postgres",
          SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.005",
          SEAWALL_ENGINE_DURATION_SECONDS: "0",
        },
      }),
    )
    this.#children[machine] = child
    const note = (line: string) => (this.#log = [...this.#log, `${machine}: ${line}`].slice(-mostLines))
    child.on("exit", (code, signal) => {
      note(`ended: ${signal ?? code}`)
      const isFailure = code !== null && code !== 0 && !this.#told.has(child)
      if (isFailure) setTimeout(() => this.#isOver || this.start(machine), restartMillis)
    })
    readline.createInterface({ input: child.stderr! }).on("line", note)
    readline.createInterface({ input: child.stdout! }).on("line", (line) => {
      if (!line.startsWith("ack ")) note(line)
      const [, epoch, n] = /^ack (\d+) (\d+)$/.exec(line) ?? []
      if (epoch !== undefined) this.#said(machine, Number(epoch), Number(n))
    })
  }

  readonly #said = (machine: number, epoch: number, n: number) => {
    this.acknowledged.push([epoch, n])
    if (epoch > this.epoch) {
      this.epoch = epoch
      this.leading = machine
      this.sinceTakeover = 0
    }
    this.sinceTakeover += 1
    this.#next = this.#next.filter(({ isMet, resolve }) => {
      if (!isMet()) return true
      resolve(false)
      return false
    })
  }

  /** Waits for what an acknowledgement may meet; whether that hangs. */
  readonly until = (isMet: () => boolean): Promise<boolean> =>
    Promise.race([
      new Promise<boolean>((resolve) => (isMet() ? resolve(false) : this.#next.push({ isMet, resolve }))),
      sleep(hangs, true, { ref: false }),
    ])

  readonly said = () => this.#log

  readonly signal = (machine: number, name: NodeJS.Signals) => {
    const child = this.#children[machine]
    if (child === undefined) return
    if (name === "SIGTERM") this.#told.add(child)
    child.kill(name)
  }

  /** Ends them, in order; none is started again. */
  readonly stop = () => {
    this.#isOver = true
    for (const machine of [0, 1, 2]) this.signal(machine, "SIGTERM")
    return Promise.all([0, 1, 2].map(this.ended))
  }

  readonly ended = (machine: number) => {
    const child = this.#children[machine]
    return child === undefined || child.exitCode !== null || child.signalCode !== null
      ? Promise.resolve([])
      : once(child, "exit")
  }
}

/**
 * Cuts a leader off so often without the fence that its stale writes are found: what it had sent by then arrives when it heals,
 * after another leads. Fails when none is found.
 */
export const unfenced = async (count: number, seed: number): Promise<Verdict & { readonly figures: string }> => {
  const kinds = Array.from({ length: count }, (): Fault => "cut")
  const verdict = await takeover(kinds, seed, { fenced: false })
  const failures = verdict.corrupt > 0 ? [] : [`no stale row was found without the fence (--seed ${seed})`]
  const figures = `${verdict.figures}\n\n${verdict.corrupt} stale rows were found, because nothing is fenced here`
  return { ...verdict, figures, corrupt: 0, lost: 0, failures }
}

/** What the rows say that must not be. */
export const violations = (
  rows: ReadonlyArray<readonly [epoch: number, n: number]>,
  acknowledged: ReadonlyArray<readonly [epoch: number, n: number]>,
) => {
  const back = rows.flatMap(([epoch, n], index) =>
    epoch < (rows[index - 1]?.[0] ?? 0) ? [`row ${epoch}/${n} comes after epoch ${rows[index - 1]?.[0]}`] : [],
  )
  const keys = rows.map((row) => row.join("/"))
  const stored = new Set(keys)
  const twice = keys.length - stored.size
  const lost = acknowledged.map((row) => row.join("/")).filter((key) => !stored.has(key))
  return {
    stale: back,
    lost,
    twice,
    failures: [
      ...back,
      ...lost.map((key) => `${key} was acknowledged, and is not there`),
      ...(twice > 0 ? [`${twice} rows are there twice`] : []),
    ],
  }
}

const quantile = (sorted: ReadonlyArray<number>, part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? 0

/** Does these faults, one after another, and judges. */
export const takeover = async (
  wanted: ReadonlyArray<Fault>,
  seed: number,
  options: TakeoverOptions = {},
): Promise<Verdict & { readonly figures: string }> => {
  const scope = Scope.makeUnsafe()
  const scoped = <A>(self: Effect.Effect<A, never, Scope.Scope>) => Effect.runPromise(Scope.provide(self, scope))
  const { by = "lock", fenced = true } = options
  const { places: at, server } = await scoped(places(options))
  const machines = new Machines(at)
  const took = new Map<Fault, Array<number>>()
  let hung = 0

  const act: Readonly<Record<Fault, (led: number) => Promise<number>>> = {
    kill: async (led) => {
      machines.signal(led, "SIGKILL")
      return performance.now()
    },
    freeze: async (led) => {
      machines.signal(led, "SIGSTOP")
      return performance.now()
    },
    cut: async (led) => {
      await Effect.runPromise(at[led]!.cut)
      return performance.now()
    },
    term: async (led) => {
      machines.signal(led, "SIGTERM")
      await machines.ended(led)
      return performance.now()
    },
    restart: async () => {
      await Effect.runPromise(server.restart())
      return performance.now()
    },
    down: async () => {
      await Effect.runPromise(server.stop())
      await sleep(downMillis)
      await Effect.runPromise(server.start)
      return performance.now()
    },
  }
  const repair: Readonly<Record<Fault, (led: number) => Promise<unknown>>> = {
    kill: async (led) => machines.start(led),
    freeze: async (led) => machines.signal(led, "SIGCONT"),
    cut: async (led) => Effect.runPromise(at[led]!.heal),
    term: async (led) => machines.start(led),
    restart: async () => undefined,
    down: async () => undefined,
  }

  for (const machine of [0, 1, 2]) machines.start(machine)
  if (await machines.until(() => machines.sinceTakeover >= 20)) hung += 1
  if (!fenced) await Effect.runPromise(Effect.orDie(server.sql(withoutFence)))
  for (const fault of hung > 0 ? [] : wanted) {
    const { epoch, leading } = machines
    const since = await act[fault](leading)
    if (await machines.until(() => machines.epoch > epoch)) hung += 1
    else took.set(fault, [...(took.get(fault) ?? []), performance.now() - since])
    await repair[fault](leading)
    if (await machines.until(() => machines.sinceTakeover >= 20)) hung += 1
    // Every machine is there again before the next one fails; a runner that joins a cluster may take its shards back.
    await sleep(by === "cluster" ? 5000 : 1000)
    if (hung > 0) process.stderr.write(`no leader after ${fault} of ${leading}:\n${machines.said().join("\n")}\n`)
    if (hung > 0) break
  }
  await Promise.race([machines.stop(), sleep(hangs, undefined, { ref: false })])
  const found = await Effect.runPromise(
    Effect.orDie(
      server.sql("SELECT CAST(epoch AS INTEGER) AS epoch, CAST(n AS INTEGER) AS n FROM seawall.acts ORDER BY id"),
    ),
  )
  const rows = found.map(({ epoch, n }) => [Number(epoch), Number(n)] as const)
  await Effect.runPromise(Scope.close(scope, Exit.void))

  const { failures, lost, stale, twice } = violations(rows, machines.acknowledged)
  const late = [...took].flatMap(([fault, all]) =>
    all
      .filter((millis) => millis > bounds[by][fault])
      .map((millis) => `${fault}: another led after ${Math.round(millis)} ms`),
  )
  const lines = [...took].map(([fault, all]) => {
    const sorted = all.toSorted((a, b) => a - b)
    return [fault, all.length, Math.round(quantile(sorted, 0.5)), Math.round(sorted.at(-1) ?? 0), bounds[by][fault]]
  })
  return {
    runs: wanted.length,
    states: machines.epoch,
    checked: machines.acknowledged.length,
    lost: lost.length,
    corrupt: stale.length + twice,
    hung,
    failures: [...failures, ...late, ...(hung > 0 ? ["no leader within 30 s"] : [])].map(
      (it) => `${it} (--seed ${seed})`,
    ),
    figures: `${table(["fault", "times", "p50 ms", "max ms", "bound ms"], lines)}`,
  }
}

/** So many, of every kind alike, in an order that chance decides. */
export const mixed = (count: number, seed: number, kinds: ReadonlyArray<Fault> = faults): ReadonlyArray<Fault> => {
  const random = randomOf(seed)
  return Array.from({ length: count }, (_, index) => kinds[index % kinds.length]!)
    .map((fault) => ({ fault, at: random(1_000_000) }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ fault }) => fault)
}
