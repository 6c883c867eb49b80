/** Whether another program checkpoints beside a guard. */
import { Effect, Option, Schedule } from "effect"
import { processesOf } from "../../facts/Facts.ts"
import { enginePid } from "../../facts/EngineLease.ts"
import { count } from "../../facts/Format.ts"
import { namesOf } from "../../processes/ProcessName.ts"
import type { Process } from "../../processes/Processes.ts"
import { make, nothing } from "../Examination.ts"
import { needsLinux } from "../NotExamined.ts"
import { lookInterval, looks } from "../Looks.ts"

const pidsOf = (processes: ReadonlyArray<Process>) => processes.map(({ pid }) => pid)

/** `seawall run` and `seawall guard`, installed or from the sources, and an engine. A guard inside another program is not seen. */
export const isGuard = ({ pid, words }: Pick<Process, "pid" | "words">, engine = Option.none<number>()) =>
  Option.contains(engine, pid) ||
  words.some(
    (word, at) =>
      /(?:^|\/)(?:seawall|main\.[jt]s)$/.test(word) && (words[at + 1] === "run" || words[at + 1] === "guard"),
  )

/** A checkpoint takes milliseconds, and may not be seen at all. */
const again = Schedule.max([Schedule.recurs(looks - 1), Schedule.spaced(lookInterval)])

/** Whether it is on is a setting of the other program's connection. The checkpointer's lock in its hands is proof. */
export const autocheckpoint = make({
  subject: "autocheckpoint",
  description: "programs that checkpoint beside a guard",
  examine: Effect.fnUntraced(function* (facts) {
    const { processes, target } = facts
    if (Option.isNone(processes)) return yield* needsLinux
    const engine = enginePid(facts.lease)
    const guards = processes.value.filter((it) => isGuard(it, engine))
    if (guards.length === 0) return nothing("no guard has the database open")
    const others = processes.value.filter((it) => !isGuard(it, engine) && it.mayWrite)
    if (others.length === 0) return nothing("no other process may write beside the guard")
    const look = Effect.map(processesOf(target), (seen) =>
      pidsOf(
        Option.getOrElse(seen, () => []).filter(
          ({ locks, pid }) => locks.includes("checkpoint") && pidsOf(others).includes(pid),
        ),
      ),
    )
    const pids = yield* Effect.repeat(look, { schedule: again, until: (found) => found.length > 0 })
    const caught = others.filter(({ pid }) => pids.includes(pid))
    const suspects = caught.length > 0 ? caught : others
    return {
      seen: `${count(others.length, "process", "processes")} beside the guard may write`,
      findings: [
        {
          severity: caught.length > 0 ? "warning" : "notice",
          message:
            caught.length > 0
              ? `${namesOf(caught)} checkpoints beside the guard`
              : `whether ${namesOf(others)} checkpoints beside the guard cannot be seen from outside`,
          evidence: { guard_pids: pidsOf(guards), pids: pidsOf(suspects) },
          remedy: "in the other program: PRAGMA wal_autocheckpoint = 0",
        },
      ],
    }
  }),
})
