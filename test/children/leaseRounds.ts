/**
 * A process that takes a lease when it is told to, for tests that start several at the same instant. Each line of its standard
 * input is a command, each line of its output an answer.
 *
 * - `take FILE MILLIS`: waits until this time, and answers `runs` or `refused PID MESSAGE`.
 * - `end`: releases what it has, and answers `ended`.
 * - `churn FILE TIMES`: takes and releases as often as it can until it has had the lease so often, with a marker file that only one
 *   may have; answers `churned`, or `broken` when another process had the marker.
 */
import { Cause, Effect, Exit, Layer, Scope } from "effect"
import * as fs from "node:fs"
import { createInterface } from "node:readline"
import * as Lease from "../../src/lease/Lease.ts"

let held: Scope.Closeable | undefined

const take = async (file: string) => {
  const scope = await Effect.runPromise(Scope.make())
  const exit = await Effect.runPromiseExit(Layer.buildWithScope(Lease.layerFile({ file }), scope))
  if (Exit.isSuccess(exit)) held = scope
  else await Effect.runPromise(Scope.close(scope, exit))
  return exit
}

const end = async () => {
  if (held !== undefined) await Effect.runPromise(Scope.close(held, Exit.void))
  held = undefined
}

const churn = async (file: string, times: number) => {
  for (let had = 0; had < times;) {
    const exit = await take(file)
    if (Exit.isFailure(exit)) {
      const error = Cause.squash(exit.cause)
      if (error instanceof Lease.LeaseError && error.reason === "Held") continue
      return `failed ${String(error)}`
    }
    had++
    const marker = `${file}.marker`
    if (fs.existsSync(marker)) return "broken"
    fs.writeFileSync(marker, "", { flag: "wx" })
    fs.unlinkSync(marker)
    await end()
  }
  return "churned"
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, file = "", number = ""] = line.split(" ")
  if (command === "end") {
    await end()
    console.log("ended")
  } else if (command === "churn") {
    console.log(await churn(file, Number(number)))
  } else {
    while (Date.now() < Number(number)); // the same instant for all
    const exit = await take(file)
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    if (error === undefined) console.log("runs")
    else
      console.log(
        error instanceof Lease.LeaseError ? `refused ${error.holder?.pid} ${error.message}` : `failed ${String(error)}`,
      )
  }
}
