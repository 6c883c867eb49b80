/** What a guard costs that has nothing to do. */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { here, show, values } from "./options.ts"

/** A thousand idle guards in one process: what each costs in memory, and whether anything wakes. */
const idle = (): { readonly guards: number; readonly kilobytesEach: number; readonly cpuMillisPerSecond: number } => {
  const ended = spawnSync(process.execPath, ["--expose-gc", path.join(here, "idle.ts")], { encoding: "utf8" })
  if (ended.status !== 0) throw new Error(ended.stderr)
  return JSON.parse(ended.stdout) as ReturnType<typeof idle>
}

export const idleGuards = () => {
  const measured = !values.quick && "idle guards".includes(values.only) ? idle() : undefined
  if (measured !== undefined) {
    const { cpuMillisPerSecond, guards, kilobytesEach } = measured
    show(
      `${guards} idle guards`,
      `${kilobytesEach.toFixed(0)} KB and ${(cpuMillisPerSecond / guards).toFixed(4)} ms of CPU a second each`,
    )
  }
  return measured
}
