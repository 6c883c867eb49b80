/**
 * SIGKILL at a random moment, again and again on the same database, while checkpoints run and a foreign reader comes and
 * goes, and other callers fail, are interrupted and are refused: every acknowledged write is there, none is torn, there is no
 * gap, and nothing that failed is there.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { randomOf } from "../support/random.ts"
import { inspect, judge, plus, type Verdict } from "./database.ts"
import { hangs, startEngine } from "./EngineProcess.ts"
import { lineage } from "./Lineage.ts"

/** What it is doing when it is killed: opening, recovering and backing up; writing; truncating, backing up and closing. */
const moments = ["start", "work", "work", "work", "end"] as const

const killOnce = async (file: string, seed: number, before: number): Promise<Verdict & { readonly last: number }> => {
  const random = randomOf(seed)
  const moment = moments[random(moments.length)]!
  const writes = moment === "end" ? 1 + random(300) : 0
  const engine = startEngine(file, { durability: "durable", seed, writes, backups: moment !== "work", noise: true })
  if (moment !== "start") await engine.until(moment === "end" ? "closing" : "ready")
  await sleep(random(moment === "work" ? 500 : 2000))
  const { code, hung, last: reached, signal } = await engine.end("SIGKILL")
  const last = Math.max(before, reached)
  const verdict = judge(file, last, `kill, --seed ${seed}`)
  const backups = fs.readdirSync(path.dirname(file)).filter((name) => /\.(bak|post)\.\d+T\d+Z$/.test(name))
  const damaged = backups.filter((name) => inspect(path.join(path.dirname(file), name)).integrity !== "ok")
  const failures = [
    ...verdict.failures,
    ...damaged.map((name) => `the backup ${name} is damaged: kill, --seed ${seed}`),
    ...(hung ? [`not ready or not dead after ${hangs / 1000} s: kill, --seed ${seed}`] : []),
    ...(signal === "SIGKILL" || (moment === "end" && code === 0)
      ? []
      : [`ended by itself with code ${code}: kill, --seed ${seed}`]),
  ]
  return { ...verdict, runs: 1, corrupt: verdict.corrupt + damaged.length, hung: hung ? 1 : 0, failures, last }
}

/** Two at a time: so many kills, and more until the minutes have passed. */
export const kill = async (kills: number, seed: number, minutes = 0): Promise<Verdict> => {
  const until = performance.now() + minutes * 60_000
  const turns = (which: 0 | 1) =>
    lineage({
      seed: seed + which,
      seconds: 0.1,
      goesOn: (n) => 2 * n + which < kills || performance.now() < until,
      next: (file, n, before) => killOnce(file, seed + 2 * n + which, before),
    })
  const [one, two] = await Promise.all([turns(0), turns(1)])
  return plus(one, two)
}
