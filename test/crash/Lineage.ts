/** A database that outlives many engines, in a temporary folder, with a foreign reader beside it that comes and goes. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { create, nothing, plus, type Verdict } from "./database.ts"
import { inFolder, own } from "./Owned.ts"

/** Connects, holds one to three snapshots for up to so many seconds, and goes; ends with the process that started it. */
const reader = (file: string, seed: number, seconds: number) =>
  own(
    spawn(
      "python3",
      [
        "-c",
        `import os, random, signal, sqlite3, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
random.seed(${seed})
parent = os.getppid()
wait = lambda: time.sleep(random.uniform(0, ${seconds}))
while os.getppid() == parent:
    c = sqlite3.connect(${JSON.stringify(file)}, isolation_level=None, timeout=5)
    try:
        for _ in range(random.randint(1, 3)):
            c.execute("BEGIN"); c.execute("SELECT n FROM total").fetchall(); wait()
            c.execute("COMMIT"); wait()
    except sqlite3.OperationalError as error:
        if "locked" not in str(error): raise
    c.close()
    wait()`,
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    ),
  )

export interface LineageOptions {
  /** Of the reader. */
  readonly seed: number
  /** The most for which a snapshot of the reader, and the time without one, last. */
  readonly seconds: number
}

/** A fresh database, until `use` has ended. That the reader ends before it is a failure. */
export const onDatabase = <A extends Verdict>(
  { seconds, seed }: LineageOptions,
  use: (file: string) => Promise<A>,
): Promise<A> =>
  inFolder(async (folder) => {
    const file = path.join(folder, "test.db")
    create(file)
    const reading = reader(file, seed, seconds)
    const closed = once(reading, "close")
    try {
      const verdict = await use(file)
      if (reading.exitCode === null) return verdict
      return { ...verdict, failures: [...verdict.failures, `the reader ended with code ${reading.exitCode}`] }
    } finally {
      reading.kill("SIGKILL")
      await closed
    }
  })

/** 32 MiB: a check of so much takes about a fifth of a second. */
const large = 32 * 1024 * 1024

/**
 * Does `next` again and again, on one database after another: on a fresh one when the last has become so large that checks
 * take long. Ends when `goesOn` says so, or with the first failure.
 */
export const lineage = async (
  options: LineageOptions & {
    readonly goesOn: (n: number) => boolean
    /** The n-th turn. Before it, so many writes were acknowledged on this database. */
    readonly next: (file: string, n: number, before: number) => Promise<Verdict & { readonly last: number }>
    /** When nothing comes any more on this database. */
    readonly finish?: (file: string, last: number) => Verdict
  },
): Promise<Verdict> => {
  let all = nothing
  let n = 0
  const goesOn = () => options.goesOn(n) && all.failures.length === 0
  while (goesOn()) {
    const verdict = await onDatabase({ ...options, seed: options.seed + n }, async (file) => {
      let here = nothing
      let last = 0
      while (options.goesOn(n) && here.failures.length === 0 && fs.statSync(file).size < large) {
        const { last: reached, ...verdict } = await options.next(file, n, last)
        here = plus(here, verdict)
        last = reached
        n++
      }
      return options.finish === undefined ? here : plus(here, options.finish(file, last))
    })
    all = plus(all, verdict)
  }
  return all
}
