/**
 * SIGKILL at a random moment, again and again on the same database, while checkpoints run and a foreign reader comes and
 * goes: every acknowledged write is there, none is torn, and there is no gap.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { randomOf } from "../support/random.ts"
import { create, inspect, judge, nothing, plus, type Verdict } from "./database.ts"

const engine = fileURLToPath(new URL("./engine.ts", import.meta.url))

/** A process that does not say that it is ready, or does not die, within this hangs. */
const hangs = 30_000

/** A reader that holds a snapshot for a while, lets it go, and takes the next. */
const reader = (file: string) =>
  spawn("python3", [
    "-c",
    `import sqlite3, time
c = sqlite3.connect(${JSON.stringify(file)}, isolation_level=None, timeout=5)
while True:
    c.execute("BEGIN"); c.execute("SELECT count(*) FROM t").fetchall(); time.sleep(0.05)
    c.execute("COMMIT"); time.sleep(0.05)`,
  ])

/** What it is doing when it is killed: opening, recovering and backing up; writing; truncating, backing up and closing. */
const moments = ["start", "work", "work", "work", "end"] as const

const killOnce = async (file: string, seed: number, before: number): Promise<Verdict & { readonly last: number }> => {
  const random = randomOf(seed)
  const moment = moments[random(moments.length)]!
  const writes = moment === "end" ? 1 + random(300) : 0
  const args = [engine, file, "durable", String(seed), String(writes), moment === "work" ? "" : "backups"]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  const ended = once(child, "close")
  let last = before
  let text = ""
  const due = Promise.withResolvers<void>()
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk
    const lines = text.split("\n")
    text = lines.pop() ?? ""
    for (const line of lines) {
      if (line.startsWith("ack ")) last = Math.max(last, Number(line.slice("ack ".length)))
      else if (line === (moment === "end" ? "closing" : "ready")) due.resolve()
    }
  })
  let hung = 0
  const patience = setTimeout(() => {
    hung = 1
    child.kill("SIGKILL")
    due.resolve()
  }, hangs)
  if (moment !== "start") await due.promise
  await new Promise((resolve) => setTimeout(resolve, random(moment === "work" ? 500 : 2000)))
  child.kill("SIGKILL")
  const [code, signal] = (await ended) as [number | null, string | null] // the pipe is read to its end: what was acknowledged before the kill is known
  clearTimeout(patience)
  const verdict = judge(file, last, `kill, --seed ${seed}`)
  const backups = fs.readdirSync(path.dirname(file)).filter((name) => /\.(bak|post)\.\d+T\d+Z$/.test(name))
  const damaged = backups.filter((name) => inspect(path.join(path.dirname(file), name)).integrity !== "ok")
  const failures = [
    ...verdict.failures,
    ...damaged.map((name) => `the backup ${name} is damaged: kill, --seed ${seed}`),
    ...(hung > 0 ? [`not ready after ${hangs / 1000} s: kill, --seed ${seed}`] : []),
    ...(signal === "SIGKILL" || (moment === "end" && code === 0)
      ? []
      : [`ended by itself with code ${code}: kill, --seed ${seed}`]),
  ]
  return { ...verdict, runs: 1, corrupt: verdict.corrupt + damaged.length, hung, failures, last }
}

/** One database that is killed so often, one time after another. */
const lineage = async (kills: number, seed: number): Promise<Verdict> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-kill-"))
  const file = path.join(folder, "test.db")
  create(file)
  const reading = reader(file)
  try {
    let all = nothing
    let last = 0
    for (let n = 0; n < kills && all.failures.length === 0; n++) {
      const { last: reached, ...verdict } = await killOnce(file, seed + n, last)
      last = reached
      all = plus(all, verdict)
    }
    return all
  } finally {
    reading.kill("SIGKILL")
    await once(reading, "close")
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

/** Two at a time. */
export const kill = async (kills: number, seed: number): Promise<Verdict> => {
  const half = Math.ceil(kills / 2)
  const verdicts = await Promise.all([lineage(half, seed), lineage(kills - half, seed + half)])
  return verdicts.reduce(plus)
}
