/** A process that has a database open with this project's SQLite, until the scope closes; `name` is how it looks to others. */
import { Effect } from "effect"
import { spawn } from "node:child_process"

const program = (file: string, before: string, after: string) => `
const { DatabaseSync } = require("node:sqlite")
const db = new DatabaseSync(${JSON.stringify(file)}, { timeout: 60000 })
const commit = (bytes) => db.exec("INSERT INTO t (b) VALUES (randomblob(" + bytes + "))")
${before}
require("node:fs").writeSync(1, "ready")
${after}
process.stdin.resume()
`

export interface OwnerOptions {
  /** JavaScript that has run when this returns; there is `db`, and `commit(bytes)` for a row in a table `t`. */
  readonly before: string
  /** What it does afterwards, and may be stuck in. */
  readonly after?: string
  readonly name?: ReadonlyArray<string>
}

export const owner = (file: string, { after = "", before, name = [] }: OwnerOptions) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof spawn>>((resume) => {
      const args = ["-e", program(file, before, after), ...name]
      const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })
      child.stdout.once("data", () => resume(Effect.succeed(child)))
      child.once("exit", (code) => resume(Effect.die(new Error(`the owner ended: ${code}`))))
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      }),
  ).pipe(Effect.map((child) => child.pid ?? 0))
