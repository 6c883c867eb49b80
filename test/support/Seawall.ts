/** Runs the real `seawall` command in a process of its own, and waits for what it says instead of for the clock. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

export const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** The log, one object a line, when it was asked for as JSON. */
  readonly log: ReadonlyArray<LogLine>
}

export interface LogLine {
  readonly level: string
  readonly message: unknown
  readonly annotations: Readonly<Record<string, unknown>>
}

export interface Running {
  readonly pid: number
  /** Resolves when this text was printed so many times (default 1), to standard output or error. */
  readonly says: (text: string, times?: number) => Promise<void>
  readonly kill: (signal: NodeJS.Signals) => void
  readonly write: (text: string) => void
  readonly endInput: () => void
  readonly ended: Promise<Ended>
}

export interface Options {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  /** A command that runs the command, as `setpriv` does. */
  readonly under?: ReadonlyArray<string>
  /** Told of the process at once, as what ends it together with this one must be. */
  readonly own?: (child: ChildProcess) => unknown
}

/** An engine that ticks ten times a second, with `quick` as its environment. */
export const quickEngine = ["run", "--db", "test.db", "--log-format", "json"]
export const quick = {
  SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.1",
  SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "0.1",
  SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "0.2",
  SEAWALL_ENGINE_BACKUPS: "0",
}

/** The environment of a process that loads a script of `test/children` before everything else, in each of its threads. */
export const loading = (script: string) => {
  const { href } = new URL(`../children/${script}.ts`, import.meta.url)
  return { NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} --import ${href}` }
}

/** Sessions of several tests run at once: one that is not about the dashboard has none. */
const unwatched = (args: ReadonlyArray<string>) =>
  (args[0] === "run" || args[0] === "guard") && !args.includes("--dashboard-port")
    ? [args[0], "--dashboard-port", "0", ...args.slice(1)]
    : args

/** The steps of a shutdown are lines at DEBUG. */
const inDetail = (args: ReadonlyArray<string>) =>
  args.includes("--log-format") && !args.includes("--log-level") ? [...args, "--log-level", "debug"] : args

const parse = (line: string): ReadonlyArray<LogLine> => {
  if (!line.startsWith("{")) return []
  const { level, message, ...annotations } = JSON.parse(line) as LogLine & Readonly<Record<string, unknown>>
  return [{ level, message, annotations }]
}

/** This process's own, without settings of Seawall. */
export const inherited = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("SEAWALL_")),
)

export const start = (args: ReadonlyArray<string>, { cwd, env = {}, own, under = [] }: Options): Running => {
  const [command, ...rest] = [...under, process.execPath, main, ...inDetail(unwatched(args))]
  const child = spawn(command!, rest, { cwd, env: { ...inherited, ...env }, stdio: "pipe" })
  own?.(child)
  let stdout = ""
  let stderr = ""
  const waiting = new Set<() => void>()
  const notify = () => waiting.forEach((check) => check())
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text
    notify()
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
    notify()
  })
  const ended = once(child, "close").then(([code, signal]): Ended => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    stdout,
    stderr,
    log: stdout.split("\n").flatMap(parse),
  }))
  return {
    pid: child.pid!,
    says: (text, times = 1) =>
      new Promise((resolve, reject) => {
        const isIn = (said: string) => said.split(text).length > times
        const check = () => {
          if (!isIn(stdout) && !isIn(stderr)) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
        void ended.then(() => reject(new Error(`ended without saying ${JSON.stringify(text)}:\n${stdout}\n${stderr}`)))
      }),
    kill: (signal) => void child.kill(signal),
    write: (text) => void child.stdin.write(text),
    endInput: () => void child.stdin.end(),
    ended,
  }
}

/** Runs to the end. */
export const run = (args: ReadonlyArray<string>, options: Options) => start(args, options).ended

/** Runs a line that was said to an operator, in a shell where `seawall` is this command. */
export const shell = (line: string, cwd: string) => {
  const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`
  execFileSync("sh", ["-c", `seawall() { ${quoted(process.execPath)} ${quoted(main)} "$@"; }; ${line}`], { cwd })
}
