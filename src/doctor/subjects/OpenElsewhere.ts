/** Which processes have the database open, and whether an engine runs on it. */
import { Effect, Option } from "effect"
import * as EngineLease from "../../facts/EngineLease.ts"
import { count } from "../../facts/Format.ts"
import { namesOf } from "../../processes/ProcessName.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import { make, nothing } from "../Examination.ts"
import { needsLinux } from "../NotExamined.ts"

export const openElsewhere = make({
  subject: "open-elsewhere",
  description: "who has it open, and whether an engine runs on it",
  examine: Effect.fnUntraced(function* ({ file, lease, processes }) {
    const engine = EngineLease.engineOf(lease)
    if (Option.isNone(processes) && Option.isNone(engine)) return yield* needsLinux
    const them = Option.getOrElse(processes, () => [])
    const seen =
      them.length === 0
        ? "in no process that this user and this container see"
        : count(them.length, "process", "processes")
    if (them.length === 0 && Option.isNone(engine)) return nothing(seen)
    const said = [
      ...(them.length === 0 ? [] : [`the database is open in ${namesOf(them)}`]),
      ...Option.toArray(Option.map(engine, (it) => `an engine runs on it: ${it}`)),
    ]
    return {
      seen: [seen, ...Option.toArray(Option.map(engine, () => "an engine runs on it"))].join("; "),
      findings: [
        {
          severity: "notice",
          message: said.join("; "),
          evidence: {
            pids: them.map(({ pid }) => pid),
            ...Option.match(EngineLease.holderOf(lease), {
              onNone: () => ({}),
              onSome: ({ host, pid, since }) => ({ engine_pid: pid, engine_host: host, engine_since: since }),
            }),
            locks: them.flatMap(({ locks, pid }) => locks.map((lock) => `${pid}:${lock}`)),
            running_since_ms: them.flatMap(({ runningSince }) => Option.toArray(runningSince)),
          },
          remedy: command("seawall status", file),
        },
      ],
    }
  }),
})
