/** A `seawall run` that is expected to end by itself, whatever it meets. */
import { spawnSync } from "node:child_process"
import { type Ended, type Options, start } from "../support/Seawall.ts"
import { nothing, plus, type Verdict } from "./database.ts"

/** What has not ended by then hangs. */
const patience = 60_000

export interface Session extends Ended {
  readonly hung: boolean
}

/** Runs a session without backups to its end, or kills it when it hangs. */
export const session = async (args: ReadonlyArray<string>, { env, ...options }: Options): Promise<Session> => {
  const running = start(["run", "--log-format", "json", "--db", "test.db", ...args], {
    ...options,
    env: { SEAWALL_ENGINE_BACKUPS: "0", ...env },
  })
  let hung = false
  const timer = setTimeout(() => {
    hung = true
    spawnSync("pkill", ["-KILL", "-P", String(running.pid)]) // what it runs under another command
    running.kill("SIGKILL")
  }, patience)
  const ended = await running.ended
  clearTimeout(timer)
  return { ...ended, hung }
}

/** A defect that was not caught, as far as it can be seen from outside. */
export const hasDefect = ({ log, stderr, stdout }: Ended) =>
  log.some(({ message }) => [message].flat()[0] === "run failed") || /\n\s+at /.test(`\n${stdout}\n${stderr}`)

/** The end of what it said, for a reader who looks for the cause. */
export const tailOf = ({ stderr, stdout }: Ended) => `${stdout.slice(-1000)}${stderr.slice(-500)}`

/** As many processes as there are cores on a small machine. */
export const twoAtATime = async <A>(items: Iterable<A>, run: (item: A) => Promise<Verdict>): Promise<Verdict> => {
  const left = [...items]
  const work = async () => {
    let all = nothing
    for (let next = left.shift(); next !== undefined; next = left.shift()) all = plus(all, await run(next))
    return all
  }
  const [one, two] = await Promise.all([work(), work()])
  return plus(one, two)
}
