/** Other programs at the same database: real Python processes that hold a transaction until the scope closes. */
import { Effect } from "effect"
import { spawn } from "node:child_process"

const program = (file: string, statements: ReadonlyArray<string>, last: string) => `
import sqlite3, sys
c = sqlite3.connect(${JSON.stringify(file)}, isolation_level=None, timeout=5, uri=True)
for s in ${JSON.stringify(statements)}: c.execute(s).fetchall()
print("ready", flush=True)
${last}
`

/** Runs the statements, and then keeps the connection as it is. Returns the process's id once they have run. */
export const foreignConnection = (file: string, statements: ReadonlyArray<string>) =>
  running(program(file, statements, "sys.stdin.read()"))

/** Checkpoints all the time. */
export const foreignCheckpoints = (file: string) =>
  running(
    program(
      file,
      [],
      'import time\nwhile True: c.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall(); time.sleep(0.002)',
    ),
  )

const running = (text: string) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof spawn>>((resume) => {
      const child = spawn("python3", ["-c", text], { stdio: ["pipe", "pipe", "inherit"] })
      child.stdout.once("data", () => resume(Effect.succeed(child)))
      child.once("error", (error) => resume(Effect.die(error)))
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      }),
  ).pipe(Effect.map((child) => child.pid ?? 0))

/** Holds a snapshot: what it sees now stays in the WAL. */
export const foreignReader = (file: string) => foreignConnection(file, ["BEGIN", "SELECT count(*) FROM sqlite_schema"])
