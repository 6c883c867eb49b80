/** The users of a database whose names change, as processes: what they are started with, and what they said when. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { type Ended, type LogLine, type Running, start } from "../support/Seawall.ts"
import type { LongUser, Starter } from "./NameTable.ts"
import { own } from "./Owned.ts"

const program = fileURLToPath(new URL("./named.ts", import.meta.url))

/** What has not happened by then hangs. */
export const patience = 30_000

/** Ten ticks a second, a checkpoint five times a second, no copies. */
const quick = {
  SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.1",
  SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "0.1",
  SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "0.2",
  SEAWALL_ENGINE_BACKUPS: "0",
}

export interface Result extends Ended {
  readonly hung: boolean
}

/** A line of the log, with its time in milliseconds. */
export const timeOf = (line: LogLine) =>
  Date.parse(String((line as LogLine & { readonly timestamp?: string }).timestamp))

export const linesOf = ({ log }: Ended, event: string) => log.filter(({ message }) => [message].flat()[0] === event)

/** Its end, or that of one that hangs. */
export const endOf = async (running: Running): Promise<Result> => {
  let hung = false
  const timer = setTimeout(() => {
    hung = true
    running.kill("SIGKILL")
  }, patience)
  const ended = await running.ended
  clearTimeout(timer)
  return { ...ended, hung }
}

/** Resolves to whether it said so before it ended, and in time. */
export const heard = async (running: Running, text: string, times = 1, within = patience): Promise<boolean> => {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), within)
  running.says(text, times).then(
    () => resolve(true),
    () => resolve(false),
  )
  const isSaid = await promise
  clearTimeout(timer)
  return isSaid
}

/** A command. Of `restore`, the backup is `backup.db` in the folder; of `backup`, the copy is `copy.db`. */
export const command = (
  name: Exclude<LongUser | Starter, `${string} ${string}`>,
  file: string,
  folder: string,
  duration = 0,
) => {
  const args = {
    run: ["--log-format", "json", "--db", file, "--duration-seconds", String(duration)],
    guard: ["--log-format", "json", "--interval-seconds", "0.2", file],
    checkpoint: [file],
    backup: [file, path.join(folder, "copy.db")],
    restore: [path.join(folder, "backup.db"), file],
    status: [file],
    doctor: [file],
  } as const
  return start([name, ...args[name]], { cwd: folder, env: name === "run" ? quick : {}, own })
}

/** A program of the layers, and what it said of its writes. */
export const startProgram = (how: string, file: string) => {
  const child = own(spawn(process.execPath, [program, file, ...how.split(" ")], { stdio: "pipe" }))
  const acked = new Map<number, number>()
  const said = { stdout: "", stderr: "" }
  const waiting = new Set<() => void>()
  let last = 0
  let failures = 0
  let hung = false
  let text = ""
  child.stdin.on("error", () => undefined)
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said.stderr += chunk
    waiting.forEach((check) => check())
  })
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    said.stdout += chunk
    const lines = (text + chunk).split("\n")
    text = lines.pop() ?? ""
    for (const line of lines) {
      const [word, n, at] = line.split(" ")
      if (word === "ack") acked.set(Number(n), Number(at))
      if (word === "fail") failures++
      if (word === "ack" || word === "fail") last = Number(at)
    }
    waiting.forEach((check) => check())
  })
  const ended = once(child, "close").then(([code, signal]): Result => {
    waiting.forEach((check) => check())
    const log = said.stderr.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as LogLine] : []))
    return { code: code as number | null, signal: signal as NodeJS.Signals | null, ...said, log, hung }
  })
  const timer = setTimeout(() => {
    hung = true
    child.kill("SIGKILL")
  }, patience)
  void ended.then(() => clearTimeout(timer))
  return {
    acked,
    /** Waits until it is so, or the program has ended: asked whenever the program says something. */
    until: (isSo: () => boolean) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (!isSo() && child.exitCode === null && child.signalCode === null) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
      }),
    failures: () => failures,
    /** When it last said how a write ended. */
    last: () => last,
    said,
    end: () => {
      child.stdin.end()
      return ended
    },
  }
}
